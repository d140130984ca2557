"""Entries of the security log, as the kernel makes them: who, from where, in which request.

Details name things by their ids, and fields by their names. Values are told only of what decides
about trust (roles, states, scopes), never of anything that a secret could be in: not the password,
not a token, not even the name that somebody typed who is nobody, since people type passwords there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from objectql.clock import Clock
from objectql.context import Context
from objectql.drivers.security_log import SecurityEntry, SecurityKind
from objectql.values import instant_of_ms


def entry_of(
    kind: SecurityKind,
    context: Context,
    clock: Clock,
    actor: str | None = None,
    /,
    **details: object,
) -> SecurityEntry:
    """What the caller of a request did, or `actor`, who turned out to be the caller."""
    return SecurityEntry(
        tenant=context.tenant,
        kind=kind,
        at=instant_of_ms(clock.now_ms()),
        actor=context.actor.id if actor is None else actor,
        origin=context.origin,
        request_id=context.request_id,
        details=details,
    )


def changed_fields(
    before: msgspec.Struct, after: msgspec.Struct, told: Iterable[str]
) -> dict[str, Any]:
    """Which fields differ, by name, and old and new values of those that may be `told`."""
    old, new = msgspec.structs.asdict(before), msgspec.structs.asdict(after)
    unlike = [name for name in new if old[name] != new[name] and name not in _STAMPS]
    values = {name: {"old": old[name], "new": new[name]} for name in told if name in unlike}
    return {"fields": unlike, **values}


_STAMPS = frozenset({"version", "updated_ms", "updated_at"})
