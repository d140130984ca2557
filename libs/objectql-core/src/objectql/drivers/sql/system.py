"""The tables that every SQL source has beside its objects, and the stores kept in them.

One set of statements serves Postgres and SQLite: parameters are `$1`, `$2` (SQLite reads them as
names), types are given with `CAST`, and the few words that differ are in `SystemWords`.

Outbox order. A position is drawn from a sequence when the outbox row is inserted, which is after
the write of its record took the record's row lock (the insert reads from the write). Two changes
of one record are therefore positioned in the order in which they commit. Changes of different
records are not: a reader may see position 7 before 6 is committed, so `pending` goes by
`published_at`, never by a high-water mark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec

from objectql.drivers.protocol import Idempotency, Remembered
from objectql.drivers.security_log import SecurityEntry
from objectql.drivers.sql.security_log import insert_entries
from objectql.drivers.stores import Published, StoredItem
from objectql.errors import WriteConflict
from objectql.events import ChangeEvent
from objectql.ids import TenantId

IDEMPOTENCY_HOURS = 24
IDEMPOTENCY_KEY = "oql_idempotency_pkey"
"""The constraint whose violation means: this request was, or is being, done already."""

_SCHEMA_LOCK = 0x6F_716C_5F73_7973
"""Advisory lock under which schema is changed ("oql_sys" in ASCII)."""


class SystemWords(msgspec.Struct, frozen=True):
    """The words that differ between the databases. `now` is the database's clock."""

    now: str
    instant: str
    day: str
    """One day, as it is added to and subtracted from an instant."""
    seconds_between: str
    """`{late}` minus `{early}` in seconds."""
    plus_seconds: str
    """`{seconds}` after now."""
    positions: str
    """The members of the JSON array `$1`."""
    json_items: str
    """The rows `t.value`, the objects of the JSON array `$1`."""
    serial: str
    binary: str
    links: str
    """The members `[position, sequence, hash]` of the JSON array `$1`, as rows of these columns."""
    columns: str
    """The names of the columns of the table `$1`."""
    random: str
    """A text that no other call gives."""


POSTGRES_WORDS = SystemWords(
    now="clock_timestamp()",
    instant="timestamptz",
    day="interval '1 day'",
    seconds_between="CAST(extract(epoch FROM {late} - {early}) AS double precision)",
    plus_seconds="clock_timestamp() + make_interval(secs => CAST({seconds} AS double precision))",
    positions="SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST($1 AS json))",
    json_items="json_array_elements(CAST($1 AS json)) AS t(value)",
    serial="bigserial PRIMARY KEY",
    binary="bytea",
    links="""SELECT CAST(value->>0 AS bigint) AS position, CAST(value->>1 AS bigint) AS sequence,
        value->>2 AS hash FROM json_array_elements(CAST($1 AS json))""",
    columns="""SELECT attname FROM pg_attribute
        WHERE attrelid = to_regclass(CAST($1 AS text)) AND attnum > 0 AND NOT attisdropped""",
    random="CAST(gen_random_uuid() AS text)",
)

SQLITE_WORDS = SystemWords(
    now="julianday('now')",
    instant="real",
    day="1.0",
    seconds_between="(({late}) - ({early})) * 86400.0",
    plus_seconds="julianday('now') + {seconds} / 86400.0",
    positions="SELECT value FROM json_each($1)",
    json_items="json_each($1) AS t",
    serial="integer PRIMARY KEY AUTOINCREMENT",
    binary="blob",
    links="""SELECT value->>0 AS position, value->>1 AS sequence, value->>2 AS hash
        FROM json_each($1)""",
    columns="SELECT name FROM pragma_table_info($1)",
    random="lower(hex(randomblob(16)))",
)

TAKE_SCHEMA_LOCK = f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"


