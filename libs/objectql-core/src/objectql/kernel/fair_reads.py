"""Connections shared between tenants, so that slow queries of one leave some for the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from objectql.drivers.protocol import Driver, Page, RecordImage
from objectql.errors import DeadlineExceeded
from objectql.fairness import FairPlaces, PlaceLimits
from objectql.kernel.engine import Engine
from objectql.kernel.fetch import SharingFetch
from objectql.kernel.planning import Runnable, Scope
from objectql.values import Value

MAX_WAITING: Final = 4096
"""Far more than a worker takes on at once: who waits here has been admitted already."""


class FairReads:
    """At most its share of a data source's connections to each tenant.

    Only reads outside transactions count: they hold nothing while they wait, so no circle can
    arise. What holds a connection already goes on.
    """

    def __init__(self, engine: Engine, inner: SharingFetch) -> None:
        self._inner = inner
        self._clock = engine.clock
        settings = engine.settings
        self._limits = PlaceLimits(settings.max_reads, MAX_WAITING, settings.tenant_share)
        self._places: dict[Driver, FairPlaces] = {}

    async def page(self, run: Runnable, scope: Scope) -> Page:
        """See `Fetch`."""
        if scope.session is not None:
            return await self._inner.page(run, scope)
        places = await self._enter(run, scope)
        try:
            return await self._inner.page(run, scope)
        finally:
            places.leave(scope.context.actor.tenant)

    async def record(self, run: Runnable, scope: Scope) -> RecordImage | None:
        """See `Fetch`."""
        if scope.session is not None:
            return await self._inner.record(run, scope)
        places = await self._enter(run, scope)
        try:
            return await self._inner.record(run, scope)
        finally:
            places.leave(scope.context.actor.tenant)

    async def pages(
        self, run: Runnable, params: Sequence[Sequence[Value]], scope: Scope
    ) -> Sequence[Page]:
        """See `SharingFetch`; one statement, hence one place."""
        places = await self._enter(run, scope)
        try:
            return await self._inner.pages(run, params, scope)
        finally:
            places.leave(scope.context.actor.tenant)

    async def records(
        self, run: Runnable, params: Sequence[Sequence[Value]], scope: Scope
    ) -> Sequence[RecordImage | None]:
        """See `SharingFetch`; likewise."""
        places = await self._enter(run, scope)
        try:
            return await self._inner.records(run, params, scope)
        finally:
            places.leave(scope.context.actor.tenant)

    async def _enter(self, run: Runnable, scope: Scope) -> FairPlaces:
        driver = run.prepared.driver
        places = self._places.get(driver)
        if places is None:
            places = self._places[driver] = FairPlaces(self._limits)
        if not places.enter_now(scope.context.actor.tenant):
            await self._wait(places, scope)
        return places

    async def _wait(self, places: FairPlaces, scope: Scope) -> None:
        """Enter before the deadline.

        Raises:
            DeadlineExceeded: no place became free in time.

        """
        left_s = (scope.context.deadline_ms - self._clock.now_ms()) / 1000
        limit = asyncio.timeout(left_s)
        try:
            async with limit:
                await places.enter(scope.context.actor.tenant)
        except TimeoutError as exc:
            raise DeadlineExceeded from exc
