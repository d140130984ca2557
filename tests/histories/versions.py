"""Each record on its own: whether its versions make one history in which nothing goes back.

A write is told the version that it made, a read the version that it saw. Versions order the writes;
the record is linearizable if that order, each read behind the write that it saw, agrees with real
time. Source: N. Lynch, "Distributed Algorithms", 1996, lemma 13.16.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec


class Access(msgspec.Struct, frozen=True):
    """A read or a write of one record that succeeded."""

    record: str
    is_write: bool
    version: int
    value: Any
    began_ns: float
    ended_ns: float


class Fault(msgspec.Struct, frozen=True):
    """What no single copy of the record does."""

    kind: Literal["two_writes", "two_values", "went_back", "seen_before_written"]
    record: str
    version: int


def check(accesses: Iterable[Access]) -> list[Fault]:
    """The faults of all records."""
    by_record: dict[str, list[Access]] = defaultdict(list)
    for access in accesses:
        by_record[access.record].append(access)
    return [fault for found in by_record.values() for fault in _faults(found)]


def _faults(accesses: Sequence[Access]) -> Iterator[Fault]:
    record = accesses[0].record
    writes: dict[int, Access] = {}
    values: dict[int, Any] = {}
    for access in accesses:
        if access.is_write and access.version in writes:
            yield Fault("two_writes", record, access.version)
        elif access.is_write:
            writes[access.version] = access
        if values.setdefault(access.version, access.value) != access.value:
            yield Fault("two_values", record, access.version)
    ended: list[tuple[float, int]] = []
    known = 0
    for access in sorted(accesses, key=lambda access: access.began_ns):
        while ended and ended[0][0] < access.began_ns:
            known = max(known, heapq.heappop(ended)[1])
        if access.version < known + access.is_write:
            yield Fault("went_back", record, access.version)
        heapq.heappush(ended, (access.ended_ns, access.version))
        wrote = writes.get(access.version)
        if not access.is_write and wrote is not None and access.ended_ns < wrote.began_ns:
            yield Fault("seen_before_written", record, access.version)
