"""What is stored in the stream of change events."""

from __future__ import annotations

from typing import NamedTuple


class StreamMessage(NamedTuple):
    """One event on its way to the stream, which drops a message whose id it has seen lately."""

    subject: str
    body: bytes
    id: str
