"""What records were before and after each of a row of commits.

An event holds the record before and after it. So a record that was read at some later time is known
at every commit before that too, provided that every event in between is here: it was what the next
event says it was before, and where there is none, what the last one left or what was read.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from objectql.live.images import EventImages, Image

Key: TypeAlias = tuple[str, str]
"""An object and the id of a record."""


class Timeline:
    """Records at each of `commits`, which are in order and follow each other without a gap."""

    def __init__(self, commits: Sequence[Sequence[EventImages]]) -> None:
        self._events: defaultdict[Key, list[tuple[int, EventImages]]] = defaultdict(list)
        self._read: dict[Key, Image | None] = {}
        for number, events in enumerate(commits):
            for images in events:
                key = images.event.object, images.event.record_id
                self._events[key].append((number, images))

    def read(self, object: str, rows: Iterable[tuple[str, Image | None]]) -> None:
        """Take in records, by id, as they were read after the first commit, and before the last."""
        for id_, image in rows:
            self._read.setdefault((object, id_), image)

    def before(self, number: int, key: Key) -> Image | None:
        """The record before the commit `number`; None where there was none."""
        return self._at(key, bisect_left(self._events.get(key, ()), number, key=_number))

    def after(self, number: int, key: Key) -> Image | None:
        """The record after the commit `number`; None where there was none."""
        return self._at(key, bisect_right(self._events.get(key, ()), number, key=_number))

    def knows(self, key: Key) -> bool:
        """Whether the record was read or has changed."""
        return key in self._read or key in self._events

    def records(self, object: str) -> list[str]:
        """The ids of all records of `object` that were read or have changed."""
        keys = dict.fromkeys([*self._read, *self._events])
        return [id_ for name, id_ in keys if name == object]

    def states(self, object: str, count: int) -> Iterator[Image]:
        """Everything that records of `object` were during the first `count` commits."""
        for id_ in self.records(object):
            key = object, id_
            events = self._events.get(key, ())
            following = bisect_left(events, count, key=_number)
            for _, images in events[:following]:
                yield from (image for image in (images.old, images.new) if image is not None)
            image = self._at(key, following)
            if image is not None:
                yield image

    def _at(self, key: Key, following: int) -> Image | None:
        events = self._events.get(key, ())
        if following < len(events):
            return events[following][1].old
        return events[-1][1].new if events else self._read[key]


def _number(entry: tuple[int, EventImages]) -> int:
    return entry[0]
