"""Permission sets beside permission files, compiled to the same rules."""

from __future__ import annotations

from typing import Any

import pytest

from objectql.context import Actor
from objectql.errors import MetadataInvalid, PermissionDenied
from objectql.metadata.build import build_snapshot
from objectql.metadata.document import Document
from objectql.metadata.registry import MetadataSnapshot
from objectql.query.ast import And, Compare, Fact, Op, Or
from objectql.security.permissions import PermissionCompiler
from objectql.security.policy import AccessRules
from objectql.security.reading import check_rules

FIELDS: dict[str, Any] = {"owner": {}, "status": {}, "region": {}, "total": {"type": "number"}}
IS_OWN = Compare(("owner",), Op.EQ, Fact("id"))
IS_OPEN = Compare(("status",), Op.EQ, "open")
IN_WEST = Compare(("region",), Op.EQ, "west")
BASIC = {"allowRead": True, "allowEdit": True}


def metadata(
    *sets: dict[str, Any],
    file: dict[str, Any] | None = None,
    positions: dict[str, list[str]] | None = None,
    **object_: Any,
) -> MetadataSnapshot:
    """An `invoice` with the permission file `file`, beside `sets` and `positions`."""
    documents = [
        Document("p", "object", "invoice", {"fields": FIELDS, **object_}),
        Document("p", "object", "note", {"fields": {"text": {}}}),
        *[Document("p", "permission_set", each["name"], each) for each in sets],
    ]
    if file is not None:
        documents.append(Document("p", "permission", "invoice", {"object": "invoice", **file}))
    for name, handed in (positions or {}).items():
        documents.append(Document("p", "position", name, {"permissionSets": handed}))
    return build_snapshot(documents, 1)


def policy(snapshot: MetadataSnapshot, *roles: str, **claims: Any) -> AccessRules:
    return PermissionCompiler(snapshot).policy(Actor(id="u1", roles=roles, claims=claims))


def operations(snapshot: MetadataSnapshot, *roles: str, object: str = "invoice") -> set[str]:
    return set(policy(snapshot, *roles).access(object).operations)


def granting(name: str = "clerk", /, **more: Any) -> dict[str, Any]:
    return {"name": name, "objects": {"invoice": BASIC}, **more}


def policed(*policies: dict[str, Any]) -> dict[str, Any]:
    named = [{"name": f"p{n}", "object": "invoice", **p} for n, p in enumerate(policies)]
    return granting(rowLevelSecurity=named)


def test_a_set_is_held_by_who_has_a_role_of_its_name_or_a_position_that_hands_it_out() -> None:
    snapshot = metadata(granting(), positions={"accountant": ["clerk"]})
    assert operations(snapshot, "clerk") == {"read", "update"}
    assert operations(snapshot, "accountant") == {"read", "update"}
    assert operations(snapshot, "stranger") == set()


def test_a_default_set_is_held_by_everybody() -> None:
    assert operations(metadata(granting(isDefault=True))) == {"read", "update"}


def test_sets_and_the_permission_file_widen_each_other() -> None:
    file = {"object_permissions": {"delete": ["boss"], "create": ["clerk"]}}
    snapshot = metadata(granting(), file=file)
    assert operations(snapshot, "clerk") == {"create", "read", "update"}
    assert operations(snapshot, "clerk", "boss") == {"create", "read", "update", "delete"}


def test_view_all_and_modify_all_skip_the_rules_of_the_file() -> None:
    file = {"record_rules": [{"name": "own", "condition": {"expression": "owner == 'x'"}}]}
    viewer = {"name": "viewer", "objects": {"invoice": {"viewAllRecords": True}}}
    boss = {"name": "boss", "objects": {"invoice": {"modifyAllRecords": True}}}
    snapshot = metadata(viewer, boss, file=file)
    assert operations(snapshot, "viewer") == {"read"}
    assert "read" not in policy(snapshot, "viewer").access("invoice").rows
    assert operations(snapshot, "boss") == {"read", "update", "delete"}
    assert policy(snapshot, "boss").access("invoice").rows == {}


def test_a_wildcard_reaches_the_objects_that_the_set_does_not_name() -> None:
    each = {"name": "s", "objects": {"*": {"allowRead": True}, "note": {"allowCreate": True}}}
    snapshot = metadata(each)
    assert operations(snapshot, "s") == {"read"}
    assert operations(snapshot, "s", object="note") == {"create"}


def test_a_wildcard_reaches_private_objects_only_with_every_record() -> None:
    plain = {"name": "plain", "objects": {"*": {"allowRead": True}}}
    auditor = {"name": "auditor", "objects": {"*": {"viewAllRecords": True}}}
    snapshot = metadata(plain, auditor, access={"default": "private"})
    assert operations(snapshot, "plain") == set()
    assert operations(snapshot, "auditor") == {"read"}


