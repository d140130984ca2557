"""Runs `txn.protocol`: performs its effects in order and feeds it what comes of them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from typing import Final

from objectql import failpoints
from objectql.clock import Clock
from objectql.drivers.protocol import Session
from objectql.drivers.transactions import Transactions
from objectql.errors import DeadlineExceeded, ObjectQLError, WriteConflict
from objectql.ids import DataSource
from objectql.kernel.transactions.coordinator import Coordinator
from objectql.txn.names import PartName
from objectql.txn.protocol import (
    Answer,
    Ask,
    Decided,
    Event,
    Expired,
    Finish,
    Finished,
    Prepare,
    Prepared,
    Refused,
    State,
    begin,
    step,
)
from objectql.wire.transactions import DecideRequest

log = logging.getLogger(__name__)

_ASK_AGAIN_S: Final = 0.05
_FINISH_S: Final = 0.1
"""So long parts may take to end where the deadline has passed: nobody waits, but recovery is slower."""
_ANSWER_MS: Final = 150
"""So long before the deadline whoever asked is answered, or would not wait for the answer."""


class TwoPhase:
    """The commit of one transaction: `prepare` in its sessions, then `settle` without them."""

    def __init__(
        self,
        names: Mapping[DataSource, PartName],
        stores: Mapping[DataSource, Transactions],
        coordinator: Coordinator,
        clock: Clock,
    ) -> None:
        self._names = names
        self._stores = stores
        self._coordinator = coordinator
        self._clock = clock
        first = next(iter(names.values()))
        self._request = DecideRequest(
            first.txn,
            first.tenant,
            first.epoch,
            first.deadline_ms,
            tuple(names),
            first.kernel,
        )
        self._txn, self._effects = begin(frozenset(names))
        self._events: deque[Event] = deque()
        self.reason: ObjectQLError | None = None
        """Why a part could not be prepared."""

    @property
    def is_begun(self) -> bool:
        """Whether a part may have been prepared."""
        return bool(self._events)

    async def prepare(self, sessions: Mapping[DataSource, Session]) -> None:
        """End all sessions by preparing their parts, side by side.

        Raises:
            DeadlineExceeded: there is no time left to ask for a decision; nothing was prepared.
            ObjectQLError: the first reason why a part could not be; then too `settle` is due.

        """
        if self._left_ms() <= 0:
            raise DeadlineExceeded
        failpoints.hit(failpoints.BEFORE_PREPARE)
        parts = [DataSource(e.part) for e in self._effects if isinstance(e, Prepare)]
        self._events.extend(
            await asyncio.gather(*(self._prepare(part, sessions[part]) for part in parts))
        )
        failpoints.hit(failpoints.AFTER_PREPARE)
        if self.reason is not None:
            raise self.reason

    async def _prepare(self, part: DataSource, session: Session) -> Event:
        try:
            await session.prepare(self._names[part].text)
        except ObjectQLError as exc:
            self.reason = self.reason or exc
            return Refused(part)
        return Prepared(part)

    async def settle(self) -> State:
        """Bring the transaction to its end, or as far as the deadline lets it come."""
        state: State | None = None
        while state is None:
            event = self._events.popleft() if self._events else Expired()
            self._txn, effects = step(self._txn, event)
            finishes: list[Finish] = []
            for effect in effects:
                match effect:
                    case Ask():
                        self._events.append(await self._ask())
                    case Finish():
                        finishes.append(effect)
                    case Answer(told):
                        state = told
                    case Prepare():
                        pass  # `begin` alone asks for that
            self._events.extend(await self._finish(finishes))
        if state == "committed":
            self._coordinator.finished(self._request.id)
        return state

    async def _ask(self) -> Event:
        """The decision, asked for until there is one or the time is over."""
        while (left_ms := self._left_ms()) > 0:
            try:
                async with asyncio.timeout(left_ms / 1000):
                    outcome = await self._coordinator.decide(self._request)
            except (ObjectQLError, TimeoutError) as exc:
                log.info("decision_awaited", extra={"txn": self._request.id, "reason": str(exc)})
                await self._clock.sleep(min(_ASK_AGAIN_S, left_ms / 1000))
            else:
                failpoints.hit(failpoints.AFTER_DECISION)
                return Decided(outcome)
        return Expired()

    def _left_ms(self) -> int:
        return self._request.deadline_ms - _ANSWER_MS - self._clock.now_ms()

    async def _finish(self, finishes: Sequence[Finish]) -> list[Event]:
        """The parts that have ended as decided; the others are left to the coordinator."""
        if failpoints.is_armed(failpoints.AFTER_FIRST_COMMIT):  # one by one, to die between them
            ended = [await self._finish_one(finish, dies=True) for finish in finishes]
        else:
            ended = await self._side_by_side([self._finish_one(finish) for finish in finishes])
        return [event for event in ended if event is not None]

    async def _side_by_side(
        self, work: Sequence[Coroutine[None, None, Event | None]]
    ) -> list[Event | None]:
        """What of `work` is done in time; the coordinator repeats the rest."""
        if not work:
            return []
        tasks = [asyncio.ensure_future(one) for one in work]
        _, late = await asyncio.wait(tasks, timeout=max(self._left_ms() / 1000, _FINISH_S))
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        return [task.result() for task in tasks if not task.cancelled()]

    async def _finish_one(self, finish: Finish, *, dies: bool = False) -> Event | None:
        part = DataSource(finish.part)
        store, name = self._stores[part], self._names[part]
        try:
            was_there = await store.finish(name.text, finish.outcome)
            if finish.outcome == "commit" and not was_there:
                # The coordinator was quicker; the mark is there if it was.
                was_there = await store.find(name.txn) is not None
        except WriteConflict:  # it is at it just now
            was_there = False
        except ObjectQLError as exc:
            log.warning("part_not_ended", extra={"part": name.text, "reason": str(exc)})
            was_there = False
        if dies:
            failpoints.hit(failpoints.AFTER_FIRST_COMMIT)
        return Finished(part) if was_there else None
