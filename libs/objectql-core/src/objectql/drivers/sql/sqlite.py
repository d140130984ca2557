"""The SQLite driver: one writer at a time, several readers, write-ahead logging.

It keeps the same promises as the Postgres driver. It is for development, tests and small
installations of one process: change events and leases work across processes, but a second
process that writes is waited for by polling.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from objectql.clock import Clock, SystemClock
from objectql.drivers.places import TenantPlaces
from objectql.drivers.pool import ConnectionPool, Connector, PoolSettings
from objectql.drivers.protocol import (
    Capabilities,
    Freshness,
    Idempotency,
    Isolation,
    Lowered,
    Page,
    ReadCounts,
    RecordImage,
    Remembered,
    RowWrite,
    SchemaPlan,
    WriteOutcome,
    WriteScope,
)
from objectql.drivers.remembering import reply_of
from objectql.drivers.sql.answers import lowered_sql, page_of, record_of
from objectql.drivers.sql.chains import SqlChains, create_audit_tables
from objectql.drivers.sql.ddl import plan_tables
from objectql.drivers.sql.dialect_sqlite import SQLITE
from objectql.drivers.sql.errors import ConstraintNames, Doing, translate
from objectql.drivers.sql.fragment import identifier
from objectql.drivers.sql.history import SqlHistory
from objectql.drivers.sql.identity import SqlIdentityStore, identity_tables
from objectql.drivers.sql.introspect import INTROSPECT_SQLITE, parse_introspection
from objectql.drivers.sql.lower import LoweredSql, lower
from objectql.drivers.sql.security_log import SqlSecurityLog
from objectql.drivers.sql.sqlite_connection import SqliteConnection, refusal_of
from objectql.drivers.sql.sqlite_session import IDEMPOTENCY_SQL, SqliteSession
from objectql.drivers.sql.sqlite_writes import SqliteWriter
from objectql.drivers.sql.system import (
    SQLITE_WORDS,
    STREAM_PLACE,
    SqlLeases,
    SqlMetadataStore,
    SqlOutbox,
    add_columns,
    idempotency_key,
    record_tables,
    remembered_of,
    system_tables,
)
from objectql.drivers.sql.tenants import (
    SqlTenantStore,
    any_record,
    column_clearing,
    tenant_deletions,
)
from objectql.drivers.sql.transactions import SqlTransactions, purge_marks_text
from objectql.drivers.sql.webhooks import SqlWebhookStore, webhook_tables
from objectql.drivers.writer_lock import WriterLock, check_deadline
from objectql.errors import Unavailable
from objectql.ids import DataSource, ObjectName, TenantId
from objectql.metadata.model import ObjectDef
from objectql.query.bound import BoundQuery
from objectql.values import Value

T = TypeVar("T")

DEFAULT_SOURCE: Final = DataSource("default")


class SqliteSettings(msgspec.Struct, frozen=True):
    """Where the file is; its folder must exist."""

    path: str
    pool: PoolSettings = PoolSettings(max_size=4)


class SqliteDriver:
    """See `Driver`."""

    def __init__(
        self,
        settings: SqliteSettings,
        *,
        name: DataSource = DEFAULT_SOURCE,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._name = name
        self._clock = clock or SystemClock()
        self._names = ConstraintNames()
        self._work = SqliteWriter(self._names)
        connector = Connector[SqliteConnection](
            connect=self._connect,
            close=self._close,
            ping=self._ping,
            is_open=lambda connection: connection.is_open,
        )
        self._pool = ConnectionPool(name, connector, settings.pool, self._clock)
        self._turn = WriterLock(name, self._clock)
        self._writer: SqliteConnection | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._reads = self._writes = self._begun = 0
        self.metadata = SqlMetadataStore(self)
        self.outbox = SqlOutbox(self, SQLITE_WORDS)
        self.history = SqlHistory(self)
        self.chains = SqlChains(self, SQLITE_WORDS)
        self.security_log = SqlSecurityLog(self)
        self.leases = SqlLeases(self, SQLITE_WORDS)
        self.transactions = SqlTransactions(self, name)
        self.identity = SqlIdentityStore(self)
        self.tenants = SqlTenantStore(self)
        self.webhooks = SqlWebhookStore(self, SQLITE_WORDS)
        self.places: TenantPlaces | None = None

    @property
    def name(self) -> DataSource:
        """See `Driver`."""
        return self._name

    @property
    def kind(self) -> str:
        """See `Driver`."""
        return "sqlite"

    @property
    def capabilities(self) -> Capabilities:
        """See `Driver`."""
        return Capabilities()

    @property
    def pool(self) -> ConnectionPool[SqliteConnection]:
        """The readers, for the process's `PoolManager`."""
        return self._pool

    # --- connections ---------------------------------------------------------------------------

    async def connect(self) -> None:
        """See `Driver`."""
        self._executor = ThreadPoolExecutor(
            self._settings.pool.max_size + 1, thread_name_prefix=f"sqlite-{self._name}"
        )
        try:
            self._writer = await self._open(is_reader=False)
            async with self.begin() as session:
                for tables in (record_tables, system_tables, identity_tables, webhook_tables):
                    for statement in tables(SQLITE_WORDS):
                        await session.run(statement)
                await add_columns(session, SQLITE_WORDS, "oql_outbox", STREAM_PLACE)
                await create_audit_tables(session, SQLITE_WORDS)
                await session.run(IDEMPOTENCY_SQL.purge)
            await self._pool.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """See `Driver`."""
        await self._pool.close()
        async with self._turn.hold():
            if self._writer is not None:
                await self._close(self._writer)
                self._writer = None
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None

    async def check_health(self) -> None:
        """See `Driver`."""
        await self._pool.check_health()

    def statistics(self) -> Mapping[str, float]:
        """See `Driver`."""
        return {
            **msgspec.structs.asdict(self._pool.statistics()),
            "reads_total": self._reads,
            "writes_total": self._writes,
            "transactions_total": self._begun,
        }

    async def _connect(self) -> SqliteConnection:
        return await self._open(is_reader=True)

    async def _open(self, *, is_reader: bool) -> SqliteConnection:
        try:
            path = str(Path(self._settings.path))
            return SqliteConnection(path, is_reader=is_reader)
        except sqlite3.Error as exc:
            raise Unavailable(what=self._name) from exc

    async def _close(self, connection: SqliteConnection) -> None:
        connection.close()

    async def _ping(self, connection: SqliteConnection) -> None:
        deadline_ms = self._clock.now_ms() + 2000
        await self._call(connection, lambda c: c.rows("SELECT 1"), deadline_ms)

    async def _call(
        self,
        connection: SqliteConnection,
        work: Callable[[SqliteConnection], T],
        deadline_ms: int | None,
        doing: Doing = "read",
    ) -> T:
        if self._executor is None:
            raise Unavailable(what=self._name)
        try:
            return await connection.call(self._executor, work, self._clock, deadline_ms)
        except sqlite3.Error as exc:
            raise translate(refusal_of(exc), self._names, doing=doing) from exc

    # --- reads ---------------------------------------------------------------------------------

    def lower(self, query: BoundQuery) -> Lowered:
        """See `Driver`."""
        return lower(query, SQLITE)

    async def fetch(
        self,
        query: Lowered,
        params: Sequence[Value],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> Page:
        """See `Driver`."""
        del freshness  # there is only one copy
        lowered = lowered_sql(query)
        return page_of(await self._read(lowered.text, lowered.arguments(params), deadline_ms))

    async def fetch_one(
        self,
        query: Lowered,
        params: Sequence[Value],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> RecordImage | None:
        """See `Driver`."""
        del freshness
        lowered = lowered_sql(query).record
        return record_of(await self._read(lowered.text, lowered.arguments(params), deadline_ms))

    async def fetch_each(
        self,
        query: Lowered,
        params: Sequence[Sequence[Value]],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> Sequence[Page]:
        """See `Driver`."""
        del freshness
        found = await self._read_each(lowered_sql(query), params, deadline_ms)
        return [page_of(rows) for rows in found]

    async def fetch_one_each(
        self,
        query: Lowered,
        params: Sequence[Sequence[Value]],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> Sequence[RecordImage | None]:
        """See `Driver`."""
        del freshness
        found = await self._read_each(lowered_sql(query).record, params, deadline_ms)
        return [record_of(rows) for rows in found]

    async def position(self) -> int | None:  # noqa: RUF029 - the port's shape
        """See `Driver`."""
        return None

    def read_counts(self) -> ReadCounts:
        """See `Driver`."""
        return ReadCounts(self._reads)

    async def _read(
        self, text: str, args: Sequence[object], deadline_ms: int | None
    ) -> Sequence[Sequence[Any]]:
        self._reads += 1
        check_deadline(self._clock, deadline_ms)
        return await self._lend(lambda c: c.rows(text, args), deadline_ms)

    async def _read_each(
        self, lowered: LoweredSql, params: Sequence[Sequence[Value]], deadline_ms: int | None
    ) -> list[Sequence[Sequence[Any]]]:
        """The rows for each of `params`: what costs is the way to the thread, not the statement."""
        self._reads += 1
        check_deadline(self._clock, deadline_ms)
        text, every = lowered.text, [lowered.arguments(one) for one in params]
        return await self._lend(lambda c: [c.rows(text, args) for args in every], deadline_ms)

    async def _lend(self, work: Callable[[SqliteConnection], T], deadline_ms: int | None) -> T:
        """The result of `work` on a reader."""
        wait_s = None if deadline_ms is None else (deadline_ms - self._clock.now_ms()) / 1000
        async with self._pool.lease(wait_s) as connection:
            return await self._call(connection, work, deadline_ms)

    # --- writes --------------------------------------------------------------------------------

    async def write(
        self,
        writes: Sequence[RowWrite],
        scope: WriteScope,
        *,
        idempotency: Idempotency | None = None,
        deadline_ms: int | None = None,
    ) -> tuple[WriteOutcome, ...] | Remembered:
        """See `Driver`. The reply kept for several writes is empty."""
        self._writes += 1

        def work(connection: SqliteConnection) -> tuple[WriteOutcome, ...] | Remembered:
            if idempotency is None:
                return self._work.apply(connection, writes, scope)
            key = idempotency_key(idempotency)
            remembered = remembered_of(connection.numbered(IDEMPOTENCY_SQL.find, key))
            if remembered is not None:
                return remembered
            outcomes = self._work.apply(connection, writes, scope)
            reply = reply_of(outcomes)
            if reply is not None:
                claim = (*key, idempotency.body_hash)
                connection.numbered(IDEMPOTENCY_SQL.claim, claim)
                connection.numbered(IDEMPOTENCY_SQL.remember, (*key, reply))
            return outcomes

        return await self._commit(work, deadline_ms, "update")

    async def _commit(
        self, work: Callable[[SqliteConnection], T], deadline_ms: int | None, doing: Doing = "read"
    ) -> T:
        """The result of `work`, done in a transaction in one trip to a thread."""
        check_deadline(self._clock, deadline_ms)
        async with self._turn.hold(deadline_ms):
            writer = self._open_writer()
            return await self._call(writer, lambda c: c.in_transaction(work), deadline_ms, doing)

    def _open_writer(self) -> SqliteConnection:
        if self._writer is None:
            raise Unavailable(what=self._name)
        return self._writer

    async def read(self, text: str, *params: object) -> Sequence[Sequence[Any]]:
        """See `SystemRunner`."""
        return await self._lend(lambda c: c.numbered(text, params), None)

    async def run(self, text: str, *params: object) -> Sequence[Sequence[Any]]:
        """See `SystemRunner`."""
        return await self._commit(lambda c: c.numbered(text, params), None)

    async def sweep(self) -> None:
        """See `Driver`."""
        await self.run(IDEMPOTENCY_SQL.purge)
        await self.run(purge_marks_text(SQLITE_WORDS))

    async def has_records(self, tenant: TenantId, objects: Sequence[ObjectDef]) -> bool:
        """See `Driver`."""
        return bool(objects) and bool(await self.read(any_record(objects), tenant))

    async def delete_tenant(self, tenant: TenantId, objects: Sequence[ObjectDef]) -> None:
        """See `Driver`."""
        async with self.begin() as session:
            await session.run("PRAGMA defer_foreign_keys = ON")
            for statement in tenant_deletions(objects):
                await session.run(statement, tenant)

    async def clear_columns(
        self, tenant: TenantId, object_: ObjectDef, columns: Sequence[str]
    ) -> None:
        """See `Driver`."""
        async with self.begin() as session:
            await session.run(column_clearing(object_, columns), tenant)

    def transaction(self) -> contextlib.AbstractAsyncContextManager[SqliteSession]:
        """See `SystemRunner`."""
        return self.begin()

    @contextlib.asynccontextmanager
    async def begin(
        self,
        *,
        isolation: Isolation = "read_committed",
        deadline_ms: int | None = None,
        tenant: TenantId | None = None,
    ) -> AsyncGenerator[SqliteSession, None]:
        """See `Driver`. Every isolation is serial execution."""
        del isolation, tenant
        check_deadline(self._clock, deadline_ms)
        async with self._turn.hold(deadline_ms):
            writer = self._open_writer()
            self._begun += 1

            async def call(work: Callable[[SqliteConnection], T], doing: Doing = "read") -> T:
                return await self._call(writer, work, deadline_ms, doing)

            session = SqliteSession(call, self._work)
            await session.run("BEGIN IMMEDIATE")
            try:
                yield session
                if session.failure is not None:
                    raise session.failure
                check_deadline(self._clock, deadline_ms)
                await session.drop_unused_claims()
                await session.run("COMMIT")
            except BaseException:
                await self._call(writer, SqliteConnection.roll_back, None)
                raise

    # --- schema --------------------------------------------------------------------------------

    async def plan_schema(
        self, objects: Sequence[ObjectDef], *, allow_destructive: bool = False
    ) -> SchemaPlan:
        """See `Driver`."""
        self._names.learn(objects)
        existing = parse_introspection(await self.read(INTROSPECT_SQLITE))
        return plan_tables(existing, objects, "sqlite", allow_destructive=allow_destructive)

    async def apply_schema(self, plan: SchemaPlan) -> None:
        """See `Driver`: all or nothing."""
        async with self.begin() as session:
            for step in plan.steps:
                await session.run(step.statement)

    async def drop_object(self, object_: ObjectName, table: str) -> None:
        """See `Driver`.

        Raises:
            DeleteRestricted: records of other objects point into the table.

        """
        del object_
        await self._commit(
            lambda c: c.rows(f"DROP TABLE IF EXISTS {identifier(table)}"), None, "delete"
        )
