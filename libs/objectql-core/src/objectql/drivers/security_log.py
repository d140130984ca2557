"""The security log of tenants: who signed in, who changed what trust rests on, who was refused.

An entry that tells of a change of system tables is handed to the store that makes the change, and
committed with it; one that tells of no change goes to `SecurityLog.record`. Entries hold no password,
token or other secret; who makes them sees to that (`kernel.audit.entries`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from objectql.ids import TenantId, uuid7

SecurityKind: TypeAlias = Literal[
    "signed_in",
    "sign_in_refused",
    "sign_in_locked",
    "signed_out",
    "password_changed",
    "refresh_reused",
    "user_created",
    "user_changed",
    "user_deleted",
    "tokens_revoked",
    "key_created",
    "key_changed",
    "key_deleted",
    "tenant_created",
    "tenant_changed",
    "tenant_deleted",
    "metadata_published",
    "webhook_created",
    "webhook_changed",
    "webhook_deleted",
    "webhook_secret_replaced",
    "webhook_replayed",
    "cluster_commanded",
    "access_denied",
    "entries_left_out",
]


class SecurityEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `actor` is an id, empty where nobody had proved to be anybody.

    `at` is an instant of the kernel's clock, `origin` as in `Context`; `details` is JSON.
    """

    tenant: str
    kind: SecurityKind
    at: str
    actor: str
    origin: str = ""
    request_id: str = ""
    details: dict[str, Any] = {}
    id: str = msgspec.field(default_factory=uuid7)


class SecurityFilter(msgspec.Struct, frozen=True):
    """Which entries: all that equal what is given, from `since` on and before `until` (instants)."""

    kind: str | None = None
    actor: str | None = None
    since: str | None = None
    until: str | None = None


EVERYTHING = SecurityFilter()


class SecurityLog(Protocol):
    """One per installation, in its default data source."""

    async def record(self, entries: Sequence[SecurityEntry]) -> None:
        """Add entries, all or none."""
        ...

    async def page(
        self,
        tenant: TenantId,
        which: SecurityFilter = EVERYTHING,
        *,
        limit: int,
        before: int | None = None,
    ) -> tuple[tuple[int, SecurityEntry], ...]:
        """Entries of a tenant with their positions, the latest first, those before a position."""
        ...
