"""The outbox relays of this worker, and the nudges between workers.

Whoever commits nudges its own relay, and over the bus the one that holds the lease. Nudges are
merged: at most one message per `NUDGE_EVERY_S`, and a lost one costs the relay's idle wait. They
name the tenants whose places hold what was committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from objectql.bus.port import Bus, Envelope, EventStream
from objectql.clock import Clock
from objectql.drivers.placed import PlacedDriver
from objectql.drivers.places import Place
from objectql.drivers.protocol import Driver
from objectql.drivers.stores import Outbox
from objectql.errors import Unavailable
from objectql.events import ChangeEvent
from objectql.ids import DataSource, TenantId
from objectql.kernel.audit.sealer import Sealer
from objectql.kernel.place_relays import PlaceRelays
from objectql.kernel.relay import Queue, Relay
from objectql.kernel.stream_keeper import StreamKeeper
from objectql.wire.codec import decode, encode
from objectql.wire.messages import Committed
from objectql.wire.subjects import kernel_event

log = logging.getLogger(__name__)

NUDGE_EVERY_S = 0.002


class Changes:
    """All relays of one worker."""

    def __init__(
        self,
        drivers: Mapping[DataSource, Driver],
        placed: Mapping[DataSource, PlacedDriver],
        ready: Callable[[], Sequence[Place]],
        sealers: Mapping[DataSource, Sealer],
        bus: Bus,
        stream: EventStream,
        *,
        holder: str,
        clock: Clock,
        queue: Queue | None = None,
    ) -> None:
        """`placed` are those of `drivers` in which tenants have places, and `ready` tells which.

        `sealers` chain what the places of a source have in their logs.
        """
        self._bus = bus
        self._clock = clock
        self._subject = kernel_event("outbox")
        self._committed = asyncio.Event()
        self.published = 0
        self.on_published: Callable[[Sequence[ChangeEvent]], None] = lambda _: None
        self.relays = {
            name: Relay(
                name,
                driver.outbox,
                driver.leases,
                stream.publish,
                holder=holder,
                clock=clock,
                on_batch=self._count,
                queue=queue,
                sweep=driver.sweep,
            )
            for name, driver in drivers.items()
        }
        self._drivers = drivers
        self._placed = placed
        self._places = {
            name: PlaceRelays(self.relays[name], driver, ready, sealers[name], clock=clock)
            for name, driver in placed.items()
        }
        self._keeper = StreamKeeper(
            stream,
            self._outboxes,
            lambda: next(iter(self.relays.values())).is_leading,
            clock=clock,
        )
        self._tenants: set[TenantId] = set()
        """Those with places for which this worker has committed since it last told of it."""

    def committed(self, tenant: TenantId) -> None:
        """Say that this worker committed something; cheap, safe to call for every request."""
        for driver in self._placed.values():
            if tenant in driver.placed:
                self._tenants.add(tenant)
        self._committed.set()

    async def counts(self, source: DataSource) -> tuple[int, float]:
        """See `Outbox.counts`: of the shared tables of `source` and of the places in it.

        Raises:
            ObjectQLError: the source is away.

        """
        number, age_s = await self._drivers[source].outbox.counts()
        places = self._places.get(source)
        if places is not None:
            more, oldest_s = await places.counts()
            number, age_s = number + more, max(age_s, oldest_s)
        return number, age_s

    async def run(self) -> None:
        """Relay until cancelled."""
        unsubscribe = await self._bus.subscribe(self._subject, self._on_nudge)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keeper.run())
                group.create_task(self._tell())
                for relay in (*self.relays.values(), *self._places.values()):
                    group.create_task(relay.run())
        finally:
            await unsubscribe()

    async def _tell(self) -> None:
        while True:
            await self._committed.wait()
            self._committed.clear()
            tenants, self._tenants = tuple(self._tenants), set()
            self._nudge(tenants)
            if not all(relay.is_leading for relay in self.relays.values()):
                try:
                    body = encode(Committed(tenants)) if tenants else b""
                    await self._bus.publish(self._subject, body)
                except Unavailable:
                    log.debug("nudge_lost")
            await self._clock.sleep(NUDGE_EVERY_S)

    async def _on_nudge(self, envelope: Envelope) -> None:  # noqa: RUF029 - the port's shape
        self._nudge(decode(Committed, envelope.body).tenants if envelope.body else ())

    def _nudge(self, tenants: Sequence[TenantId]) -> None:
        for relay in self.relays.values():
            relay.nudge()
        if tenants:
            for places in self._places.values():
                places.nudge(tenants)

    def _outboxes(self) -> Iterator[Outbox]:
        for driver in self._drivers.values():
            yield driver.outbox
        for source in self._placed.values():
            for driver in source.placed.values():
                yield driver.outbox

    def _count(self, events: Sequence[ChangeEvent]) -> None:
        self.published += len(events)
        self.on_published(events)
