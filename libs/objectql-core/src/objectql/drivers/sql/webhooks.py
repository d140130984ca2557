"""The store of webhooks in system tables of a SQL source.

A webhook is one document; a counter of all changes tells whoever follows that there are news. The
queue has a row per event and webhook. Which rows may be tried is found by partial indexes, over what
is pending alone, so that what is done costs nothing however much of it is kept. One of them is on
`position + 0`: by the plain column Postgres walks the primary key, through all that is done, because
it does not know that what is pending lies at its end (500,000 rows: 660 ms, against 10 ms).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from objectql.drivers.sql.system import SystemRunner, SystemWords
from objectql.drivers.webhooks import (
    MAX_COUNT,
    MAX_REASON,
    Delivery,
    DeliveryState,
    NewDelivery,
    Outcome,
    QueueCounts,
    Webhook,
)
from objectql.errors import UniqueViolation, WriteConflict

_COUNT: Final = "UPDATE oql_webhooks_state SET version = version + 1"
"""First in every change: its row lock serialises them, so that the counter misses none."""

_CHUNK_BYTES: Final = 1024 * 1024
"""Of one statement: an event of two large images may be for a hundred webhooks."""

_COLUMNS: Final = ", ".join(Delivery.__struct_fields__)


def webhook_tables(words: SystemWords) -> tuple[str, ...]:
    """Statements that create what is missing; they may run any number of times."""
    return (
        f"""CREATE TABLE IF NOT EXISTS oql_webhooks (tenant text NOT NULL, id text PRIMARY KEY,
            name text NOT NULL, version bigint NOT NULL, document {words.binary} NOT NULL)""",
        "CREATE UNIQUE INDEX IF NOT EXISTS oql_webhooks_name ON oql_webhooks (tenant, name)",
        """CREATE TABLE IF NOT EXISTS oql_webhooks_state (
            one integer PRIMARY KEY CHECK (one = 1), version bigint NOT NULL)""",
        "INSERT INTO oql_webhooks_state VALUES (1, 0) ON CONFLICT DO NOTHING",
        f"""CREATE TABLE IF NOT EXISTS oql_webhook_deliveries (position {words.serial},
            tenant text NOT NULL, webhook text NOT NULL, event_id text NOT NULL,
            record text NOT NULL, event text NOT NULL, state text NOT NULL,
            attempts integer NOT NULL, due_ms bigint NOT NULL, created_ms bigint NOT NULL,
            finished_ms bigint, status integer, reason text NOT NULL)""",
        """CREATE UNIQUE INDEX IF NOT EXISTS oql_webhook_deliveries_event
            ON oql_webhook_deliveries (webhook, event_id)""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_deliveries_order
            ON oql_webhook_deliveries (webhook, record, position) WHERE state = 'pending'""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_deliveries_pending
            ON oql_webhook_deliveries (webhook, (position + 0)) WHERE state = 'pending'""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_deliveries_dead
            ON oql_webhook_deliveries (webhook, position) WHERE state = 'dead'""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_deliveries_due
            ON oql_webhook_deliveries (webhook, due_ms) WHERE state = 'pending'""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_deliveries_log
            ON oql_webhook_deliveries (webhook, position)""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_deliveries_age
            ON oql_webhook_deliveries (created_ms) WHERE state = 'pending'""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_deliveries_finished
            ON oql_webhook_deliveries (finished_ms) WHERE finished_ms IS NOT NULL""",
        "CREATE INDEX IF NOT EXISTS oql_webhook_deliveries_tenant ON oql_webhook_deliveries (tenant)",
    )


class SqlWebhookStore:
    """See `WebhookStore`."""

    def __init__(self, runner: SystemRunner, words: SystemWords) -> None:
        self._runner = runner
        self._words = words

    # --- the registry ---

    async def current_version(self) -> int:
        """See `WebhookStore`."""
        rows = await self._runner.read("SELECT version FROM oql_webhooks_state")
        return int(rows[0][0])

    async def load(self) -> tuple[int, tuple[Webhook, ...]]:
        """See `WebhookStore`; one statement, so version and webhooks belong together."""
        rows = await self._runner.read(
            """SELECT s.version, w.document FROM oql_webhooks_state s
            LEFT JOIN oql_webhooks w ON 1 = 1 ORDER BY w.tenant, w.name"""
        )
        found = [msgspec.json.decode(row[1], type=Webhook) for row in rows if row[1] is not None]
        return int(rows[0][0]), tuple(found)

    async def save(self, webhook: Webhook) -> Webhook:
        """See `WebhookStore`."""
        saved = msgspec.structs.replace(webhook, version=webhook.version + 1)
        document = msgspec.json.encode(saved)
        async with self._runner.transaction() as runner:
            await runner.run(_COUNT)
            if webhook.version == 0:
                done = await runner.run(
                    """INSERT INTO oql_webhooks (tenant, id, name, version, document)
                    VALUES ($1, $2, $3, 1, $4)
                    ON CONFLICT (tenant, name) DO NOTHING RETURNING 1""",
                    *(webhook.tenant, webhook.id, webhook.name, document),
                )
                if not done:
                    raise UniqueViolation(object="webhook", fields=("name",))
                return saved
            done = await runner.run(
                """UPDATE oql_webhooks SET version = version + 1, document = $3
                WHERE id = $1 AND version = CAST($2 AS bigint) RETURNING 1""",
                *(webhook.id, webhook.version, document),
            )
            if not done:
                raise WriteConflict
        return saved

    async def remove(self, webhook: Webhook) -> None:
        """See `WebhookStore`."""
        async with self._runner.transaction() as runner:
            await runner.run(_COUNT)
            await runner.run("DELETE FROM oql_webhooks WHERE id = $1", webhook.id)
            await runner.run("DELETE FROM oql_webhook_deliveries WHERE webhook = $1", webhook.id)

    # --- the queue ---

    async def enqueue(self, deliveries: Sequence[NewDelivery], now_ms: int) -> int:
        """See `WebhookStore`; one statement, unless they are long."""
        return sum([await self._enqueue(items, now_ms) for items in _chunks(deliveries)])

    async def _enqueue(self, items: str, now_ms: int) -> int:
        rows = await self._runner.run(
            f"""INSERT INTO oql_webhook_deliveries (tenant, webhook, event_id, record, event,
                state, attempts, due_ms, created_ms, reason)
            SELECT t.value ->> 'tenant', t.value ->> 'webhook', t.value ->> 'event_id',
                t.value ->> 'record', t.value ->> 'event', 'pending', 0,
                CAST($2 AS bigint), CAST($2 AS bigint), ''
            FROM {self._words.json_items} WHERE 1 = 1
            ON CONFLICT (webhook, event_id) DO NOTHING RETURNING 1""",
            *(items, now_ms),
        )
        return len(rows)

    async def waiting(self, now_ms: int, limit: int) -> tuple[str, ...]:
        """See `WebhookStore`."""
        rows = await self._runner.read(
            """SELECT w.id FROM oql_webhooks w WHERE EXISTS (
                SELECT 1 FROM oql_webhook_deliveries d WHERE d.webhook = w.id
                AND d.state = 'pending' AND d.due_ms <= CAST($1 AS bigint))
            LIMIT CAST($2 AS bigint)""",
            *(now_ms, limit),
        )
        return tuple(row[0] for row in rows)

    async def heads(self, webhook: str, now_ms: int, limit: int) -> tuple[Delivery, ...]:
        """See `WebhookStore`."""
        rows = await self._runner.read(
            f"""SELECT {_COLUMNS} FROM oql_webhook_deliveries AS d
            WHERE webhook = $1 AND state = 'pending' AND due_ms <= CAST($2 AS bigint)
            AND NOT EXISTS (SELECT 1 FROM oql_webhook_deliveries AS earlier
                WHERE earlier.webhook = d.webhook AND earlier.record = d.record
                AND earlier.state = 'pending' AND earlier.position < d.position)
            ORDER BY position + 0 LIMIT CAST($3 AS bigint)""",
            *(webhook, now_ms, limit),
        )
        return tuple(map(_delivery, rows))

    async def settle(self, delivery: Delivery, outcome: Outcome) -> bool:
        """See `WebhookStore`."""
        rows = await self._runner.run(
            """UPDATE oql_webhook_deliveries SET state = $3, attempts = CAST($4 AS integer),
            due_ms = CAST($5 AS bigint), finished_ms = CAST($6 AS bigint),
            status = CAST($7 AS integer), reason = $8
            WHERE position = CAST($1 AS bigint) AND state = 'pending'
            AND attempts = CAST($2 AS integer) RETURNING 1""",
            *(delivery.position, delivery.attempts, outcome.state, outcome.attempts),
            *(outcome.due_ms, outcome.finished_ms, outcome.status),
            outcome.reason[:MAX_REASON].replace("\0", ""),
        )
        return bool(rows)

    async def deliveries(
        self, webhook: str, state: DeliveryState | None, *, before: int | None, limit: int
    ) -> tuple[Delivery, ...]:
        """See `WebhookStore`."""
        which = "" if state is None else "AND state = $4"
        rows = await self._runner.read(
            f"""SELECT {_COLUMNS} FROM oql_webhook_deliveries
            WHERE webhook = $1 AND position < CAST($2 AS bigint) {which}
            ORDER BY position DESC LIMIT CAST($3 AS bigint)""",
            *(webhook, 2**62 if before is None else before, limit),
            *(() if state is None else (state,)),
        )
        return tuple(map(_delivery, rows))

    async def replay(
        self, webhook: str, now_ms: int, *, event_id: str | None = None, since_ms: int | None = None
    ) -> int:
        """See `WebhookStore`."""
        which, value = "state = 'dead'", ()
        if event_id is not None:
            which, value = "state <> 'pending' AND event_id = $3", (event_id,)
        elif since_ms is not None:
            which, value = "state <> 'pending' AND created_ms >= CAST($3 AS bigint)", (since_ms,)
        rows = await self._runner.run(
            f"""UPDATE oql_webhook_deliveries SET state = 'pending', attempts = 0,
            due_ms = CAST($2 AS bigint), created_ms = CAST($2 AS bigint), finished_ms = NULL
            WHERE webhook = $1 AND {which} RETURNING 1""",
            *(webhook, now_ms, *value),
        )
        return len(rows)

    async def expire(self, before_ms: int, now_ms: int, reason: str) -> int:
        """See `WebhookStore`."""
        rows = await self._runner.run(
            """UPDATE oql_webhook_deliveries SET state = 'dead', finished_ms = CAST($2 AS bigint),
            reason = $3 WHERE state = 'pending' AND created_ms < CAST($1 AS bigint) RETURNING 1""",
            *(before_ms, now_ms, reason),
        )
        return len(rows)

    async def purge(self, before_ms: int) -> int:
        """See `WebhookStore`."""
        rows = await self._runner.run(
            """DELETE FROM oql_webhook_deliveries WHERE finished_ms < CAST($1 AS bigint)
            RETURNING 1""",
            before_ms,
        )
        return len(rows)

    async def counts(self) -> QueueCounts:
        """See `WebhookStore`."""
        rows = await self._runner.read(
            f"""SELECT (SELECT count(*) FROM (SELECT 1 FROM oql_webhook_deliveries
                WHERE state = 'pending' LIMIT {MAX_COUNT}) AS p),
            (SELECT count(*) FROM (SELECT 1 FROM oql_webhook_deliveries
                WHERE state = 'dead' LIMIT {MAX_COUNT}) AS d),
            (SELECT min(created_ms) FROM oql_webhook_deliveries WHERE state = 'pending')"""
        )
        pending, dead, oldest = rows[0]
        return QueueCounts(int(pending), int(dead), oldest)


def _delivery(row: Sequence[Any]) -> Delivery:
    return Delivery(**dict(zip(Delivery.__struct_fields__, row, strict=True)))


def _chunks(deliveries: Sequence[NewDelivery]) -> Iterator[str]:
    """JSON arrays of the deliveries in order, each little longer than `_CHUNK_BYTES`."""
    items: list[bytes] = []
    size = 0
    for delivery in deliveries:
        items.append(msgspec.json.encode(delivery))
        size += len(items[-1])
        if size >= _CHUNK_BYTES:
            yield _array(items)
            items, size = [], 0
    if items:
        yield _array(items)


def _array(items: Sequence[bytes]) -> str:
    return f"[{b','.join(items).decode()}]"
