from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from objectql.errors import (
    FieldUnknown,
    InvalidFilter,
    InvalidQuery,
    ObjectQLError,
    ObjectUnknown,
    PermissionDenied,
)
from objectql.ids import FieldName
from objectql.metadata.masks import Mask
from objectql.metadata.model import ObjectDef
from objectql.query.ast import Compare, Op
from objectql.query.bind import bind
from objectql.query.bound import BoundQuery, Predicate
from objectql.query.explain import describe_predicate
from objectql.query.optimize import optimize
from objectql.query.parse import parse_query
from objectql.query.policy import AllowAll, RuleBinder
from objectql.query.template import extract
from objectql.query.url import parse_url
from objectql.testing.samples import ACTOR, SCHEMA, ids, run


class Clerk:
    """Reads open accounts of the own region; no salaries, no totals; owners not at all."""

    shape = "clerk"

    def check_read(self, object: ObjectDef) -> None:
        if object.name == "owner":
            raise PermissionDenied(operation="read", object=object.name)

    def readable(self, object: ObjectDef) -> frozenset[FieldName] | None:
        if object.name != "invoice":
            return None
        return frozenset(object.fields) - {FieldName("total"), FieldName("status")}

    def masks(self, object: ObjectDef) -> Mapping[FieldName, Mask]:
        return {}

    def row_rule(self, object: ObjectDef, binder: RuleBinder) -> Predicate | None:
        if object.name != "account":
            return None
        return binder.filter(Compare(("tier",), Op.EQ, "$current_user.region"))


def bound(document: dict[str, Any], *, object: str = "invoice", policy: Any = None) -> BoundQuery:
    found = extract(parse_query(document, object=object))
    return bind(found.template, SCHEMA, policy or AllowAll(), places=found.places)


def where_of(document: dict[str, Any], **more: Any) -> str:
    return describe_predicate(optimize(bound(document, **more)).where)


def test_bind_rejects_unknown_field_with_suggestion_and_place() -> None:
    with pytest.raises(FieldUnknown) as caught:
        bound({"where": {"$or": [{"numbr": "x"}]}})
    assert caught.value.suggestions == ("number",)
    assert caught.value.issues[0].path == "where.$or.0.numbr"


def test_bind_reports_every_mistake_at_once() -> None:
    with pytest.raises(ObjectQLError) as caught:
        bound(
            {
                "fields": ["nope", "number"],
                "where": {"a1": 1, "total": {"$contains": "x"}},
                "orderBy": ["b2"],
                "expand": ["c3"],
            }
        )
    assert [issue.path for issue in caught.value.issues] == [
        "where.a1",
        "where.total.$contains",
        "fields.0",
        "orderBy.0",
        "expand.c3",
    ]


def test_a_mistake_in_a_filter_text_is_placed_where_its_condition_begins() -> None:
    filtered = [("$filter", "number eq 'a' and (nmbr ne 'b')")]
    found = extract(parse_url("invoice", filtered, dialect="odata").query)
    with pytest.raises(FieldUnknown) as caught:
        bind(found.template, SCHEMA, AllowAll(), places=found.places)
    assert caught.value.issues[0].path == "$filter:19"


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"groupBy": ["status", "account", "status"]}, "groupBy.2"),
        (
            {"groupBy": ["status"], "aggregations": [{"function": "count", "alias": "status"}]},
            "aggregations.0",
        ),
        ({"fields": ["status", "tags"], "distinct": True}, "fields.1"),
    ],
)
def test_a_column_that_cannot_stand_is_named_by_its_place(
    document: dict[str, Any], place: str
) -> None:
    with pytest.raises(InvalidQuery) as caught:
        bound(document)
    assert [issue.path for issue in caught.value.issues] == [place]


def test_mistakes_inside_relations_are_reported_with_their_whole_place() -> None:
    inner = {"fields": ["nope"], "where": {"a1": 1, "salary": "x"}, "orderBy": "b2"}
    with pytest.raises(ObjectQLError) as caught:
        bound({"expand": {"account": {"expand": {"owner": {**inner, "orderBy": None}}}}})
    assert [issue.path for issue in caught.value.issues] == [
        "expand.account.expand.owner.where.a1",
        "expand.account.expand.owner.fields.0",
    ]
    with pytest.raises(ObjectQLError) as caught:
        bound({"expand": {"invoice": {"orderBy": "b2,c3"}}}, object="account")
    assert [issue.path for issue in caught.value.issues] == [
        "expand.invoice.orderBy.0",
        "expand.invoice.orderBy.1",
    ]


