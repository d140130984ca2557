"""Tenants as the cluster knows them, and the port of the store that keeps them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeAlias

import msgspec
from msgspec import Meta

from objectql.drivers.places import Place, PlaceKind
from objectql.drivers.security_log import SecurityEntry
from objectql.ids import TenantId
from objectql.metadata.overlay import TenantMetadata

TenantIsolation: TypeAlias = Literal["row"] | PlaceKind
"""What keeps a tenant's records apart: a column, a Postgres schema, or a Postgres database."""


class Quotas(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a tenant may have; None is without bound."""

    records: Annotated[int, Meta(ge=0)] | None = None
    """Of all objects together."""
    requests_per_day: Annotated[int, Meta(ge=1)] | None = None
    """Operations of kernels: so many at once, and so many a day."""
    webhooks: Annotated[int, Meta(ge=0)] | None = None
    """None is what the installation gives everybody."""


class Tenant(msgspec.Struct, frozen=True, omit_defaults=True):
    """One registered tenant.

    `suspended` refuses every request. `deleting_since` (ISO 8601, UTC) marks one whose data are
    being removed: for clients it is gone, and its id is not given to another until all of it is.
    `pending` says why a place of its own is not ready for the metadata in force, and refuses
    every request until it is empty.
    `metadata` is the number of the newest publication of its own metadata; 0 where it has none.
    `version` counts the changes of this tenant, from 1; 0 is one that is not stored yet.
    """

    id: TenantId
    name: str = ""
    isolation: TenantIsolation = "row"
    suspended: bool = False
    settings: dict[str, Any] = {}
    quotas: Quotas = Quotas()
    created_at: str = ""
    updated_at: str = ""
    deleting_since: str | None = None
    pending: str = ""
    metadata: int = 0
    version: int = 0

    @property
    def place(self) -> Place | None:
        """Where it has tables of its own; None: in the shared ones."""
        return None if self.isolation == "row" else Place(self.id, self.isolation)

    @property
    def is_ready(self) -> bool:
        """Whether its tables are what the metadata in force needs."""
        return not (self.pending or self.deleting_since)


class TenantStore(Protocol):
    """Where tenants are registered; the truth for every kernel of the cluster."""

    async def current_version(self) -> int:
        """How many changes there have been; moves with every one of them."""
        ...

    async def load(self) -> tuple[int, tuple[Tenant, ...]]:
        """All tenants by id with the version they make up, from one snapshot of the store."""
        ...

    async def metadata_of(self, tenants: Collection[TenantId]) -> Mapping[TenantId, TenantMetadata]:
        """The newest metadata of their own of those of `tenants` that have any."""
        ...

    async def save(
        self,
        tenant: Tenant,
        *,
        record: Sequence[SecurityEntry] = (),
        metadata: TenantMetadata | None = None,
    ) -> Tenant:
        """Store `tenant`, as a new one where its version is 0; with its new version.

        `record` goes to the security log, and `metadata` becomes the tenant's own, in the same
        transaction.

        Raises:
            WriteConflict: the stored one is at another version, or there is one already.

        """
        ...

    async def remove(self, tenant: TenantId) -> None:
        """Forget it with its metadata, if it is known."""
        ...