def event_table(words: SystemWords) -> str:
    """The columns of a table that keeps events."""
    return f"""position {words.serial}, event_id text NOT NULL, tenant text NOT NULL,
            object text NOT NULL, record_id text NOT NULL, kind text NOT NULL,
            version bigint NOT NULL, at text NOT NULL, actor text NOT NULL,
            request_id text NOT NULL, traceparent text NOT NULL, batch text NOT NULL,
            batch_size integer NOT NULL, before text, after text"""


STREAM_PLACE: Final = MappingProxyType({"stream": "text", "stream_position": "bigint"})
"""Where an event lies in the stream. Outboxes of before get these columns (`add_columns`)."""


def _columns(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {type_}" for name, type_ in types.items())


async def add_columns(
    runner: SystemRunner, words: SystemWords, table: str, types: Mapping[str, str]
) -> None:
    """Give a table of before the columns that it lacks.

    It is looked at first: adding a column locks the table even if it is there.
    """
    columns = {row[0] for row in await runner.run(words.columns, table)}
    for name, type_ in types.items():
        if name not in columns:
            await runner.run(f"ALTER TABLE {table} ADD COLUMN {name} {type_}")


def record_tables(words: SystemWords) -> tuple[str, ...]:
    """Statements that create what must stand beside records, where it is missing.

    They may run any number of times, as those of `system_tables` may. The history and its chains
    are made by `chains.create_audit_tables`.
    """
    return (
        f"""CREATE TABLE IF NOT EXISTS oql_outbox (
            {event_table(words)}, published_at {words.instant}, {_columns(STREAM_PLACE)})""",
        """CREATE INDEX IF NOT EXISTS oql_outbox_pending ON oql_outbox (position)
            WHERE published_at IS NULL""",
        """CREATE INDEX IF NOT EXISTS oql_outbox_published ON oql_outbox (published_at)
            WHERE published_at IS NOT NULL""",
        """CREATE INDEX IF NOT EXISTS oql_outbox_batch ON oql_outbox (batch)
            WHERE batch <> ''""",
        f"""CREATE TABLE IF NOT EXISTS oql_idempotency (
            tenant text NOT NULL, principal text NOT NULL, key text NOT NULL,
            body_hash {words.binary} NOT NULL, reply {words.binary} NOT NULL,
            created_at {words.instant} NOT NULL DEFAULT ({words.now}),
            CONSTRAINT {IDEMPOTENCY_KEY} PRIMARY KEY (tenant, principal, key))""",
        "CREATE INDEX IF NOT EXISTS oql_idempotency_age ON oql_idempotency (created_at)",
        f"""CREATE TABLE IF NOT EXISTS oql_transactions (
            id text PRIMARY KEY, tenant text NOT NULL, document {words.binary} NOT NULL,
            created_at {words.instant} NOT NULL DEFAULT ({words.now}))""",
        "CREATE INDEX IF NOT EXISTS oql_transactions_age ON oql_transactions (created_at)",
        """CREATE TABLE IF NOT EXISTS oql_sequences (
            tenant text NOT NULL, scope text NOT NULL, value bigint NOT NULL,
            PRIMARY KEY (tenant, scope))""",
    )


def system_tables(words: SystemWords) -> tuple[str, ...]:
    """Statements that create what a data source has once, where it is missing."""
    return (
        f"""CREATE TABLE IF NOT EXISTS oql_metadata (
            layer text NOT NULL, type text NOT NULL, name text NOT NULL,
            content {words.binary} NOT NULL, version bigint NOT NULL, path text NOT NULL,
            PRIMARY KEY (layer, type, name))""",
        """CREATE TABLE IF NOT EXISTS oql_metadata_state (
            one integer PRIMARY KEY CHECK (one = 1), version bigint NOT NULL)""",
        "INSERT INTO oql_metadata_state VALUES (1, 0) ON CONFLICT DO NOTHING",
        f"""CREATE TABLE IF NOT EXISTS oql_leases (
            name text PRIMARY KEY, holder text NOT NULL, expires_at {words.instant} NOT NULL)""",
        f"""CREATE TABLE IF NOT EXISTS oql_tenants (
            id text PRIMARY KEY, version bigint NOT NULL, document {words.binary} NOT NULL)""",
        f"""CREATE TABLE IF NOT EXISTS oql_tenant_metadata (
            tenant text PRIMARY KEY, document {words.binary} NOT NULL)""",
        """CREATE TABLE IF NOT EXISTS oql_tenants_state (
            one integer PRIMARY KEY CHECK (one = 1), version bigint NOT NULL)""",
        "INSERT INTO oql_tenants_state VALUES (1, 0) ON CONFLICT DO NOTHING",
        """CREATE TABLE IF NOT EXISTS oql_installation (
            one integer PRIMARY KEY CHECK (one = 1), id text NOT NULL)""",
        f"INSERT INTO oql_installation VALUES (1, {words.random}) ON CONFLICT DO NOTHING",
    )


RECORD_TABLES = (
    *("oql_outbox", "oql_idempotency", "oql_transactions", "oql_sequences"),
    *("oql_history", "oql_security_log", "oql_audit_chains"),
)
"""Those beside records; each says whose its rows are in a column `tenant`."""

TENANT_TABLES = (
    *RECORD_TABLES,
    *("oql_users", "oql_sessions", "oql_api_keys", "oql_sign_in_attempts"),
    *("oql_webhooks", "oql_webhook_events", "oql_webhook_queue", "oql_webhook_holds"),
)
"""All tables with such a column."""


NEXT_SEQUENCE = """INSERT INTO oql_sequences AS s (tenant, scope, value)
VALUES ($1, $2, CAST($3 AS bigint))
ON CONFLICT (tenant, scope) DO UPDATE SET value = s.value + excluded.value
RETURNING value"""
"""The last of the reserved numbers; the row stays locked until the transaction ends."""


class IdempotencySql(msgspec.Struct, frozen=True):
    """The statements on `oql_idempotency`; the first three parameters are always the key's."""

    claim: str
    """Insert the key with an empty reply, or take over an expired one. One row if it is ours
    now, none if it lives. Waits for a transaction that has inserted the key and not ended."""
    find: str
    remember: str
    forget: str
    purge: str


def idempotency_sql(words: SystemWords) -> IdempotencySql:
    """The statements in the words of one database."""
    mine = "tenant = $1 AND principal = $2 AND key = $3"
    return IdempotencySql(
        claim=f"""INSERT INTO oql_idempotency AS i (tenant, principal, key, body_hash, reply)
            VALUES ($1, $2, $3, $4, CAST('' AS {words.binary}))
            ON CONFLICT (tenant, principal, key) DO UPDATE
            SET body_hash = excluded.body_hash, reply = excluded.reply, created_at = {words.now}
            WHERE i.created_at <= {words.now} - {words.day} RETURNING 1""",
        find=f"""SELECT body_hash, reply FROM oql_idempotency
            WHERE {mine} AND created_at > {words.now} - {words.day}""",
        remember=f"UPDATE oql_idempotency SET reply = $4 WHERE {mine}",
        forget=f"DELETE FROM oql_idempotency WHERE {mine}",
        purge=f"DELETE FROM oql_idempotency WHERE created_at <= {words.now} - {words.day}",
    )


class SystemRunner(Protocol):
    """How the stores reach their database. Errors come out as `ObjectQLError`."""

    async def read(self, text: str, *params: object) -> Sequence[Sequence[Any]]:
        """The rows of a statement that changes nothing; never waits for writers."""
        ...

    async def run(self, text: str, *params: object) -> Sequence[Sequence[Any]]:
        """The rows of one statement, in a transaction of its own unless inside `transaction`."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[SystemRunner]:
        """A block whose statements are all or nothing."""
        ...


def idempotency_key(identity: Idempotency) -> tuple[str, str, str]:
    """The first three parameters of every statement on `oql_idempotency`."""
    return identity.tenant, identity.principal, identity.key


def remembered_of(rows: Sequence[Sequence[Any]]) -> Remembered | None:
    """The answer in the rows of `IdempotencySql.find`."""
    return Remembered(bytes(rows[0][0]), bytes(rows[0][1])) if rows else None


class SqlMetadataStore:
    """`MetadataStore` in `oql_metadata`; an item's `version` is that of its publication."""

    def __init__(self, runner: SystemRunner) -> None:
        self._runner = runner

    async def current_version(self) -> int:
        """See `MetadataStore`."""
        rows = await self._runner.read("SELECT version FROM oql_metadata_state")
        return int(rows[0][0])

    async def load(self) -> tuple[int, tuple[StoredItem, ...]]:
        """See `MetadataStore`; one statement, so version and items belong together."""
        rows = await self._runner.read(
            """SELECT s.version, m.layer, m.type, m.name, m.content, m.version, m.path
            FROM oql_metadata_state s LEFT JOIN oql_metadata m ON 1 = 1
            ORDER BY m.layer, m.type, m.name"""
        )
        items = tuple(
            StoredItem(row[1], row[2], row[3], bytes(row[4]), row[5], row[6])
            for row in rows
            if row[1] is not None
        )
        return int(rows[0][0]), items

    async def publish(
        self,
        put: Sequence[StoredItem],
        remove: Sequence[tuple[str, str, str]],
        *,
        expected_version: int,
        record: Sequence[SecurityEntry] = (),
    ) -> int:
        """See `MetadataStore`; the state's row lock serialises publishers."""
        async with self._runner.transaction() as runner:
            moved = await runner.run(
                """UPDATE oql_metadata_state SET version = version + 1
                WHERE version = CAST($1 AS bigint) RETURNING version""",
                expected_version,
            )
            if not moved:
                raise WriteConflict
            version = int(moved[0][0])
            for layer, type_, name in remove:
                await runner.run(
                    "DELETE FROM oql_metadata WHERE layer = $1 AND type = $2 AND name = $3",
                    *(layer, type_, name),
                )
            for item in put:
                await runner.run(
                    """INSERT INTO oql_metadata (layer, type, name, content, version, path)
                    VALUES ($1, $2, $3, $4, CAST($5 AS bigint), $6)
                    ON CONFLICT (layer, type, name) DO UPDATE SET content = excluded.content,
                    version = excluded.version, path = excluded.path""",
                    *(item.layer, item.type, item.name, item.content, version, item.path),
                )
            await insert_entries(runner, record)
        return version


EVENT_COLUMNS = """event_id, tenant, object, record_id, kind, version, at, actor, before, after,
request_id, traceparent, batch, batch_size"""
"""What the outbox and the history keep of an event, in the order of `event_of`."""

_PENDING_COLUMNS = f"""{EVENT_COLUMNS.removesuffix("batch_size")}
CASE WHEN batch = '' THEN 1 ELSE (SELECT CAST(count(*) AS integer)
FROM oql_outbox AS o WHERE o.batch = oql_outbox.batch AND o.batch <> '') END"""
"""The same, with the batch's true size: what was known when an event was written is no more than
how many operations were asked for, and cascades come on top."""


class SqlOutbox:
    """`Outbox` in `oql_outbox`; only committed rows are visible to it."""

    def __init__(self, runner: SystemRunner, words: SystemWords) -> None:
        self._runner = runner
        self._words = words

    async def pending(self, limit: int) -> tuple[tuple[int, ChangeEvent], ...]:
        """See `Outbox` and the head of this module."""
        rows = await self._runner.read(
            f"""SELECT position, {_PENDING_COLUMNS} FROM oql_outbox
            WHERE published_at IS NULL ORDER BY position LIMIT CAST($1 AS bigint)""",
            limit,
        )
        return tuple((row[0], event_of(row)) for row in rows)

    async def unpublished(self, tenant: TenantId, object: str, limit: int) -> tuple[str, ...]:
        """See `Outbox`."""
        rows = await self._runner.read(
            """SELECT event_id FROM oql_outbox WHERE published_at IS NULL
            AND tenant = $1 AND object = $2 ORDER BY position LIMIT CAST($3 AS bigint)""",
            *(tenant, object, limit),
        )
        return tuple(row[0] for row in rows)

    async def mark_published(self, epoch: str, places: Mapping[int, int]) -> None:
        """See `Outbox`."""
        await self._runner.run(
            f"""UPDATE oql_outbox SET published_at = {self._words.now},
            stream = CAST($2 AS text), stream_position = p.sequence
            FROM ({self._words.links}) AS p WHERE oql_outbox.position = p.position""",
            *(msgspec.json.encode(list(places.items())).decode(), epoch),
        )

    async def published(self, limit: int) -> tuple[Published, ...]:
        """See `Outbox`."""
        rows = await self._runner.read(
            """SELECT position, stream, stream_position FROM oql_outbox
            WHERE published_at IS NOT NULL ORDER BY published_at DESC LIMIT CAST($1 AS bigint)""",
            limit,
        )
        return tuple(Published(*row) for row in rows if row[1] is not None)

    async def events(self, positions: Sequence[int]) -> tuple[tuple[int, ChangeEvent], ...]:
        """See `Outbox`."""
        rows = await self._runner.read(
            f"""SELECT position, {_PENDING_COLUMNS} FROM oql_outbox
            WHERE position IN ({self._words.positions})""",
            msgspec.json.encode(positions).decode(),
        )
        return tuple((row[0], event_of(row)) for row in rows)

    async def counts(self) -> tuple[int, float]:
        """See `Outbox`; the age is taken from the event's own time."""
        oldest = f"CAST(min(at) AS {self._words.instant})"
        if self._words is SQLITE_WORDS:
            oldest = "julianday(min(at))"
        age = self._words.seconds_between.format(late=self._words.now, early=oldest)
        rows = await self._runner.read(
            f"SELECT count(*), {age} FROM oql_outbox WHERE published_at IS NULL"
        )
        return int(rows[0][0]), max(float(rows[0][1] or 0.0), 0.0)

    async def purge(self, older_than_s: float) -> int:
        """See `Outbox`."""
        limit = self._words.plus_seconds.format(seconds="$1")
        rows = await self._runner.run(
            f"DELETE FROM oql_outbox WHERE published_at <= {limit} RETURNING 1", -older_than_s
        )
        return len(rows)


def event_of(row: Sequence[Any]) -> ChangeEvent:
    """The event in a row of a position and `EVENT_COLUMNS`."""
    before, after = row[9], row[10]
    return ChangeEvent(
        id=row[1],
        tenant=row[2],
        object=row[3],
        record_id=row[4],
        kind=row[5],
        version=row[6],
        at=row[7],
        actor=row[8],
        before=None if before is None else before.encode(),
        after=None if after is None else after.encode(),
        request_id=row[11],
        traceparent=row[12],
        batch=row[13],
        batch_size=row[14],
    )


class SqlLeases:
    """`Leases` in `oql_leases`; taken, renewed and compared in one statement each."""

    def __init__(self, runner: SystemRunner, words: SystemWords) -> None:
        self._runner = runner
        self._words = words

    async def acquire(self, name: str, holder: str, ttl_s: float) -> bool:
        """See `Leases`."""
        rows = await self._runner.run(
            f"""INSERT INTO oql_leases AS l (name, holder, expires_at)
            VALUES ($1, $2, {self._words.plus_seconds.format(seconds="$3")})
            ON CONFLICT (name) DO UPDATE
            SET holder = excluded.holder, expires_at = excluded.expires_at
            WHERE l.holder = excluded.holder OR l.expires_at <= {self._words.now}
            RETURNING 1""",
            *(name, holder, ttl_s),
        )
        return bool(rows)

    async def release(self, name: str, holder: str) -> None:
        """See `Leases`."""
        await self._runner.run(
            "DELETE FROM oql_leases WHERE name = $1 AND holder = $2", name, holder
        )
