from __future__ import annotations

import json
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectql.events import ChangeEvent
from objectql.ids import FieldName, ObjectName, TenantId
from objectql.live import matcher as matching
from objectql.live.forms import form_of, predicate_of
from objectql.live.images import EventImages
from objectql.live.matcher import Matcher
from objectql.live.query import LiveQuery
from objectql.metadata.model import FieldDef
from objectql.query.bound import (
    AllOf,
    AnyOf,
    Column,
    Const,
    Given,
    Negate,
    Param,
    ParamSource,
    Predicate,
    Test,
    TestOp,
)
from objectql.query.matching import matches
from objectql.values import Record, Value

FIELDS = {
    name: FieldDef(name=FieldName(name), type=type_)
    for name, type_ in {"a": "text", "b": "text", "flag": "boolean", "tags": "tags"}.items()
} | {"n": FieldDef(name=FieldName("n"), type="number", scale=0)}

texts = st.sampled_from(["", "x", "y", "z"]) | st.none()
numbers = st.integers(-1, 3) | st.none()
values: dict[str, st.SearchStrategy[Any]] = {
    "a": texts,
    "b": texts,
    "flag": st.booleans() | st.none(),
    "tags": st.lists(st.sampled_from("xyz"), max_size=2) | st.none(),
    "n": numbers,
}
records = st.none() | st.fixed_dictionaries(values)


@st.composite
def queries(draw: st.DrawFn) -> tuple[Predicate, tuple[Value, ...]]:
    """A predicate, and its parameters."""
    params: list[Any] = []

    def param(value: Any) -> Param:
        params.append(value)
        return Param(len(params) - 1)

    def test(name: str) -> Predicate:
        left = Column(FIELDS[name])
        if name == "tags":
            return Test(left, TestOp.CONTAINS, param(draw(st.sampled_from("xyz"))))
        ops = [TestOp.EQ, TestOp.EQ, TestOp.IN, TestOp.IS_NULL, TestOp.LT]
        op = draw(st.sampled_from(ops))
        if op is TestOp.IS_NULL:
            return Test(left, op)
        if op is TestOp.IN:
            members = draw(st.lists(values[name].filter(lambda v: v is not None), max_size=3))
            return Test(left, op, param(members))
        if op is TestOp.EQ and name == "a" and draw(st.booleans()):
            return Test(left, op, Column(FIELDS["b"]))
        return Test(left, op, param(draw(values[name])))

    def predicate(depth: int) -> Predicate:
        kind = draw(st.sampled_from(["test"] * 4 + ["all", "any", "not", "const", "given"]))
        if depth == 0 or kind == "test":
            return test(draw(st.sampled_from(list(FIELDS))))
        if kind == "const":
            return Const(draw(st.booleans()))
        if kind == "given":
            return Given(param(draw(st.sampled_from([True, None]))))
        if kind == "not":
            return Negate(predicate(depth - 1))
        items = tuple(predicate(depth - 1) for _ in range(draw(st.integers(0, 3))))
        return AllOf(items) if kind == "all" else AnyOf(items)

    return predicate(3), tuple(params)


def live(where: Predicate, object_: str = "o") -> LiveQuery:
    return LiveQuery(
        tenant=TenantId("t"),
        object=ObjectName(object_),
        form=form_of(where),
        sources=(),
        literals=(),
        outputs=("id",),
    )


def event(before: dict[str, Any] | None, after: dict[str, Any] | None) -> ChangeEvent:
    return ChangeEvent(
        id="e",
        tenant=TenantId("t"),
        object=ObjectName("o"),
        record_id="r",
        kind="updated",
        version=1,
        at="",
        actor="",
        before=None if before is None else json.dumps(before).encode(),
        after=None if after is None else json.dumps(after).encode(),
    )


def no_lookup(*_: object) -> NoReturn:
    raise AssertionError


@settings(max_examples=400, deadline=None)
@given(
    st.lists(queries(), min_size=1, max_size=12),
    st.lists(st.tuples(records, records), min_size=1, max_size=6),
    st.data(),
)
def test_who_is_told_is_who_the_evaluator_says(
    subscribed: list[tuple[Predicate, tuple[Value, ...]]],
    changes: list[tuple[dict[str, Any] | None, dict[str, Any] | None]],
    data: st.DataObject,
) -> None:
    matcher: Matcher[int] = Matcher()
    for number, (where, params) in enumerate(subscribed):
        matcher.add(number, live(where), lambda params=params: params)
    gone = set(data.draw(st.lists(st.integers(0, len(subscribed) - 1), max_size=4)))
    for number in gone:
        matcher.remove(number)
    for before, after in changes:
        expected: dict[int, tuple[bool, bool]] = {}
        for number, (where, params) in enumerate(subscribed):
            was = before is not None and matches(where, before, params, no_lookup)
            now = after is not None and matches(where, after, params, no_lookup)
            if (was or now) and number not in gone:
                expected[number] = (was, now)
        found = {
            number: (match.was, match.now)
            for match in matcher.match(EventImages(event(before, after)))
            for number in match.subscribers
        }
        assert found == expected


