"""Chains of hashes over the entries of a log. Pure.

The hash of an entry is SHA-256 over the msgpack of the chain's name, the entry's place, the hash
before it and all that is stored of it (linear linking: Haber and Stornetta 1991, "How to time-stamp
a digital document"). Every part ends where it ends and has its type, so no two entries have the same
bytes. Whoever knows the hash of a head knows all entries up to it: nothing of them can be altered,
removed, added or moved without another hash at that place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from objectql.drivers.chains import Chain, Entry, Head, Link, Seal

_PURPOSE: Final = b"oql-audit-v1"

_encode = msgspec.msgpack.Encoder().encode

Fault: TypeAlias = Literal["altered", "missing", "inserted"]
"""`altered`: the entry is not what was sealed, or the hash is not its hash. `missing`: an entry was
removed, at this place or from here to the end. `inserted`: there is an entry where there was none."""


class Break(msgspec.Struct, frozen=True):
    """The first place where a chain does not hold. `entry` is an id, None where there is no entry."""

    sequence: int
    fault: Fault
    entry: str | None = None


def hash_of(entry: Entry, sequence: int, previous: str) -> str:
    """The hash of `entry` as number `sequence` of its chain, in hexadecimal."""
    parts = _encode([*entry.chain, sequence, previous, entry.content])
    return hashlib.sha256(_PURPOSE + parts).hexdigest()


def seal_after(head: Head, entries: Iterable[Entry]) -> Seal:
    """The seal that puts `entries` of the chain of `head` behind it, in their order."""
    links: list[Link] = []
    sequence, last = head.sequence, head.hash
    for entry in entries:
        sequence += 1
        last = hash_of(entry, sequence, last)
        links.append(Link(entry.position, sequence, last))
    after = msgspec.structs.replace(head, sequence=sequence, hash=last)
    return Seal(head, after, tuple(links))


def first_place(head: Head) -> Place:
    """Where to begin: before everything, even what should not be there any more."""
    return Place(head.chain, head.purged_sequence, head.purged_hash, (-(2**62), 0))


class Place(msgspec.Struct, frozen=True):
    """How far a chain was followed, and how many entries that were.

    `at` is the (sequence, position) of the last entry, to read on from. `is_anchored` tells whether
    one of the hashes passed was the known one.
    """

    chain: Chain
    sequence: int
    hash: str
    at: tuple[int, int]
    entries: int = 0
    is_anchored: bool = False


def follow(place: Place, entries: Sequence[Entry], anchor: str | None = None) -> Place | Break:
    """The place behind sealed `entries`, which are read in their order from `place` on."""
    is_anchored = place.is_anchored or place.hash == anchor
    sequence, last = place.sequence, place.hash
    for entry in entries:
        found = entry.sequence
        if found is None or found <= sequence:
            return Break(found or 0, "inserted", entry.id)
        if found > sequence + 1:
            return Break(sequence + 1, "missing")
        sequence = found
        expected = hash_of(entry, sequence, last)
        if entry.hash != expected:
            return Break(sequence, "altered", entry.id)
        last = expected
        is_anchored = is_anchored or last == anchor
    at = place.at
    if entries:
        at = (sequence, entries[-1].position)
    count = place.entries + len(entries)
    return Place(place.chain, sequence, last, at, count, is_anchored)


def ends_at(place: Place, head: Head) -> Break | None:
    """What is wrong where all entries were followed to `place` and the chain ends with `head`."""
    if place.sequence < head.sequence:
        return Break(place.sequence + 1, "missing")
    if place.sequence > head.sequence:
        return Break(head.sequence + 1, "inserted")
    return None if place.hash == head.hash else Break(head.sequence, "altered")
