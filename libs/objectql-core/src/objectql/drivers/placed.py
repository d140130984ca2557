"""A data source whose tenants may have places of their own.

`PlacedDriver` stands before the source's driver and passes each operation to the tables of the
tenant that it names: to the shared ones, unless the tenant has a place. Nobody above knows the
difference. Queries are lowered once, for all places: what differs is where the tables are found.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import CoroutineType
from typing import Any

from objectql.drivers.chains import Chain, ChainStore, Entry, Head, Log, Seal
from objectql.drivers.history import HistoryStore
from objectql.drivers.identity import IdentityStore
from objectql.drivers.places import Place, TenantPlaces
from objectql.drivers.protocol import (
    Capabilities,
    Driver,
    Freshness,
    Idempotency,
    Isolation,
    Lowered,
    Page,
    ReadCounts,
    RecordImage,
    Remembered,
    RowWrite,
    SchemaPlan,
    Session,
    WriteOutcome,
    WriteScope,
)
from objectql.drivers.security_log import SecurityLog
from objectql.drivers.stores import Leases, MetadataStore, Outbox
from objectql.drivers.tenants import TenantStore
from objectql.drivers.transactions import Transactions
from objectql.drivers.webhooks import WebhookStore
from objectql.errors import ObjectQLError
from objectql.events import ChangeEvent
from objectql.ids import DataSource, ObjectName, TenantId
from objectql.metadata.model import ObjectDef
from objectql.query.bound import BoundQuery
from objectql.values import Value

log = logging.getLogger(__name__)


class PlacedDriver:
    """See `Driver`, and the head of this module.

    What names no tenant is the shared tables' own: leases, metadata, identities, the registry of
    tenants, health. The outboxes and schemas of places are asked of `placed`.
    """

    def __init__(self, shared: Driver, places: TenantPlaces) -> None:
        self.shared = shared
        self.places = places
        self.placed: Mapping[TenantId, Driver] = {}
        """The drivers of the tenants that have places."""
        self._settled: dict[TenantId, Place] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self.history: HistoryStore = _PlacedHistory(self)
        self.chains: ChainStore = _PlacedChains(self)

    def settle(self, places: Iterable[Place]) -> None:
        """Know these places and no others; connections to those that are gone end by and by.

        The driver of a place that stays is kept.
        """
        wanted = {place.tenant: place for place in places}
        placed: dict[TenantId, Driver] = {}
        for tenant, place in wanted.items():
            is_known = self._settled.get(tenant) == place
            placed[tenant] = self.placed[tenant] if is_known else self.places.open(place)
        gone = [
            driver for tenant, driver in self.placed.items() if placed.get(tenant) is not driver
        ]
        self.placed, self._settled = placed, wanted
        for driver in gone:
            ending = asyncio.create_task(_close(driver))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    def of(self, tenant: TenantId) -> Driver:
        """The driver of the tables that `tenant` has, alone or with others."""
        return self.placed.get(tenant, self.shared)

    # --- what the source is --------------------------------------------------------------------

    @property
    def name(self) -> DataSource:
        """See `Driver`."""
        return self.shared.name

    @property
    def kind(self) -> str:
        """See `Driver`."""
        return self.shared.kind

    @property
    def capabilities(self) -> Capabilities:
        """See `Driver`."""
        return self.shared.capabilities

    @property
    def metadata(self) -> MetadataStore:
        """See `Driver`."""
        return self.shared.metadata

    @property
    def outbox(self) -> Outbox:
        """See `Driver`: that of the shared tables."""
        return self.shared.outbox

    @property
    def transactions(self) -> Transactions:
        """See `Driver`: those of the shared tables."""
        return self.shared.transactions

    @property
    def security_log(self) -> SecurityLog:
        """See `Driver`."""
        return self.shared.security_log

    @property
    def leases(self) -> Leases:
        """See `Driver`."""
        return self.shared.leases

    @property
    def identity(self) -> IdentityStore:
        """See `Driver`."""
        return self.shared.identity

    @property
    def tenants(self) -> TenantStore:
        """See `Driver`."""
        return self.shared.tenants

    @property
    def webhooks(self) -> WebhookStore:
        """See `Driver`."""
        return self.shared.webhooks

    async def connect(self) -> None:
        """See `Driver`."""
        await self.shared.connect()

    async def close(self) -> None:
        """See `Driver`; places first."""
        await self.end_places()
        await self.shared.close()

    async def end_places(self) -> None:
        """Know no places, and return when all connections to them have ended."""
        self.settle(())
        while self._endings:
            await asyncio.wait(self._endings)

    async def check_health(self) -> None:
        """See `Driver`: of the shared tables."""
        await self.shared.check_health()

    def statistics(self) -> Mapping[str, float]:
        """See `Driver`: of the shared tables."""
        return self.shared.statistics()

    # --- reads ---------------------------------------------------------------------------------

    def lower(self, query: BoundQuery) -> Lowered:
        """See `Driver`."""
        return self.shared.lower(query)

    def fetch(
        self,
        query: Lowered,
        params: Sequence[Value],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> CoroutineType[Any, Any, Page]:
        """See `Driver`."""
        driver = self.of(query.tenant_of(params))
        return driver.fetch(query, params, deadline_ms=deadline_ms, freshness=freshness)

    def fetch_one(
        self,
        query: Lowered,
        params: Sequence[Value],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> CoroutineType[Any, Any, RecordImage | None]:
        """See `Driver`."""
        driver = self.of(query.tenant_of(params))
        return driver.fetch_one(query, params, deadline_ms=deadline_ms, freshness=freshness)

    def fetch_each(
        self,
        query: Lowered,
        params: Sequence[Sequence[Value]],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> CoroutineType[Any, Any, Sequence[Page]]:
        """See `Driver`; the tenant is among what `params` have in common."""
        driver = self.of(query.tenant_of(params[0]))
        return driver.fetch_each(query, params, deadline_ms=deadline_ms, freshness=freshness)

    def fetch_one_each(
        self,
        query: Lowered,
        params: Sequence[Sequence[Value]],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> CoroutineType[Any, Any, Sequence[RecordImage | None]]:
        """See `Driver`; likewise."""
        driver = self.of(query.tenant_of(params[0]))
        return driver.fetch_one_each(query, params, deadline_ms=deadline_ms, freshness=freshness)

    async def position(self) -> int | None:
        """See `Driver`: of the shared tables' server; places have no replicas that could lag."""
        return await self.shared.position()

    def read_counts(self) -> ReadCounts:
        """See `Driver`: of the shared tables."""
        return self.shared.read_counts()

    # --- writes --------------------------------------------------------------------------------

    def write(
        self,
        writes: Sequence[RowWrite],
        scope: WriteScope,
        *,
        idempotency: Idempotency | None = None,
        deadline_ms: int | None = None,
    ) -> CoroutineType[Any, Any, tuple[WriteOutcome, ...] | Remembered]:
        """See `Driver`."""
        driver = self.of(scope.tenant)
        return driver.write(writes, scope, idempotency=idempotency, deadline_ms=deadline_ms)

    def begin(
        self,
        *,
        isolation: Isolation = "read_committed",
        deadline_ms: int | None = None,
        tenant: TenantId | None = None,
    ) -> AbstractAsyncContextManager[Session]:
        """See `Driver`. The session is that of the tenant's tables, and sees no others."""
        driver = self.shared if tenant is None else self.of(tenant)
        return driver.begin(isolation=isolation, deadline_ms=deadline_ms, tenant=tenant)

    # --- the shared tables ---------------------------------------------------------------------

    async def sweep(self) -> None:
        """See `Driver`: of the shared tables."""
        await self.shared.sweep()

    async def has_records(self, tenant: TenantId, objects: Sequence[ObjectDef]) -> bool:
        """See `Driver`: in the shared tables."""
        return await self.shared.has_records(tenant, objects)

    async def delete_tenant(self, tenant: TenantId, objects: Sequence[ObjectDef]) -> None:
        """See `Driver`: from the shared tables. A place is dropped by `places`."""
        await self.shared.delete_tenant(tenant, objects)

    async def clear_columns(
        self, tenant: TenantId, object_: ObjectDef, columns: Sequence[str]
    ) -> None:
        """See `Driver`: where the tenant's records are."""
        await self.of(tenant).clear_columns(tenant, object_, columns)

    async def plan_schema(
        self, objects: Sequence[ObjectDef], *, allow_destructive: bool = False
    ) -> SchemaPlan:
        """See `Driver`: of the shared tables."""
        return await self.shared.plan_schema(objects, allow_destructive=allow_destructive)

    async def apply_schema(self, plan: SchemaPlan) -> None:
        """See `Driver`: to the shared tables."""
        await self.shared.apply_schema(plan)

    async def drop_object(self, object_: ObjectName, table: str) -> None:
        """See `Driver`: from the shared tables."""
        await self.shared.drop_object(object_, table)


