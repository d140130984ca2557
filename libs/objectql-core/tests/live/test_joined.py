"""What lookups decide is exact at every commit, whenever the other records were read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectql.events import ChangeEvent
from objectql.ids import FieldName, ObjectName, TenantId
from objectql.live import timeline as lines
from objectql.live.forms import form_of, predicate_of
from objectql.live.images import EventImages, Image
from objectql.live.joined import JoinedQuery
from objectql.live.joins import alone
from objectql.live.query import LiveQuery
from objectql.live.timeline import Timeline
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.query.bound import (
    AllOf,
    AnyOf,
    Column,
    Const,
    Hop,
    Negate,
    Param,
    ParamSource,
    Predicate,
    Test,
    TestOp,
)
from objectql.query.matching import matches
from objectql.values import Record, Value

TASK, FOLDER = ObjectName("task"), ObjectName("folder")
TENANT = TenantId("acme")

State = dict[tuple[str, str], dict[str, Any]]
"""All records there are, by object and id."""


def field(name: str, type: str = "text") -> FieldDef:
    return FieldDef(name=FieldName(name), type=type)


NAMES = {"task": ["a", "folder", "other"], "folder": ["b", "secret"]}
FOLDERS, TASKS = ["f1", "f2"], ["t1", "t2", "t3"]
texts = st.sampled_from(["x", "y"]) | st.none()


@st.composite
def predicates(draw: st.DrawFn) -> Predicate:
    """A condition over a task and what its two lookups lead to; the parameters are x and y."""

    def test(depth: int) -> Predicate:
        kind = draw(st.sampled_from(["own", "hop", "hop", "all", "any", "not"]))
        param = Param(draw(st.integers(0, 1)))
        if kind == "own":
            return Test(Column(field("a")), TestOp.EQ, param)
        if kind == "hop" or depth == 0:
            lookup = draw(st.sampled_from(["folder", "other"]))
            visible = draw(
                st.sampled_from(
                    [Const(value=True), Test(Column(field("secret")), TestOp.EQ, Param(0))]
                )
            )
            hop = Hop(field(lookup, "lookup"), ObjectDef(name=FOLDER, fields={}), visible)
            column = Column(field("b"), (hop,))
            if draw(st.booleans()):
                return Test(column, TestOp.IS_NULL)
            return Test(column, TestOp.EQ, param)
        if kind == "not":
            return Negate(test(depth - 1))
        items = (test(depth - 1), test(depth - 1))
        return AllOf(items) if kind == "all" else AnyOf(items)

    return test(2)


@st.composite
def histories(draw: st.DrawFn) -> list[list[tuple[str, str, dict[str, Any] | None]]]:
    """Commits: each writes records, or deletes them."""

    def record(object: str, id: str) -> dict[str, Any]:
        lookups = st.sampled_from([*FOLDERS, "gone"]) | st.none()
        return {"id": id} | {
            name: draw(lookups if name in {"folder", "other"} else texts) for name in NAMES[object]
        }

    def write() -> tuple[str, str, dict[str, Any] | None]:
        object_, ids = draw(st.sampled_from([("task", TASKS), ("folder", FOLDERS)]))
        id_ = draw(st.sampled_from(ids))
        return object_, id_, record(object_, id_) if draw(st.integers(0, 5)) else None

    return [
        [write() for _ in range(draw(st.integers(1, 3)))] for _ in range(draw(st.integers(1, 9)))
    ]


def play(
    history: Sequence[Sequence[tuple[str, str, dict[str, Any] | None]]],
) -> tuple[list[State], list[list[EventImages]]]:
    """The states between the commits, and the events of each."""
    states: list[State] = [{}]
    commits: list[list[EventImages]] = []
    for writes in history:
        state = dict(states[-1])
        events: list[EventImages] = []
        for object_, id_, record in writes:
            key = object_, id_
            before = state.get(key)
            if before is None and record is None:
                continue
            kind = "created" if before is None else "deleted" if record is None else "updated"
            events.append(EventImages(event(object_, id_, kind, before, record)))
            state = {k: v for k, v in state.items() if k != key}
            if record is not None:
                state[key] = record
        states.append(state)
        commits.append(events)
    return states, commits


def event(object: str, id: str, kind: Any, before: Any, after: Any) -> ChangeEvent:
    return ChangeEvent(
        id="e",
        tenant=TENANT,
        object=ObjectName(object),
        record_id=id,
        kind=kind,
        version=1,
        at="",
        actor="ann",
        before=None if before is None else json.dumps(before).encode(),
        after=None if after is None else json.dumps(after).encode(),
    )


def holds(where: Predicate, state: State, id: str, params: Sequence[Value]) -> bool:
    """What the filter says of a task, asked of everything there is."""
    record = state.get(("task", id))

    def lookup(by: FieldDef, target: ObjectDef, of: Record) -> Record | None:
        return state.get((target.name, str(of[by.name])))

    return record is not None and matches(where, record, params, lookup)


def nowhere(_by: FieldDef, _target: ObjectDef, _of: Record) -> None:
    """A record alone: its lookups lead to nothing."""


def query_of(where: Predicate) -> LiveQuery:
    sources = (ParamSource(field("a").storage, constant="x"),)
    return LiveQuery(TENANT, TASK, form_of(where), sources, (), ("id", "a"))


class Case:
    """Follows a history as a gateway does: what concerns nobody is not in its row."""

    def __init__(self, where: Predicate, history: Sequence[Any]) -> None:
        self.states, self.commits = play(history)
        self.where = where
        self.joined = JoinedQuery(query_of(where))
        self.params = ("x", "y")
        self.row = [[e for e in events if self.concerns(e)] for events in self.commits]

    def concerns(self, images: EventImages) -> bool:
        if self.joined.is_turned_by(images):
            return True
        weak = alone(self.where)
        both = [images.event.before, images.event.after]
        return images.event.object == TASK and any(
            text is not None and matches(weak, json.loads(text), self.params, nowhere)
            for text in both
        )

    def find(self, at: int, object: str, field: str, ids: set[str]) -> dict[str, Image | None]:
        """What reading after the commit `at` finds."""
        return {
            id_: Image(json.dumps(record).encode())
            for (name, id_), record in self.states[at].items()
            if name == object and record[field] in ids
        }

    def told(self, first: int, count: int, first_read: int, second_read: int) -> list[Any]:
        """What the commits from `first` on mean, of which others are read at two later times."""
        row, batch = self.row[first:second_read], self.row[first : first + count]
        timeline = Timeline(row)
        for lookup, ids in self.joined.pointing(e for events in batch for e in events).items():
            timeline.read("task", self.find(first_read, "task", lookup, ids).items())
        for target, ids in self.joined.targets(timeline.states("task", count)).items():
            missing = {id_ for id_ in ids if not timeline.knows((target, id_))}
            found = self.find(second_read, target, "id", missing)
            timeline.read(target, (dict.fromkeys(missing) | found).items())
        return [
            [(s.images.event.record_id, s.was, s.now) for s in self.joined.seen(n, events, timeline, self.params)]
            for n, events in enumerate(batch)
        ]  # fmt: skip


def expected(case: Case, number: int) -> dict[str, tuple[bool, bool]]:
    """Whom the commit let in, kept or let out, for tasks that it touched or that it turned."""
    before, after = case.states[number : number + 2]
    touched = {e.event.record_id for e in case.commits[number] if e.event.object == TASK}
    found: dict[str, tuple[bool, bool]] = {}
    for id_ in TASKS:
        was = holds(case.where, before, id_, case.params)
        now = holds(case.where, after, id_, case.params)
        if (was or now) if id_ in touched else was != now:
            found[id_] = was, now
    return found


@settings(max_examples=600, deadline=None)
@given(where=predicates(), history=histories(), data=st.data())
def test_every_commit_means_what_the_filter_says_of_all_records_before_and_after_it(
    where: Predicate, history: Any, data: st.DataObject
) -> None:
    case = Case(where, history)
    total = len(case.commits)
    first = data.draw(st.integers(0, total - 1))
    count = data.draw(st.integers(1, total - first))
    first_read = data.draw(st.integers(first + count, total))
    second_read = data.draw(st.integers(first_read, total))
    for number, told in enumerate(case.told(first, count, first_read, second_read), start=first):
        wanted = expected(case, number)
        by_record: dict[str, list[tuple[bool, bool]]] = {}
        for id_, was, now in told:
            by_record.setdefault(id_, []).append((was, now))
        ends = {id_: (seen[0][0], seen[-1][1]) for id_, seen in by_record.items()}
        kept = {id_: end for id_, end in ends.items() if any(end) or id_ in wanted}
        assert kept == wanted
        for seen in by_record.values():  # one after the other, of a record that changed twice
            assert all(a[1] == b[0] for a, b in pairwise(seen))


@settings(max_examples=300, deadline=None)
@given(where=predicates(), history=histories())
def test_what_a_record_says_alone_leaves_nothing_out(where: Predicate, history: Any) -> None:
    case = Case(where, history)
    for state in case.states:
        for id_ in TASKS:
            if holds(where, state, id_, case.params):
                record = state["task", id_]
                assert matches(alone(where), record, case.params, nowhere)


@given(where=predicates())
def test_forms_carry_what_lookups_lead_to(where: Predicate) -> None:
    assert form_of(predicate_of(form_of(where))) == form_of(where)


def test_a_record_that_was_read_later_is_known_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the event in between the test above would not know that it looks at the past."""
    where = Test(
        Column(field("b"), (Hop(field("folder", "lookup"), ObjectDef(name=FOLDER, fields={})),)),
        *(TestOp.EQ, Param(0)),
    )
    folder = {"id": "f1", "secret": None}
    task = {"id": "t1", "a": None, "folder": "f1", "other": None}
    history = [
        [("folder", "f1", folder | {"b": "x"})],
        [("task", "t1", task)],
        [("folder", "f1", folder | {"b": "y"})],
    ]
    case = Case(where, history)
    assert case.told(1, 1, 3, 3) == [[("t1", False, True)]]

    def at_the_end(events: Sequence[object], number: int, *, key: object) -> int:  # noqa: ARG001
        return len(events)

    monkeypatch.setattr(lines, "bisect_right", at_the_end)
    assert case.told(1, 1, 3, 3) == [[]]