@given(queries())
def test_a_predicate_survives_the_journey_to_the_gateway(
    query: tuple[Predicate, tuple[Value, ...]],
) -> None:
    where, params = query
    arrived = predicate_of(form_of(where))
    assert form_of(arrived) == form_of(where)
    full: Record = {"a": "x", "b": "x", "n": 1, "flag": True, "tags": ["x"]}
    empty: Record = {}
    for record in (full, empty):
        assert matches(arrived, record, params, no_lookup) == matches(
            where, record, params, no_lookup
        )


def test_an_event_is_compared_with_those_it_may_concern_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matcher: Matcher[int] = Matcher()
    where = AllOf(
        (
            Test(Column(FIELDS["a"]), TestOp.EQ, Param(0)),
            Test(Column(FIELDS["n"]), TestOp.LT, Param(1)),
        )
    )
    for number in range(5000):
        matcher.add(number, live(where), lambda number=number: (f"name {number}", 5))
    looks: list[int] = []

    def counting(*args: Any) -> bool:
        looks.append(1)
        return matches(*args)

    monkeypatch.setattr(matching, "matches", counting)
    found = list(
        matcher.match(EventImages(event({"a": "name 7", "n": 9}, {"a": "name 8", "n": 1})))
    )
    assert [(m.was, m.now, list(m.subscribers)) for m in found] == [(False, True, [8])]
    assert len(looks) == 4  # two candidates, two images


def test_equal_subscriptions_are_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    matcher: Matcher[int] = Matcher()
    where = Test(Column(FIELDS["n"]), TestOp.LT, Param(0))
    for number in range(1000):
        matcher.add(number, live(where), lambda: (5,))
    looks: list[int] = []

    def counting(*args: Any) -> bool:
        looks.append(1)
        return matches(*args)

    monkeypatch.setattr(matching, "matches", counting)
    (found,) = matcher.match(EventImages(event(None, {"n": 1})))
    assert len(list(found.subscribers)) == 1000
    assert len(looks) == 1


def test_a_filter_on_the_time_is_asked_anew_for_every_event() -> None:
    now = ["x"]
    query = LiveQuery(
        tenant=TenantId("t"),
        object=ObjectName("o"),
        form=form_of(Test(Column(FIELDS["a"]), TestOp.EQ, Param(0))),
        sources=(ParamSource(FIELDS["a"].storage, slot=0),),
        literals=("{today}",),
        outputs=("id",),
    )
    assert query.is_timed
    matcher: Matcher[int] = Matcher()
    matcher.add(1, query, lambda: (now[0],))
    images = EventImages(event(None, {"a": "y"}))
    assert list(matcher.match(images)) == []
    now[0] = "y"
    assert [list(match.subscribers) for match in matcher.match(images)] == [[1]]


def test_nothing_is_left_of_those_who_have_gone() -> None:
    matcher: Matcher[int] = Matcher()
    where = Test(Column(FIELDS["a"]), TestOp.EQ, Param(0))
    for number in range(10):
        matcher.add(number, live(where), lambda number=number: (f"{number % 3}",))
    for number in range(10):
        matcher.remove(number)
    assert len(matcher) == 0
    assert not matcher.listens(TenantId("t"), ObjectName("o"))


@pytest.mark.parametrize("value", [5, ["x"], {"x": 1}])
def test_a_record_of_another_form_than_a_filter_knows_stops_nobody_else(value: Any) -> None:
    matcher: Matcher[str] = Matcher()
    for name, op in (("prefix", TestOp.STARTS_WITH), ("order", TestOp.LT)):
        matcher.add(name, live(Test(Column(FIELDS["a"]), op, Param(0))), lambda: ("x",))
    matcher.add("other", live(Test(Column(FIELDS["b"]), TestOp.EQ, Param(0))), lambda: ("y",))
    found = list(matcher.match(EventImages(event(None, {"a": value, "b": "y"}))))
    assert [list(m.subscribers) for m in found if m.misfit is None] == [["other"]]
    misfits = [name for m in found if m.misfit is not None for name in m.subscribers]
    assert sorted(misfits) == ["order", "prefix"]
