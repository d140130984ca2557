"""Several requests, answers or cancellations in one message.

Half of what a message costs is the same whether it is short or long: a system call at each end,
the protocol line, the library's bookkeeping. So a connection sends what comes up within one turn
of its event loop as few messages. The structs are arrays on the wire; fields are only added at
their end, with defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec

T = TypeVar("T")

MAX_REQUESTS = 16
"""In one message. The queue group gives all of it to one worker, so it must stay a small part of
what is under way, or the other workers have nothing to do."""

MAX_BYTES = 128 * 1024
"""Of bodies in one message. What is longer travels alone: there is nothing to save."""


class Ask(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One request: what a message of its own would have as subject, headers and payload."""

    subject: str
    headers: dict[str, str]
    body: bytes


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """Requests for one service. Request n of them has the number `first + n`.

    Answers go to the subject `answers`, each under its request's number, as they are done.
    """

    answers: str
    first: int
    asks: tuple[Ask, ...]


class Answer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The answer to one request, or a piece of it (`Oql-Chunk`)."""

    number: int
    headers: dict[str, str]
    body: bytes


class Answers(msgspec.Struct, frozen=True, array_like=True):
    """Answers to requests that came from one connection, in whatever frames."""

    items: tuple[Answer, ...]


class Cancel(msgspec.Struct, frozen=True, array_like=True):
    """Nobody waits for these requests any more; whoever works on one may stop."""

    answers: str
    numbers: tuple[int, ...]


def packs(
    items: Iterable[T],
    size: Callable[[T], int],
    *,
    max_items: int = MAX_REQUESTS,
    max_bytes: int = MAX_BYTES,
) -> Iterator[list[T]]:
    """`items` in order, in groups within both limits; one that is longer stands alone."""
    pack: list[T] = []
    total = 0
    for item in items:
        length = size(item)
        if pack and (len(pack) == max_items or total + length > max_bytes):
            yield pack
            pack, total = [], 0
        pack.append(item)
        total += length
    if pack:
        yield pack
