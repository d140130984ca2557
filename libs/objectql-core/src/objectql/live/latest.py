"""The latest of each record, for listeners who want to know how things are and not how they came to be so.

Changes that follow each other before a listener could be told are merged: what it is told leads
from what it knows to what is so now. A record that came and went meanwhile is not told of.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from objectql.events import ChangeKind
from objectql.live.telling import Telling

T = TypeVar("T")


class News(NamedTuple, Generic[T]):
    """What is told of one record, and the last event of it."""

    record: str
    telling: Telling
    event: T


class _Record(Generic[T]):
    __slots__ = ("event", "first", "last")

    def __init__(self, telling: Telling, event: T) -> None:
        self.first = self.last = telling
        self.event = event


class Latest(Generic[T]):
    """What one listener was not told yet."""

    def __init__(self) -> None:
        self._records: dict[str, _Record[T]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: str, telling: Telling, event: T) -> None:
        """Take in what somebody is told who hears of every change."""
        known = self._records.get(record)
        if known is None:
            self._records[record] = _Record(telling, event)
        else:
            known.last, known.event = telling, event

    def take(self) -> list[News[T]]:
        """What is to be told now; nothing of it is kept."""
        records, self._records = self._records, {}
        found: list[News[T]] = []
        for id_, record in records.items():
            telling = merged(record.first, record.last)
            if telling is not None:
                found.append(News(id_, telling, record.event))
        return found


def merged(first: Telling, last: Telling) -> Telling | None:
    """What leads from before `first` to after `last`; None where both are absence."""
    was_there = not _comes(first)
    if last.kind == "deleted":
        return last if was_there else None
    if was_there:
        return Telling("updated")
    kind: ChangeKind = first.kind if last.kind == "updated" else last.kind
    return Telling(kind, "entered" if kind == "updated" else None)


def _comes(telling: Telling) -> bool:
    """Whether the record was not in view before."""
    return telling.kind == "created" or telling.match == "entered"
