"""Moves events out of the places of tenants, which have outboxes of their own, and seals histories.

The worker that leads the relay of a data source does it for all places of that source, each by
itself: one that does not answer keeps no other waiting. A place is looked into when a commit there
was told of; and since what tells may be lost, all are asked together now and then, over a
connection of the shared tables, so that quiet places need none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from objectql.clock import Clock
from objectql.drivers.placed import PlacedDriver
from objectql.drivers.places import Place
from objectql.errors import ObjectQLError
from objectql.ids import TenantId
from objectql.kernel.audit.sealer import Sealer
from objectql.kernel.relay import Relay, RelayLimits

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Places that are looked into at the same time."""

PURGE_ALL_S: Final = 3600.0
"""In which each place is purged once, one after the other."""

MIN_PURGES: Final = 12
"""In that time; as many as of the shared tables, where places are fewer."""


class PlaceRelays:
    """See the head of this module."""

    def __init__(
        self,
        relay: Relay,
        source: PlacedDriver,
        ready: Callable[[], Sequence[Place]],
        sealer: Sealer,
        *,
        clock: Clock,
        limits: RelayLimits | None = None,
    ) -> None:
        """`ready` tells the places whose tables are whole; relay and sealer are of the shared tables."""
        self._relay = relay
        self._sealer = sealer
        self._source = source
        self._ready = ready
        self._clock = clock
        self._limits = limits or RelayLimits()
        self._wake = asyncio.Event()
        self._nudged: set[TenantId] = set()
        self._under_way: set[TenantId] = set()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._purged: TenantId | None = None

    def nudge(self, tenants: Iterable[TenantId]) -> None:
        """Say that something was committed for these tenants; those without a place do not count."""
        placed = self._source.placed
        found = [tenant for tenant in tenants if tenant in placed]
        if found:
            self._nudged.update(found)
            self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask())
            group.create_task(self._tidy())
            while True:
                await self._wake.wait()
                self._wake.clear()
                due = self._nudged - self._under_way
                self._nudged &= self._under_way
                if self._relay.is_leading:  # else who leads is told as well
                    self._under_way |= due
                    for tenant in due:
                        group.create_task(self._drain(tenant))

    async def _ask(self) -> None:
        """Find what nobody told of, or what one who led before has left."""
        while True:
            await self._clock.sleep(self._limits.idle_s)
            places = self._ready()
            if places and self._relay.is_leading:
                try:
                    self.nudge(await self._source.places.waiting(places))
                except ObjectQLError as exc:
                    log.warning("places_not_asked", extra={"reason": str(exc)})

    async def _tidy(self) -> None:
        while True:
            places = self._ready()
            if places and self._relay.is_leading:
                await self._purge(places)
            await self._clock.sleep(PURGE_ALL_S / max(len(places), MIN_PURGES))

    async def _drain(self, tenant: TenantId) -> None:
        async with self._turns:
            driver = self._source.placed.get(tenant)
            is_done = True
            if driver is not None:
                try:
                    await self._relay.drain(driver.outbox)
                    await self._sealer.seal(driver.chains)
                except ObjectQLError as exc:
                    log.warning("place_not_relayed", extra={"tenant": tenant, "reason": str(exc)})
                    is_done = False
        if not is_done:  # it is under way meanwhile, and found again by the next question
            await self._clock.sleep(self._limits.retry_s)
        self._under_way.discard(tenant)
        if tenant in self._nudged:
            self._wake.set()

    async def _purge(self, places: Sequence[Place]) -> None:
        """Delete what has expired in the place that comes after the last one."""
        names = sorted(place.tenant for place in places)
        tenant = next((n for n in names if self._purged is not None and n > self._purged), names[0])
        self._purged = tenant
        async with self._turns:
            driver = self._source.placed.get(tenant)
            if driver is None:
                return
            try:
                await self._sealer.seal(driver.chains)  # what one who died has left
                await self._sealer.purge(driver.chains)
                await driver.outbox.purge(self._limits.retention_s)
                await driver.sweep()
            except ObjectQLError as exc:
                log.warning("place_not_purged", extra={"tenant": tenant, "reason": str(exc)})
