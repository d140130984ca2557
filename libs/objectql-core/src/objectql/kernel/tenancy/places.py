"""The places of tenants: made, kept in line with the metadata, dropped.

All of it happens while the caller holds the right to publish metadata, so that a place is never
made for one version of the metadata while another is published. What fails for one tenant is noted
with that tenant (`Tenant.pending`), which is refused until it is mended, and nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from objectql.drivers.places import PlaceKind
from objectql.drivers.tenants import Tenant
from objectql.errors import NotSupported, ObjectQLError, TenantHasRecords, WriteConflict
from objectql.ids import TenantId
from objectql.kernel.engine import Engine
from objectql.kernel.schema_sync import kept_in, lose_data, sync_tables
from objectql.kernel.tenancy.directory import TenantDirectory
from objectql.metadata.model import ObjectDef
from objectql.metadata.registry import MetadataSnapshot

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Places that are made or changed at the same time: those that do not answer delay few others."""

BEGUN: Final = "its tables are being made"
"""What is pending of a tenant that has just been registered."""


class PlaceKeeper:
    """See the head of this module."""

    def __init__(self, engine: Engine, directory: TenantDirectory) -> None:
        self._engine = engine
        self._directory = directory

    def check_supported(self, kind: PlaceKind) -> None:
        """Return if a tenant can have such a place in every data source.

        Raises:
            NotSupported: it cannot.

        """
        placed = self._engine.placed
        for name in self._engine.drivers:
            if name not in placed or kind not in placed[name].places.kinds:
                raise NotSupported(feature=f'isolation by {kind} in the data source "{name}"')

    async def check_unused(self, tenant: TenantId) -> None:
        """Return if the tenant has no records in the shared tables.

        Raises:
            TenantHasRecords

        """
        objects = self._engine.model.snapshot.objects.values()
        for name, driver in self._engine.placed.items():
            own = [object_ for object_ in objects if object_.datasource == name]
            if await driver.has_records(tenant, own):
                raise TenantHasRecords(id=tenant)

    async def prepare(self, tenants: Sequence[Tenant], snapshot: MetadataSnapshot) -> None:
        """Make their places with tables for `snapshot`, or what is missing of them."""

        async def make(tenant: Tenant) -> None:
            place = tenant.place
            assert place is not None, "nothing else is pending"
            for driver in self._engine.placed.values():
                await driver.places.create(place)
                await sync_tables(driver.of(tenant.id), kept_in(snapshot, driver.name))

        await self._each(tenants, make)

    async def migrate(self, snapshot: MetadataSnapshot, loses: ObjectDef | None = None) -> None:
        """Make the tables of every place match `snapshot`; `loses` is given up with its data."""

        async def change(tenant: Tenant) -> None:
            for driver in self._engine.placed.values():
                own = driver.of(tenant.id)
                await own.check_health()  # takes seconds at most, and a change whatever it takes
                if loses is not None and loses.datasource == driver.name:
                    await lose_data(own, loses)
                await sync_tables(own, kept_in(snapshot, driver.name))

        await self._directory.converge()
        known = self._directory.tenants.values()
        await self._each([t for t in known if t.place is not None and t.is_ready], change)

    async def drop_objects(self, objects: Sequence[ObjectDef]) -> None:
        """Drop their tables. One that cannot be dropped stays, for nobody to see."""
        for object_ in objects:
            driver = self._engine.placed.get(object_.datasource)
            for tenant, own in () if driver is None else tuple(driver.placed.items()):
                try:
                    await own.drop_object(object_.name, object_.table or object_.name)
                except ObjectQLError as exc:
                    extra = {"tenant": tenant, "object": object_.name, "reason": str(exc)}
                    log.warning("table_not_dropped", extra=extra)

    async def drop(self, tenant: Tenant) -> None:
        """Drop the place with everything in it, if there is one."""
        place = tenant.place
        if place is not None:
            for driver in self._engine.placed.values():
                await driver.places.drop(place)

    async def _each(
        self, tenants: Sequence[Tenant], work: Callable[[Tenant], Awaitable[None]]
    ) -> None:
        """Do `work` for all, a few at once, and note with each what became of it."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(tenant: Tenant) -> None:
            async with turns:
                try:
                    await work(tenant)
                except ObjectQLError as exc:
                    await self._note(tenant, exc)
                else:
                    await self._note(tenant, None)

        await asyncio.gather(*map(one, tenants))

    async def _note(self, tenant: Tenant, problem: ObjectQLError | None) -> None:
        """Store what is pending of `tenant`; somebody may be changing it at the same time."""
        if problem is not None:
            extra = {"tenant": tenant.id, "reason": str(problem)}
            log.error("tenant_not_ready", extra=extra, exc_info=problem)
        pending = "" if problem is None else f"{problem.code}: {problem.message}"
        while True:
            known = self._directory.tenants.get(tenant.id)
            if known is None or known.pending == pending:
                return
            try:
                await self._directory.save(msgspec.structs.replace(known, pending=pending))
            except WriteConflict:
                await self._directory.converge()
