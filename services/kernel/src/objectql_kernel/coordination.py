"""The coordinator that leads, as this kernel knows it from heartbeats.

Nothing is asked to learn who leads, so transactions are refused at once while nobody does. What a
heartbeat says may be wrong by the time it arrives: a coordinator that leads no more refuses to decide,
or its decision does not reach the log.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple, TypeVar

import msgspec

from objectql.bus.breaker import BreakerPolicy
from objectql.bus.client import KernelClient
from objectql.bus.port import Bus, Envelope
from objectql.clock import Clock
from objectql.context import Context, system_actor
from objectql.errors import ObjectQLError, TransactionUnavailable
from objectql.ids import uuid7
from objectql.txn.names import Outcome
from objectql.wire.codec import decode
from objectql.wire.messages import Heartbeat
from objectql.wire.subjects import coordinator_rpc, heartbeat
from objectql.wire.transactions import (
    DecideReply,
    DecideRequest,
    Decision,
    DecisionReply,
    DecisionRequest,
    Done,
    FinishedRequest,
)
from objectql.wire.trust import ContextKeys

log = logging.getLogger(__name__)

T = TypeVar("T")

SILENT_AFTER_S: Final = 3.0
"""A leader that was not heard for so long leads no more, as far as this kernel is concerned."""

TELL_EVERY_S: Final = 0.1
"""Transactions that have ended are told of together."""

_ASK_WITHIN_MS: Final = 2_000
_VERBS: Final = frozenset(("decide", "decision", "finished"))
"""All may be repeated."""

_NEVER_OPEN: Final = BreakerPolicy(failures=1_000_000)
"""Who must know an outcome asks until it is told, and asks whoever leads by then."""


class Leader(NamedTuple):
    """Who led, when it was last heard."""

    instance: str
    epoch: int
    heard_s: float
    client: KernelClient


class CoordinatorLink:
    """See `objectql.kernel.transactions.coordinator.Coordinator`."""

    def __init__(self, bus: Bus, clock: Clock, keys: ContextKeys | None, *, kernel: str) -> None:
        """`kernel` is what this one calls itself in the names of parts."""
        self.kernel = kernel
        self._bus = bus
        self._clock = clock
        self._keys = keys
        self._leader: Leader | None = None
        self._finished: list[str] = []

    async def hear(self, envelope: Envelope) -> None:  # noqa: RUF029 - a listener is a coroutine
        """Take note of a coordinator's heartbeat."""
        try:
            beat = decode(Heartbeat, envelope.body)
            epoch = int(beat.details.get("epoch", 0))
        except (msgspec.MsgspecError, TypeError, ValueError) as exc:
            log.warning("heartbeat_malformed", extra={"reason": str(exc)})
            return
        known = self._leader
        if beat.details.get("role") != "leader":
            if known is not None and known.instance == beat.instance:
                self._leader = None
            return
        if known is not None and known.epoch > epoch:
            return  # of before, and late
        if known is None or known.instance != beat.instance:
            client = KernelClient(
                self._bus,
                clock=self._clock,
                breaker=_NEVER_OPEN,
                subject=partial(coordinator_rpc, beat.instance),
                read_verbs=_VERBS,
                keys=self._keys,
            )
        else:
            client = known.client
        self._leader = Leader(beat.instance, epoch, self._clock.monotonic_s(), client)

    async def run(self) -> None:
        """Listen to coordinators, and tell the leader what has ended, until cancelled."""
        unsubscribe = await self._bus.subscribe(heartbeat("coordinator", "*"), self.hear)
        try:
            while True:
                await self._clock.sleep(TELL_EVERY_S)
                ids, self._finished = tuple(self._finished), []
                if ids:
                    with suppress(ObjectQLError):  # its recovery finds out
                        await self._call("finished", FinishedRequest(ids), Done)
        finally:
            await unsubscribe()

    def epoch(self) -> int:
        """See `Coordinator`."""
        return self._leading().epoch

    async def decide(self, request: DecideRequest) -> Outcome:
        """See `Coordinator`."""
        return (await self._call("decide", request, DecideReply)).outcome

    async def decision(self, id: str) -> Decision | None:
        """See `Coordinator`."""
        return (await self._call("decision", DecisionRequest(id), DecisionReply)).decision

    def finished(self, id: str) -> None:
        """See `Coordinator`."""
        self._finished.append(id)

    def _leading(self) -> Leader:
        leader = self._leader
        if leader is None or self._clock.monotonic_s() - leader.heard_s > SILENT_AFTER_S:
            raise TransactionUnavailable(reason="no coordinator leads")
        return leader

    async def _call(self, verb: str, request: msgspec.Struct, reply_type: type[T]) -> T:
        client = self._leading().client
        deadline_ms = self._clock.now_ms() + _ASK_WITHIN_MS
        context = Context(actor=system_actor(), deadline_ms=deadline_ms, request_id=uuid7())
        return await client.call(verb, request, context, reply_type)
