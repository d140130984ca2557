from __future__ import annotations

from typing import Any

import pytest

from objectql.context import Actor
from objectql.ids import FieldName, ObjectName
from objectql.metadata.build import build_snapshot
from objectql.metadata.document import Document, Node, Problems
from objectql.metadata.registry import MetadataSnapshot
from objectql.query.ast import And, Compare, Fact, Filter, Not, Op, Or
from objectql.security.conditions import ConditionReader
from objectql.security.documents import read_permission_file
from objectql.security.filters import NOBODY, joined
from objectql.security.permissions import PermissionCompiler
from objectql.security.reading import check_rules

OBJECTS: dict[str, Any] = {
    "account": {"name": {}, "owner": {}, "region": {}},
    "invoice": {
        "owner": {},
        "status": {},
        "region": {},
        "amount": {"type": "number"},
        "paid": {"type": "boolean"},
        "due": {"type": "date"},
        "tags": {"type": "tags"},
        "team_id": {},
        "customer": {"type": "lookup", "reference": "account"},
    },
}
READ_ALL = {"read": ["*"], "update": ["*"], "delete": ["*"], "create": ["*"]}


def snapshot(**rules: Any) -> MetadataSnapshot:
    """Metadata in which the permission file of `invoice` has `rules`."""
    content = {"object": "invoice", "object_permissions": READ_ALL, **rules}
    documents = [Document("p", "object", n, {"fields": f}) for n, f in OBJECTS.items()]
    return build_snapshot([*documents, Document("p", "permission", "invoice", content)], 1)


def read_rule(metadata: MetadataSnapshot, *roles: str) -> Filter | None:
    policy = PermissionCompiler(metadata).policy(Actor(id="u1", roles=roles))
    return policy.access("invoice").rows.get("read")


def ruled(condition: Any) -> MetadataSnapshot:
    return snapshot(record_rules=[{"name": "r", "condition": condition}])


OWN = {"field": "owner", "operator": "=", "value": "$current_user.id"}
OPEN = {"field": "status", "operator": "=", "value": "open"}
IS_OWN = Compare(("owner",), Op.EQ, Fact("id"))
IS_OPEN = Compare(("status",), Op.EQ, "open")
HAS_CUSTOMER = Compare(("customer", "id"), Op.NULL, False)
IN_WEST = Compare(("region",), Op.EQ, "west")
WEST = {"field": "region", "operator": "=", "value": "west"}


@pytest.mark.parametrize(
    ("condition", "filter_"),
    [
        (OWN, IS_OWN),
        ({"type": "simple", **OPEN}, IS_OPEN),
        (
            {"type": "complex", "expression": [OWN, "or", OPEN, "and", WEST]},
            Or((And((IS_OWN,)), And((IS_OPEN, IN_WEST)))),
        ),
        (
            {"type": "complex", "expression": [[OWN, "or", OPEN], "and", WEST]},
            Or((And((Or((And((IS_OWN,)), And((IS_OPEN,)))), IN_WEST)),)),
        ),
        (
            {"type": "lookup", "object": "account", "via": "customer", "condition": OWN},
            And((HAS_CUSTOMER, Compare(("customer", "owner"), Op.EQ, Fact("id")))),
        ),
        (
            {
                "type": "lookup",
                "object": "account",
                "via": "customer",
                "condition": {"type": "formula", "formula": "owner == name && region != 'x'"},
            },
            And(
                (
                    HAS_CUSTOMER,
                    And(
                        (
                            Compare(("customer", "owner"), Op.EQ, ref=("customer", "name")),
                            Compare(("customer", "region"), Op.NE, "x"),
                        )
                    ),
                )
            ),
        ),
        ({"type": "formula", "formula": "amount < 1000"}, Compare(("amount",), Op.LT, 1000)),
        ({"expression": "paid"}, Compare(("paid",), Op.EQ, True)),
        ({"none_of": [OWN, OPEN]}, Not(Or((IS_OWN, IS_OPEN)))),
        ({"all_of": ["owner", OPEN]}, And((Compare(("owner",), Op.NULL, False), IS_OPEN))),
        (
            {"if": OPEN, "then": OWN},
            Or((And((IS_OPEN, IS_OWN)), And((Not(IS_OPEN), And(()))))),
        ),
        (
            {"field": "team_id", "operator": "in", "value": "$current_user.teams"},
            Compare(("team_id",), Op.IN, Fact("teams")),
        ),
        (
            {"field": "due", "operator": "<", "value": "$today"},
            Compare(("due",), Op.LT, "{today}"),
        ),
        (
            {"field": "amount", "operator": "between", "value": [1, 9]},
            Compare(("amount",), Op.BETWEEN, (1, 9)),
        ),
        (
            {"field": "owner", "operator": "=", "compare_to": "region"},
            Compare(("owner",), Op.EQ, ref=("region",)),
        ),
        ({"field": "owner", "operator": "is_empty"}, Compare(("owner",), Op.NULL, True)),
    ],
)
def test_every_form_of_a_condition_is_a_filter(condition: Any, filter_: Filter) -> None:
    metadata = ruled(condition)
    assert check_rules(metadata) == ()
    assert read_rule(metadata) == filter_