def test_a_scope_limits_what_its_set_grants_and_nothing_else() -> None:
    own = {"name": "own", "objects": {"invoice": {**BASIC, "readScope": "own"}}}
    file = {"object_permissions": {"read": ["sales"]}}
    snapshot = metadata(own, granting("all"), file=file)
    assert policy(snapshot, "own").access("invoice").rows["read"] == IS_OWN
    for role in ("sales", "all"):
        assert "read" not in policy(snapshot, role, "own").access("invoice").rows


def test_a_scope_widens_what_a_sharing_model_leaves() -> None:
    unit = {"name": "unit", "objects": {"invoice": {"allowRead": True, "readScope": "unit"}}}
    org = {"name": "org", "objects": {"invoice": {"allowRead": True, "readScope": "org"}}}
    snapshot = metadata(granting("none"), unit, org, sharingModel="private")
    assert policy(snapshot, "none").access("invoice").rows["read"] == IS_OWN
    of_unit = Or((IS_OWN, Compare(("owner",), Op.IN, Fact("unit_members"))))
    assert policy(snapshot, "unit").access("invoice").rows["read"] == Or((IS_OWN, of_unit))
    assert "read" not in policy(snapshot, "org").access("invoice").rows


def test_policies_for_one_operation_widen_each_other_and_narrow_the_rest() -> None:
    snapshot = metadata(
        policed(
            {"operation": "select", "using": "owner == current_user.id"},
            {"operation": "select", "using": "status == 'open'"},
        ),
        file={"record_rules": [{"name": "w", "condition": {"expression": "region == 'west'"}}]},
    )
    rows = policy(snapshot, "clerk").access("invoice").rows
    assert rows["read"] == And((IN_WEST, Or((IS_OWN, IS_OPEN))))


def test_a_policy_of_a_set_that_one_does_not_hold_does_not_matter() -> None:
    strict = policed({"operation": "all", "using": "owner == current_user.id"})
    snapshot = metadata({**strict, "name": "strict"}, granting())
    assert policy(snapshot, "clerk").access("invoice").rows == {}
    assert policy(snapshot, "clerk", "strict").access("invoice").rows["read"] == IS_OWN


def test_a_policy_may_be_for_some_positions_among_the_holders() -> None:
    snapshot = metadata(policed({"operation": "select", "using": "paid", "positions": ["temp"]}))
    assert check_rules(snapshot)[0].code == "rule_unusable"
    snapshot = metadata(
        policed({"operation": "select", "using": "status == 'open'", "positions": ["temp"]})
    )
    assert policy(snapshot, "clerk").access("invoice").rows == {}
    assert policy(snapshot, "temp").access("invoice").rows == {}
    assert policy(snapshot, "clerk", "temp").access("invoice").rows["read"] == IS_OPEN


def test_check_judges_what_a_record_becomes_and_using_what_it_was() -> None:
    snapshot = metadata(
        policed(
            {
                "operation": "update",
                "using": "owner == current_user.id",
                "check": "status == 'open'",
            },
            {"operation": "insert", "check": "region == 'west'"},
        )
    )
    access = policy(snapshot, "clerk").access("invoice")
    assert access.rows == {"update": IS_OWN}
    assert access.images == {"update": IS_OPEN, "create": IN_WEST}


def test_without_check_a_policy_judges_new_records_by_using() -> None:
    snapshot = metadata(policed({"operation": "all", "using": "status == 'open'"}))
    assert policy(snapshot, "clerk").access("invoice").images["create"] == IS_OPEN


def test_a_disabled_policy_narrows_nothing() -> None:
    snapshot = metadata(
        policed({"operation": "select", "using": "status == 'open'", "enabled": False})
    )
    assert policy(snapshot, "clerk").access("invoice").rows == {}


def test_a_policy_that_no_database_can_answer_is_reported_and_holds_for_nobody() -> None:
    snapshot = metadata(policed({"operation": "select", "using": "total * 2 > 4"}))
    (issue,) = check_rules(snapshot)
    assert issue.path == "rowLevelSecurity.0.using"
    assert policy(snapshot, "clerk").access("invoice").rows["read"] == Or(())


def readable(snapshot: MetadataSnapshot, *roles: str) -> bool:
    fields = policy(snapshot, *roles).access("invoice").readable
    return fields is None or "total" in fields


def updatable(snapshot: MetadataSnapshot, *roles: str) -> bool:
    fields = policy(snapshot, *roles).access("invoice").updatable
    return fields is None or "total" in fields


def on_total(name: str, **said: bool) -> dict[str, Any]:
    return granting(name, fields={"invoice.total": said})


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (("none",), (True, True)),
        (("hides",), (False, False)),
        (("reads",), (True, False)),
        (("edits",), (True, True)),
        (("hides", "reads"), (True, False)),
        (("hides", "edits"), (True, True)),
        (("hides", "none"), (False, False)),
    ],
)
def test_a_set_withholds_a_field_from_its_holders_unless_something_else_allows_it(
    roles: tuple[str, ...], expected: tuple[bool, bool]
) -> None:
    snapshot = metadata(
        granting("none"),
        on_total("hides", readable=False),
        on_total("reads"),
        on_total("edits", readable=True, editable=True),
    )
    assert (readable(snapshot, *roles), updatable(snapshot, *roles)) == expected


