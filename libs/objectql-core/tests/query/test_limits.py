"""What is too expensive is refused, with its place, before anything is bound."""

from __future__ import annotations

import time
from typing import Any

import pytest

from objectql.errors import ObjectQLError, QueryTooExpensive
from objectql.query.bind import bind
from objectql.query.limits import QueryLimits, check_cost, check_members, check_rows, cost_of
from objectql.query.parse import parse_query
from objectql.query.policy import AllowAll
from objectql.query.template import extract
from objectql.testing.samples import SCHEMA

SMALL = QueryLimits(
    conditions=3, patterns=1, members=2, all_members=3, relations=1, rows=500, sort_keys=1, group_keys=1,
    aggregates=1,
)  # fmt: skip


def judge(document: dict[str, Any], limits: QueryLimits = SMALL) -> None:
    found = extract(parse_query(document, object="account"))
    check_cost(found.template, limits)
    check_members(found.literals, found.places, limits)
    check_rows(bind(found.template, SCHEMA, AllowAll()), limits)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"where": {"$or": [{"name": str(n)} for n in range(4)]}}, "where"),
        ({"where": {"$and": [{"name": {"$like": "%a"}}, {"name": {"$contains": "b"}}]}}, "where"),
        ({"where": {"name": {"$in": ["a", "b", "c"]}}}, "where.name.$in"),
        (
            {"where": {"name": {"$in": ["a", "b"]}, "tier": {"$in": ["c", "d"]}}},
            "where.tier.$in",
        ),
        ({"search": "two words"}, "where"),
        ({"expand": {"invoice": {"limit": 0, "count": True}}, "limit": 1}, "limit"),
        ({"expand": {"owner": {}, "invoice": {}}}, "expand"),
        ({"expand": {"invoice": {"limit": 50}}, "limit": 10}, "limit"),
        ({"expand": {"invoice": {}}, "limit": 5}, "limit"),
        ({"orderBy": ["name", "tier"]}, "orderBy"),
        ({"groupBy": ["name", "tier"]}, "groupBy"),
        ({"aggregations": [{"function": "count", "alias": a} for a in "ab"]}, "aggregations"),
    ],
)
def test_each_limit_is_kept_and_named(document: dict[str, Any], path: str) -> None:
    with pytest.raises(QueryTooExpensive) as refused:
        judge(document)
    assert refused.value.path == path
    assert refused.value.actual > refused.value.max
    judge(document, QueryLimits())


def test_a_pattern_that_is_too_long_is_refused_where_it_stands() -> None:
    with pytest.raises(QueryTooExpensive) as refused:
        judge({"where": {"name": {"$ilike": "%N" * 251}}})
    assert (refused.value.path, refused.value.actual) == ("where.name.$ilike", 502)


def test_relations_count_with_all_that_is_in_them() -> None:
    document = {
        "where": {"name": "a"},
        "expand": {"invoice": {"where": {"number": {"$contains": "1"}}, "orderBy": "number"}},
    }
    cost = cost_of(parse_query(document, object="account"))
    assert (cost.conditions, cost.patterns, cost.relations, cost.sort_keys) == (2, 1, 1, 1)


def bombs() -> dict[str, dict[str, Any]]:
    ten_thousand = [{"name": str(n)} for n in range(10_000)]
    nested: Any = {"name": "x"}
    for _ in range(5_000):
        nested = {"$not": nested}
    return {
        "one list": {"where": {"$or": ten_thousand}},
        "many lists": {
            "where": {"$and": [{"$or": ten_thousand[n : n + 400]} for n in range(0, 10_000, 400)]}
        },
        "keys": {"where": {f"f{n}": n for n in range(10_000)}},
        "tuples": {"where": ["or", *(["name", "=", str(n)] for n in range(10_000))]},
        "text": {"where": " or ".join("name eq 'a'" for _ in range(10_000))},
        "depth": {"where": nested},
        "relations": {"expand": {f"r{n}": {"where": {"a": 1}} for n in range(10_000)}},
        "sorts": {"orderBy": ["name"] * 10_000},
        "aggregates": {"aggregations": [{"function": "count"}] * 10_000},
        "members": {"where": {"name": {"$in": [str(n) for n in range(100_000)]}}},
    }


@pytest.mark.parametrize("name", sorted(bombs()))
def test_a_query_of_ten_thousand_parts_is_refused_cheaply(name: str) -> None:
    document = bombs()[name]
    started_s = time.process_time()
    with pytest.raises(ObjectQLError):
        judge(document, QueryLimits())
    assert time.process_time() - started_s < 0.05
