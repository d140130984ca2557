"""Administration of tenants: register, change, suspend, delete.

A tenant with a place of its own is registered as pending before the place is made, and ready when
its tables are; a kernel that dies between leaves the rest to the others. Where tenants are served
that nobody has registered, it may have records in the shared tables already: it is refused for
`SETTLE_S`, then looked for, and if there are any the registration is undone.

A deletion has two steps, so that no kernel writes what another has just removed. A tenant that is
suspended for `SETTLE_S` is refused by every kernel; then its data are removed. What had begun
before the suspension may still commit until its deadline, so that the tenant stays registered as
`deleting` until its data were removed once more, `TOMBSTONE_S` later. A kernel that dies on the way
leaves that to the others.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from objectql.context import DEFAULT_TENANT, Context
from objectql.drivers.security_log import SecurityEntry, SecurityKind
from objectql.drivers.tenants import Quotas, Tenant, TenantIsolation
from objectql.errors import (
    InvalidRequest,
    ObjectQLError,
    TenantExists,
    TenantHasRecords,
    TenantNotSuspended,
    TenantUnknown,
    Unavailable,
    WriteConflict,
)
from objectql.ids import TenantId, tenant_id
from objectql.kernel.audit.entries import changed_fields, entry_of
from objectql.kernel.engine import Engine
from objectql.kernel.json import decode_object
from objectql.kernel.metadata import MetadataPublisher
from objectql.kernel.schema_sync import kept_in
from objectql.kernel.tenancy.directory import TenantDirectory
from objectql.kernel.tenancy.own_metadata import drop_own_tables
from objectql.kernel.tenancy.places import BEGUN, PlaceKeeper
from objectql.values import instant_of_ms

log = logging.getLogger(__name__)

SETTLE_S: Final = 2.0
"""Twice the time in which a suspension holds everywhere."""

RETRY_S: Final = 10.0
"""How often the place of a blocked tenant is tried again."""

TOMBSTONE_S: Final = 120.0
"""Longer than the longest deadline and the life of a cached answer."""

T = TypeVar("T", bound=msgspec.Struct)
VoidTokens: TypeAlias = Callable[[str], Awaitable[None]]
"""Told the id of a tenant: what was issued to its users until now is void."""

_LEASE: Final = "tenants:delete:"
_LEASE_TTL_S: Final = 600.0


class TenantView(msgspec.Struct, frozen=True):
    """A tenant as clients see it.

    `blocked` is one whose own tables are not ready; `problem` says why, if somebody must see to it.
    """

    id: str
    name: str
    isolation: TenantIsolation
    status: Literal["active", "suspended", "blocked"]
    problem: str | None
    suspended: bool
    settings: dict[str, Any]
    quotas: Quotas
    created_at: str
    updated_at: str


class _New(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    name: str = ""
    isolation: TenantIsolation = "row"
    suspended: bool = False
    settings: dict[str, Any] = {}
    quotas: Quotas = Quotas()


class _Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str | UnsetType = UNSET
    suspended: bool | UnsetType = UNSET
    settings: dict[str, Any] | UnsetType = UNSET
    quotas: Quotas | UnsetType = UNSET


def view_of(tenant: Tenant) -> TenantView:
    """`tenant` for clients."""
    return TenantView(
        id=tenant.id,
        name=tenant.name,
        isolation=tenant.isolation,
        status="suspended" if tenant.suspended else "blocked" if tenant.pending else "active",
        problem=tenant.pending or None,
        suspended=tenant.suspended,
        settings=tenant.settings,
        quotas=tenant.quotas,
        created_at=tenant.created_at,
        updated_at=tenant.updated_at,
    )


class TenantAdmin:
    """What the administration API asks. Its caller has checked who asks."""

    def __init__(
        self,
        engine: Engine,
        directory: TenantDirectory,
        places: PlaceKeeper,
        publisher: MetadataPublisher,
        void_tokens: VoidTokens,
    ) -> None:
        """`void_tokens` is told of deleted tenants, since their ids may be others' one day."""
        self._engine = engine
        self._directory = directory
        self._places = places
        self._publisher = publisher
        self._void_tokens = void_tokens
        self._mend_after_s = float("-inf")

    async def list(self, after: str, limit: int) -> list[TenantView]:
        """Up to `limit` tenants by id, those after `after`."""
        await self._directory.converge()
        found = [
            view_of(tenant)
            for id_, tenant in sorted(self._directory.tenants.items())
            if id_ > after and tenant.deleting_since is None
        ]
        return found[:limit]

    async def get(self, id_: str) -> TenantView:
        """One tenant.

        Raises:
            TenantUnknown: there is none.

        """
        return view_of(await self.find(id_))

    async def find(self, id_: str) -> Tenant:
        """The tenant as it is registered now.

        Raises:
            TenantUnknown: there is none, or it is being deleted.

        """
        await self._directory.converge()
        known = self._directory.tenants.get(TenantId(id_))
        if known is None or known.deleting_since is not None:
            raise TenantUnknown(id=id_)
        return known

    async def create(self, document: bytes, by: Context) -> TenantView:
        """Register a tenant, and make its place if it has one.

        Where that fails the tenant is registered and blocked; it is tried again by and by.

        Raises:
            InvalidRequest: the document is no tenant.
            TenantExists: there is one with its id, or one whose deletion has not ended.
            TenantHasRecords: it is to have a place, and has written into the shared tables.
            NotSupported: this cluster has no such isolation.

        """
        wanted = _decode(document, _New)
        try:
            id_ = tenant_id(wanted.id)
        except ValueError as exc:
            raise InvalidRequest(reason=f"id: {exc}") from exc
        await self._directory.converge()
        if id_ in self._directory.tenants:
            raise TenantExists(id=id_)
        if wanted.isolation != "row":
            self._places.check_supported(wanted.isolation)
        now = self._now()
        new = msgspec.convert(wanted, Tenant, from_attributes=True)
        pending = "" if new.place is None else BEGUN
        new = msgspec.structs.replace(new, created_at=now, updated_at=now, pending=pending)
        try:
            record = self._entry("tenant_created", by, id=new.id, isolation=new.isolation)
            saved = await self._directory.save(new, record)
        except WriteConflict as exc:
            raise TenantExists(id=id_) from exc
        if pending:
            await self._prepare([saved])
            saved = await self.find(id_)
        return view_of(saved)

    async def change(self, id_: str, document: bytes, by: Context) -> TenantView:
        """Change what the document names.

        Raises:
            TenantUnknown, InvalidRequest
            WriteConflict: somebody else changed it at the same time.

        """
        wanted = _decode(document, _Change)
        known = await self.find(id_)
        if known.id == DEFAULT_TENANT and wanted.suspended is True:
            raise InvalidRequest(reason="the default tenant cannot be suspended")
        given = {
            name: value
            for name, value in msgspec.structs.asdict(wanted).items()
            if value is not UNSET
        }
        tenant = self._changed(known, **given)
        told = changed_fields(known, tenant, ("suspended", "quotas"))
        record = self._entry("tenant_changed", by, id=known.id, **told)
        return view_of(await self._directory.save(tenant, record))

    async def delete(self, id_: str, confirm: str | None, by: Context) -> None:
        """Delete the tenant with all its data; what that means is at the head of this module.

        Raises:
            TenantUnknown, InvalidRequest
            TenantNotSuspended: it is active, and `confirm` is not its id.

        """
        known = await self.find(id_)
        if known.id == DEFAULT_TENANT:
            raise InvalidRequest(reason="the default tenant cannot be deleted")
        if confirm is not None and confirm != known.id:
            raise InvalidRequest(reason=f'"confirm" must be "{known.id}"')
        if not known.suspended and confirm is None:
            raise TenantNotSuspended(id=known.id)
        if not known.suspended:
            told = {"fields": ["suspended"], "suspended": {"old": False, "new": True}}
            record = self._entry("tenant_changed", by, id=known.id, **told)
            known = await self._directory.save(self._changed(known, suspended=True), record)
        left_s = SETTLE_S - self._age_s(known.updated_at)
        if left_s > 0:
            await self._engine.clock.sleep(left_s)
        record = self._entry("tenant_deleted", by, id=known.id)
        known = await self._directory.save(self._changed(known, deleting_since=self._now()), record)
        await self._remove_data(known)

    async def finish_deletions(self) -> None:
        """Remove again what came late, of tenants whose deletion began `TOMBSTONE_S` ago."""
        for tenant in tuple(self._directory.tenants.values()):
            since = tenant.deleting_since
            if since is None or self._age_s(since) < TOMBSTONE_S:
                continue
            leases, holder = self._engine.system_driver.leases, self._engine.settings.node
            lease = f"{_LEASE}{tenant.id}"
            if not await leases.acquire(lease, holder, _LEASE_TTL_S):
                continue
            try:
                await self._remove_data(tenant)
                await self._engine.forget_kept_answers()
                await self._directory.store.remove(tenant.id)
            except ObjectQLError as exc:  # it is tried again, and keeps no other waiting
                log.warning("tenant_not_deleted", extra={"tenant": tenant.id, "reason": str(exc)})
                continue
            finally:
                await leases.release(lease, holder)
            await self._directory.changed()

    async def finish_places(self) -> None:
        """Mend the places of blocked tenants, unless somebody is publishing or doing so."""
        known = self._directory.tenants.values()
        blocked = [tenant for tenant in known if tenant.pending and not tenant.deleting_since]
        if not blocked or self._engine.clock.monotonic_s() < self._mend_after_s:
            return
        try:
            await self._prepare(blocked, is_patient=False)
        finally:
            self._mend_after_s = self._engine.clock.monotonic_s() + RETRY_S

    async def _prepare(self, tenants: Sequence[Tenant], *, is_patient: bool = True) -> None:
        """Make the places of tenants that are still pending when nobody publishes.

        Raises:
            TenantHasRecords: of one of them, whose registration was undone.

        """
        if self._engine.settings.unknown_tenants == "accept":
            youngest_s = min(self._age_s(tenant.created_at) for tenant in tenants)
            await self._engine.clock.sleep(max(SETTLE_S - youngest_s, 0.0))
        try:
            async with self._publisher.settled(is_patient=is_patient) as snapshot:
                await self._directory.converge()
                known = self._directory.tenants
                left = [known[tenant.id] for tenant in tenants if tenant.id in known]
                pending = [t for t in left if t.pending and not t.deleting_since]
                for tenant in pending:
                    if tenant.pending == BEGUN:
                        await self._check_unused(tenant)
                await self._places.prepare(pending, snapshot)
        except Unavailable as exc:  # then whoever comes next will do it
            log.info("tenants_not_prepared", extra={"reason": str(exc)})

    async def _check_unused(self, tenant: Tenant) -> None:
        try:
            await self._places.check_unused(tenant.id)
        except TenantHasRecords:
            await self._directory.store.remove(tenant.id)
            await self._directory.changed()
            raise

    async def _remove_data(self, tenant: Tenant) -> None:
        await self._void_tokens(tenant.id)
        if tenant.place is None:
            await drop_own_tables(self._engine, tenant.id)
        for name, driver in self._engine.drivers.items():
            await driver.delete_tenant(tenant.id, kept_in(self._engine.model.snapshot, name))
        await self._places.drop(tenant)

    def _changed(self, tenant: Tenant, **changes: Any) -> Tenant:
        return msgspec.structs.replace(tenant, updated_at=self._now(), **changes)

    def _entry(self, kind: SecurityKind, by: Context, **details: object) -> SecurityEntry:
        """In the log of the operator's tenant: that of a deleted one goes with it."""
        return entry_of(kind, by, self._engine.clock, **details)

    def _now(self) -> str:
        return instant_of_ms(self._engine.clock.now_ms())

    def _age_s(self, instant: str) -> float:
        at_s = datetime.fromisoformat(instant).timestamp()
        return self._engine.clock.now_ms() / 1000 - at_s


def _decode(document: bytes, type_: type[T]) -> T:
    try:
        return msgspec.convert(decode_object(document), type_)
    except msgspec.ValidationError as exc:
        raise InvalidRequest(reason=str(exc)) from exc
