"""The store of webhooks in system tables of a SQL source.

A webhook is one document; a counter of all changes tells whoever follows that there are news. The
queue has a row per event and webhook, and the event itself once, however many hear of it. Which rows may be tried is found by partial indexes, over what
is pending alone, so that what is done costs nothing however much of it is kept. One of them is on
`position + 0`: by the plain column Postgres walks the primary key, through all that is done, because
it does not know that what is pending lies at its end (500,000 rows: 660 ms, against 10 ms).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from objectql.drivers.security_log import SecurityEntry
from objectql.drivers.sql.security_log import insert_entries
from objectql.drivers.sql.system import SystemRunner, SystemWords
from objectql.drivers.webhooks import (
    MAX_COUNT,
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

_COUNT: Final = "UPDATE oql_webhooks_state SET version = version + 1"
"""First in every change: its row lock serialises them, so that the counter misses none and a
tenant's webhooks are counted while nobody adds another."""

_FREE: Final = "DELETE FROM oql_webhook_holds WHERE webhook = $1"

_CHUNK_BYTES: Final = 1024 * 1024
"""Of one statement."""

_COLUMNS: Final = ", ".join(
    "e.event" if name == "event" else f"d.{name}" for name in Delivery.__struct_fields__
)
_DELIVERIES: Final = f"""SELECT {_COLUMNS} FROM oql_webhook_queue AS d
JOIN oql_webhook_events AS e ON e.event_id = d.event_id"""


