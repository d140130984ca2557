"""The store of webhooks of the memory driver. Nothing awaits in here, so every call is atomic."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from objectql.drivers.memory_security_log import MemorySecurityLog
from objectql.drivers.security_log import SecurityEntry
from objectql.drivers.webhooks import (
    MAX_REASON,
    Delivery,
    DeliveryState,
    Hold,
    NewEvent,
    Outcome,
    QueueCounts,
    Waiting,
    Webhook,
)
from objectql.errors import QuotaExceeded, UniqueViolation, WriteConflict


class MemoryWebhookStore:
    """See `WebhookStore`."""

    def __init__(self, log: MemorySecurityLog) -> None:
        self._log = log
        self._version = 0
        self._webhooks: dict[str, Webhook] = {}
        self._last = 0
        self._queue: dict[int, Delivery] = {}
        self._known: dict[tuple[str, str], int] = {}
        self._holds: dict[str, Hold] = {}

    async def current_version(self) -> int:
        """See `WebhookStore`."""
        return self._version

    async def load(self) -> tuple[int, tuple[Webhook, ...]]:
        """See `WebhookStore`."""
        found = sorted(self._webhooks.values(), key=lambda one: (one.tenant, one.name))
        return self._version, tuple(found)

    async def save(
        self,
        webhook: Webhook,
        *,
        most: int | None = None,
        record: Sequence[SecurityEntry] = (),
    ) -> Webhook:
        """See `WebhookStore`."""
        stored = self._webhooks.get(webhook.id)
        if (0 if stored is None else stored.version) != webhook.version:
            raise WriteConflict
        theirs = [one for one in self._webhooks.values() if one.tenant == webhook.tenant]
        if stored is None and most is not None and len(theirs) >= most:
            raise QuotaExceeded(quota="webhooks", limit=most)
        if any(one.name == webhook.name and one.id != webhook.id for one in theirs):
            raise UniqueViolation(object="webhook", fields=("name",))
        saved = msgspec.structs.replace(webhook, version=webhook.version + 1)
        self._version += 1
        self._webhooks[webhook.id] = saved
        self._holds.pop(webhook.id, None)
        self._log.append(record)
        return saved

    async def remove(self, webhook: Webhook, *, record: Sequence[SecurityEntry] = ()) -> None:
        """See `WebhookStore`."""
        self._version += 1
        self._webhooks.pop(webhook.id, None)
        self._holds.pop(webhook.id, None)
        self._log.append(record)
        self._drop([d.position for d in self._queue.values() if d.webhook == webhook.id])

    def forget(self, tenant: str) -> None:
        """Everything of a deleted tenant."""
        self._version += 1
        self._webhooks = {id_: w for id_, w in self._webhooks.items() if w.tenant != tenant}
        self._holds = {id_: hold for id_, hold in self._holds.items() if id_ in self._webhooks}
        self._drop([d.position for d in self._queue.values() if d.tenant == tenant])

    async def enqueue(self, events: Sequence[NewEvent], now_ms: int) -> int:
        """See `WebhookStore`."""
        count = 0
        for event in events:
            for webhook in event.webhooks:
                if (webhook, event.id) in self._known:
                    continue
                count += 1
                self._last += 1
                self._known[webhook, event.id] = self._last
                self._queue[self._last] = Delivery(
                    position=self._last,
                    tenant=event.tenant,
                    webhook=webhook,
                    event_id=event.id,
                    record=event.record,
                    event=event.text,
                    state="pending",
                    attempts=0,
                    due_ms=now_ms,
                    created_ms=now_ms,
                )
        return count

    async def waiting(self, now_ms: int, limit: int) -> tuple[Waiting, ...]:
        """See `WebhookStore`."""
        found: dict[str, Waiting] = {}
        for delivery in self._pending():
            hold = self._holds.get(delivery.webhook, Hold())
            is_due = delivery.due_ms <= now_ms and hold.until_ms <= now_ms
            if is_due and delivery.webhook in self._webhooks:
                found[delivery.webhook] = Waiting(delivery.webhook, hold.failures)
        return tuple(found.values())[:limit]

    async def hold(self, webhook: str, version: int, hold: Hold) -> None:
        """See `WebhookStore`."""
        stored = self._webhooks.get(webhook)
        if stored is not None and stored.version == version:
            self._holds[webhook] = hold

    async def heads(self, webhook: str, now_ms: int, limit: int) -> tuple[Delivery, ...]:
        """See `WebhookStore`."""
        first: dict[str, Delivery] = {}
        for delivery in self._pending():
            if delivery.webhook == webhook:
                first.setdefault(delivery.record, delivery)
        return tuple(d for d in first.values() if d.due_ms <= now_ms)[:limit]

    async def settle(self, delivery: Delivery, outcome: Outcome) -> bool:
        """See `WebhookStore`."""
        stored = self._queue.get(delivery.position)
        if stored is None or (stored.state, stored.attempts) != ("pending", delivery.attempts):
            return False
        changes = msgspec.structs.asdict(outcome) | {"reason": outcome.reason[:MAX_REASON]}
        self._queue[delivery.position] = msgspec.structs.replace(stored, **changes)
        return True

    async def deliveries(
        self, webhook: str, state: DeliveryState | None, *, before: int | None, limit: int
    ) -> tuple[Delivery, ...]:
        """See `WebhookStore`."""
        found = (
            d
            for d in reversed(self._queue.values())
            if d.webhook == webhook
            and (state is None or d.state == state)
            and (before is None or d.position < before)
        )
        return tuple(found)[:limit]

    async def replay(
        self,
        webhook: str,
        now_ms: int,
        *,
        event_id: str | None = None,
        since_ms: int | None = None,
        record: Sequence[SecurityEntry] = (),
    ) -> int:
        """See `WebhookStore`."""
        count = 0
        self._log.append(record)
        for delivery in list(self._queue.values()):
            if delivery.webhook != webhook or delivery.state == "pending":
                continue
            if event_id is not None:
                is_meant = delivery.event_id == event_id
            elif since_ms is not None:
                is_meant = delivery.created_ms >= since_ms
            else:
                is_meant = delivery.state == "dead"
            if is_meant:
                count += 1
                self._queue[delivery.position] = msgspec.structs.replace(
                    delivery,
                    state="pending",
                    attempts=0,
                    due_ms=now_ms,
                    created_ms=now_ms,
                    finished_ms=None,
                )
        return count

    async def expire(self, before_ms: int, now_ms: int, reason: str) -> int:
        """See `WebhookStore`."""
        late = [d for d in self._pending() if d.created_ms < before_ms]
        for delivery in late:
            self._queue[delivery.position] = msgspec.structs.replace(
                delivery, state="dead", finished_ms=now_ms, reason=reason
            )
        return len(late)

    async def purge(self, before_ms: int) -> int:
        """See `WebhookStore`."""
        old = [
            d.position
            for d in self._queue.values()
            if d.finished_ms is not None and d.finished_ms < before_ms
        ]
        self._drop(old)
        return len(old)

    async def counts(self) -> QueueCounts:
        """See `WebhookStore`."""
        pending = self._pending()
        dead = sum(d.state == "dead" for d in self._queue.values())
        oldest = min((d.created_ms for d in pending), default=None)
        return QueueCounts(len(pending), dead, oldest)

    def _pending(self) -> list[Delivery]:
        return [d for d in self._queue.values() if d.state == "pending"]

    def _drop(self, positions: Sequence[int]) -> None:
        for position in positions:
            gone = self._queue.pop(position)
            self._known.pop((gone.webhook, gone.event_id), None)
