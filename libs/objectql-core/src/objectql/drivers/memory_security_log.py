"""The security log of the memory driver."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from objectql.drivers.chains import Chain
from objectql.drivers.memory_chains import MemoryChains
from objectql.drivers.security_log import EVERYTHING, SecurityEntry, SecurityFilter
from objectql.ids import TenantId


class MemorySecurityLog:
    """See `SecurityLog`."""

    def __init__(self, chains: MemoryChains) -> None:
        self._chains = chains
        self._entries: dict[int, SecurityEntry] = {}

    async def record(self, entries: Sequence[SecurityEntry]) -> None:
        """See `SecurityLog`."""
        self.append(entries)

    def append(self, entries: Sequence[SecurityEntry]) -> None:
        """Take over entries with the change that they tell of."""
        for entry in entries:
            position = self._chains.append(
                Chain(entry.tenant, "security"),
                *(entry.id, entry.at, entry.tenant, entry.kind, entry.actor, entry.origin),
                *(entry.request_id, msgspec.json.encode(entry.details).decode()),
            )
            self._entries[position] = entry

    async def page(
        self,
        tenant: TenantId,
        which: SecurityFilter = EVERYTHING,
        *,
        limit: int,
        before: int | None = None,
    ) -> tuple[tuple[int, SecurityEntry], ...]:
        """See `SecurityLog`."""
        self._entries = {
            at: entry for at, entry in self._entries.items() if self._chains.has("security", at)
        }
        found = [
            (at, entry)
            for at, entry in reversed(self._entries.items())
            if entry.tenant == tenant
            and (before is None or at < before)
            and which.kind in {None, entry.kind}
            and which.actor in {None, entry.actor}
            and (which.since is None or entry.at >= which.since)
            and (which.until is None or entry.at < which.until)
        ]
        return tuple(found[:limit])
