"""The tenants as this kernel knows them, and who may act.

Every operation asks `is_active`, one look into a set. Whoever is not in it is looked at closely:
those with a quota of requests are counted, suspended and deleted tenants are refused, unregistered
ones as the settings say. The store's version is polled and announced, so that a change holds
everywhere within a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

from objectql.context import DEFAULT_TENANT
from objectql.drivers.places import Place
from objectql.drivers.security_log import SecurityEntry
from objectql.drivers.tenants import Tenant, TenantStore
from objectql.errors import QuotaExceeded, RateLimited, TenantRefused, Unavailable
from objectql.ids import TenantId
from objectql.kernel.engine import Engine
from objectql.metadata.overlay import TenantMetadata
from objectql.rates.bucket import Rate

Announce: TypeAlias = Callable[[int], Awaitable[None]]
"""Tells the cluster that the tenants have a new version; a lost one costs half a second."""

FRESH_S: Final = 0.1
"""How old the knowledge may be by which an unregistered tenant is judged."""

_DAY_S: Final = 86_400

_DEFAULT: Final = Tenant(DEFAULT_TENANT, "Default")


class TenantDirectory:
    """See the head of this module."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._version = -1
        self._tenants: Mapping[TenantId, Tenant] = {DEFAULT_TENANT: _DEFAULT}
        self._active: frozenset[TenantId] = frozenset((DEFAULT_TENANT,))
        self._rates: Mapping[TenantId, Rate] = {}
        self.record_limits: dict[TenantId, int] = {}
        """The tenants that may have only so many records."""
        self.count = engine.tally.add
        """Count an operation of a tenant."""
        self._looked_s = float("-inf")
        self._turn = asyncio.Lock()
        self.announce: Announce | None = None

    @property
    def version(self) -> int:
        """The store's version that is known here; -1 when none is."""
        return self._version

    @property
    def tenants(self) -> Mapping[TenantId, Tenant]:
        """The registered ones by id in order, those that are being deleted among them."""
        return self._tenants

    @property
    def ready_places(self) -> list[Place]:
        """The places of tenants whose tables are whole."""
        known = self._tenants.values()
        return [t.place for t in known if t.place is not None and t.is_ready]

    @property
    def store(self) -> TenantStore:
        """The truth."""
        return self._engine.system_driver.tenants

    def is_active(self, tenant: TenantId) -> bool:
        """Whether it is known to be registered and may act, however often."""
        return tenant in self._active

    def is_suspended(self, tenant: TenantId) -> bool:
        """Whether it is known to be suspended, or is being deleted."""
        known = self._tenants.get(tenant)
        return known is not None and (known.suspended or known.deleting_since is not None)

    async def admit(self, tenant: TenantId) -> None:
        """Return if `tenant` may act.

        Raises:
            TenantRefused: it is suspended, deleted or unknown; the answer does not tell which.
            Unavailable: its tables are not ready.

        """
        if tenant not in self._tenants and self._engine.drivers:
            now_s = self._engine.clock.monotonic_s()
            if now_s - self._looked_s > FRESH_S:
                await self.converge()
        known = self._tenants.get(tenant)
        if known is None:
            is_accepted = self._engine.settings.unknown_tenants == "accept"
        else:
            is_accepted = not (known.suspended or known.deleting_since)
        if not is_accepted:
            raise TenantRefused
        if known is not None and known.pending:
            raise Unavailable(what="the storage of your tenant")

    async def spend(self, tenant: TenantId) -> None:
        """Return if `tenant` may ask once more.

        Raises:
            QuotaExceeded: it has asked too often.

        """
        rate = self._rates.get(tenant)
        if rate is None:
            return
        try:
            rate.check(await self._engine.limiter.ask(("requests", tenant), rate))
        except RateLimited as exc:
            raise QuotaExceeded(
                quota="requests_per_day", limit=rate.burst, retry_after_ms=exc.retry_after_ms
            ) from None

    async def converge(self) -> bool:
        """Take over what is registered if it is newer than what is known; whether it was."""
        looked_s = self._engine.clock.monotonic_s()
        async with self._turn:
            if looked_s <= self._looked_s:
                return False  # another has looked since we were asked
            looked_s = self._engine.clock.monotonic_s()
            is_newer = await self.store.current_version() > self._version
            if is_newer:
                version, tenants = await self.store.load()
                places = [tenant.place for tenant in tenants if tenant.place is not None]
                for driver in self._engine.placed.values():
                    driver.settle(places)
                await self._take_over_metadata(tenants)
                self._tenants = {DEFAULT_TENANT: _DEFAULT} | {t.id: t for t in tenants}
                self._take_over()
                self._version = version
            self._looked_s = looked_s
            return is_newer

    async def save(
        self, tenant: Tenant, *record: SecurityEntry, metadata: TenantMetadata | None = None
    ) -> Tenant:
        """Store `tenant` with what it puts on record, and let everybody know it as it is now.

        `metadata` becomes what it has of its own.

        Raises:
            WriteConflict: somebody else has changed it.

        """
        saved = await self.store.save(tenant, record=record, metadata=metadata)
        await self.changed()
        return saved

    async def _take_over_metadata(self, tenants: Sequence[Tenant]) -> None:
        """Put in force what tenants have of their own; what is known already is not read again."""
        models, before = self._engine.tenant_models, self._tenants
        wanted = {tenant.id: tenant for tenant in tenants if tenant.metadata}
        known = {
            id_: found
            for id_, found in models.metadata.items()
            if (tenant := wanted.get(id_)) is not None
            and found.number == tenant.metadata
            and before[id_].created_at == tenant.created_at  # else the id is another's now
        }
        news = await self.store.metadata_of([id_ for id_ in wanted if id_ not in known])
        if news or len(known) < len(models.metadata):
            models.replace({**known, **news})

    def _take_over(self) -> None:
        quotas = {tenant.id: tenant.quotas for tenant in self._tenants.values()}
        daily = {id_: quota.requests_per_day for id_, quota in quotas.items()}
        self._rates = {id_: Rate(count / _DAY_S, count) for id_, count in daily.items() if count}
        self._active = frozenset(
            tenant.id
            for tenant in self._tenants.values()
            if tenant.is_ready and not (tenant.suspended or tenant.id in self._rates)
        )
        self.record_limits.clear()
        self.record_limits.update(
            {id_: quota.records for id_, quota in quotas.items() if quota.records is not None}
        )

    async def changed(self) -> None:
        """After a change of the store: know it here, and tell the others."""
        await self.converge()
        if self.announce is not None:
            await self.announce(self._version)
