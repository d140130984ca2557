"""What holds for every query: the laws that the stages must keep."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from objectql.errors import InvalidFilter
from objectql.query.ast import And, Compare, Filter, Not, Op, Or, Query
from objectql.query.bind import bind
from objectql.query.filter_print import print_filter
from objectql.query.filter_text import parse_filter_text
from objectql.query.optimize import simplify
from objectql.query.policy import AllowAll
from objectql.query.template import extract
from objectql.testing.samples import cursor_after, run_query
from objectql.testing.strategies import Case, cases, queries

thorough = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

names = st.sampled_from(["a", "b", "name", "not_null", "origin.tz", "order"]).map(
    lambda name: tuple(name.split("."))
)
words = st.text(alphabet="abO'() ,éand", min_size=1, max_size=6)
literals = st.one_of(
    words,
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
)


def printable_conditions() -> st.SearchStrategy[Any]:
    comparisons = st.sampled_from([Op.EQ, Op.NE, Op.GT, Op.GTE, Op.LT, Op.LTE])
    functions = st.sampled_from([Op.CONTAINS, Op.STARTS_WITH, Op.ENDS_WITH, Op.ICONTAINS])
    return st.one_of(
        st.builds(Compare, names, comparisons, literals),
        st.builds(Compare, names, functions, words),
        st.builds(Compare, names, st.just(Op.NULL), st.booleans()),
        st.builds(Compare, names, st.just(Op.IN), st.lists(literals, min_size=1).map(tuple)),
    )


printable = st.recursive(
    printable_conditions(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda items: And(tuple(items))),
        st.lists(inner, min_size=2, max_size=3).map(lambda items: Or(tuple(items))),
        inner.map(Not),
    ),
    max_leaves=8,
)


def without_places(node: Filter) -> Filter:
    if isinstance(node, Compare):
        return Compare(node.path, node.op, node.value, node.ref)
    if isinstance(node, Not):
        return Not(without_places(node.item))
    return type(node)(tuple(without_places(item) for item in node.items))


@thorough
@given(printable)
def test_a_printed_filter_parses_back_to_itself(node: Filter) -> None:
    assert without_places(parse_filter_text(print_filter(node))) == node


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab '(),/.@-1eE:TZ eqandornotin", max_size=30))
def test_any_text_is_a_filter_or_a_typed_refusal(text: str) -> None:
    try:
        parsed = parse_filter_text(text)
    except InvalidFilter as error:
        position = -1 if error.position is None else error.position
    else:
        assert isinstance(parsed, And | Or | Not | Compare)
        position = 0
    assert 0 <= position <= len(text)


@thorough
@given(cases())
def test_optimizing_never_changes_an_answer(case: Case) -> None:
    plain = run_query(case.query, case.rows, schema=case.schema, optimized=False)
    assert run_query(case.query, case.rows, schema=case.schema) == plain


@thorough
@given(cases())
def test_simplified_predicates_are_a_fixed_point(case: Case) -> None:
    bound = bind(extract(case.query).template, case.schema, AllowAll())
    simple = simplify(bound.where)
    assert simplify(simple) == simple


@thorough
@given(cases("records"), st.integers(1, 4))
def test_pages_by_cursor_make_up_the_whole_answer(case: Case, size: int) -> None:
    whole = msgspec.structs.replace(
        case.query, limit=None, offset=0, distinct=False, fields=None, expand=()
    )
    expected = run_query(whole, case.rows, schema=case.schema).items
    page = msgspec.structs.replace(whole, limit=size)
    seen: list[Any] = []
    while True:
        answer = run_query(page, case.rows, schema=case.schema)
        seen += answer.items
        if not answer.has_next:
            break
        page = msgspec.structs.replace(page, after=cursor_after(page, answer))
    assert seen == expected


@thorough
@given(cases("records"))
def test_a_condition_and_its_negation_part_the_rows(case: Case) -> None:
    plain = Query(object=case.query.object, include_deleted=True)
    where = case.query.where or And(())
    total = len(run_query(plain, case.rows, schema=case.schema).items)
    positive = msgspec.structs.replace(plain, where=where)
    negative = msgspec.structs.replace(plain, where=Not(where))
    found = [run_query(q, case.rows, schema=case.schema) for q in (positive, negative)]
    assert sum(len(answer.items) for answer in found) == total


def changed(node: Filter) -> Filter:
    """The same shape with other literals."""
    match node:
        case And(items) | Or(items):
            return type(node)(tuple(changed(item) for item in items))
        case Not(item):
            return Not(changed(item))
        case Compare(path, op, value, ref, _):
            return Compare(path, op, _other(op, value), ref, "elsewhere")


def _other(op: Op, value: Any) -> Any:
    if value is None or op is Op.NULL:
        return value
    if isinstance(value, tuple):
        if not value:
            return ()
        if None in value:
            return (None, "x")
        return ("x",) if len(cast("tuple[Any, ...]", value)) == 1 else ("x", "y")
    return "another"


@thorough
@given(queries())
def test_templates_stay_equal_when_only_literals_change(query: Query) -> None:
    where = query.where or Compare(("id",), Op.EQ, "i1")
    one = msgspec.structs.replace(query, where=where, offset=1)
    two = msgspec.structs.replace(query, where=changed(where), offset=7)
    assert extract(one).template == extract(two).template
    assert hash(extract(one).template) == hash(extract(two).template)
    assert len(extract(one).literals) == len(extract(one).places)


@thorough
@given(cases())
def test_queries_survive_the_wire(case: Case) -> None:
    raw = msgspec.msgpack.encode(case.query)
    sent = msgspec.msgpack.decode(raw, type=Query)
    assert run_query(sent, case.rows, schema=case.schema) == run_query(
        case.query, case.rows, schema=case.schema
    )
