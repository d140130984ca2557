"""Moves committed events from the outbox of one data source to the event stream.

One worker of the cluster holds the relay's lease and publishes; the others only nudge it. A worker
that dies loses the lease within its time to live and another goes on, so that an event whose
commit was acknowledged is always delivered: at least once, with its id for consumers to drop
repeats, and in order per record.

Order per record holds because the outbox is read in commit order per record, and because one
window of pipelined publishes never holds two events of the same record: a window whose publishing
fails in part is sent again before anything behind it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol, TypeAlias

import msgspec

from objectql import failpoints
from objectql.clock import Clock, SystemClock
from objectql.drivers.stores import Leases, Outbox
from objectql.errors import ObjectQLError, Unavailable
from objectql.events import ChangeEvent
from objectql.kernel.lease import HeldLease
from objectql.wire.codec import encode
from objectql.wire.stream import Stored, StreamMessage
from objectql.wire.subjects import data_event

logger = logging.getLogger(__name__)

Entry: TypeAlias = tuple[int, ChangeEvent]
Queue: TypeAlias = Callable[[Sequence[ChangeEvent]], Awaitable[int]]
"""Keeps something of the first events of a window; tells how many they are."""


class Publish(Protocol):
    """Stores messages in the stream; one whose id is known is dropped. See `EventStream`."""

    def __call__(self, messages: Sequence[StreamMessage]) -> Awaitable[Stored]: ...


class RelayLimits(msgspec.Struct, frozen=True):
    """How much and how often; seconds."""

    batch: int = 1000
    window: int = 256
    linger_s: float = 0.02
    """How long a relay that publishes all the time lets events gather: what it asks of the database
    and of the stream costs much the same for one event and for fifty."""
    idle_s: float = 1.0
    lease_ttl_s: float = 4.0
    retry_s: float = 0.25
    retention_s: float = 24 * 3600
    purge_every_s: float = 300.0


def windows(entries: Sequence[Entry], size: int) -> Iterator[list[Entry]]:
    """Consecutive runs of at most `size` entries in which no record occurs twice."""
    window: list[Entry] = []
    seen: set[tuple[str, str, str]] = set()
    for entry in entries:
        event = entry[1]
        key = (event.tenant, event.object, event.record_id)
        if key in seen or len(window) >= size:
            yield window
            window, seen = [], set()
        window.append(entry)
        seen.add(key)
    if window:
        yield window


class Relay:
    """The relay of one data source in one worker."""

    def __init__(
        self,
        source: str,
        outbox: Outbox,
        leases: Leases,
        publish: Publish,
        *,
        holder: str,
        clock: Clock | None = None,
        limits: RelayLimits | None = None,
        on_batch: Callable[[Sequence[ChangeEvent]], None] | None = None,
        queue: Queue | None = None,
        sweep: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`holder` names this worker; `on_batch` is told which events were published.

        `queue` is given each window before it is published, once or more: what it keeps of the
        events is kept before they are marked. It says how many of the first of them it has taken,
        one at least; the lease is renewed before it is given the others.

        `sweep` deletes what else has expired in the source, at the pace of the purges.
        """
        self._outbox = outbox
        self._publish = publish
        self._clock = clock or SystemClock()
        self._limits = limits or RelayLimits()
        self._lease = HeldLease(
            leases, f"outbox:{source}", holder, self._clock, self._limits.lease_ttl_s
        )
        self._on_batch = on_batch
        self._queue = queue
        self._sweep = sweep
        self._wake = asyncio.Event()
        self._purged_s = float("-inf")
        self._is_busy = False
        self._failing_since_s: float | None = None

    @property
    def is_leading(self) -> bool:
        """Whether this worker publishes."""
        return self._lease.is_held

    def nudge(self) -> None:
        """Say that something was committed; safe to call often."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; then give the lease up."""
        try:
            while True:
                await self._turn()
        finally:
            await self._lease.release()

    async def _turn(self) -> None:
        limits = self._limits
        try:
            if not await self._lease.keep():
                await self._clock.sleep(limits.lease_ttl_s / 4)
                return
            self._wake.clear()
            published = await self.drain(self._outbox)
            await self._purge()
        except ObjectQLError as exc:
            logger.warning("relay.failed", extra={"lease": self._lease.name, "error": str(exc)})
            await self._clock.sleep(await self._after_failure())
            return
        self._failing_since_s = None
        if not published:
            self._is_busy = False
            await self._idle()
        elif published < limits.window and self._is_busy:
            await self._clock.sleep(limits.linger_s)
        else:
            self._is_busy = True  # one event, or two, after a pause wait for nobody

    async def _after_failure(self) -> float:
        """How long to wait. Who reaches the store and not the stream keeps the lease no longer than
        the dead do, and stands back for one who may be on the other side of the cut.
        """
        now_s, limits = self._clock.monotonic_s(), self._limits
        since_s = self._failing_since_s = self._failing_since_s or now_s
        if not self._lease.is_held or now_s - since_s < limits.lease_ttl_s:
            return limits.retry_s
        self._failing_since_s = None
        with suppress(ObjectQLError):  # then it ends by itself
            await self._lease.release()
        return limits.lease_ttl_s / 2

    async def _idle(self) -> None:
        # The wait is also the net for nudges that were lost with the bus.
        try:
            async with asyncio.timeout(self._limits.idle_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def drain(self, outbox: Outbox) -> int:
        """Publish what is pending in `outbox` now; how many events it was."""
        total = 0
        while entries := await outbox.pending(self._limits.batch):
            for window in windows(entries, self._limits.window):
                left = window
                while left:
                    if not await self._lease.keep():
                        return total
                    taken = await self._move(outbox, left)
                    total += taken
                    left = left[taken:]
            if len(entries) < self._limits.batch:
                break
        return total

    async def _move(self, outbox: Outbox, window: Sequence[Entry]) -> int:
        """Publish the first of a window; how many of it."""
        failpoints.hit(failpoints.BEFORE_PUBLISH)
        if self._queue:
            window = window[: await self._queue([event for _, event in window])]
        epoch, places = await self._publish([message_of(event) for _, event in window])
        failpoints.hit(failpoints.AFTER_PUBLISH)
        stored = {p: at for (p, _), at in zip(window, places, strict=True) if at}
        await outbox.mark_published(epoch, stored)
        if self._on_batch:
            self._on_batch([event for position, event in window if position in stored])
        if len(stored) < len(window):  # the others first, before anything behind them
            raise Unavailable(what="the event stream")
        return len(window)

    async def _purge(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._purged_s >= self._limits.purge_every_s:
            self._purged_s = now_s
            await self._outbox.purge(self._limits.retention_s)
            if self._sweep:
                await self._sweep()


def message_of(event: ChangeEvent) -> StreamMessage:
    """The event as it lies in the stream."""
    subject = data_event(event.tenant, event.object, event.kind)
    return StreamMessage(subject, encode(event), event.id)