def test_a_set_opens_a_field_that_the_permission_file_keeps_for_others() -> None:
    file = {"field_permissions": {"total": {"read": ["boss"], "update": ["boss"]}}}
    snapshot = metadata(granting("none"), on_total("reads"), on_total("hides"), file=file)
    assert not readable(snapshot, "none")
    assert readable(snapshot, "reads")
    assert not updatable(snapshot, "reads")
    assert updatable(snapshot, "hides", "boss")


def test_an_object_may_require_system_permissions() -> None:
    one = granting("one", systemPermissions=["billing"])
    both = granting("both", systemPermissions=["billing", "audit"])
    snapshot = metadata(
        one, both, requiredPermissions={"read": ["billing"], "edit": ["billing", "audit"]}
    )
    assert operations(snapshot, "one") == {"read"}
    assert operations(snapshot, "both") == {"read", "update"}
    assert operations(metadata(granting(), requiredPermissions=["unheard_of"]), "clerk") == set()


def test_a_field_may_require_system_permissions() -> None:
    total = {"type": "number", "requiredPermissions": ["money"]}
    fields = {**FIELDS, "total": total}
    snapshot = metadata(
        on_total("reads"), granting("rich", systemPermissions=["money"]), fields=fields
    )
    assert not readable(snapshot, "reads")
    assert readable(snapshot, "rich")


def test_an_action_may_require_system_permissions() -> None:
    actions = {"send": {"requiredPermissions": ["post"]}, "print": {}}
    file = {"action_permissions": {"send": {"execute": ["clerk"]}}}
    postman = granting("postman", systemPermissions=["post"])
    plain = metadata(granting(), postman, actions=actions)
    policy(plain, "postman").check_action("invoice", "send")
    policy(plain, "clerk").check_action("invoice", "print")
    with pytest.raises(PermissionDenied):
        policy(plain, "clerk").check_action("invoice", "send")
    named = metadata(granting(), postman, actions=actions, file=file)
    policy(named, "clerk", "postman").check_action("invoice", "send")
    for role in ("clerk", "postman"):
        with pytest.raises(PermissionDenied):
            policy(named, role).check_action("invoice", "send")


def test_callers_who_differ_in_a_set_do_not_share_a_policy() -> None:
    snapshot = metadata(granting(), on_total("hides", readable=False))
    shapes = {policy(snapshot, *roles).shape for roles in ((), ("clerk",), ("clerk", "hides"))}
    assert len(shapes) == 3


def test_a_permission_file_with_objects_is_a_set() -> None:
    documents = [
        Document("p", "object", "invoice", {"fields": FIELDS}),
        Document("p", "permission", "clerk", {"objects": {"invoice": BASIC}}),
    ]
    assert operations(build_snapshot(documents, 1), "clerk") == {"read", "update"}


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"objects": {"invoise": {}}}, "unknown_reference", "objects.invoise"),
        ({"objects": {"invoice": {"read": True}}}, "unknown_key", "objects.invoice.read"),
        ({"objects": {"invoice": {"allowRead": 1}}}, "wrong_type", "objects.invoice.allowRead"),
        (
            {"objects": {"invoice": {"readScope": "mine"}}},
            "value_not_allowed",
            "objects.invoice.readScope",
        ),
        ({"fields": {"invoice.totl": {}}}, "unknown_field", "fields.invoice.totl"),
        ({"rowLevelSecurity": [{"name": "p"}]}, "rule_incomplete", "rowLevelSecurity.0"),
        ({"roles": ["x"]}, "unknown_key", "roles"),
    ],
)
def test_what_a_set_may_not_say_is_told_with_its_place(
    change: dict[str, Any], code: str, path: str
) -> None:
    with pytest.raises(MetadataInvalid) as caught:
        metadata({"name": "s", "objects": {}, **change})
    assert (caught.value.issues[0].code, caught.value.issues[0].path) == (code, path)


def test_a_position_hands_out_only_sets_that_there_are() -> None:
    with pytest.raises(MetadataInvalid) as caught:
        metadata(granting(), positions={"head": ["clerc"]})
    (issue,) = caught.value.issues
    assert issue.code == "unknown_permission_set"
    assert "clerk" in issue.message


def test_a_set_allows_exports_of_what_may_be_read() -> None:
    exporting = {"name": "e", "objects": {"invoice": {"allowRead": True, "allowExport": True}}}
    blind = {"name": "b", "objects": {"invoice": {"allowExport": True}}}
    snapshot = metadata(granting("all"), exporting, blind)
    assert "export" not in operations(snapshot, "all")
    assert operations(snapshot, "e") == {"read", "export"}
    assert operations(snapshot, "b") == set()
