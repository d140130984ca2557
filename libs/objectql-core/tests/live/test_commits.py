from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectql.events import ChangeEvent
from objectql.ids import ObjectName, TenantId
from objectql.live.commits import Commits, Place, Told


def event(id: str, record: str, batch: str = "", size: int = 1) -> ChangeEvent:
    return ChangeEvent(
        id=id,
        tenant=TenantId("t"),
        object=ObjectName("o"),
        record_id=record,
        kind="updated",
        version=1,
        at="",
        actor="",
        batch=batch,
        batch_size=size,
    )


def told(commits: Commits, stream: list[ChangeEvent], after: int = 0) -> list[Told]:
    found = [commits.add(n, e, 0.0) for n, e in enumerate(stream, 1) if n > after]
    return [each for each in found if each is not None]


def ids(all_told: list[Told]) -> list[list[str]]:
    return [[e.id for e in each.events] for each in all_told]


def test_the_events_of_a_commit_are_told_together_when_the_last_has_come() -> None:
    stream = [event("a1", "1", "a", 2), event("b", "9"), event("a2", "2", "a", 2), event("c", "1")]
    found = told(Commits(Place(0, 0)), stream)
    assert ids(found) == [["b"], ["a1", "a2"], ["c"]]
    assert [each.place for each in found] == [Place(0, 2), Place(3, 3), Place(4, 4)]


def test_a_change_that_was_stored_before_an_earlier_commit_was_whole_waits_for_it() -> None:
    # A window that was stored in part and sent again: `c` follows batch `a` on record 1.
    stream = [event("a1", "1", "a", 2), event("c", "1"), event("d", "7"), event("a2", "2", "a", 2)]
    assert ids(told(Commits(Place(0, 0)), stream)) == [["d"], ["a1", "a2", "c"]]


def test_an_event_that_comes_again_is_told_once() -> None:
    stream = [event("a", "1"), event("b1", "2", "b", 2), event("b2", "3", "b", 2)]
    assert ids(told(Commits(Place(0, 0)), [*stream, *stream])) == [["a"], ["b1", "b2"]]


def test_a_commit_that_stays_incomplete_is_given_up_and_what_waited_goes_with_it() -> None:
    commits = Commits(Place(0, 0))
    commits.add(1, event("a1", "1", "a", 2), now_s=5.0)
    commits.add(2, event("c", "1"), now_s=6.0)
    assert commits.settled == 0
    assert commits.give_up(before_s=4.0) == ()
    assert [e.id for e in commits.give_up(before_s=5.0)] == ["a1", "c"]
    assert commits.settled == 2
    assert commits.place == Place(2, 2)


@st.composite
def streams(draw: st.DrawFn) -> list[ChangeEvent]:
    """Commits on a few records, their events mixed as the row locks of a database allow."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    count = draw(st.integers(1, 12))
    free_from = dict.fromkeys("abcdef", 0.0)
    placed: list[tuple[float, ChangeEvent]] = []
    for number in range(count):
        records = rng.sample("abcdef", rng.choice([1, 1, 1, 2, 3]))
        batch = f"c{number}" if len(records) > 1 else ""
        now = rng.random() * count
        end = now
        times: list[tuple[float, str]] = []
        for record in records:
            end = max(end, free_from[record]) + rng.random()
            times.append((end, record))
        for record in records:
            free_from[record] = end
        placed += [
            (at, event(f"c{number}-{record}", record, batch, len(records))) for at, record in times
        ]
    return [each for _, each in sorted(placed, key=lambda pair: pair[0])]


@settings(max_examples=300, deadline=None)
@given(streams())
def test_commits_are_whole_in_order_per_record_and_all_told(stream: list[ChangeEvent]) -> None:
    found = told(Commits(Place(0, 0)), stream)
    order = [e for each in found for e in each.events]
    assert sorted(e.id for e in order) == sorted(e.id for e in stream)
    for record in "abcdef":
        assert [e.id for e in order if e.record_id == record] == [
            e.id for e in stream if e.record_id == record
        ]
    for each in found:
        names = [e.id.split("-")[0] for e in each.events]
        for name in names:
            whole = sum(e.id.split("-")[0] == name for e in stream)
            assert names.count(name) == whole


@settings(max_examples=300, deadline=None)
@given(streams(), st.data())
def test_reading_on_from_any_place_tells_exactly_the_rest(
    stream: list[ChangeEvent], data: st.DataObject
) -> None:
    found = told(Commits(Place(0, 0)), stream)
    heard = data.draw(st.integers(0, len(found)))
    place = found[heard - 1].place if heard else Place(0, 0)
    rest = told(Commits(place), stream, after=place.cut)
    assert ids(rest) == ids(found[heard:])
    assert [each.place.at for each in rest] == [each.place.at for each in found[heard:]]


def test_a_change_beside_a_large_commit_does_not_look_at_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commits = Commits(Place(0, 0))
    for number in range(1000):
        commits.add(number, event(f"a{number}", f"r{number}", "a", 1001), 0.0)
    walks: list[int] = []

    def walked() -> list[ChangeEvent]:
        walks.append(1)
        return []

    monkeypatch.setattr(commits, "_release", walked)
    found = [commits.add(2000 + n, event(f"b{n}", f"s{n}"), 0.0) for n in range(50)]
    blocked = commits.add(3000, event("c", "r7"), 0.0)
    last = commits.add(4000, event("a1000", "r1000", "a", 1001), 0.0)
    assert [len(each.events) for each in found if each is not None] == [1] * 50
    assert blocked is None
    assert len(walks) == 1  # for the one that waited behind it
    assert last is None  # which the walk, taken out here, would have told
