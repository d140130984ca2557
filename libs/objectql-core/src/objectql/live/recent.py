"""The last events of a stream, for those who come back after a moment.

When a gateway dies, thousands of subscriptions come to others at once, each with its cursor, and
nearly all of what they ask for has just been read there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from objectql.events import ChangeEvent

EVENTS: Final = 10_000
"""A minute and a half at a hundred changes a second."""

BYTES: Final = 32 * 1024 * 1024
"""So much of them, as they lie in the stream."""


class Entry(NamedTuple):
    """What lies at a position; None: no event that can be told."""

    position: int
    event: ChangeEvent | None
    size: int


class Recent:
    """Everything behind a position that moves on, so that at most so many are kept."""

    def __init__(self, after: int, *, events: int = EVENTS, size: int = BYTES) -> None:
        self._after = after
        self._entries: list[Entry] = []
        self._most = events
        self._most_bytes = size
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes of all that are kept."""
        return self._bytes

    def add(self, entry: Entry) -> None:
        """Keep the next one."""
        self._entries.append(entry)
        self._bytes += entry.size
        while len(self._entries) > self._most or self._bytes > self._most_bytes:
            self._forget_half()

    def since(self, after: int) -> Sequence[Entry] | None:
        """All behind the position `after`; None: some of them are not kept."""
        if after < self._after:
            return None
        return self._entries[bisect_right(self._entries, after, key=_position) :]

    def _forget_half(self) -> None:
        """Half of them, so that not each new one moves all others."""
        count = max(1, len(self._entries) // 2)
        self._after = self._entries[count - 1].position
        self._bytes -= sum(entry.size for entry in self._entries[:count])
        del self._entries[:count]


def _position(entry: Entry) -> int:
    return entry.position