@pytest.mark.parametrize(
    ("condition", "path", "code"),
    [
        ({"type": "formula", "formula": "amount * 2 < 9"}, ".formula", "rule_untranslatable"),
        ({"expression": "nothing == 1"}, "", "rule_unusable"),
        ({"expression": "status"}, "", "rule_unusable"),
        ({"field": "amount", "operator": "=", "value": "many"}, "", "rule_unusable"),
        ({"field": "amount", "operator": "contains", "value": "1"}, "", "rule_unusable"),
        ({"field": "customer.nothing", "operator": "=", "value": 1}, "", "rule_unusable"),
        ({"field": "due", "operator": "=", "value": "{tomorow}"}, "", "rule_unusable"),
        (
            {"type": "lookup", "object": "invoice", "via": "customer", "condition": OWN},
            ".object",
            "unknown_reference",
        ),
        (
            {"type": "lookup", "object": "account", "via": "owner", "condition": OWN},
            ".object",
            "unknown_reference",
        ),
        (
            {"all_of": [OWN, {"expression": "amount + 1 > 2"}]},
            ".all_of.1.expression",
            "rule_untranslatable",
        ),
    ],
)
def test_what_no_database_can_answer_is_told_at_its_place_and_holds_for_nobody(
    condition: Any, path: str, code: str
) -> None:
    metadata = ruled(condition)
    (issue,) = check_rules(metadata)
    assert (issue.path, issue.code) == (f"record_rules.0.condition{path}", code)
    assert read_rule(metadata) == NOBODY


def test_without_rules_the_object_permission_decides() -> None:
    assert read_rule(snapshot()) is None


def test_rules_widen_each_other_and_one_without_the_right_grants_nothing() -> None:
    metadata = snapshot(
        record_rules=[
            {"name": "own", "condition": OWN, "permissions": {"read": True, "update": True}},
            {"name": "open", "condition": OPEN, "permissions": {"read": True}},
            {"name": "off", "condition": WEST, "permissions": {"read": True}, "enabled": False},
        ]
    )
    access = PermissionCompiler(metadata).policy(Actor(id="u")).access("invoice")
    assert access.rows == {
        "read": Or((IS_OWN, IS_OPEN)),
        "update": And((Or((IS_OWN, IS_OPEN)), IS_OWN)),
        "delete": NOBODY,
    }
    assert access.images == {
        "create": Or((IS_OWN, IS_OPEN)),
        "update": And((Or((IS_OWN, IS_OPEN)), IS_OWN)),
    }


def test_view_all_and_modify_all_skip_row_rules() -> None:
    grants = {**READ_ALL, "view_all": ["auditor"], "modify_all": ["boss"]}
    metadata = snapshot(
        object_permissions=grants,
        record_rules=[
            {"name": "own", "condition": OWN, "permissions": {"read": True, "update": True}}
        ],
    )
    compiler = PermissionCompiler(metadata)
    auditor = compiler.policy(Actor(id="u", roles=("auditor",))).access("invoice")
    boss = compiler.policy(Actor(id="u", roles=("boss",))).access("invoice")
    assert auditor.rows == {"update": IS_OWN, "delete": NOBODY}
    assert (boss.rows, boss.images) == ({}, {})


def test_sharing_is_for_those_it_is_shared_with() -> None:
    sharing = [
        {"name": "s", "condition": OPEN, "shared_with": {"type": "role", "roles": ["sales"]}},
        {"name": "o", "type": "owner"},
        {"name": "t", "type": "team", "team_field": "team_id", "condition": WEST},
        {"name": "m", "type": "manual"},
        {"name": "u", "condition": WEST, "shared_with": {"type": "user", "value": "u7"}},
    ]
    metadata = snapshot(sharing_rules=sharing)
    team = And((IN_WEST, Compare(("team_id",), Op.IN, Fact("teams"))))
    by_hand = Compare(("shared_with",), Op.IN, Fact("shares.read"))
    assert read_rule(metadata) == Or((IS_OWN, team, by_hand))
    assert read_rule(metadata, "sales") == Or((IS_OPEN, IS_OWN, team, by_hand))
    u7 = PermissionCompiler(metadata).policy(Actor(id="u7")).access("invoice").rows["read"]
    assert u7 == Or((IS_OWN, team, by_hand, IN_WEST))


def test_row_level_security_narrows_everybody_but_its_exceptions() -> None:
    security = {
        "enabled": True,
        "default_rule": OWN,
        "exceptions": [{"role": "manager", "condition": WEST}, {"role": "chief", "bypass": True}],
    }
    rules = [{"name": "open", "condition": OPEN}]
    metadata = snapshot(record_rules=rules, row_level_security=security)
    assert read_rule(metadata) == And((IS_OPEN, IS_OWN))
    assert read_rule(metadata, "manager") == And((IS_OPEN, IN_WEST))
    assert read_rule(metadata, "chief", "manager") == IS_OPEN
    alone = snapshot(row_level_security=security)
    assert read_rule(alone) == IS_OWN
    assert read_rule(alone, "chief") is None
    assert read_rule(snapshot(row_level_security={"enabled": True})) == NOBODY
    assert read_rule(snapshot(row_level_security={**security, "enabled": False})) is None


