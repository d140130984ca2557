"""Merged tests, dropped joins and contradictions: what they become, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from objectql.ids import FieldName
from objectql.query.ast import And, Compare, Filter, Not, Op, Or, Query
from objectql.query.bind import bind
from objectql.query.explain import describe_predicate
from objectql.query.parse import parse_query
from objectql.query.plan import Plan, make_plan
from objectql.query.policy import AllowAll
from objectql.query.template import extract
from objectql.query.values_in import resolve
from objectql.testing.samples import ACTOR, NOW_MS, SCHEMA, ids, run_query
from objectql.testing.strategies import Case, cases, comparands
from objectql.values import Value


def planned(document: dict[str, Any], object: str = "account") -> tuple[Plan, tuple[Value, ...]]:
    found = extract(parse_query(document, object=object))
    plan = make_plan(bind(found.template, SCHEMA, AllowAll(), places=found.places))
    params = resolve(
        plan.query.params, found.literals, tenant="default", actor=ACTOR, now_ms=NOW_MS
    )
    return plan, params


@pytest.mark.parametrize(
    ("where", "shown", "value"),
    [
        ({"$or": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}, "name in $4", ["a", "b"]),
        ({"$or": [{"name": "a"}, {"name": {"$in": ["b", "a", None]}}]},
         "name in $3 or name is null", ["a", "b"]),
        ({"$and": [{"name": {"$in": ["a", "b"]}}, {"name": {"$in": ["b", "c"]}}]},
         "name in $3", ["b"]),
        ({"$and": [{"name": {"$gt": "a"}}, {"name": {"$gt": "c"}}]}, "name > $3", "c"),
        ({"$or": [{"name": {"$lte": "a"}}, {"name": {"$lte": "c"}}]}, "name <= $3", "c"),
        ({"$and": [{"name": {"$gt": "a"}}, {"name": {"$gte": "c"}}]},
         "name > $1 and name >= $2", "c"),
        ({"$and": [{"name": None}, {"name": {"$gt": "a"}}]}, "false", "a"),
        ({"$and": [{"name": {"$ne": None}}, {"name": {"$gt": "a"}}]}, "name > $1", "a"),
        ({"$or": [{"name": {"$ne": None}}, {"name": {"$gt": "a"}}]}, "not (name is null)", "a"),
        ({"owner.id": "o1"}, "owner = $1", "o1"),
    ],
)  # fmt: skip
def test_tests_of_one_column_become_one(where: dict[str, Any], shown: str, value: Any) -> None:
    plan, params = planned({"where": where})
    assert set(describe_predicate(plan.query.where).split(" or ")) == set(shown.split(" or "))
    assert params[-1] == value


def test_a_lookup_to_records_that_can_be_hidden_is_followed() -> None:
    """Deleted invoices do not exist for the caller, so their ids do not either."""
    plan, _ = planned({"where": {"account.owner.id": "o1"}}, "invoice")
    assert "account.owner = $" in describe_predicate(plan.query.where)
    assert plan.strategy == "join"


@pytest.mark.parametrize(
    "where",
    [
        {"$and": [{"name": "a"}, {"name": "b"}]},
        {"$and": [{"name": "a"}, {"name": {"$in": ["b", "c"]}}]},
        {"$and": [{"name": {"$in": ["a", "d"]}}, {"name": {"$in": ["b", "c"]}}]},
        {"$and": [{"name": {"$gt": "b"}}, {"name": {"$lte": "b"}}]},
        {"$and": [{"name": {"$gte": "c"}}, {"name": {"$lte": "b"}}]},
        {"$and": [{"name": {"$gt": "c"}}, {"name": "b"}]},
        {"name": {"$in": []}},
        {"$and": [{"name": None}, {"name": "a"}]},
    ],
)
def test_contradictory_values_are_seen_before_the_query_runs(where: dict[str, Any]) -> None:
    plan, params = planned({"where": where})
    assert plan.is_contradicted(params)


@pytest.mark.parametrize(
    "where",
    [
        {"$and": [{"name": "a"}, {"name": "a"}]},
        {"$and": [{"name": {"$gte": "b"}}, {"name": {"$lte": "b"}}]},
        {"$and": [{"name": "a"}, {"name": {"$in": ["a", "c"]}}]},
        {"$or": [{"name": "a"}, {"tier": "b"}]},
        {},
    ],
)
def test_what_can_match_is_not_called_contradictory(where: dict[str, Any]) -> None:
    plan, params = planned({"where": where})
    assert not plan.is_contradicted(params)


@st.composite
def crowded(draw: st.DrawFn, case: Case) -> Filter:
    """Many tests of few columns, so that they meet, repeat and contradict each other."""
    definition = case.schema.object(case.query.object)
    kinds = {"text", "number", "date"}
    names = [name for name, item in definition.fields.items() if item.type in kinds]
    chosen = draw(st.lists(st.sampled_from(names or [FieldName("id")]), min_size=1, max_size=2))
    literals = {
        name: draw(st.lists(comparands(definition.fields[name]), min_size=1, max_size=3))
        for name in chosen
    }

    def test_of(name: FieldName) -> st.SearchStrategy[Filter]:
        one = st.sampled_from(literals[name])
        ordered = st.sampled_from([Op.EQ, Op.NE, Op.GT, Op.GTE, Op.LT, Op.LTE])
        return st.one_of(
            st.builds(Compare, st.just((name,)), ordered, one),
            st.lists(st.one_of(st.none(), one), max_size=3).map(
                lambda members: Compare((name,), Op.IN, tuple(members))
            ),
            st.booleans().map(lambda flag: Compare((name,), Op.NULL, flag)),
        )

    leaf = st.sampled_from(chosen).flatmap(test_of)
    joined = st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, min_size=2, max_size=4).map(lambda items: And(tuple(items))),
            st.lists(inner, min_size=2, max_size=4).map(lambda items: Or(tuple(items))),
            inner.map(Not),
        ),
        max_leaves=8,
    )
    return draw(joined)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(cases("records"), st.data())
def test_merging_and_contradictions_never_change_an_answer(case: Case, data: st.DataObject) -> None:
    query = Query(object=case.query.object, where=data.draw(crowded(case)), include_deleted=True)
    plain = ids(run_query(query, case.rows, schema=case.schema, optimized=False))
    assert ids(run_query(query, case.rows, schema=case.schema)) == plain
    found = extract(query)
    plan = make_plan(bind(found.template, case.schema, AllowAll()))
    params = resolve(
        plan.query.params, found.literals, tenant="default", actor=ACTOR, now_ms=NOW_MS
    )
    if plan.is_contradicted(params):
        assert plain == []


def test_what_costs_least_is_asked_first_in_every_junction() -> None:
    cheap, dear = {"total": {"$gt": 1}}, {"number": {"$contains": "a"}}
    plan, _ = planned({"where": {"$or": [dear, {"$and": [dear, cheap]}, cheap]}}, "invoice")
    assert describe_predicate(plan.query.where) == (
        "deleted_at is null and (total > $4 or number contains $1 or "
        "(total > $3 and number contains $2))"
    )
