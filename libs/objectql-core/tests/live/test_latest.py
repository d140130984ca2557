"""Merged news lead to the same state as all of them, and tell nothing that is known."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from objectql.events import ChangeKind
from objectql.live.latest import Latest
from objectql.live.telling import Telling, telling

Change = tuple[str, ChangeKind, bool, bool]


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    """Changes of some records: what happened, and whether the listener saw it before and after."""
    is_there: dict[str, bool] = {}
    is_seen: dict[str, bool] = {}
    found: list[Change] = []
    for record in draw(st.lists(st.sampled_from("ab"), max_size=12)):
        was = is_seen.get(record, False)
        kind: ChangeKind = "created"
        if is_there.get(record):
            kind = draw(st.sampled_from(("updated", "updated", "deleted")))
        now = kind != "deleted" and draw(st.booleans())
        is_there[record], is_seen[record] = kind != "deleted", now
        found.append((record, kind, was, now))
    return found


def apply(state: dict[str, int], record: str, told: Telling, number: int) -> None:
    """What a listener makes of what it is told, which must fit what it knows."""
    if told.kind == "deleted":
        del state[record]
        return
    is_new = told.kind == "created" or told.match == "entered"
    assert is_new == (record not in state)
    state[record] = number


@given(history=histories(), at=st.sets(st.integers(0, 12)))
def test_merged_news_lead_to_the_same_state(history: Sequence[Change], at: set[int]) -> None:
    latest: Latest[int] = Latest()
    every: dict[str, int] = {}
    merged: dict[str, int] = {}
    for number, (record, kind, was, now) in enumerate(history):
        told = telling(kind, was=was, now=now)
        if told is not None:
            apply(every, record, told, number)
            latest.add(record, told, number)
        if number in at or number == len(history) - 1:
            news = latest.take()
            assert len({each.record for each in news}) == len(news)
            for each in news:
                apply(merged, each.record, each.telling, each.event)
            assert merged == every
    assert not latest.take()


def test_a_record_that_came_and_went_is_not_told_of() -> None:
    latest: Latest[int] = Latest()
    latest.add("a", Telling("created"), 1)
    latest.add("a", Telling("deleted"), 2)
    assert latest.take() == []
