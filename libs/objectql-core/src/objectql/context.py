"""Who asks, for which tenant, until when: the facts that travel with every request."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from objectql.ids import TenantId

DEFAULT_TENANT = TenantId("default")
ADMIN_ROLE = "admin"
SYSTEM_ROLE = "system"


class ReadPolicy(StrEnum):
    """Where a read may be answered. `BOUNDED` comes with a bound in `Context.max_lag_ms`.

    `ATOMIC` is the primary too, once no transaction over several data sources is in doubt there.
    """

    PRIMARY = "primary"
    BOUNDED = "bounded"
    ANY = "any"
    ATOMIC = "atomic"

    @property
    def is_primary(self) -> bool:
        """Whether neither a replica nor what is kept of earlier answers will do."""
        return self is ReadPolicy.PRIMARY or self is ReadPolicy.ATOMIC


class Actor(msgspec.Struct, frozen=True, omit_defaults=True):
    """A verified caller. Made by a gateway from a token, or by the system for its own work.

    `claims` holds further token claims that rules may name as `$current_user.<claim>`. `session` is
    the sign-in that the token belongs to. `scopes` (`object:operation`, `*` for all of either) narrow
    down what the roles allow; None is no limit.
    """

    id: str
    tenant: TenantId = DEFAULT_TENANT
    roles: tuple[str, ...] = ()
    claims: dict[str, Any] = {}
    is_system: bool = False
    session: str = ""
    scopes: tuple[str, ...] | None = None

    @property
    def is_admin(self) -> bool:
        """May do everything inside the tenant."""
        return self.is_system or ADMIN_ROLE in self.roles

    @property
    def is_owner(self) -> bool:
        """May see and change what tenants share, as metadata are and what a database counts.

        The role `system` may, and the admins of the default tenant, which is the only one where
        tenants are not used.
        """
        is_first = self.is_admin and self.tenant == DEFAULT_TENANT and self.scopes is None
        return is_first or self.is_operator

    @property
    def is_operator(self) -> bool:
        """May administer what all tenants share: the role `system`, held in the tenant `default`.

        In another tenant it means nothing, so that whoever hands out roles there gains nothing.
        """
        return self.is_system or (
            SYSTEM_ROLE in self.roles and self.tenant == DEFAULT_TENANT and self.scopes is None
        )


class Context(msgspec.Struct, frozen=True, omit_defaults=True):
    """The facts of one request.

    `deadline_ms` is absolute Unix time in milliseconds: every hop derives its own timeout from
    it. `origin` is where the caller called from, as the gateway saw it: the class of the program and the
    address (`browser 203.0.113.7`), empty where nobody called. `recent_token` is a gateway's: what it knows to be written lately for this tenant, which
    spares a caller without a token the surprise not to find it. `trace` holds the W3C headers (`traceparent`, `tracestate`, `baggage`) unchanged.
    """

    actor: Actor
    deadline_ms: int
    request_id: str
    idempotency_key: str | None = None
    consistency_token: str | None = None
    read_policy: ReadPolicy | None = None
    max_lag_ms: int | None = None
    trace: dict[str, str] = {}
    recent_token: str | None = None
    origin: str = ""

    @property
    def tenant(self) -> TenantId:
        """The tenant of the actor; there is no other way to name one."""
        return self.actor.tenant


def system_actor(tenant: TenantId = DEFAULT_TENANT) -> Actor:
    """The system itself: seeds, migrations, scheduled work."""
    return Actor(id="system", tenant=tenant, roles=(ADMIN_ROLE, SYSTEM_ROLE), is_system=True)
