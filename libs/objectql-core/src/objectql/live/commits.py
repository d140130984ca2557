"""The events of a stream, put together again to the commits they come from.

A commit's events may lie apart, with events of others in between: relays publish in the order of
positions, and transactions draw theirs side by side. A commit is told when its last event has
come. That keeps the order of each record: whoever changes a record after a commit draws the
position after that commit has ended, behind all of its own. Where a window of the relay was stored
in part and sent again, a later change may still lie before an earlier commit's last event; it
waits for that.

So commits are not told in the order of their first events, and a position alone does not say what
has been told. A `Place` does: `cut` is a position that no commit lies across, and everything after
it was told up to `at`. Whoever reads on from `cut` tells the same commits in the same order.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from objectql.events import ChangeEvent

REMEMBERED: Final = 16_384
"""Ids of events by which repeats are known. JetStream drops those of two minutes; what a relay
repeats after a longer outage is its last window, for nobody else has published in between."""


class Place(NamedTuple):
    """Up to where commits have been told; see the head of this module."""

    cut: int
    at: int


class Told(NamedTuple):
    """Commits that are told together, nearly always one; `place` is where they leave the reader."""

    place: Place
    events: tuple[ChangeEvent, ...]


class _Commit:
    __slots__ = ("events", "first", "missing", "since_s")

    def __init__(self, size: int, first: int, now_s: float) -> None:
        self.missing = size
        self.first = first
        self.since_s = now_s
        self.events: list[ChangeEvent] = []

    def records(self) -> Iterable[tuple[str, str, str]]:
        return ((event.tenant, event.object, event.record_id) for event in self.events)


class Commits:
    """Reads a stream from a position that no commit lies across."""

    def __init__(self, place: Place) -> None:
        self._cut = place.cut
        self._told = place.at
        self._position = place.cut
        self._held: dict[str, _Commit] = {}
        self._records: Counter[tuple[str, str, str]] = Counter()
        """How many held events each record has."""
        self._known: OrderedDict[str, None] = OrderedDict()

    @property
    def place(self) -> Place:
        """Where a reader is who has heard everything that was told."""
        return Place(self._cut, max(self._position, self._told))

    @property
    def settled(self) -> int:
        """The position up to which nothing waits to be told."""
        first = min((commit.first for commit in self._held.values()), default=self._position + 1)
        return first - 1

    def has_seen(self, event_id: str) -> bool:
        """Whether the event came lately."""
        return event_id in self._known

    def add(self, position: int, event: ChangeEvent, now_s: float) -> Told | None:
        """Take the event at `position`; what is to be told now, unless it was before the start."""
        self._position = position
        told: list[ChangeEvent] = []
        if not self._is_repeat(event.id):
            if event.batch_size <= 1 and not self._held:
                told.append(event)
            else:
                told += self._release_with(self._hold(position, event, now_s))
        if not self._held:
            self._cut = position
        if not told or position <= self._told:
            return None
        return Told(Place(self._cut, position), tuple(told))

    def skip(self, position: int) -> None:
        """Pass a message that is no event."""
        self._position = position
        if not self._held:
            self._cut = position

    def give_up(self, before_s: float) -> tuple[ChangeEvent, ...]:
        """Drop commits that have been incomplete since `before_s`; the events that there were.

        Their others are lost, so whoever listens to them must read anew.
        """
        torn = {key: c for key, c in self._held.items() if c.missing and c.since_s <= before_s}
        for key in torn:
            self._forget(key)
        lost = [event for commit in torn.values() for event in commit.events]
        if torn:
            lost += self._release()
        if not self._held:
            self._cut = self._position
        return tuple(lost)

    def _is_repeat(self, id: str) -> bool:
        known = self._known
        if id in known:
            known.move_to_end(id)
            return True
        known[id] = None
        if len(known) > REMEMBERED:
            known.popitem(last=False)
        return False

    def _hold(self, position: int, event: ChangeEvent, now_s: float) -> str:
        """Keep the event; the key of its commit."""
        key = event.batch or event.id
        commit = self._held.get(key)
        if commit is None:
            commit = self._held[key] = _Commit(max(event.batch_size, 1), position, now_s)
        commit.events.append(event)
        commit.missing -= 1
        self._records[event.tenant, event.object, event.record_id] += 1
        return key

    def _forget(self, key: str) -> _Commit:
        commit = self._held.pop(key)
        self._records.subtract(commit.records())
        for record in commit.records():
            if not self._records[record]:
                del self._records[record]
        return commit

    def _release_with(self, key: str) -> list[ChangeEvent]:
        """What can be told now that the commit `key` has one event more.

        Only a commit that has become whole lets anything go. Nearly always it shares no record with
        others that are held, so that nobody need look at those: a commit of ten thousand events is
        not walked through for each event of somebody else.
        """
        commit = self._held[key]
        if commit.missing > 0:
            return []
        own = Counter(commit.records())
        if all(self._records[record] == count for record, count in own.items()):
            return self._forget(key).events
        if key == next(reversed(self._held)):  # whom it shares records with came before it
            return []
        return self._release()

    def _release(self) -> list[ChangeEvent]:
        """The events of commits that are whole and wait for no earlier one on a record."""
        waiting: set[tuple[str, str, str]] = set()
        told: list[ChangeEvent] = []
        for key, commit in list(self._held.items()):
            if commit.missing > 0 or not waiting.isdisjoint(commit.records()):
                waiting.update(commit.records())
                continue
            told += self._forget(key).events
        return told