def webhook_tables(words: SystemWords) -> tuple[str, ...]:
    """Statements that create what is missing; they may run any number of times."""
    return (
        f"""CREATE TABLE IF NOT EXISTS oql_webhooks (tenant text NOT NULL, id text PRIMARY KEY,
            name text NOT NULL, version bigint NOT NULL, document {words.binary} NOT NULL)""",
        "CREATE UNIQUE INDEX IF NOT EXISTS oql_webhooks_name ON oql_webhooks (tenant, name)",
        """CREATE TABLE IF NOT EXISTS oql_webhooks_state (
            one integer PRIMARY KEY CHECK (one = 1), version bigint NOT NULL)""",
        "INSERT INTO oql_webhooks_state VALUES (1, 0) ON CONFLICT DO NOTHING",
        f"""CREATE TABLE IF NOT EXISTS oql_webhook_queue (position {words.serial},
            tenant text NOT NULL, webhook text NOT NULL, event_id text NOT NULL,
            record text NOT NULL, state text NOT NULL,
            attempts integer NOT NULL, due_ms bigint NOT NULL, created_ms bigint NOT NULL,
            finished_ms bigint, status integer, reason text NOT NULL)""",
        """CREATE TABLE IF NOT EXISTS oql_webhook_events (event_id text PRIMARY KEY,
            tenant text NOT NULL, event text NOT NULL, created_ms bigint NOT NULL)""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_events_age
            ON oql_webhook_events (created_ms)""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_events_tenant ON oql_webhook_events (tenant)""",
        """CREATE TABLE IF NOT EXISTS oql_webhook_holds (webhook text PRIMARY KEY,
            tenant text NOT NULL, failures integer NOT NULL, until_ms bigint NOT NULL)""",
        """CREATE UNIQUE INDEX IF NOT EXISTS oql_webhook_queue_event
            ON oql_webhook_queue (event_id, webhook)""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_queue_order
            ON oql_webhook_queue (webhook, record, position) WHERE state = 'pending'""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_queue_pending
            ON oql_webhook_queue (webhook, (position + 0)) WHERE state = 'pending'""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_queue_dead
            ON oql_webhook_queue (webhook, position) WHERE state = 'dead'""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_queue_due
            ON oql_webhook_queue (webhook, due_ms) WHERE state = 'pending'""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_queue_log
            ON oql_webhook_queue (webhook, position)""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_queue_age
            ON oql_webhook_queue (created_ms) WHERE state = 'pending'""",
        """CREATE INDEX IF NOT EXISTS oql_webhook_queue_finished
            ON oql_webhook_queue (finished_ms) WHERE finished_ms IS NOT NULL""",
        "CREATE INDEX IF NOT EXISTS oql_webhook_queue_tenant ON oql_webhook_queue (tenant)",
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

    async def save(
        self,
        webhook: Webhook,
        *,
        most: int | None = None,
        record: Sequence[SecurityEntry] = (),
    ) -> Webhook:
        """See `WebhookStore`."""
        saved = msgspec.structs.replace(webhook, version=webhook.version + 1)
        document = msgspec.json.encode(saved)
        async with self._runner.transaction() as runner:
            await runner.run(_COUNT)
            if webhook.version == 0:
                await _insert(runner, webhook, document, most)
            else:
                done = await runner.run(
                    """UPDATE oql_webhooks SET version = version + 1, document = $3
                    WHERE id = $1 AND version = CAST($2 AS bigint) RETURNING 1""",
                    *(webhook.id, webhook.version, document),
                )
                if not done:
                    raise WriteConflict
                await runner.run(_FREE, webhook.id)
            await insert_entries(runner, record)
        return saved

    async def remove(self, webhook: Webhook, *, record: Sequence[SecurityEntry] = ()) -> None:
        """See `WebhookStore`."""
        async with self._runner.transaction() as runner:
            await runner.run(_COUNT)
            await runner.run("DELETE FROM oql_webhooks WHERE id = $1", webhook.id)
            await runner.run("DELETE FROM oql_webhook_queue WHERE webhook = $1", webhook.id)
            await runner.run(_FREE, webhook.id)
            await insert_entries(runner, record)

    # --- the queue ---

    async def enqueue(self, events: Sequence[NewEvent], now_ms: int) -> int:
        """See `WebhookStore`; events first, so that no delivery is ever without its own."""
        kept = ({"tenant": e.tenant, "id": e.id, "text": e.text} for e in events)
        for items in _chunks(kept):
            await self._runner.run(
                f"""INSERT INTO oql_webhook_events (event_id, tenant, event, created_ms)
                SELECT t.value ->> 'id', t.value ->> 'tenant', t.value ->> 'text',
                    CAST($2 AS bigint)
                FROM {self._words.json_items} WHERE 1 = 1 ON CONFLICT (event_id) DO NOTHING""",
                *(items, now_ms),
            )
        told = (
            {"tenant": e.tenant, "webhook": webhook, "id": e.id, "record": e.record}
            for e in events
            for webhook in e.webhooks
        )
        return sum([await self._enqueue(items, now_ms) for items in _chunks(told)])

    async def _enqueue(self, items: str, now_ms: int) -> int:
        rows = await self._runner.run(
            f"""INSERT INTO oql_webhook_queue (tenant, webhook, event_id, record,
                state, attempts, due_ms, created_ms, reason)
            SELECT t.value ->> 'tenant', t.value ->> 'webhook', t.value ->> 'id',
                t.value ->> 'record', 'pending', 0, CAST($2 AS bigint), CAST($2 AS bigint), ''
            FROM {self._words.json_items} WHERE 1 = 1
            ON CONFLICT (event_id, webhook) DO NOTHING RETURNING 1""",
            *(items, now_ms),
        )
        return len(rows)

    async def waiting(self, now_ms: int, limit: int) -> tuple[Waiting, ...]:
        """See `WebhookStore`."""
        rows = await self._runner.read(
            """SELECT w.id, COALESCE(h.failures, 0) FROM oql_webhooks w
            LEFT JOIN oql_webhook_holds h ON h.webhook = w.id
            WHERE COALESCE(h.until_ms, 0) <= CAST($1 AS bigint)
            AND EXISTS (SELECT 1 FROM oql_webhook_queue d WHERE d.webhook = w.id
                AND d.state = 'pending' AND d.due_ms <= CAST($1 AS bigint))
            LIMIT CAST($2 AS bigint)""",
            *(now_ms, limit),
        )
        return tuple(Waiting(row[0], row[1]) for row in rows)

    async def hold(self, webhook: str, version: int, hold: Hold) -> None:
        """See `WebhookStore`."""
        await self._runner.run(
            """INSERT INTO oql_webhook_holds (webhook, tenant, failures, until_ms)
            SELECT id, tenant, CAST($3 AS integer), CAST($4 AS bigint) FROM oql_webhooks
            WHERE id = $1 AND version = CAST($2 AS bigint)
            ON CONFLICT (webhook) DO UPDATE
            SET failures = excluded.failures, until_ms = excluded.until_ms""",
            *(webhook, version, hold.failures, hold.until_ms),
        )

    async def heads(self, webhook: str, now_ms: int, limit: int) -> tuple[Delivery, ...]:
        """See `WebhookStore`."""
        rows = await self._runner.read(
            f"""{_DELIVERIES}
            WHERE d.webhook = $1 AND d.state = 'pending' AND d.due_ms <= CAST($2 AS bigint)
            AND NOT EXISTS (SELECT 1 FROM oql_webhook_queue AS earlier
                WHERE earlier.webhook = d.webhook AND earlier.record = d.record
                AND earlier.state = 'pending' AND earlier.position < d.position)
            ORDER BY d.position + 0 LIMIT CAST($3 AS bigint)""",
            *(webhook, now_ms, limit),
        )
        return tuple(map(_delivery, rows))

    async def settle(self, delivery: Delivery, outcome: Outcome) -> bool:
        """See `WebhookStore`."""
        rows = await self._runner.run(
            """UPDATE oql_webhook_queue SET state = $3, attempts = CAST($4 AS integer),
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
        which = "" if state is None else "AND d.state = $4"
        rows = await self._runner.read(
            f"""{_DELIVERIES}
            WHERE d.webhook = $1 AND d.position < CAST($2 AS bigint) {which}
            ORDER BY d.position DESC LIMIT CAST($3 AS bigint)""",
            *(webhook, 2**62 if before is None else before, limit),
            *(() if state is None else (state,)),
        )
        return tuple(map(_delivery, rows))

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
        which, value = "state = 'dead'", ()
        if event_id is not None:
            which, value = "state <> 'pending' AND event_id = $3", (event_id,)
        elif since_ms is not None:
            which, value = "state <> 'pending' AND created_ms >= CAST($3 AS bigint)", (since_ms,)
        async with self._runner.transaction() as runner:
            rows = await runner.run(
                f"""UPDATE oql_webhook_queue SET state = 'pending', attempts = 0,
                due_ms = CAST($2 AS bigint), created_ms = CAST($2 AS bigint), finished_ms = NULL
                WHERE webhook = $1 AND {which} RETURNING 1""",
                *(webhook, now_ms, *value),
            )
            await insert_entries(runner, record)
        return len(rows)

    async def expire(self, before_ms: int, now_ms: int, reason: str) -> int:
        """See `WebhookStore`."""
        rows = await self._runner.run(
            """UPDATE oql_webhook_queue SET state = 'dead', finished_ms = CAST($2 AS bigint),
            reason = $3 WHERE state = 'pending' AND created_ms < CAST($1 AS bigint) RETURNING 1""",
            *(before_ms, now_ms, reason),
        )
        return len(rows)

    async def purge(self, before_ms: int) -> int:
        """See `WebhookStore`; an event stays while there is a delivery of it."""
        rows = await self._runner.run(
            """DELETE FROM oql_webhook_queue WHERE finished_ms < CAST($1 AS bigint)
            RETURNING 1""",
            before_ms,
        )
        await self._runner.run(
            """DELETE FROM oql_webhook_events WHERE created_ms < CAST($1 AS bigint)
            AND NOT EXISTS (SELECT 1 FROM oql_webhook_queue AS d
                WHERE d.event_id = oql_webhook_events.event_id)""",
            before_ms,
        )
        return len(rows)

    async def counts(self) -> QueueCounts:
        """See `WebhookStore`."""
        rows = await self._runner.read(
            f"""SELECT (SELECT count(*) FROM (SELECT 1 FROM oql_webhook_queue
                WHERE state = 'pending' LIMIT {MAX_COUNT}) AS p),
            (SELECT count(*) FROM (SELECT 1 FROM oql_webhook_queue
                WHERE state = 'dead' LIMIT {MAX_COUNT}) AS d),
            (SELECT min(created_ms) FROM oql_webhook_queue WHERE state = 'pending')"""
        )
        pending, dead, oldest = rows[0]
        return QueueCounts(int(pending), int(dead), oldest)


def _delivery(row: Sequence[Any]) -> Delivery:
    return Delivery(**dict(zip(Delivery.__struct_fields__, row, strict=True)))


async def _insert(
    runner: SystemRunner, webhook: Webhook, document: bytes, most: int | None
) -> None:
    if most is not None:
        count = "SELECT count(*) FROM oql_webhooks WHERE tenant = $1"
        if int((await runner.run(count, webhook.tenant))[0][0]) >= most:
            raise QuotaExceeded(quota="webhooks", limit=most)
    done = await runner.run(
        """INSERT INTO oql_webhooks (tenant, id, name, version, document)
        VALUES ($1, $2, $3, 1, $4) ON CONFLICT (tenant, name) DO NOTHING RETURNING 1""",
        *(webhook.tenant, webhook.id, webhook.name, document),
    )
    if not done:
        raise UniqueViolation(object="webhook", fields=("name",))


def _chunks(items: Iterable[object]) -> Iterator[str]:
    """JSON arrays of the items in order, each little longer than `_CHUNK_BYTES`."""
    found: list[bytes] = []
    size = 0
    for item in items:
        found.append(msgspec.json.encode(item))
        size += len(found[-1])
        if size >= _CHUNK_BYTES:
            yield _array(found)
            found, size = [], 0
    if found:
        yield _array(found)


def _array(items: Sequence[bytes]) -> str:
    return f"[{b','.join(items).decode()}]"