def sharing_model(model: str, **more: Any) -> MetadataSnapshot:
    account = {"fields": OBJECTS["account"], "sharingModel": "private"}
    invoice: dict[str, Any] = {"fields": dict(OBJECTS["invoice"]), "sharingModel": model, **more}
    invoice["fields"]["customer"] = {"type": "master_detail", "reference": "account"}
    grants = {"object_permissions": READ_ALL}
    return build_snapshot(
        [
            Document("p", "object", "account", account),
            Document("p", "object", "invoice", invoice),
            Document("p", "permission", "account", grants),
            Document("p", "permission", "invoice", grants),
        ],
        1,
    )


def test_the_sharing_model_is_what_everybody_may_do_without_a_rule() -> None:
    def rows(model: str, **more: Any) -> Any:
        return (
            PermissionCompiler(sharing_model(model, **more))
            .policy(Actor(id="u"))
            .access("invoice")
            .rows
        )

    assert rows("public_read_write") == {}
    assert rows("public_read") == {"update": IS_OWN, "delete": IS_OWN}
    assert rows("private") == {"read": IS_OWN, "update": IS_OWN, "delete": IS_OWN}
    assert rows("private", ownership="none")["read"] == NOBODY
    parents = Compare(("customer", "owner"), Op.EQ, Fact("id"))
    assert rows("controlled_by_parent") == dict.fromkeys(("read", "update", "delete"), parents)


def test_a_parent_that_may_not_be_read_hides_its_children() -> None:
    metadata = sharing_model("controlled_by_parent")
    hidden = build_snapshot(
        [
            *(d for d in metadata.documents if (d.type, d.name) != ("permission", "account")),
            Document("p", "permission", "account", {"object_permissions": {"read": ["boss"]}}),
        ],
        1,
    )
    assert read_rule(hidden) == NOBODY


FIELDS = {
    "amount": {"read": ["sales"], "update": []},
    "region": {"update": ["sales"]},
    "status": {"update": ["*"], "create": ["sales"]},
}


def test_fields_are_for_the_roles_that_are_named() -> None:
    compiler = PermissionCompiler(snapshot(field_permissions=FIELDS))
    sales = compiler.policy(Actor(id="u", roles=("sales",))).access("invoice")
    other = compiler.policy(Actor(id="u", roles=("guest",))).access("invoice")
    every = {"amount", "region", "status", "paid", "owner"}
    assert sales.readable is None
    assert every - set(other.readable or ()) == {"amount"}
    assert every - set(sales.updatable or ()) == {"amount"}
    assert every - set(other.updatable or ()) == {"amount", "region"}
    assert every - set(sales.creatable or ()) == {"amount"}
    assert every - set(other.creatable or ()) == {"amount", "region", "status"}


def test_policies_share_a_shape_exactly_when_they_decide_alike() -> None:
    def shape(*roles: str, **rules: Any) -> str:
        return PermissionCompiler(snapshot(**rules)).policy(Actor(id="u", roles=roles)).shape

    own, west = ([{"name": "r", "condition": c}] for c in (OWN, WEST))
    renamed = [{"name": "other", "condition": OWN}]
    assert shape(record_rules=own) == shape("x", record_rules=renamed)
    shapes = [
        shape(),
        shape(record_rules=own),
        shape(record_rules=west),
        shape(field_permissions=FIELDS),
        shape("sales", field_permissions=FIELDS),
        shape("sales", record_rules=own, field_permissions=FIELDS),
    ]
    assert len(set(shapes)) == len(shapes)
    assert joined() == And(())


@pytest.mark.parametrize(("field", "text"), [("amount", "**{last2}"), ("status", "{last}")])
def test_a_mask_that_an_older_version_let_through_shows_nothing(field: str, text: str) -> None:
    metadata = snapshot()
    invoice = metadata.objects[ObjectName("invoice")]
    masked = Document(
        "p", "permission", "invoice", {"field_masking": {field: {"mask_format": text}}}
    )
    rules = read_permission_file(
        Node.root(masked, Problems()),
        metadata.permissions[invoice.name],
        invoice,
        ConditionReader(invoice, metadata),
    )
    mask = rules.fields[FieldName(field)].mask
    assert mask is not None
    assert mask.mask.of("1234567") == "****"


def test_readers_may_export_unless_the_file_says_who_may() -> None:
    def operations(role: str, **grants: list[str]) -> frozenset[str]:
        compiler = PermissionCompiler(snapshot(object_permissions=grants))
        return compiler.policy(Actor(id="u", roles=(role,))).access("invoice").operations

    assert operations("a", read=["a"]) == {"read", "export"}
    assert "export" in operations("boss", read=["a"], modify_all=["boss"])
    assert operations("a", read=["a"], export=["b"]) == {"read"}
    assert operations("b", read=["b"], export=["b"]) == {"read", "export"}
    assert operations("b", read=["a"], export=["b"]) == frozenset()
