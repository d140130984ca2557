"""The store of webhooks of the memory driver. Nothing awaits in here, so every call is atomic."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from objectql.drivers.webhooks import (
    MAX_REASON,
    Delivery,
    DeliveryState,
    NewDelivery,
    Outcome,
    QueueCounts,
    Webhook,
)
from objectql.errors import UniqueViolation, WriteConflict


class MemoryWebhookStore:
    """See `WebhookStore`."""

    def __init__(self) -> None:
        self._version = 0
        self._webhooks: dict[str, Webhook] = {}
        self._last = 0
        self._queue: dict[int, Delivery] = {}
        self._known: dict[tuple[str, str], int] = {}

    async def current_version(self) -> int:
        """See `WebhookStore`."""
        return self._version

    async def load(self) -> tuple[int, tuple[Webhook, ...]]:
        """See `WebhookStore`."""
        found = sorted(self._webhooks.values(), key=lambda one: (one.tenant, one.name))
        return self._version, tuple(found)

    async def save(self, webhook: Webhook) -> Webhook:
        """See `WebhookStore`."""
        stored = self._webhooks.get(webhook.id)
        if (0 if stored is None else stored.version) != webhook.version:
            raise WriteConflict
        for other in self._webhooks.values():
            is_same_name = (other.tenant, other.name) == (webhook.tenant, webhook.name)
            if is_same_name and other.id != webhook.id:
                raise UniqueViolation(object="webhook", fields=("name",))
        saved = msgspec.structs.replace(webhook, version=webhook.version + 1)
        self._version += 1
        self._webhooks[webhook.id] = saved
        return saved

    async def remove(self, webhook: Webhook) -> None:
        """See `WebhookStore`."""
        self._version += 1
        self._webhooks.pop(webhook.id, None)
        self._drop([d.position for d in self._queue.values() if d.webhook == webhook.id])

    def forget(self, tenant: str) -> None:
        """Everything of a deleted tenant."""
        self._version += 1
        self._webhooks = {id_: w for id_, w in self._webhooks.items() if w.tenant != tenant}
        self._drop([d.position for d in self._queue.values() if d.tenant == tenant])

    async def enqueue(self, deliveries: Sequence[NewDelivery], now_ms: int) -> int:
        """See `WebhookStore`."""
        count = 0
        for new in deliveries:
            if (new.webhook, new.event_id) in self._known:
                continue
            count += 1
            self._last += 1
            self._known[new.webhook, new.event_id] = self._last
            self._queue[self._last] = Delivery(
                position=self._last,
                tenant=new.tenant,
                webhook=new.webhook,
                event_id=new.event_id,
                record=new.record,
                event=new.event,
                state="pending",
                attempts=0,
                due_ms=now_ms,
                created_ms=now_ms,
            )
        return count

    async def waiting(self, now_ms: int, limit: int) -> tuple[str, ...]:
        """See `WebhookStore`."""
        due = (d.webhook for d in self._pending() if d.due_ms <= now_ms)
        return tuple(dict.fromkeys(id_ for id_ in due if id_ in self._webhooks))[:limit]

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
        self, webhook: str, now_ms: int, *, event_id: str | None = None, since_ms: int | None = None
    ) -> int:
        """See `WebhookStore`."""
        count = 0
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
