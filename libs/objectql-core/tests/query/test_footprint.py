"""An answer depends on nothing outside the footprint of its query."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from objectql.query.ast import Compare, Op, Query
from objectql.query.bind import bind
from objectql.query.bound import BoundQuery
from objectql.query.footprint import Footprint, footprint
from objectql.query.interpret import Answer, interpret
from objectql.query.optimize import optimize
from objectql.query.parse import parse_query
from objectql.query.policy import AllowAll
from objectql.query.template import extract
from objectql.query.values_in import resolve
from objectql.testing.samples import ACTOR, NOW_MS, SCHEMA
from objectql.testing.strategies import Case, cases
from objectql.values import Value

thorough = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def prepared(query: Query, schema: Any = SCHEMA) -> tuple[BoundQuery, tuple[Value, ...]]:
    found = extract(query)
    bound = optimize(bind(found.template, schema, AllowAll(), places=found.places))
    params = resolve(
        bound.params,
        found.literals,
        tenant="default",
        actor=ACTOR,
        now_ms=NOW_MS,
        places=found.places,
    )
    return bound, params


def of(document: dict[str, Any]) -> Footprint:
    return footprint(prepared(parse_query(document, object="invoice"))[0])


def names(document: dict[str, Any]) -> set[str]:
    return {str(item.name) for item in of(document).objects}


@pytest.mark.parametrize(
    ("document", "objects"),
    [
        ({"fields": ["number"]}, {"invoice"}),
        ({"fields": ["account.name"]}, {"invoice", "account"}),
        ({"where": {"account.owner.name": "x"}}, {"invoice", "account", "owner"}),
        ({"orderBy": ["account.name"]}, {"invoice", "account"}),
        ({"expand": {"account": {"expand": ["owner"]}}}, {"invoice", "account", "owner"}),
        ({"groupBy": ["account.tier"]}, {"invoice", "account"}),
    ],
)
def test_every_object_on_the_way_is_in_the_footprint(
    document: dict[str, Any], objects: set[str]
) -> None:
    assert names(document) == objects


def test_only_a_record_asked_for_by_its_id_alone_is_a_footprint_of_one_record() -> None:
    assert of({"where": {"id": "a", "status": "paid"}}).record is not None
    assert of({"where": {"$or": [{"id": "a"}, {"status": "paid"}]}}).record is None
    assert of({"where": {"id": {"$in": ["a", "b"]}}}).record is None
    assert of({"where": {"id": "a"}, "expand": ["account"]}).record is None
    assert of({"where": {"id": "a", "account.name": "x"}}).record is None


@thorough
@given(cases())
def test_no_object_outside_the_footprint_is_read(case: Case) -> None:
    bound, params = prepared(case.query, case.schema)
    allowed = {item.name for item in footprint(bound).objects}

    def read(definition: Any, _tenant: str) -> Any:
        assert definition.name in allowed
        return case.rows.get(definition.name, ())

    interpret(bound, params, read)


@thorough
@given(cases("records"), st.data())
def test_no_other_record_changes_the_answer_where_one_record_is_the_footprint(
    case: Case, data: st.DataObject
) -> None:
    ids = [str(row["id"]) for row in case.rows.get(case.query.object, ())]
    assume(ids)
    one = Compare(("id",), Op.EQ, data.draw(st.sampled_from(ids)), at="id")
    query = msgspec.structs.replace(case.query, where=one)
    bound, params = prepared(query, case.schema)
    index = footprint(bound).record
    assume(index is not None)
    assert index is not None

    def answer(*, all_rows: bool) -> Answer:
        def read(definition: Any, _tenant: str) -> Any:
            rows = case.rows.get(definition.name, ())
            return [row for row in rows if all_rows or row["id"] == params[index]]

        return interpret(bound, params, read)

    assert answer(all_rows=False) == answer(all_rows=True)
