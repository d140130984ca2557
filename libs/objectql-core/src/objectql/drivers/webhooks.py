"""What the store of webhooks promises: who is to be told of changes, and what is still to be told.

The queue is the truth about deliveries; whatever wakes a worker may be lost. All methods but those
of the registry name a webhook by its `id`, which is never used again, so that a new webhook of an
old name inherits nothing. Decisions are made by `kernel.webhooks`, never here. Times are Unix
milliseconds of the caller's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from objectql.drivers.security_log import SecurityEntry
from objectql.events import ChangeKind
from objectql.ids import TenantId

DeliveryState: TypeAlias = Literal["pending", "done", "dead"]

MAX_REASON = 500
"""Characters kept of why a delivery did not succeed."""


MAX_COUNT = 100_000
"""No more than so many are counted; whoever watches a queue has seen enough."""


class SealedSecret(msgspec.Struct, frozen=True, omit_defaults=True):
    """A signing secret as it is kept. It signs until `until_ms`, or without end."""

    sealed: str
    until_ms: int | None = None


class Webhook(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Whom to tell of which changes.

    `name` is unique in its tenant. `where` is a filter as in a query document; `fields` of () are
    all that may be read. It sees what the user `user`, or somebody with `roles`, may read. `headers`
    are sealed like secrets. `package` names where it was declared, "" for the API. `version`
    counts the changes, from 1; 0 is one that is not stored yet.
    """

    id: str
    tenant: TenantId
    name: str
    url: str
    objects: tuple[str, ...]
    events: tuple[ChangeKind, ...] = ("created", "updated", "deleted")
    where: Any = None
    fields: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    user: str | None = None
    headers: dict[str, str] = {}
    secrets: tuple[SealedSecret, ...] = ()
    active: bool = True
    disabled_because: str = ""
    max_attempts: int = 12
    timeout_s: float = 10.0
    package: str = ""
    created_at: str = ""
    updated_at: str = ""
    version: int = 0


class NewEvent(msgspec.Struct, frozen=True):
    """An event and whom to tell; `text` is a `ChangeEvent` as JSON, in ASCII."""

    tenant: TenantId
    id: str
    record: str
    text: str
    webhooks: tuple[str, ...]


class Hold(msgspec.Struct, frozen=True):
    """How an endpoint is: after how many failures in a row, and until when nothing is sent."""

    failures: int = 0
    until_ms: int = 0


class Waiting(NamedTuple):
    """A webhook with something to be told now, and after how many failures in a row."""

    webhook: str
    failures: int


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What is, or was, to be told. Those of one `record` are told in the order of `position`.

    `status` is the last HTTP status there was; `reason` why it has not succeeded.
    """

    position: int
    tenant: TenantId
    webhook: str
    event_id: str
    record: str
    event: str
    state: DeliveryState
    attempts: int
    due_ms: int
    created_ms: int
    finished_ms: int | None = None
    status: int | None = None
    reason: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What an attempt has come to; a `pending` delivery is tried again when it is due."""

    state: DeliveryState
    attempts: int
    due_ms: int = 0
    finished_ms: int | None = None
    status: int | None = None
    reason: str = ""


class QueueCounts(NamedTuple):
    """Of all tenants. `oldest_ms`: when the oldest pending delivery was put in (None: none is)."""

    pending: int
    dead: int
    oldest_ms: int | None


class WebhookStore(Protocol):
    """One per installation, in its default data source."""

    async def current_version(self) -> int:
        """How many changes of webhooks there have been; moves with every one of them."""
        ...

    async def load(self) -> tuple[int, tuple[Webhook, ...]]:
        """All webhooks by tenant and name, with the version they make up."""
        ...

    async def save(
        self,
        webhook: Webhook,
        *,
        most: int | None = None,
        record: Sequence[SecurityEntry] = (),
    ) -> Webhook:
        """Store `webhook`, as a new one where its version is 0; with its new version.

        Nothing holds it back any more: who has changed it may have mended it. `record` is
        committed with it.

        Raises:
            UniqueViolation: the tenant has another of its name.
            QuotaExceeded: it is new, and the tenant has `most` already.
            WriteConflict: the stored one is at another version, or gone.

        """
        ...

    async def remove(self, webhook: Webhook, *, record: Sequence[SecurityEntry] = ()) -> None:
        """Forget it with its deliveries, if it is known; `record` is committed with that."""
        ...

    async def enqueue(self, events: Sequence[NewEvent], now_ms: int) -> int:
        """Put in the deliveries that are not known yet; how many that were.

        An event is kept once, for all of them. Positions are given in the order of `events`,
        which hold one record once at most.
        """
        ...

    async def waiting(self, now_ms: int, limit: int) -> tuple[Waiting, ...]:
        """Webhooks with deliveries that are due and that nothing holds back, in no order."""
        ...

    async def hold(self, webhook: str, version: int, hold: Hold) -> None:
        """Keep how its endpoint is, for whoever works off its queue next.

        Nothing is kept of a webhook that is not at `version` any more: it may be another endpoint.
        """
        ...

    async def heads(self, webhook: str, now_ms: int, limit: int) -> tuple[Delivery, ...]:
        """The first pending delivery of each record, of those that are due now, oldest first."""
        ...

    async def settle(self, delivery: Delivery, outcome: Outcome) -> bool:
        """Note an attempt; False if somebody else has done so since `delivery` was read."""
        ...

    async def deliveries(
        self, webhook: str, state: DeliveryState | None, *, before: int | None, limit: int
    ) -> tuple[Delivery, ...]:
        """The latest first, those below the position `before`."""
        ...

    async def replay(
        self,
        webhook: str,
        now_ms: int,
        *,
        event_id: str | None = None,
        since_ms: int | None = None,
        record: Sequence[SecurityEntry] = (),
    ) -> int:
        """Make pending again, without attempts; how many that were.

        One event's, or all put in since a time, whether done or dead; without either all that are
        dead. They keep their places in the order. `record` is committed with that.
        """
        ...

    async def expire(self, before_ms: int, now_ms: int, reason: str) -> int:
        """Let pending deliveries die that were put in before a time; how many."""
        ...

    async def purge(self, before_ms: int) -> int:
        """Delete what was finished before a time; how many."""
        ...

    async def counts(self) -> QueueCounts:
        """How much there is in the queue."""
        ...