@pytest.mark.parametrize(
    "document",
    [
        {"fields": ["total"]},
        {"where": {"total": 1}},
        {"where": {"lines": {"$gt": {"$field": "total"}}}},
        {"orderBy": "total"},
        {"groupBy": ["total"], "aggregations": [{"function": "count"}]},
        {"aggregations": [{"function": "sum", "field": "total"}]},
        {"aggregations": [{"function": "count", "filter": {"total": 1}}]},
        {"search": {"query": "x", "fields": ["total"]}},
    ],
)
def test_an_unreadable_field_answers_like_an_unknown_one(document: dict[str, Any]) -> None:
    with pytest.raises(FieldUnknown) as hidden:
        bound(document, policy=Clerk())
    assert "total" not in hidden.value.suggestions
    renamed = eval(repr(document).replace("total", "xotal"))
    with pytest.raises(FieldUnknown) as unknown:
        bound(renamed)
    assert hidden.value.code == unknown.value.code
    assert hidden.value.http == unknown.value.http


@pytest.mark.parametrize("use", [{"fields": ["secret_note"]}, {"where": {"secret_note": "x"}}])
def test_write_only_fields_do_not_exist_for_queries(use: dict[str, Any]) -> None:
    with pytest.raises(FieldUnknown):
        bound(use, object="account")
    names = [output.name for output in bound({}, object="account").outputs]
    assert "secret_note" not in names
    assert names[0] == "id"


def test_a_path_ends_at_an_object_that_may_not_be_read() -> None:
    with pytest.raises(PermissionDenied):
        bound({"where": {"account.owner.name": "x"}}, policy=Clerk())


def test_paths_follow_at_most_three_lookups() -> None:
    assert bound({"where": {"account.owner.name": "x"}})
    with pytest.raises(InvalidQuery):
        bound({"where": {"account.account.account.account.name": "x"}})


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ({"payers.name": "x"}, InvalidQuery),
        ({"number.name": "x"}, InvalidQuery),
        ({"extra_data": 1}, InvalidFilter),
        ({"tags": {"$in": ["a"]}}, InvalidFilter),
        ({"issued": {"$contains": "2026"}}, InvalidFilter),
        ({"issued": {"$gt": {"$field": "sent_at"}}}, InvalidFilter),
        ({"total": {"$gt": {"$field": "number"}}}, InvalidFilter),
    ],
)
def test_conditions_that_do_not_fit_their_field_are_refused(
    where: dict[str, Any], error: type[ObjectQLError]
) -> None:
    with pytest.raises(error):
        bound({"where": where})


def test_an_unknown_object_is_not_found() -> None:
    with pytest.raises(ObjectUnknown):
        bound({}, object="nothing")


def test_the_order_always_ends_with_the_id() -> None:
    def order(text: str) -> list[str]:
        return [key.by.name for key in bound({"orderBy": text}).order]

    assert order("number") == ["number", "id"]
    assert order("id,number") == ["id"]
    assert order("number,number desc") == ["number", "id"]


def test_deleted_records_are_hidden_everywhere() -> None:
    rows = {
        "account": [{"id": "a1", "name": "x"}],
        "invoice": [
            {"id": "i1", "account": "a1", "deleted_at": None},
            {"id": "i2", "account": "a1", "deleted_at": "2026-01-01T00:00:00.000Z"},
        ],
    }
    assert ids(run({}, rows)) == ["i1"]
    assert ids(run({"includeDeleted": True}, rows)) == ["i1", "i2"]
    (account,) = run({"expand": ["invoice"]}, rows, object="account").items
    assert [item["id"] for item in account["invoice"]] == ["i1"]


ROWS: dict[str, list[dict[str, Any]]] = {
    "owner": [{"id": "o1", "name": "Ann", "salary": 10.0}],
    "account": [
        {"id": "a1", "name": "Acme", "tier": "west", "owner": "o1"},
        {"id": "a2", "name": "Beta", "tier": "east", "owner": None},
    ],
    "invoice": [
        {"id": "i1", "number": "1", "account": "a1", "payers": ["a2", "a1", "gone"]},
        {"id": "i2", "number": "2", "account": "a2", "payers": None},
        {"id": "i3", "number": "3", "account": "gone", "payers": []},
    ],
}


def part_of(item: dict[str, Any], name: str) -> Any:
    account: dict[str, Any] | None = item["account"]
    return account and account.get(name)


def test_row_rules_hold_for_records_reached_by_every_way() -> None:
    assert ACTOR.claims == {"region": "west"}
    assert ids(run({}, ROWS, object="account", policy=Clerk())) == ["a1"]
    items = run({"fields": [], "expand": "account,payers"}, ROWS, policy=Clerk()).items
    assert [part_of(item, "name") for item in items] == ["Acme", None, None]
    assert [item["name"] for item in items[0]["payers"]] == ["Acme"]
    by_path = {"where": {"account.name": {"$in": ["Acme", "Beta"]}}}
    assert ids(run(by_path, ROWS)) == ["i1", "i2"]
    assert ids(run(by_path, ROWS, policy=Clerk())) == ["i1"]
    names = run({"fields": ["account.name"]}, ROWS, policy=Clerk()).items
    assert [item["account.name"] for item in names] == ["Acme", None, None]


def test_expanding_an_object_that_may_not_be_read_gives_null() -> None:
    (account,) = run({"expand": "owner"}, ROWS, object="account", policy=Clerk()).items
    assert account["owner"] is None


