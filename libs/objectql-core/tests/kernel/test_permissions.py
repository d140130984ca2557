"""Permissions end to end, on every driver."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.drivers.protocol import Driver
from objectql.errors import (
    FieldUnknown,
    InvalidFilter,
    InvalidRequest,
    ObjectQLError,
    ObjectUnknown,
    PermissionDenied,
    RecordNotFound,
    ValidationFailed,
)
from objectql.kernel.kernel import Kernel
from objectql.query.parse import parse_query
from objectql.wire.messages import (
    AggregateRequest,
    BatchOperation,
    BatchRequest,
    BulkRequest,
    BulkRow,
    CreateRequest,
    DeleteRequest,
    ExplainAccessRequest,
    FindRequest,
    GetRequest,
    MetaGetRequest,
    MetaListRequest,
    PermissionsRequest,
    SearchRequest,
    UpdateRequest,
    ViewRequest,
    WhereWriteRequest,
)

CRM: dict[str, Any] = {
    "name": "crm",
    "objects": {
        "account": {
            "fields": {
                "name": {"type": "text", "searchable": True},
                "owner": {"type": "text"},
                "region": {"type": "text"},
                "salary": {"type": "number", "scale": 0},
                "secret": {"type": "text", "searchable": True},
            }
        },
        "deal": {
            "fields": {
                "title": {"type": "text"},
                "account": {"type": "lookup", "reference": "account"},
                "hidden_link": {"type": "lookup", "reference": "account"},
                "amount": {"type": "number", "scale": 0},
            }
        },
    },
    "permissions": {
        "account": {
            "object": "account",
            "object_permissions": {
                "create": ["sales"],
                "read": ["sales", "guest"],
                "update": ["sales"],
                "delete": ["sales"],
                "view_all": ["auditor"],
            },
            "field_permissions": {
                "salary": {"read": ["boss"], "update": ["boss"]},
                "secret": {"read": ["boss"], "update": ["boss"]},
                "region": {"update": ["boss"]},
            },
            "record_rules": [
                {
                    "name": "own",
                    "condition": {
                        "field": "owner", "operator": "=", "value": "$current_user.id",
                    },
                    "permissions": {"read": True, "update": True, "delete": True},
                },
                {
                    "name": "region",
                    "condition": {
                        "field": "region", "operator": "=", "value": "$current_user.region",
                    },
                    "permissions": {"read": True},
                },
            ],
        },
        "deal": {
            "object": "deal",
            "object_permissions": {
                "create": ["sales"],
                "read": ["sales", "guest", "auditor"],
                "update": ["sales"],
                "delete": ["sales"],
            },
            "field_permissions": {"hidden_link": {"read": []}},
            "record_rules": [
                {
                    "name": "via",
                    "condition": {
                        "type": "lookup",
                        "object": "account",
                        "via": "account",
                        "condition": {
                            "field": "owner", "operator": "=", "value": "$current_user.id",
                        },
                    },
                    "permissions": {"read": True, "update": True, "delete": True},
                }
            ],
        },
    },
}  # fmt: skip

ACCOUNTS: list[dict[str, Any]] = [
    {"id": "mine", "name": "Mine", "owner": "u1", "region": "east", "salary": 1, "secret": "x"},
    {"id": "west", "name": "West", "owner": "u2", "region": "west", "salary": 2, "secret": "x"},
    {"id": "far", "name": "Far", "owner": "u2", "region": "east", "salary": 3, "secret": "x"},
    {"id": "nobody", "name": "Nobody"},
]
DEALS: list[dict[str, Any]] = [
    {"id": "d1", "title": "One", "account": "mine", "amount": 10, "hidden_link": "far"},
    {"id": "d2", "title": "Two", "account": "west", "amount": 20},
    {"id": "d3", "title": "Three", "amount": 30},
]


@pytest.fixture
async def kernel(driver: Driver) -> AsyncGenerator[Kernel]:
    kernel = Kernel([driver, CRM])
    await kernel.start()
    for name, records in (("account", ACCOUNTS), ("deal", DEALS)):
        for record in records:
            await kernel.create(name, record)
    yield kernel
    await kernel.stop()


def caller(*roles: str, id: str = "u1", **claims: Any) -> Context:
    return Context(
        actor=Actor(id=id, roles=roles, claims=claims),
        deadline_ms=SystemClock().now_ms() + 30_000,
        request_id="r1",
    )


async def find(kernel: Kernel, object: str, context: Context, **query: Any) -> list[dict[str, Any]]:
    reply = await kernel.handle_find(FindRequest(parse_query(query, object=object)), context)
    return json.loads(reply.items)


async def ids(kernel: Kernel, object: str, context: Context, **query: Any) -> set[str]:
    return {row["id"] for row in await find(kernel, object, context, **query)}


async def test_a_caller_sees_the_records_that_some_rule_grants(kernel: Kernel) -> None:
    assert await ids(kernel, "account", caller("sales")) == {"mine"}
    assert await ids(kernel, "account", caller("sales", region="west")) == {"mine", "west"}
    assert await ids(kernel, "account", caller("guest", id="u9")) == set()
    everything = {"mine", "west", "far", "nobody"}
    assert await ids(kernel, "account", caller("auditor", id="u9")) == everything
    assert await ids(kernel, "account", caller("admin")) == everything


@pytest.mark.parametrize("region", [7, ["west"], {"west": 1}, None, True, "we\0st", ""])
async def test_a_claim_of_another_kind_grants_nothing(kernel: Kernel, region: Any) -> None:
    assert await ids(kernel, "account", caller("sales", region=region)) == {"mine"}


async def test_a_rule_follows_lookups_whoever_may_read_what_they_lead_to(kernel: Kernel) -> None:
    assert await ids(kernel, "deal", caller("sales")) == {"d1"}
    assert await ids(kernel, "deal", caller("sales", id="u2")) == {"d2"}
    assert await ids(kernel, "deal", caller("auditor", id="u1")) == {"d1"}


async def test_every_read_agrees_about_what_is_visible(kernel: Kernel) -> None:
    context = caller("sales", region="west")
    assert (await kernel.handle_get(GetRequest("account", "west"), context)).id == "west"
    with pytest.raises(RecordNotFound):
        await kernel.handle_get(GetRequest("account", "far"), context)
    counted = await kernel.handle_aggregate(
        AggregateRequest(parse_query({"aggregations": [{"function": "count"}]}, object="account")),
        context,
    )
    assert json.loads(counted.items) == [{"count": 2}]
    found = json.loads((await kernel.handle_search(SearchRequest("w"), context)).body)
    assert [hit["id"] for hit in found["hits"] if hit["object"] == "account"] == ["west"]
    (deal,) = await find(kernel, "deal", context, expand={"account": {}})
    assert deal["account"]["id"] == "mine"
    other = await find(
        kernel, "deal", caller("sales", id="u2", region="none"), expand={"account": {}}
    )
    assert [row["account"]["id"] for row in other] == ["west"]
    (mine,) = await find(kernel, "account", caller("sales"), expand={"deal_account": {}})
    assert [row["id"] for row in mine["deal_account"]] == ["d1"]


HIDDEN_QUERIES: list[dict[str, Any]] = [
    {"fields": ["salary"]},
    {"where": {"salary": 1}},
    {"where": {"$not": {"salary": {"$gt": 2}}}},
    {"where": {"$or": [{"name": "x"}, {"salary": {"$null": True}}]}},
    {"where": {"name": {"$eq": {"$field": "salary"}}}},
    {"orderBy": ["salary"]},
    {"search": {"text": "x", "fields": ["salary"]}},
    {"groupBy": ["salary"]},
    {"aggregations": [{"function": "sum", "field": "salary"}]},
    {"aggregations": [{"function": "count", "filter": {"salary": 1}}]},
    {"groupBy": ["name"], "having": {"salary": 1}},
    {"distinct": True, "fields": ["salary"]},
    {"expand": {"salary": {}}},
    {"fields": ["salary.name"]},
    {"expand": {"deal_account": {"where": {"account.salary": 1}}}},
]


def told(error: ObjectQLError, name: str) -> str:
    return json.dumps(
        [type(error).__name__, error.code, error.message, [i.__repr__() for i in error.issues]]
    ).replace(name, "NAME")


@pytest.mark.parametrize("query", HIDDEN_QUERIES, ids=str)
async def test_a_hidden_field_answers_like_one_that_does_not_exist(
    kernel: Kernel, query: dict[str, Any]
) -> None:
    answers: list[str] = []
    for name in ("salary", "sblary"):
        spelled = json.loads(json.dumps(query).replace("salary", name))
        parsed = parse_query(spelled, object="account")
        with pytest.raises((FieldUnknown, InvalidFilter)) as caught:
            await kernel.reader.find(FindRequest(parsed), kernel.reader.scope(caller("sales")))
        answers.append(told(caught.value, name))
    assert answers[0] == answers[1]


async def test_a_hidden_field_is_absent_and_not_searched(kernel: Kernel) -> None:
    (row,) = await find(kernel, "account", caller("sales"))
    assert "salary" not in row
    assert "secret" not in row
    assert await ids(kernel, "account", caller("sales"), search="x") == set()
    (deal,) = await find(kernel, "deal", caller("sales"))
    assert "hidden_link" not in deal
    with pytest.raises(FieldUnknown) as caught:
        await find(kernel, "account", caller("sales"), expand={"deal_hidden_link": {}})
    assert "hidden_link" not in str(caught.value.suggestions)


async def test_a_near_miss_never_names_a_hidden_field(kernel: Kernel) -> None:
    with pytest.raises(FieldUnknown) as caught:
        await find(kernel, "account", caller("sales"), where={"salari": 1})
    assert "salary" not in caught.value.message


# --- writes ---------------------------------------------------------------------------------------


async def test_a_record_that_may_be_seen_but_not_changed_is_refused_and_a_hidden_one_is_not_there(
    kernel: Kernel,
) -> None:
    context = caller("sales", region="west")
    reply = await kernel.handle_update(UpdateRequest("account", "mine", b'{"name":"New"}'), context)
    assert json.loads(reply.record)["name"] == "New"
    for request, error in [
        (UpdateRequest("account", "west", b'{"name":"x"}'), PermissionDenied),
        (UpdateRequest("account", "far", b'{"name":"x"}'), RecordNotFound),
        (UpdateRequest("account", "far", b'{"name":"x"}', if_version=9), RecordNotFound),
        (UpdateRequest("account", "none", b'{"name":"x"}', if_version=9), RecordNotFound),
    ]:
        with pytest.raises(error):
            await kernel.handle_update(request, context)
    with pytest.raises(PermissionDenied):
        await kernel.handle_delete(DeleteRequest("account", "west"), context)
    with pytest.raises(RecordNotFound):
        await kernel.handle_delete(DeleteRequest("account", "far"), context)
    assert (await kernel.handle_delete(DeleteRequest("deal", "d1"), context)).id == "d1"
    assert await ids(kernel, "account", caller("admin")) == {"mine", "west", "far", "nobody"}


async def test_a_record_may_not_be_left_beyond_the_callers_rules(kernel: Kernel) -> None:
    context = caller("sales")
    with pytest.raises(PermissionDenied):
        await kernel.handle_update(UpdateRequest("account", "mine", b'{"owner":"u2"}'), context)
    gift = b'{"id":"gift","name":"Gift","owner":"u2"}'
    with pytest.raises(PermissionDenied):
        await kernel.handle_create(CreateRequest("account", gift), context)
    made = b'{"id":"own","name":"Own","owner":"u1"}'
    assert (await kernel.handle_create(CreateRequest("account", made), context)).id == "own"
    stored = {row["id"]: row["owner"] for row in await find(kernel, "account", caller("admin"))}
    assert stored["mine"] == "u1"
    assert "gift" not in stored


async def test_fields_that_may_not_be_written_are_refused_by_name(kernel: Kernel) -> None:
    with pytest.raises(PermissionDenied) as caught:
        await kernel.handle_update(
            UpdateRequest("account", "mine", b'{"name":"x","region":"y"}'), caller("sales")
        )
    assert caught.value.fields == ("region",)
    (row,) = await find(kernel, "account", caller("sales"))
    assert row["name"] == "Mine"


async def test_writing_a_hidden_field_answers_like_an_unknown_one(kernel: Kernel) -> None:
    def data(name: str) -> bytes:
        return json.dumps({"name": "x", "owner": "u1", name: 5, "salery": 1}).encode()

    answers: list[list[str]] = []
    for name in ("salary", "sblary"):
        with pytest.raises(ValidationFailed) as create:
            await kernel.handle_create(CreateRequest("account", data(name)), caller("sales"))
        request = UpdateRequest("account", "mine", data(name))
        with pytest.raises(ValidationFailed) as update:
            await kernel.handle_update(request, caller("sales"))
        answers.append([told(create.value, name), told(update.value, name)])
    assert answers[0] == answers[1]


async def test_replacing_a_record_keeps_what_the_caller_may_not_set(kernel: Kernel) -> None:
    request = UpdateRequest("account", "mine", b'{"name":"x","owner":"u1"}', replace=True)
    reply = await kernel.handle_update(request, caller("sales"))
    assert "salary" not in json.loads(reply.record)
    (row,) = await find(kernel, "account", caller("admin"), where={"id": "mine"})
    assert (row["name"], row["salary"], row["region"]) == ("x", 1, "east")


async def test_a_lookup_leads_only_to_what_the_caller_may_read(kernel: Kernel) -> None:
    context = caller("sales")
    for target in ("far", "none"):
        data = json.dumps({"title": "x", "account": target}).encode()
        with pytest.raises(ValidationFailed) as caught:
            await kernel.handle_create(CreateRequest("deal", data), context)
        (issue,) = caught.value.issues
        assert (issue.path, issue.code) == ("account", "reference_not_found")
    made = CreateRequest("deal", b'{"title":"x","account":"mine"}')
    assert (await kernel.handle_create(made, context)).version == 1


async def test_bulk_batch_and_upsert_obey_the_same_rules(kernel: Kernel) -> None:
    context = caller("sales", region="west")
    rows = tuple(BulkRow(id=i, data=b'{"name":"bulk"}') for i in ("mine", "west", "far"))
    bulk = BulkRequest("account", "update", rows, continue_on_error=True)
    reply = await kernel.handle_bulk(bulk, context)
    codes = [row.error and row.error.code for row in reply.results]
    assert codes == [None, PermissionDenied.code, RecordNotFound.code]
    assert "salary" not in json.loads(reply.results[0].record or b"{}")
    operations = (BatchOperation("account", "update", id="west", data=b'{"name":"batch"}'),)
    with pytest.raises(PermissionDenied):
        await kernel.handle_batch(BatchRequest(operations), context)
    made = BulkRequest("account", "create", (BulkRow(data=b'{"name":"n","owner":"u2"}'),))
    assert (await kernel.handle_bulk(made, context)).results[0].error is not None
    where = parse_query({"where": {"name": {"$ne": "x"}}}, object="account").where
    with pytest.raises(PermissionDenied):
        await kernel.handle_write_where(
            WhereWriteRequest("account", "update", where, b'{"name":"all"}'), context
        )
    names = {row["name"] for row in await find(kernel, "account", caller("admin"))}
    assert names == {"bulk", "West", "Far", "Nobody"}


# --- what is told about permissions and metadata --------------------------------------------------


async def test_a_caller_is_told_what_it_may_do(kernel: Kernel) -> None:
    reply = await kernel.handle_permissions(PermissionsRequest(), caller("sales", "x"))
    told = json.loads(reply.body)
    assert (told["user"], told["roles"]) == ("u1", ["sales", "x"])
    account = told["objects"]["account"]
    assert account["operations"] == ["create", "read", "update", "delete"]
    assert set(account["records"].values()) == {"some"}
    assert account["fields"]["name"] == {"update": True, "create": True}
    assert account["fields"]["region"] == {"update": False, "create": False}
    assert account["fields"]["id"]["update"] is False
    assert not {"salary", "secret"} & set(account["fields"])
    nobody = await kernel.handle_permissions(PermissionsRequest(), caller("stranger"))
    assert json.loads(nobody.body)["objects"] == {}


async def explained(kernel: Kernel, *question: Any, **more: Any) -> tuple[bool, str]:
    request = ExplainAccessRequest(*question, **{"user": "u1", "roles": ("sales",), **more})
    told = json.loads((await kernel.handle_explain_access(request, caller("admin"))).body)
    return told["allowed"], "; ".join(told["because"])


async def test_a_decision_is_explained_by_its_grants_and_rules(kernel: Kernel) -> None:
    allowed, why = await explained(kernel, "account", "read", "mine")
    assert allowed
    assert why == (
        'read is granted to sales; record rule "own" holds; record rule "region" does not hold'
    )
    assert (await explained(kernel, "account", "read", "far"))[0] is False
    west = await explained(kernel, "account", "update", "west", claims={"region": "west"})
    assert west[0] is False
    assert 'record rule "region" does not grant update' in west[1]
    refused = await explained(kernel, "account", "delete", roles=("guest",))
    assert refused == (False, "no role of the caller (guest) is granted delete")
    audited = await explained(kernel, "account", "read", "far", roles=("auditor",))
    assert audited == (True, "view_all is granted to auditor; that grant extends to every record")
    assert (await explained(kernel, "account", "create"))[0] is True


@pytest.mark.parametrize(
    ("question", "error"),
    [
        (("account", "fly"), InvalidRequest),
        (("nothing", "read"), ObjectUnknown),
        (("account", "read", "none"), RecordNotFound),
    ],
)
async def test_a_question_without_meaning_is_refused(
    kernel: Kernel, question: tuple[str, ...], error: type[ObjectQLError]
) -> None:
    with pytest.raises(error):
        await explained(kernel, *question)


async def test_only_administrators_ask_about_decisions(kernel: Kernel) -> None:
    with pytest.raises(PermissionDenied):
        await kernel.handle_explain_access(
            ExplainAccessRequest("account", "read", user="u2"), caller("sales")
        )


async def test_metadata_does_not_tell_of_hidden_fields(kernel: Kernel) -> None:
    sales, admin = caller("sales"), caller("admin")
    for context, is_told in ((sales, False), (admin, True)):
        texts = [
            (await kernel.handle_meta_get(MetaGetRequest("object", "account"), context)).body,
            (await kernel.handle_meta_list(MetaListRequest("object"), context)).body,
            (await kernel.handle_view(ViewRequest("account", "list"), context)).body,
            (await kernel.handle_view(ViewRequest("account", "form"), context)).body,
            (await kernel.handle_meta_get(MetaGetRequest("permission", "account"), context)).body,
            (await kernel.handle_meta_list(MetaListRequest("permission"), context)).body,
        ]
        assert [b"salary" in text for text in texts] == [is_told] * len(texts)
        assert all(b"name" in text for text in texts[:4])


VIEWS: dict[str, tuple[str, dict[str, Any]]] = {
    "a list of the object": (
        "view",
        {"name": "v", "object": "account", "columns": [{"field": "name"}, {"field": "salary"}]},
    ),
    "a form inside a view": (
        "view",
        {"name": "v", "object": "account", "form": {"sections": [{"fields": ["name", "salary"]}]}},
    ),
    "a view called like the object": (
        "view",
        {"name": "account", "list": {"columns": ["name", "salary"]}},
    ),
    "a path over a lookup": (
        "view",
        {"name": "v", "object": "deal", "columns": ["name", "account.salary"]},
    ),
    "names as keys": (
        "translation",
        {"name": "v", "objects": {"account": {"name": "Konto", "salary": "Gehalt"}}},
    ),
}


@pytest.mark.parametrize("which", VIEWS)
async def test_views_and_the_like_do_not_tell_of_hidden_fields(kernel: Kernel, which: str) -> None:
    type_, content = VIEWS[which]
    await kernel.publisher.put(type_, content["name"], content)
    for context, is_told in ((caller("sales"), False), (caller("admin"), True)):
        texts = [
            (await kernel.handle_meta_get(MetaGetRequest(type_, content["name"]), context)).body,
            (await kernel.handle_meta_list(MetaListRequest(type_), context)).body,
        ]
        for text in texts:
            assert (b"salary" in text) is is_told
            assert b"name" in text


SET = {
    "name": "clerk",
    "objects": {"account": {"allowRead": True, "allowDelete": True}},
    "fields": {"account.salary": {"readable": False}},
    "rowLevelSecurity": [
        {
            "name": "westerly",
            "object": "account",
            "operation": "select",
            "using": "region == 'west'",
        }
    ],
}


async def test_a_permission_set_tells_its_name_only_to_those_whom_it_binds(kernel: Kernel) -> None:
    await kernel.publisher.put("permission_set", "clerk", SET)
    for context, is_told in ((caller("clerk"), False), (caller("admin"), True)):
        for reply in (
            await kernel.handle_meta_get(MetaGetRequest("permission_set", "clerk"), context),
            await kernel.handle_meta_list(MetaListRequest("permission_set"), context),
        ):
            assert b"clerk" in reply.body
            assert (b"salary" in reply.body) is is_told


async def test_a_decision_by_sets_is_explained(kernel: Kernel) -> None:
    await kernel.publisher.put("permission_set", "clerk", SET)
    object_ = {"requiredPermissions": {"delete": ["shredder"]}}
    await kernel.publisher.put("object", "account", object_)
    why = 'read is granted to clerk; record rule "own" holds; record rule "region" does not hold'
    assert await explained(kernel, "account", "read", "mine", roles=("clerk",)) == (
        False,
        f'{why}; row policy "westerly" does not hold',
    )
    assert await explained(kernel, "account", "delete", roles=("clerk",)) == (
        False,
        "the caller lacks the system permission shredder",
    )
