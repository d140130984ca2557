"""What a data source keeps for the cluster: metadata, events to publish, leases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from objectql.drivers.security_log import SecurityEntry
from objectql.events import ChangeEvent
from objectql.ids import TenantId


class StoredItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A metadata document as published: `layer` is the package's name, or `custom`."""

    layer: str
    type: str
    name: str
    content: bytes
    version: int = 0
    path: str = ""


class MetadataStore(Protocol):
    """Where published metadata lives; the truth for every kernel of the cluster."""

    async def current_version(self) -> int:
        """The version of the newest publication; 0 when there is none."""
        ...

    async def load(self) -> tuple[int, tuple[StoredItem, ...]]:
        """All items with the version they make up, from one snapshot of the store."""
        ...

    async def publish(
        self,
        put: Sequence[StoredItem],
        remove: Sequence[tuple[str, str, str]],
        *,
        expected_version: int,
        record: Sequence[SecurityEntry] = (),
    ) -> int:
        """Replace and remove (`layer`, `type`, `name`) items at once; the new version.

        `record` goes to the security log, in the same transaction.

        Raises:
            WriteConflict: the store is no longer at `expected_version`.

        """
        ...


class Published(NamedTuple):
    """Where an event is kept (`position`), and where it lies in the stream `epoch` (`at`)."""

    position: int
    epoch: str
    at: int


class Outbox(Protocol):
    """Events committed but perhaps not yet published."""

    async def pending(self, limit: int) -> tuple[tuple[int, ChangeEvent], ...]:
        """Unpublished events with their positions; in commit order per record.

        Each knows its batch's size, for the batch has been committed.
        """
        ...

    async def unpublished(self, tenant: TenantId, object: str, limit: int) -> tuple[str, ...]:
        """The ids of the first `limit` unpublished events of an object."""
        ...

    async def mark_published(self, epoch: str, places: Mapping[int, int]) -> None:
        """The events at these positions need not be delivered again.

        Each value is the event's position in the stream `epoch`.
        """
        ...

    async def published(self, limit: int) -> tuple[Published, ...]:
        """The last `limit` events that were marked, those first that were marked last."""
        ...

    async def events(self, positions: Sequence[int]) -> tuple[tuple[int, ChangeEvent], ...]:
        """Events with their positions, as `pending` gives them; of those that are still kept."""
        ...

    async def counts(self) -> tuple[int, float]:
        """How many are pending, and the age of the oldest in seconds (0.0 when none)."""
        ...

    async def purge(self, older_than_s: float) -> int:
        """Delete published events older than that; how many."""
        ...


class Leases(Protocol):
    """Named leases with expiry, kept by the database's clock."""

    async def acquire(self, name: str, holder: str, ttl_s: float) -> bool:
        """Take or renew the lease; False while another holds it."""
        ...

    async def release(self, name: str, holder: str) -> None:
        """Give it up, if held."""
        ...
