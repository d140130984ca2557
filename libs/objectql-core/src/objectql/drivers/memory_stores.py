"""Metadata, outbox, leases, tenants and their places of the memory driver."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from objectql.clock import Clock
from objectql.drivers.memory_security_log import MemorySecurityLog
from objectql.drivers.places import Place, PlaceKind
from objectql.drivers.protocol import Driver
from objectql.drivers.security_log import SecurityEntry
from objectql.drivers.stores import Published, StoredItem
from objectql.drivers.tenants import Tenant
from objectql.errors import WriteConflict
from objectql.events import ChangeEvent
from objectql.ids import TenantId
from objectql.metadata.overlay import TenantMetadata


class MemoryMetadataStore:
    """See `MetadataStore`; an item's `version` is that of its publication."""

    def __init__(self, log: MemorySecurityLog) -> None:
        self._log = log
        self._version = 0
        self._items: dict[tuple[str, str, str], StoredItem] = {}

    async def current_version(self) -> int:
        """See `MetadataStore`."""
        return self._version

    async def load(self) -> tuple[int, tuple[StoredItem, ...]]:
        """See `MetadataStore`."""
        return self._version, tuple(self._items[key] for key in sorted(self._items))

    async def publish(
        self,
        put: Sequence[StoredItem],
        remove: Sequence[tuple[str, str, str]],
        *,
        expected_version: int,
        record: Sequence[SecurityEntry] = (),
    ) -> int:
        """See `MetadataStore`."""
        if expected_version != self._version:
            raise WriteConflict
        self._version += 1
        for key in remove:
            self._items.pop(key, None)
        for item in put:
            stored = msgspec.structs.replace(item, version=self._version)
            self._items[item.layer, item.type, item.name] = stored
        self._log.append(record)
        return self._version


class MemoryOutbox:
    """See `Outbox`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0
        self._pending: dict[int, tuple[ChangeEvent, int]] = {}
        self._published: dict[int, tuple[ChangeEvent, int, Published]] = {}
        """Each with when it was published (Unix ms)."""

    def append(self, events: Sequence[ChangeEvent]) -> None:
        """Take over the events of a commit."""
        now_ms = self._clock.now_ms()
        for event in events:
            self._last += 1
            size = len(events) if event.batch else 1
            self._pending[self._last] = (msgspec.structs.replace(event, batch_size=size), now_ms)

    async def pending(self, limit: int) -> tuple[tuple[int, ChangeEvent], ...]:
        """See `Outbox`."""
        first = list(self._pending)[:limit]
        return tuple((position, self._pending[position][0]) for position in first)

    async def unpublished(self, tenant: TenantId, object: str, limit: int) -> tuple[str, ...]:
        """See `Outbox`."""
        events = (event for event, _ in self._pending.values())
        ids = [e.id for e in events if e.tenant == tenant and e.object == object]
        return tuple(ids[:limit])

    async def mark_published(self, epoch: str, places: Mapping[int, int]) -> None:
        """See `Outbox`."""
        now_ms = self._clock.now_ms()
        for position, at in places.items():
            found = self._pending.pop(position, None)
            if found is not None:
                self._published[position] = found[0], now_ms, Published(position, epoch, at)

    async def published(self, limit: int) -> tuple[Published, ...]:
        """See `Outbox`."""
        return tuple(where for _, _, where in reversed(self._published.values()))[:limit]

    async def events(self, positions: Sequence[int]) -> tuple[tuple[int, ChangeEvent], ...]:
        """See `Outbox`."""
        kept = self._published
        return tuple((position, kept[position][0]) for position in positions if position in kept)

    def forget(self, tenant: TenantId) -> None:
        """Drop what is kept of `tenant`."""
        for position in [p for p, (e, *_) in self._published.items() if e.tenant == tenant]:
            del self._published[position]
        for position in [p for p, (event, _) in self._pending.items() if event.tenant == tenant]:
            del self._pending[position]

    async def counts(self) -> tuple[int, float]:
        """See `Outbox`."""
        oldest_ms = min((at_ms for _, at_ms in self._pending.values()), default=None)
        if oldest_ms is None:
            return 0, 0.0
        return len(self._pending), max(self._clock.now_ms() - oldest_ms, 0) / 1000

    async def purge(self, older_than_s: float) -> int:
        """See `Outbox`."""
        limit_ms = self._clock.now_ms() - older_than_s * 1000
        kept = {p: entry for p, entry in self._published.items() if entry[1] > limit_ms}
        count = len(self._published) - len(kept)
        self._published = kept
        return count


class MemoryLeases:
    """See `Leases`; the clock is the process's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, tuple[str, int]] = {}

    async def acquire(self, name: str, holder: str, ttl_s: float) -> bool:
        """See `Leases`."""
        now_ms = self._clock.now_ms()
        current, expires_ms = self._held.get(name, (holder, 0))
        if current != holder and expires_ms > now_ms:
            return False
        self._held[name] = (holder, now_ms + int(ttl_s * 1000))
        return True

    async def release(self, name: str, holder: str) -> None:
        """See `Leases`."""
        if self._held.get(name, ("", 0))[0] == holder:
            del self._held[name]


