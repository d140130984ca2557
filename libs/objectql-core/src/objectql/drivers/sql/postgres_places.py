"""Places of single tenants on Postgres: schemas beside the shared tables, or databases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import msgspec

from objectql.clock import Clock
from objectql.drivers.places import Place, PlaceKind
from objectql.drivers.protocol import Driver
from objectql.drivers.sql.postgres_access import PostgresSettings, Shared
from objectql.drivers.sql.postgres_place_databases import DatabasePlaces, database_in
from objectql.drivers.sql.postgres_place_schemas import SchemaPlaces
from objectql.drivers.sql.postgres_place_server import PlaceServer
from objectql.drivers.sql.postgres_session import PostgresSession
from objectql.errors import NotSupported
from objectql.ids import DataSource, TenantId

if TYPE_CHECKING:
    from objectql.drivers.sql.postgres import PostgresDriver


class PostgresPlaces:
    """See `TenantPlaces`."""

    def __init__(
        self,
        name: DataSource,
        settings: PostgresSettings,
        shared: Shared,
        clock: Clock,
        *,
        read: Callable[[str], Awaitable[Sequence[Sequence[Any]]]],
        changing: Callable[[], AbstractAsyncContextManager[PostgresSession]],
        make_driver: Callable[[PostgresSettings, Shared], PostgresDriver],
    ) -> None:
        """`read` and `changing` are the shared tables', the latter a transaction of their owner."""
        own = PlaceServer(name, settings, shared, make_driver, clock=clock, is_source=True)
        other = own
        if settings.place_server is not None:
            there = msgspec.structs.replace(settings, url=settings.place_server)
            other = PlaceServer(name, there, shared, make_driver, clock=clock, is_source=False)
        self._servers: Mapping[PlaceKind, PlaceServer] = {"schema": own, "database": other}
        source = database_in(settings.url)
        self._schemas = SchemaPlaces(own, read, changing)
        self._databases = None if source is None else DatabasePlaces(other, source, read)

    def _of(self, place: Place) -> SchemaPlaces | DatabasePlaces:
        if place.kind == "schema":
            return self._schemas
        if self._databases is None:
            raise NotSupported(feature="a tenant's database beside one that the URL does not name")
        return self._databases

    @property
    def kinds(self) -> frozenset[PlaceKind]:
        """See `TenantPlaces`. Databases are named by the source's, which its URL may leave out."""
        return frozenset(("schema",) if self._databases is None else ("schema", "database"))

    def open(self, place: Place) -> PostgresDriver:
        """See `TenantPlaces`."""
        return self._servers[place.kind].open(self._of(place).home_of(place))

    async def create(self, place: Place) -> None:
        """See `TenantPlaces`."""
        await self._of(place).create(place)

    async def waiting(
        self, places: Sequence[Place], drivers: Mapping[TenantId, Driver]
    ) -> frozenset[TenantId]:
        """See `TenantPlaces`."""
        schemas = [place for place in places if place.kind == "schema"]
        databases = [place for place in places if place.kind == "database"]
        asked = [self._schemas.waiting(schemas)]
        if databases and self._databases is not None:
            asked.append(self._databases.waiting(databases, drivers))
        found: frozenset[TenantId] = frozenset()
        return found.union(*await asyncio.gather(*asked))

    async def drop(self, place: Place) -> None:
        """See `TenantPlaces`."""
        await self._of(place).drop(place)

    async def close(self) -> None:
        """End what was opened for places that is not theirs."""
        if self._databases is not None:
            await self._databases.close()
        await self._servers["database"].close()
