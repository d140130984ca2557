"""Moves events out of the places of tenants, which have outboxes of their own, and seals histories.

The worker that leads the relay of a data source does it for all places of that source, each by
itself. A place is looked into when a commit there was told of; and since what tells may be lost,
all are asked together now and then, so that quiet places need no connection.

A place that does not answer keeps no other waiting: it is given up after a while, and from then on
it takes its turns among the doubtful ones until it has answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from objectql.clock import Clock
from objectql.drivers.placed import PlacedDriver
from objectql.drivers.places import Place
from objectql.drivers.protocol import Driver
from objectql.errors import ObjectQLError
from objectql.ids import TenantId
from objectql.kernel.audit.sealer import Sealer
from objectql.kernel.relay import Relay, RelayLimits

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Places that are looked into at the same time."""

DOUBTFUL_AT_ONCE: Final = 2
"""Of those that did not answer when they were last looked into."""

PATIENCE_S: Final = 10.0
"""With one place. What it has published by then stays so, and the rest is found again."""

COUNT_S: Final = 1.0
"""For what all places hold, which is asked every other second."""

PURGE_PATIENCE_S: Final = 600.0
"""With one place that answers; the first purge of a large log takes long."""

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
        self._doubtful: set[TenantId] = set()
        self._doubtful_turns = asyncio.Semaphore(DOUBTFUL_AT_ONCE)
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

    async def counts(self) -> tuple[int, float]:
        """See `Outbox.counts`, for all places that are known to hold events.

        Those that do not answer in `COUNT_S` are left out.
        """
        behind = self._nudged | self._under_way | self._doubtful
        turns = asyncio.Semaphore(AT_ONCE)
        found: list[tuple[int, float]] = []

        async def count(tenant: TenantId) -> None:
            driver = self._source.placed.get(tenant)
            if driver is not None:
                async with turns:
                    with suppress(ObjectQLError):
                        found.append(await driver.outbox.counts())

        with suppress(TimeoutError):
            async with asyncio.timeout(COUNT_S):
                await asyncio.gather(*map(count, behind))
        return sum(number for number, _ in found), max((age_s for _, age_s in found), default=0.0)

    async def _ask(self) -> None:
        """Find what nobody told of, or what one who led before has left."""
        while True:
            await self._clock.sleep(self._limits.idle_s)
            places = self._ready()
            if places and self._relay.is_leading:
                try:
                    self.nudge(await self._source.places.waiting(places, self._source.placed))
                except ObjectQLError as exc:
                    log.warning("places_not_asked", extra={"reason": str(exc)})

    async def _tidy(self) -> None:
        while True:
            places = self._ready()
            if places and self._relay.is_leading:
                await self._purge(places)
            await self._clock.sleep(PURGE_ALL_S / max(len(places), MIN_PURGES))

    async def _drain(self, tenant: TenantId) -> None:
        turns = self._doubtful_turns if tenant in self._doubtful else self._turns
        async with turns:
            is_done = await self._visit(tenant, self._empty, PATIENCE_S)
        if is_done:
            self._doubtful.discard(tenant)
        else:  # it is under way meanwhile, and found again by the next question
            self._doubtful.add(tenant)
            await self._clock.sleep(self._limits.retry_s)
        self._under_way.discard(tenant)
        if tenant in self._nudged:
            self._wake.set()

    async def _purge(self, places: Sequence[Place]) -> None:
        """Delete what has expired in the place that comes after the last one, and look for events.

        What tells `waiting` where to ask may have been lost in a crash of the database.
        """
        names = sorted(place.tenant for place in places)
        tenant = next((n for n in names if self._purged is not None and n > self._purged), names[0])
        self._purged = tenant
        self.nudge([tenant])
        await self._visit(tenant, self._clean, PURGE_PATIENCE_S)

    async def _visit(
        self, tenant: TenantId, work: Callable[[Driver], Awaitable[None]], patience_s: float
    ) -> bool:
        """Do `work` where the tenant has its tables; whether it was done, or these are gone."""
        driver = self._source.placed.get(tenant)
        if driver is None:
            return True
        try:
            async with asyncio.timeout(patience_s):
                await work(driver)
        except (ObjectQLError, TimeoutError) as exc:
            reason = str(exc) or "it did not answer"
            log.warning("place_not_tended", extra={"tenant": tenant, "reason": reason})
            return False
        return True

    async def _empty(self, driver: Driver) -> None:
        await self._relay.drain(driver.outbox)
        await self._sealer.seal(driver.chains)

    async def _clean(self, driver: Driver) -> None:
        await driver.check_health()  # one that does not answer now is not waited for as long
        await self._sealer.seal(driver.chains)  # what one who died has left
        await self._sealer.purge(driver.chains)
        await driver.outbox.purge(self._limits.retention_s)
        await driver.sweep()