def test_expanded_relations_stand_in_the_place_of_their_id() -> None:
    document = {"expand": {"account": {"fields": ["name"], "expand": "owner"}, "payers": {}}}
    first, second, third = run(document, ROWS).items
    assert first["account"]["owner"]["name"] == "Ann"
    assert [payer["id"] for payer in first["payers"]] == ["a2", "a1"]
    assert second["account"] == {"id": "a2", "name": "Beta", "owner": None}
    assert (second["payers"], third["payers"]) == ([], [])
    assert third["account"] is None


def test_a_relations_filter_makes_what_fails_it_null() -> None:
    items = run({"expand": {"account": {"where": {"name": "Acme"}}}}, ROWS).items
    assert [part_of(item, "id") for item in items] == ["a1", None, None]


def test_related_lists_have_their_own_order_and_limit() -> None:
    rows = ROWS | {"invoice": [{"id": f"i{n}", "account": "a1"} for n in range(5)]}
    for name in ("invoice", "invoice_account"):
        document: dict[str, Any] = {"expand": {name: {"fields": [], "orderBy": "-id", "limit": 2}}}
        first, second = run(document, rows, object="account").items
        assert first[name] == [{"id": "i4"}, {"id": "i3"}]
        assert second[name] == []


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"expand": "number"}, InvalidQuery),
        ({"expand": "acount"}, FieldUnknown),
        ({"expand": {"account": {"limit": 1}}}, InvalidQuery),
        ({"having": {"n": 1}}, InvalidQuery),
        ({"distinct": True, "fields": ["number"], "expand": "account"}, InvalidQuery),
        ({"distinct": True, "fields": []}, InvalidQuery),
        ({"distinct": True, "fields": ["tags"]}, InvalidQuery),
        ({"distinct": True, "fields": ["number"], "orderBy": "status"}, InvalidQuery),
        ({"orderBy": "tags"}, InvalidQuery),
        ({"groupBy": ["tags"]}, InvalidQuery),
        ({"groupBy": [{"field": "number", "dateGranularity": "day"}]}, InvalidQuery),
        ({"groupBy": ["status"], "expand": "account"}, InvalidQuery),
        ({"groupBy": ["status"], "orderBy": "number"}, InvalidFilter),
        ({"groupBy": ["status"], "having": {"number": 1}}, InvalidFilter),
        ({"groupBy": ["status"], "fields": ["number"]}, InvalidFilter),
        ({"aggregations": [{"function": "sum", "field": "number"}]}, InvalidQuery),
        ({"aggregations": [{"function": "max", "field": "late"}]}, InvalidQuery),
        ({"aggregations": [{"function": "count", "alias": "a'b"}]}, InvalidQuery),
        ({"aggregations": [{"function": "count"}, {"function": "count"}]}, InvalidQuery),
    ],
)
def test_queries_that_make_no_sense_are_refused(
    document: dict[str, Any], error: type[ObjectQLError]
) -> None:
    with pytest.raises(error) as caught:
        bound(document)
    assert caught.value.http == 400


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"number": {"$ne": None}}, "not (number is null)"),
        ({"number": {"$gt": None}}, "false"),
        ({"number": {"$in": []}}, "false"),
        ({"number": {"$nin": []}}, "true"),
        ({"number": {"$in": ["a", None]}}, "number is null or number in $1"),
        ({"number": {"$in": ["a"]}}, "number = $1"),
        ({"number": {"$nin": ["a"]}}, "not (number = $1)"),
        ({"number": {"$nin": ["a", "b"]}}, "not (number in $1)"),
        ({"lines": {"$between": [1, 2]}}, "lines >= $1 and lines <= $2"),
        ({"tags": "red"}, "tags contains $1"),
        ({"number": {"$exists": True}}, "not (number is null)"),
    ],
)
def test_operators_become_primitive_tests(where: dict[str, Any], expected: str) -> None:
    found = where_of({"where": where, "includeDeleted": True})
    assert found == expected


def test_the_tenant_is_the_first_parameter_of_every_level() -> None:
    query = bound({"expand": {"account": {"expand": "owner"}}})
    assert query.params[0].context == "tenant"
    assert query.tenant.index == query.expand[0].query.tenant.index == 0
    assert query.expand[0].query.params == ()


def test_search_finds_every_term_in_some_field() -> None:
    rows = {
        "invoice": [
            {"id": "i1", "number": "AB 1", "status": "paid"},
            {"id": "i2", "number": "ab 2", "status": "sent"},
        ]
    }
    assert ids(run({"search": "AB"}, rows)) == ["i1", "i2"]
    assert ids(run({"search": "ab sent"}, rows)) == ["i2"]
    assert ids(run({"search": "settl"}, rows)) == ["i1"]  # a label
    assert ids(run({"search": {"query": "paid", "fields": ["number"]}}, rows)) == []
    assert ids(run({"search": "  "}, rows)) == ["i1", "i2"]
    with pytest.raises(InvalidQuery):
        run({"search": "a " * 17}, rows)
