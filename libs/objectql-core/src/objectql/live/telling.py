"""What somebody is told of a change to a record that came into view, stayed there, or left."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from objectql.events import ChangeKind
from objectql.live.images import EventImages

MatchWord: TypeAlias = Literal["entered", "left"]


class Seen(NamedTuple):
    """An event that concerns somebody, by what they saw before and see now."""

    was: bool
    now: bool
    images: EventImages


class Telling(NamedTuple):
    """`kind` is the change as its listener sees it; `match` says where the record itself did not."""

    kind: ChangeKind
    match: MatchWord | None = None


def telling(kind: ChangeKind, *, was: bool, now: bool) -> Telling | None:
    """What somebody is told who saw the record before the change (`was`), or sees it `now`."""
    if now:
        if kind == "updated" and not was:
            return Telling("updated", "entered")
        return Telling(kind)
    if was:
        return Telling("deleted") if kind == "deleted" else Telling("deleted", "left")
    return None
