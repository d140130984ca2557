"""What is stored in the stream of change events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple


class StreamMessage(NamedTuple):
    """One event on its way to the stream, which drops a message whose id it has seen lately."""

    subject: str
    body: bytes
    id: str


class Stored(NamedTuple):
    """At which positions of the stream `epoch` messages lie; None: not known to be stored."""

    epoch: str
    positions: Sequence[int | None]


class StreamCondition(NamedTuple):
    """Whether publishers are let in; while a stream is `filling`, `last` is how far it is filled."""

    is_: Literal["open", "filling", "missing"]
    epoch: str = ""
    last: int = 0
