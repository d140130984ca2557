"""Group commit: single-row writes that arrive together are one statement and one transaction.

A write goes out at once, by itself, when none like it (same tenant, object, kind and columns) is
under way. Those that arrive meanwhile leave together when it ends, or when their patience does. So
a commit, the dearest part of a small write, is shared exactly when there is something to share.

Each answer stays its own. Whatever a group cannot settle for one of its writes is left to that
write alone: all of them after an error (of which they may be innocent), one whose record is locked
by somebody else (it is skipped, so that nobody waits for another's lock, and groups cannot
deadlock), one whose record is missing or has moved on. Nothing was written for it then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from objectql.drivers.protocol import (
    Idempotency,
    Remembered,
    RowWrite,
    WriteOutcome,
    WriteScope,
)
from objectql.drivers.sql.postgres_calls import Deadline, Target
from objectql.drivers.sql.writes import (
    WriteStatements,
    group_document,
    outcome_of,
    shape_of,
)
from objectql.errors import ObjectQLError, OutcomeUnknown

MAX_ROWS: Final = 64
"""In one group: beyond that the share of a write in its commit hardly falls."""

PATIENCE_S: Final = 0.025
"""How long writes wait for a statement ahead of them, doubled for each of up to five
that are under way."""

Answer: TypeAlias = "tuple[WriteOutcome, ...] | Remembered"


class LoneWrite(NamedTuple):
    """A write that is a request of its own."""

    write: RowWrite
    scope: WriteScope
    idempotency: Idempotency | None
    deadline: Deadline


class Commit(Protocol):
    """Runs a statement that is a transaction of its own; its rows."""

    def __call__(
        self,
        text: str,
        args: Sequence[object],
        deadline: Deadline,
        target: Target,
        tenant: str,
    ) -> Awaitable[Sequence[Sequence[Any]]]: ...


class _Lane:
    """Writes of one shape: how many statements are under way, and who goes next."""

    def __init__(self) -> None:
        self.under_way = 1
        self.waiting: list[tuple[LoneWrite, asyncio.Future[Answer | None]]] = []
        self.timer: asyncio.TimerHandle | None = None


class WriteGroups:
    """See the head of this module. `alone` does one write by itself."""

    def __init__(
        self,
        alone: Callable[[LoneWrite], Awaitable[Answer]],
        commit: Commit,
        statements: WriteStatements,
    ) -> None:
        self._alone = alone
        self._commit = commit
        self._statements = statements
        self._lanes: dict[Hashable, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.grouped = 0
        """Writes that were settled in a group."""

    async def write(self, lone: LoneWrite) -> Answer:
        """The answer to one write, whoever it travels with."""
        shape = shape_of(lone.write)
        key = (lone.scope.tenant, shape.kind, id(shape.object), shape.values, shape.increments)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
            try:
                return await self._alone(lone)
            finally:
                self._land(key, lane)
        seat: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        lane.waiting.append((lone, seat))
        self._hurry(key, lane)
        answer = await seat
        return await self._alone(lone) if answer is None else answer

    def _hurry(self, key: Hashable, lane: _Lane) -> None:
        """See to it that nobody waits for ever behind a statement that waits itself."""
        if lane.timer is None:
            patience_s = PATIENCE_S * 2 ** min(lane.under_way, 5)
            loop = asyncio.get_running_loop()
            lane.timer = loop.call_later(patience_s, self._depart, key, lane)

    def _depart(self, key: Hashable, lane: _Lane) -> None:
        """Send those who can go together; a record or a key occurs once in a group."""
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        group: list[tuple[LoneWrite, asyncio.Future[Answer | None]]] = []
        left: list[tuple[LoneWrite, asyncio.Future[Answer | None]]] = []
        seen: set[object] = set()
        for lone, seat in lane.waiting:
            if seat.done():  # cancelled before anything was sent
                continue
            marks = {("record", lone.write.id), ("key", _key(lone.idempotency))}
            if len(group) < MAX_ROWS and seen.isdisjoint(marks):
                group.append((lone, seat))
            else:
                left.append((lone, seat))
            seen |= marks - {("key", None)}  # the order of writes to one record is kept
        lane.waiting = left
        if not group:
            return
        lane.under_way += 1
        task = asyncio.create_task(self._send(group))
        self._tasks.add(task)

        def landed(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._land(key, lane)

        task.add_done_callback(landed)
        if left:
            self._hurry(key, lane)

    def _land(self, key: Hashable, lane: _Lane) -> None:
        """A statement has ended: the next group leaves, or the lane is closed."""
        lane.under_way -= 1
        self._depart(key, lane)
        if lane.under_way == 0:
            del self._lanes[key]

    async def _send(self, group: Sequence[tuple[LoneWrite, asyncio.Future[Answer | None]]]) -> None:
        seats = [seat for _, seat in group]
        try:
            answers = await self._settle([lone for lone, _ in group])
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is those that wait who get it
            for seat in seats:
                if not seat.done():
                    seat.set_exception(exc)
        else:
            for seat, answer in zip(seats, answers, strict=True):
                if not seat.done():
                    seat.set_result(answer)
        finally:
            for seat in seats:
                seat.cancel()  # of those not answered: the task itself was cancelled

    async def _settle(self, group: Sequence[LoneWrite]) -> Sequence[Answer | None]:
        """The answers; None is for a write that must go alone.

        Raises:
            OutcomeUnknown: the whole group may or may not have been committed.

        """
        first = group[0]
        if len(group) == 1:
            return (await self._alone(first),)
        # Whoever has time left when the shortest deadline passes goes on alone.
        deadline = min(
            (lone.deadline for lone in group if lone.deadline.at_ms is not None),
            key=lambda deadline: deadline.at_ms or 0,
            default=first.deadline,
        )
        shape = shape_of(first.write)
        args = (group_document(lone[:3] for lone in group), first.scope.tenant)
        target = Target(shape.kind, shape.object, first.write.id)
        try:
            text = self._statements.text(shape, "group")
            rows = await self._commit(text, args, deadline, target, first.scope.tenant)
        except OutcomeUnknown:
            raise
        except ObjectQLError:
            return [None] * len(group)
        answers = [_answer(lone.write, row) for lone, row in zip(group, rows, strict=True)]
        self.grouped += sum(answer is not None for answer in answers)
        return answers


def _key(idempotency: Idempotency | None) -> tuple[str, str] | None:
    return None if idempotency is None else (idempotency.principal, idempotency.key)


def _answer(write: RowWrite, row: Sequence[Any]) -> Answer | None:
    if row[5] is not None:
        return Remembered(row[4], row[5])
    outcome = outcome_of(write, row)
    return None if outcome.status in {"missing", "stale"} else (outcome,)
