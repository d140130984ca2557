"""What a live query tells."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

Record: TypeAlias = dict[str, Any]


class Snapshot(msgspec.Struct, frozen=True):
    """All records that match, as of `cursor`; what was known before is void.

    It is the first that a live query with `snapshot` tells. It comes again, with the `reason`, when
    something was missed that cannot be told any more.
    """

    items: tuple[Record, ...]
    cursor: str
    reason: str | None = None


class Change(msgspec.Struct, frozen=True):
    """One record was `created`, `updated` or `deleted`.

    `data` holds the selected fields, and is None for `deleted`. `match` tells that the record came
    into the filter (`entered`) or went out of it, or of what the caller may see (`left`).
    """

    kind: Literal["created", "updated", "deleted"]
    object: str
    id: str
    cursor: str
    data: Record | None = None
    match: Literal["entered", "left"] | None = None


class Commit(msgspec.Struct, frozen=True):
    """Several changes that were made together."""

    changes: tuple[Change, ...]
    cursor: str


class Missed(msgspec.Struct, frozen=True):
    """Changes before `cursor` cannot be told any more: read again what depends on them."""

    reason: str
    cursor: str


Told: TypeAlias = Snapshot | Change | Commit | Missed


def told_by(frame: dict[str, Any]) -> Change | Commit:
    """What a `created`, `updated`, `deleted` or `batch` frame tells."""
    if frame["type"] == "batch":
        return Commit(tuple(map(_change, frame["events"])), frame["cursor"])
    return _change(frame)


def _change(frame: dict[str, Any]) -> Change:
    data = frame.get("data")
    id = frame["id"] if data is None else data["id"]
    return Change(frame["type"], frame["object"], id, frame["cursor"], data, frame.get("match"))


def apply(told: Told, records: dict[str, Record]) -> None:
    """Bring `records` (by id) to where `told` leaves them; `Missed` changes nothing."""
    match told:
        case Snapshot(items):
            records.clear()
            records.update((item["id"], item) for item in items)
        case Commit(changes):
            for change in changes:
                apply(change, records)
        case Change(id=id, data=None):
            records.pop(id, None)
        case Change(id=id, data=data):
            assert data is not None
            records[id] = data
        case Missed():
            pass
