"""Ends what kernels left behind: regularly, by whoever leads, one data source beside the other.

The rules are `objectql.txn.recovery`; here they are only carried out. A source that does not answer
holds up nobody but itself, and is asked again until it is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Final, Protocol, TypeVar

import msgspec

from objectql.clock import Clock
from objectql.context import Context, system_actor
from objectql.errors import ObjectQLError
from objectql.ids import DataSource, uuid7
from objectql.txn.names import Outcome, PartName, parse_part_name
from objectql.txn.recovery import Cause, is_forgettable, recover
from objectql.wire.transactions import (
    Decision,
    FinishReply,
    FinishRequest,
    PreparedReply,
    PreparedRequest,
    SourcesReply,
    SourcesRequest,
)
from objectql_coordinator.deciding import Leading
from objectql_coordinator.decision_log import DecisionLog, DecisionUnreadable
from objectql_coordinator.owners import Owners
from objectql_coordinator.zookeeper import ZooKeeperFailed

log = logging.getLogger(__name__)

T = TypeVar("T")

SETTLE_MS: Final = 1_000
"""How long a decision is left to the kernel that asked for it."""

_CALL_WITHIN_MS: Final = 5_000


class Kernels(Protocol):
    """The kernels, asked by `wire.subjects.parts_rpc`."""

    async def call(
        self, verb: str, request: msgspec.Struct, context: Context, reply_type: type[T]
    ) -> T: ...


class Recovery:
    """One coordinator's part in it: all, while it leads."""

    def __init__(
        self,
        decisions: DecisionLog,
        kernels: Kernels,
        leading: Leading,
        clock: Clock,
        owners: Owners,
        *,
        every_s: float,
    ) -> None:
        self._log = decisions
        self._kernels = kernels
        self._leading = leading
        self._clock = clock
        self._owners = owners
        self._every_s = every_s
        self._epoch: int | None = None
        self._sources: set[DataSource] = set()
        self._sweeps: dict[DataSource, asyncio.Task[None]] = {}
        self._ended: dict[str, set[DataSource]] = {}
        self._waiting: dict[DataSource, tuple[PartName, ...]] = {}
        self._undone: dict[str, Decision] = {}
        """Decisions to commit in the log."""
        self.recovered: Counter[Outcome] = Counter()
        """Parts that were ended, by how."""

    @property
    def in_doubt(self) -> int:
        """Transactions with parts that the last look at their sources found prepared, or that are
        decided and not in force everywhere.
        """
        return len({*(part.txn for part in self.waiting), *self._undone})

    @property
    def oldest_in_doubt_s(self) -> float:
        """How long ago the oldest transaction began that is not in force everywhere."""
        now_ms = self._clock.now_ms()
        begun_ms = [part.begun_ms for part in self.waiting]
        decided_ms = [decision.at_ms for decision in self._undone.values()]
        return max(now_ms - min((*begun_ms, *decided_ms), default=now_ms), 0) / 1000

    @property
    def waiting(self) -> Iterator[PartName]:
        """Parts that the last look at their sources found prepared."""
        return (part for parts in self._waiting.values() for part in parts)

    @property
    def undone(self) -> Collection[Decision]:
        """Decisions to commit that may not be in force everywhere."""
        return self._undone.values()

    def awaited(self, decision: Decision) -> tuple[DataSource, ...]:
        """The sources in which a decision to commit was not seen to be in force."""
        ended = self._ended.get(decision.id, set())
        return tuple(source for source in decision.sources if source not in ended)

    async def run(self) -> None:
        """Look regularly until cancelled."""
        try:
            while True:
                try:
                    await self.look()
                except (ObjectQLError, ZooKeeperFailed) as exc:
                    log.info("recovery_awaited", extra={"reason": str(exc)})
                await self._clock.sleep(self._every_s)
        finally:
            for sweep in self._sweeps.values():
                sweep.cancel()

    async def swept(self) -> None:
        """Return when every source that is being looked at has been, or does not answer."""
        if self._sweeps:
            await asyncio.wait(self._sweeps.values())

    async def look(self) -> None:
        """Begin to look at every source."""
        epoch = self._leading.leading_epoch
        if epoch is None:
            self._epoch, self._waiting, self._undone = None, {}, {}
            return
        if epoch != self._epoch:
            await self._log.open()
            self._epoch = epoch
        decisions = await self._log.all()
        await self._forget(decisions)
        commits = (decision for decision in decisions.values() if decision.outcome == "commit")
        self._undone = {decision.id: decision for decision in commits}
        self._ended = {id: ended for id, ended in self._ended.items() if id in decisions}
        try:
            reply = await self._call("sources", SourcesRequest(), SourcesReply)
            self._sources.update(reply.sources)
        finally:
            for source in self._sources:
                sweep = self._sweeps.get(source)
                if sweep is None or sweep.done():
                    work = self._sweep(source, epoch, decisions)
                    self._sweeps[source] = asyncio.create_task(work)

    async def _forget(self, decisions: Mapping[str, Decision]) -> None:
        now_ms = self._clock.now_ms()
        for decision in decisions.values():
            ended = self._ended.get(decision.id, set())
            if is_forgettable(
                decision.outcome,
                is_finished=ended >= set(decision.sources),
                deadline_ms=decision.deadline_ms,
                now_ms=now_ms,
            ):
                await self._log.forget(decision.id)

    async def _sweep(
        self, source: DataSource, epoch: int, decisions: Mapping[str, Decision]
    ) -> None:
        """Bring one source in line with the log."""
        try:
            for decision in decisions.values():
                if decision.outcome == "commit" and source in decision.sources:
                    await self._commit(decision, source)
            reply = await self._call("prepared", PreparedRequest(source), PreparedReply)
            found = [part for part in map(parse_part_name, reply.names) if part is not None]
            self._owners.found(source, found)
            self._waiting[source] = tuple(found)
            for part in found:
                await self._end(part, epoch)
        except (ObjectQLError, ZooKeeperFailed) as exc:
            log.warning("source_not_recovered", extra={"source": source, "reason": str(exc)})

    async def _commit(self, decision: Decision, source: DataSource) -> None:
        """See to it that a decision is in force; the kernel that asked for it has the first try."""
        ended = self._ended.setdefault(decision.id, set())
        if source in ended or self._clock.now_ms() - decision.at_ms < SETTLE_MS:
            return
        if await self._finish(decision.part(source), "commit"):
            ended.add(source)

    async def _end(self, part: PartName, epoch: int) -> None:
        """End a part that was found, if it is time."""
        try:
            standing = await self._log.find(part.txn)
        except DecisionUnreadable:
            return  # it waits for a coordinator that can read it
        recorded = None if standing is None else standing.outcome
        now_ms = self._clock.now_ms()
        is_orphan = self._owners.is_orphan(part)
        verdict = recover(part, recorded, epoch=epoch, now_ms=now_ms, is_orphan=is_orphan)
        match verdict:
            case "abort":
                await self._finish(part, "abort")
            case "orphaned" | "leaderless" | "late":
                if await self._presume_abort(part, verdict, epoch):
                    await self._finish(part, "abort")
            case "commit" | None:
                pass  # `_commit` sees to the one, its kernel to the other

    async def _presume_abort(self, part: PartName, cause: Cause, epoch: int) -> bool:
        """Write down that the transaction of `part` is given up; false: it was decided meanwhile."""
        presumed = Decision(
            "abort",
            part.txn,
            part.tenant,
            part.epoch,
            part.deadline_ms,
            (part.source,),
            self._clock.now_ms(),
            part.kernel,
        )
        try:
            standing = await self._log.record(presumed, epoch=epoch, cause=cause)
        except DecisionUnreadable:
            return False
        return standing.outcome == "abort"

    async def _finish(self, part: PartName, outcome: Outcome) -> bool:
        request = FinishRequest(part.text, outcome)
        reply = await self._call("finish", request, FinishReply)
        if reply.was_there:
            self.recovered[outcome] += 1
            log.warning("part_recovered", extra={"part": part.text, "outcome": outcome})
        if not reply.is_finished:
            log.error("part_lost", extra={"part": part.text})
        return reply.is_finished

    async def _call(self, verb: str, request: msgspec.Struct, reply_type: type[T]) -> T:
        deadline_ms = self._clock.now_ms() + _CALL_WITHIN_MS
        context = Context(actor=system_actor(), deadline_ms=deadline_ms, request_id=uuid7())
        return await self._kernels.call(verb, request, context, reply_type)
