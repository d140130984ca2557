"""A history: what each client began, and how it ended.

One JSON object in a line: `process` (which client), `id` (which of all operations), `kind`, `op`
(its name), `value` (what was asked, or what came back) and `time_ns` of the monotonic clock. An
operation is invoked once and ends once: `ok` (it happened), `fail` (it did not), `info` (nobody
knows; it may even happen later). One that never ends is as `info`. The form is that of Jepsen.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self, TypeAlias

import msgspec

Outcome: TypeAlias = Literal["ok", "fail", "info"]


class Event(msgspec.Struct, frozen=True):
    """One line."""

    process: str
    id: int
    kind: Literal["invoke", "ok", "fail", "info"]
    op: str
    value: Any
    time_ns: int


class Operation(msgspec.Struct, frozen=True):
    """An operation from its beginning to its end; `answer` is None where it has none."""

    process: str
    op: str
    asked: Any
    outcome: Outcome
    answer: Any
    began_ns: int
    ended_ns: float
    """Infinite where its end is unknown: it may still take effect."""


class Recorder:
    """Writes a history; safe for all tasks of one loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ids = itertools.count()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self._file = self.path.open("wb", buffering=0)  # a killed run has its history too
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def invoke(self, process: str, op: str, value: Any = None) -> int:
        """Note that an operation begins; the id with which to `end` it."""
        id_ = next(self._ids)
        self._write(Event(process, id_, "invoke", op, value, time.monotonic_ns()))
        return id_

    def end(self, process: str, id_: int, outcome: Outcome, op: str, value: Any = None) -> None:
        """Note how it ended."""
        self._write(Event(process, id_, outcome, op, value, time.monotonic_ns()))

    def _write(self, event: Event) -> None:
        if self._file is None:
            raise ValueError("the recorder is not open")
        self._file.write(msgspec.json.encode(event) + b"\n")


def read(path: Path) -> list[Operation]:
    """The operations of a file in the order in which they began."""
    decoder = msgspec.json.Decoder(Event)
    with path.open("rb") as lines:
        return operations(decoder.decode(line) for line in lines)


def operations(events: Iterable[Event]) -> list[Operation]:
    """The operations of a history in the order in which they began.

    Raises:
        ValueError: one ends that did not begin, or twice.

    """
    begun: dict[int, Event] = {}
    ended: dict[int, Event] = {}
    for event in events:
        if event.kind == "invoke":
            if event.id in begun:
                raise ValueError(f"operation {event.id} begins twice")
            begun[event.id] = event
        elif event.id not in begun or event.id in ended:
            raise ValueError(f"operation {event.id} ends, and did not begin or has ended")
        else:
            ended[event.id] = event
    return [_operation(event, ended.get(id_)) for id_, event in begun.items()]


def _operation(begun: Event, ended: Event | None) -> Operation:
    if ended is None or ended.kind == "info" or ended.kind == "invoke":
        answer = None if ended is None else ended.value
        outcome: Outcome = "info"
        ended_ns = math.inf
    else:
        answer, outcome, ended_ns = ended.value, ended.kind, float(ended.time_ns)
    return Operation(
        process=begun.process,
        op=begun.op,
        asked=begun.value,
        outcome=outcome,
        answer=answer,
        began_ns=begun.time_ns,
        ended_ns=ended_ns,
    )


def of(history: Iterable[Operation], op: str) -> Iterator[Operation]:
    """Those of one name."""
    return (operation for operation in history if operation.op == op)
