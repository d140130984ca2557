"""Template, cursor, optimize, plan, cache and explain, each by its own promises."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from objectql.errors import InvalidQuery
from objectql.ids import FieldName, ObjectName
from objectql.metadata.model import IndexDef
from objectql.query.ast import Compare, Query, Slot
from objectql.query.bind import bind
from objectql.query.bound import FALSE, TRUE, AllOf, AnyOf, Column, Negate, Param, Test, TestOp
from objectql.query.cache import PlanCache, PlanKey
from objectql.query.cursor import decode_cursor, encode_cursor, page_digest
from objectql.query.explain import explain
from objectql.query.optimize import simplify
from objectql.query.parse import parse_query
from objectql.query.plan import Plan, make_plan
from objectql.query.policy import AllowAll
from objectql.query.template import extract
from objectql.testing.samples import (
    INVOICE,
    SCHEMA,
    SampleSchema,
    cursor_after,
    field,
    ids,
    object_def,
    run,
    run_query,
)


def plan_of(document: dict[str, Any], schema: SampleSchema = SCHEMA) -> Plan:
    found = extract(parse_query(document, object="invoice"))
    bound = bind(found.template, schema, AllowAll(), places=found.places)
    return make_plan(bound, digest=page_digest(found.template))


# --- template -------------------------------------------------------------------------------


def test_literals_leave_their_nature_and_their_place() -> None:
    document = {
        "where": {"a": "x", "b": None, "c": {"$in": [1, None]}, "d": {"$null": True}},
        "search": "two terms",
        "offset": 3,
    }
    found = extract(parse_query(document, object="o"))
    where: Any = found.template.where
    assert [item.value.nature for item in where.items] == [
        "scalar",
        "null",
        "list_with_null",
        "true",
    ]
    assert found.literals == ("x", None, (1, None), True, "two", "terms", 3)
    assert found.places[:2] == ("where.a", "where.b")
    assert found.template.offset == Slot(6, "scalar")
    assert all(isinstance(item, Compare) and item.at == "" for item in where.items)


def test_a_page_position_shifts_no_other_slot() -> None:
    query = parse_query({"where": {"a": 1}, "search": "x"}, object="o")
    later = msgspec.structs.replace(query, after="c", offset=5)
    assert extract(query).template.where == extract(later).template.where
    assert page_digest(extract(query).template) == page_digest(extract(later).template)


# --- cursor ---------------------------------------------------------------------------------


def test_cursors_keep_every_digit_and_null() -> None:
    text = encode_cursor("00" * 8, b'["a",null,12345678901234567.89,true]')
    values = decode_cursor(text, "00" * 8)
    assert values[:2] == ["a", None]
    assert str(values[2]) == "12345678901234567.89"
    assert text.replace("-", "").replace("_", "").isalnum()


def test_tampered_cursors_are_refused() -> None:
    text = encode_cursor("00" * 8, b'["a","i1"]')
    for index in range(len(text)):
        other = "A" if text[index] != "A" else "B"
        with pytest.raises(InvalidQuery):
            decode_cursor(text[:index] + other + text[index + 1 :], "00" * 8)
    for bad in ("", "x", text + "!", text + "=", text[:-1], "é", 5, "A" * 20_000):
        with pytest.raises(InvalidQuery):
            decode_cursor(bad, "00" * 8)


@pytest.mark.parametrize(
    "other",
    [
        {"orderBy": "-number"},
        {"orderBy": "number", "where": {"number": "1"}},
        {"orderBy": "number", "search": "x"},
        {},
    ],
)
def test_a_cursor_of_another_query_is_refused(other: dict[str, Any]) -> None:
    rows = {"invoice": [{"id": f"i{n}", "number": "x"} for n in range(3)]}
    first = parse_query({"orderBy": "number", "limit": 1}, object="invoice")
    cursor = cursor_after(first, run_query(first, rows))
    assert ids(run({"orderBy": "number", "after": cursor}, rows)) == ["i1", "i2"]
    with pytest.raises(InvalidQuery, match="another filter or order"):
        run({**other, "after": cursor}, rows)


@pytest.mark.parametrize("values", [b"[]", b'["a"]', b'[5,"i1"]', b"{}", b"[NaN,1]"])
def test_forged_positions_that_do_not_fit_are_refused(values: bytes) -> None:
    document = {"orderBy": "issued"}
    digest = page_digest(extract(parse_query(document, object="invoice")).template)
    with pytest.raises(InvalidQuery):
        run({**document, "after": encode_cursor(digest, values)}, {})


# --- optimize -------------------------------------------------------------------------------

A = Test(Column(field("a", "text")), TestOp.IS_NULL)
B = Test(Column(field("b", "text")), TestOp.IS_NULL)
P1 = Test(Column(field("a", "text")), TestOp.EQ, Param(1))
P2 = Test(Column(field("a", "text")), TestOp.EQ, Param(2))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (AllOf((A, AllOf((B, AllOf(()))))), AllOf((A, B))),
        (AnyOf((A, AnyOf((B, FALSE)))), AnyOf((A, B))),
        (AllOf((A, FALSE)), FALSE),
        (AnyOf((A, AllOf(()))), TRUE),
        (AnyOf(()), FALSE),
        (Negate(Negate(A)), A),
        (Negate(AnyOf(())), TRUE),
        (AllOf((A, B, A)), AllOf((A, B))),
        (AllOf((A, Negate(A))), FALSE),
        (AnyOf((A, Negate(A))), TRUE),
        (AllOf((A, AnyOf((A, B)))), A),
        (AnyOf((A, AllOf((B, A)))), A),
        (AllOf((P1, P2)), AllOf((P1, P2))),
        (AllOf((P1, P1)), P1),
    ],
)
def test_predicates_are_simplified(given: Any, expected: Any) -> None:
    assert simplify(given) == expected


# --- plan -----------------------------------------------------------------------------------


def test_plans_name_the_indexes_that_serve_best_first() -> None:
    indexed = object_def(
        "invoice",
        field("number", "text", unique=True),
        field("status", "text"),
        field("total", "currency"),
        indexes=(
            IndexDef("by_status", (FieldName("status"),)),
            IndexDef("by_status_total", (FieldName("status"), FieldName("total"))),
            IndexDef("by_total", (FieldName("total"), FieldName("status"))),
        ),
    )
    schema = SampleSchema(indexed)
    found = plan_of({"where": {"status": "a", "total": {"$gt": 1}}}, schema)
    assert found.index_hints[0] == "by_status_total"
    assert set(found.index_hints) >= {"by_status", "by_total"}
    assert plan_of({"where": {"number": "1"}}, schema).index_hints[0] == "invoice.number"
    assert plan_of({"where": {"total": {"$ne": 5}}, "orderBy": "status"}, schema).strategy


def test_strategies_tell_join_index_and_scan_apart() -> None:
    assert plan_of({"where": {"account.name": "x"}}).strategy == "join"
    assert plan_of({"expand": "account"}).strategy == "join"
    assert plan_of({"where": {"account": "a1"}}).strategy == "indexed"
    assert plan_of({"where": {"score": {"$ne": 1}}, "orderBy": "score"}).strategy == "scan"


# --- what may differ -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "differ"),
    [
        ({"where": {"id": "i1"}}, ["id"]),
        ({"where": {"account": "a1"}, "limit": 5}, ["account"]),
        ({"where": {"account": "a1", "late": True}, "limit": 5}, ["account", "late"]),
        ({"where": {"account": "a1", "total": {"$gt": 1}}, "limit": 5}, ["account"]),
        ({"where": {"account": "a1"}, "orderBy": "-id", "limit": 5}, ["account"]),
        ({"where": {"account": "a1"}, "orderBy": "account,id", "limit": 5}, ["account"]),
        ({"where": {"account": "a1"}, "limit": 5, "count": "exact"}, ["account"]),
        ({"where": {"account": "a1"}, "aggregations": [{"function": "count", "alias": "n"}]}, ["account"]),
        ({"where": {"account": "a1"}, "fields": ["status"], "distinct": True}, ["account"]),
        # Nothing tells where the records are, or in which order, or how many they may be.
        ({"where": {"late": True}, "limit": 5}, []),
        ({"where": {"account": {"$gt": "a1"}}, "limit": 5}, []),
        ({"where": {"account": {"$in": ["a1", "a2"]}}, "limit": 5}, []),
        ({"where": {"account.name": "n"}, "limit": 5}, []),
        ({"where": {"$or": [{"account": "a1"}, {"id": "i1"}]}, "limit": 5}, []),
        ({"where": {"account": None}, "limit": 5}, []),
        ({"where": {"account": "a1"}, "orderBy": "-issued", "limit": 5}, []),
        ({"where": {"account": "a1"}, "orderBy": "account.name", "limit": 5}, []),
        ({"where": {"account": "a1"}}, []),
        ({"where": {"account": "a1"}, "limit": 5, "count": "estimated"}, []),
        ({"limit": 5}, []),
    ],
)  # fmt: skip
def test_reads_may_differ_where_an_index_has_their_records_in_order(
    document: dict[str, Any], differ: list[str]
) -> None:
    plan = plan_of(document)
    where: dict[str, Any] = document.get("where", {})
    slots = [plan.query.params[at].slot for at in plan.varying]
    assert [list(where)[slot or 0] for slot in slots] == differ


def test_a_page_after_a_cursor_is_a_range() -> None:
    document: dict[str, Any] = {"where": {"account": "a1"}, "limit": 5}
    digest = page_digest(extract(parse_query(document, object="invoice")).template)
    assert plan_of({**document, "after": encode_cursor(digest, b'["i1"]')}).varying == ()


@pytest.mark.parametrize(
    ("index", "unique", "order", "may"),
    [
        (("lines", "issued"), False, "issued", True),
        (("lines", "issued"), False, "-issued,id", True),
        (("lines", "issued"), False, "id", False),
        (("issued", "lines"), False, "issued", False),
        (("lines",), True, "-score", True),
        (("lines", "score"), True, "issued", False),
    ],
)
def test_an_index_serves_what_it_begins_with_and_the_order_that_follows(
    index: tuple[str, ...], unique: bool, order: str, may: bool
) -> None:
    indexed = msgspec.structs.replace(
        INVOICE, indexes=(IndexDef("by", tuple(map(FieldName, index)), unique),)
    )
    document = {"where": {"lines": 3}, "orderBy": order, "limit": 5}
    assert bool(plan_of(document, SampleSchema(indexed)).varying) is may


# --- cache ----------------------------------------------------------------------------------


def key(name: str, *, version: int = 1, shape: str = "*") -> PlanKey:
    return PlanKey(Query(object=name), version, shape, "memory")


def test_the_cache_drops_what_was_used_longest_ago() -> None:
    cache = PlanCache[str](2)
    cache.put(key("a"), "A")
    cache.put(key("b"), "B")
    assert cache.get(key("a")) == "A"
    cache.put(key("c"), "C")
    assert cache.get(key("b")) is None
    assert cache.get_or_make(key("a"), lambda: "other") == "A"
    assert cache.get_or_make(key("d"), lambda: "D") == "D"
    assert cache.statistics() == (2, 2, 2, 2)
    assert cache.statistics().hit_rate == 0.5


def test_plans_of_another_policy_or_schema_are_other_plans() -> None:
    cache = PlanCache[str]()
    cache.put(key("a"), "A")
    assert cache.get(key("a", shape="clerk")) is None
    assert cache.get(key("a", version=2)) is None
    cache.put(key("a", version=2), "A2")
    assert cache.keep_version(2) == 1
    assert cache.get(key("a")) is None
    assert cache.get(key("a", version=2)) == "A2"


def test_a_plan_that_cannot_be_made_is_not_kept() -> None:
    cache = PlanCache[str]()
    with pytest.raises(InvalidQuery):
        cache.get_or_make(key("a"), lambda: (_ for _ in ()).throw(InvalidQuery(reason="x")))
    assert cache.statistics().size == 0


# --- explain --------------------------------------------------------------------------------


def test_explain_shows_every_stage_and_no_literal() -> None:
    document = {
        "where": {"number": "top-secret", "account.owner.name": {"$ne": "x"}},
        "expand": {"account": {"fields": ["name"]}},
        "orderBy": "-total",
        "limit": 5,
    }
    found = extract(parse_query(document, object="invoice"))
    bound = bind(found.template, SCHEMA, AllowAll())
    shown = explain(found.template, bound, make_plan(bound), native="select 1")
    assert list(shown.stages) == [
        "query",
        "bound",
        "optimized",
        "plan",
        "parameters",
        "native",
    ]
    text = shown.as_text()
    assert "deleted_at is null and number = $1 and not (account.owner.name = $2)" in text
    assert "total desc nulls first" in text
    assert "tenant as text" in text
    assert "top-secret" not in text
    assert json.loads(json.dumps(shown.stages)) == shown.stages


def test_explain_shows_groups() -> None:
    document = {
        "groupBy": [{"field": "issued", "dateGranularity": "month", "alias": "m"}],
        "aggregations": [{"function": "sum", "field": "total"}],
        "having": {"sum_total": {"$gt": 5}},
    }
    found = extract(parse_query(document, object="invoice"))
    bound = bind(found.template, SCHEMA, AllowAll())
    text = explain(found.template, bound, make_plan(bound)).as_text()
    assert "month(issued)" in text
    assert "sum_total > $" in text


def test_the_sample_object_is_called_what_the_tests_say() -> None:
    assert INVOICE.name == ObjectName("invoice")
