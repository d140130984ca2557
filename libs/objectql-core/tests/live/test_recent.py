"""What is kept of a stream is its end without a gap, or nobody is told that it is there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from objectql.live.recent import Entry, Recent


@given(
    steps=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 50)), max_size=60),
    start=st.integers(0, 5),
    events=st.integers(1, 20),
    size=st.integers(1, 200),
    after=st.integers(0, 200),
)
def test_all_behind_a_position_is_told_or_nothing(
    steps: list[tuple[int, int]], start: int, events: int, size: int, after: int
) -> None:
    recent, everything, position = Recent(start, events=events, size=size), list[Entry](), start
    for gap, length in steps:
        position += gap
        everything.append(Entry(position, None, length))
        recent.add(everything[-1])
        assert len(recent) <= events
        assert recent.size <= size
    found = recent.since(after)
    if found is not None:
        assert list(found) == [entry for entry in everything if entry.position > after]
    kept = everything[len(everything) - len(recent) :]
    assert recent.since(position) == []
    assert recent.since(kept[0].position - 1 if kept else position) == kept