class MemoryTenantStore:
    """See `TenantStore`."""

    def __init__(self, log: MemorySecurityLog) -> None:
        self._log = log
        self._version = 0
        self._tenants: dict[TenantId, Tenant] = {}
        self._metadata: dict[TenantId, TenantMetadata] = {}

    async def current_version(self) -> int:
        """See `TenantStore`."""
        return self._version

    async def load(self) -> tuple[int, tuple[Tenant, ...]]:
        """See `TenantStore`."""
        return self._version, tuple(self._tenants[id_] for id_ in sorted(self._tenants))

    async def metadata_of(self, tenants: Collection[TenantId]) -> Mapping[TenantId, TenantMetadata]:
        """See `TenantStore`."""
        return {id_: self._metadata[id_] for id_ in tenants if id_ in self._metadata}

    async def save(
        self,
        tenant: Tenant,
        *,
        record: Sequence[SecurityEntry] = (),
        metadata: TenantMetadata | None = None,
    ) -> Tenant:
        """See `TenantStore`."""
        known = self._tenants.get(tenant.id)
        if (0 if known is None else known.version) != tenant.version:
            raise WriteConflict
        saved = msgspec.structs.replace(tenant, version=tenant.version + 1)
        self._tenants[tenant.id] = saved
        if metadata is not None:
            self._metadata[tenant.id] = metadata
        self._log.append(record)
        self._version += 1
        return saved

    async def remove(self, tenant: TenantId) -> None:
        """See `TenantStore`."""
        self._tenants.pop(tenant, None)
        self._metadata.pop(tenant, None)
        self._version += 1


class MemoryTables(Driver, Protocol):
    """The tables of one tenant."""

    def set_there(self, *, is_there: bool) -> None:
        """Whether they have been made, and not been dropped."""
        ...


class MemoryPlaces:
    """See `TenantPlaces`. Whether schema or database makes no difference here."""

    def __init__(self, make: Callable[[], MemoryTables]) -> None:
        self._make = make
        self._places: dict[Place, MemoryTables] = {}

    @property
    def kinds(self) -> frozenset[PlaceKind]:
        """See `TenantPlaces`."""
        return frozenset(("schema", "database"))

    def open(self, place: Place) -> MemoryTables:
        """See `TenantPlaces`."""
        if place not in self._places:
            self._places[place] = self._make()
        return self._places[place]

    async def create(self, place: Place) -> None:
        """See `TenantPlaces`."""
        self.open(place).set_there(is_there=True)

    async def waiting(
        self, places: Sequence[Place], drivers: Mapping[TenantId, Driver]
    ) -> frozenset[TenantId]:
        """See `TenantPlaces`."""
        del drivers
        outboxes = [(place.tenant, self.open(place).outbox) for place in places]
        return frozenset([tenant for tenant, outbox in outboxes if (await outbox.counts())[0]])

    async def drop(self, place: Place) -> None:
        """See `TenantPlaces`."""
        dropped = self._places.pop(place, None)
        if dropped is not None:
            dropped.set_there(is_there=False)