class _PlacedHistory:
    """See `HistoryStore`: each tenant's where its records are."""

    def __init__(self, driver: PlacedDriver) -> None:
        self._driver = driver

    async def of_record(
        self,
        tenant: TenantId,
        object: str,
        record_id: str,
        *,
        limit: int,
        before: int | None = None,
    ) -> tuple[tuple[int, ChangeEvent], ...]:
        """See `HistoryStore`."""
        history = self._driver.of(tenant).history
        return await history.of_record(tenant, object, record_id, limit=limit, before=before)


class _PlacedChains:
    """See `ChainStore`: each tenant's where its entries are.

    Histories are beside records, the security log in the shared tables. Sealers work on the chains
    of one driver each; what is asked of all here is that of the shared tables.
    """

    def __init__(self, driver: PlacedDriver) -> None:
        self._driver = driver

    def _of(self, chain: Chain) -> ChainStore:
        is_beside_records = chain.log == "history"
        driver = (
            self._driver.of(TenantId(chain.tenant)) if is_beside_records else self._driver.shared
        )
        return driver.chains

    async def unsealed(
        self, log: Log, limit: int, *, besides: Collection[Chain] = ()
    ) -> tuple[Entry, ...]:
        """See `ChainStore`: of the shared tables."""
        return await self._driver.shared.chains.unsealed(log, limit, besides=besides)

    async def head(self, chain: Chain) -> Head:
        """See `ChainStore`."""
        return await self._of(chain).head(chain)

    async def seal(self, seals: Sequence[Seal]) -> None:
        """See `ChainStore`: in the shared tables."""
        await self._driver.shared.chains.seal(seals)

    async def heads(self, after: Chain | None, limit: int) -> tuple[Head, ...]:
        """See `ChainStore`: of the shared tables."""
        return await self._driver.shared.chains.heads(after, limit)

    async def purge(self, before: Head, after: Head) -> None:
        """See `ChainStore`."""
        await self._of(after.chain).purge(before, after)

    async def chains(self, tenant: TenantId) -> tuple[Chain, ...]:
        """See `ChainStore`."""
        shared, own = self._driver.shared, self._driver.of(tenant)
        found = await shared.chains.chains(tenant)
        if own is not shared:
            found = tuple(sorted({*found, *await own.chains.chains(tenant)}))
        return found

    async def sealed(self, chain: Chain, after: tuple[int, int], limit: int) -> tuple[Entry, ...]:
        """See `ChainStore`."""
        return await self._of(chain).sealed(chain, after, limit)

    async def count_unsealed(self, chain: Chain) -> int:
        """See `ChainStore`."""
        return await self._of(chain).count_unsealed(chain)


async def _close(driver: Driver) -> None:
    try:
        await driver.close()
    except ObjectQLError as exc:
        log.warning("place_not_closed", extra={"source": driver.name, "reason": str(exc)})
