"""The Postgres driver: asyncpg, a pool of our own, one round trip per read and per write.

Each connection keeps its prepared statements, one per text, so the server plans a repeated shape
once per connection.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from objectql.clock import Clock
from objectql.drivers.places import TenantPlaces
from objectql.drivers.pool import ConnectionPool
from objectql.drivers.protocol import (
    Capabilities,
    Freshness,
    Idempotency,
    Isolation,
    Lowered,
    ReadCounts,
    Remembered,
    RowWrite,
    SchemaPlan,
    WriteOutcome,
    WriteScope,
)
from objectql.drivers.sql.answers import Source
from objectql.drivers.sql.chains import SqlChains
from objectql.drivers.sql.dialect_postgres import POSTGRES
from objectql.drivers.sql.history import SqlHistory
from objectql.drivers.sql.identity import SqlIdentityStore
from objectql.drivers.sql.lower import lower
from objectql.drivers.sql.postgres_access import PostgresAccess, PostgresSettings, Shared
from objectql.drivers.sql.postgres_calls import (
    Deadline,
    Target,
    is_busy,
    is_unknown_name,
)
from objectql.drivers.sql.postgres_connect import USUAL
from objectql.drivers.sql.postgres_groups import LoneWrite, WriteGroups
from objectql.drivers.sql.postgres_places import PostgresPlaces
from objectql.drivers.sql.postgres_reads import PostgresReads
from objectql.drivers.sql.postgres_schema import PostgresSchema
from objectql.drivers.sql.postgres_session import IDEMPOTENCY_SQL, PostgresSession
from objectql.drivers.sql.postgres_walls import TenantConnection
from objectql.drivers.sql.security_log import SqlSecurityLog
from objectql.drivers.sql.system import (
    POSTGRES_WORDS,
    SqlLeases,
    SqlMetadataStore,
    SqlOutbox,
    idempotency_key,
    remembered_of,
)
from objectql.drivers.sql.tenants import SqlTenantStore, any_record
from objectql.drivers.sql.transactions import PostgresTransactions, purge_marks_text
from objectql.drivers.sql.webhooks import SqlWebhookStore
from objectql.drivers.sql.writes import (
    document,
    outcome_of,
    parameters,
    shape_of,
)
from objectql.errors import (
    DeadlineExceeded,
    ObjectQLError,
    PoolExhausted,
    Unavailable,
    UniqueViolation,
    WriteConflict,
)
from objectql.ids import DataSource, ObjectName, TenantId
from objectql.metadata.model import ObjectDef
from objectql.query.bound import BoundQuery

T = TypeVar("T")

MAX_RETRIES: Final = 3
"""Of a write outside a session after a serialization failure or deadlock (reference §16.5)."""

DEFAULT_SOURCE: Final = DataSource("default")
__all__ = ["DEFAULT_SOURCE", "MAX_RETRIES", "PostgresDriver", "PostgresSettings"]

_FIRST_PAUSE_S: Final = 0.005
_FINISH_WITHIN_MS: Final = 5000
_IDEMPOTENCY_TABLE: Final = "oql_idempotency"
_BEGIN: dict[Isolation, str] = {
    "read_committed": "BEGIN ISOLATION LEVEL READ COMMITTED",
    "repeatable_read": "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "serializable": "BEGIN ISOLATION LEVEL SERIALIZABLE",
}
_AUTOCOMMIT = Target()


class PostgresDriver(PostgresAccess, PostgresReads):
    """See `Driver`."""

    def __init__(
        self,
        settings: PostgresSettings,
        *,
        name: DataSource = DEFAULT_SOURCE,
        clock: Clock | None = None,
        shared: Shared | None = None,
    ) -> None:
        """`shared` is that of the driver of whose places this is one."""
        super().__init__(settings, name=name, clock=clock, shared=shared)
        self._retries = self._begun = 0
        self._groups = WriteGroups(self._write_one, self._commit, self._statements)
        self.metadata = SqlMetadataStore(self)
        self.outbox = SqlOutbox(self, POSTGRES_WORDS)
        self.history = SqlHistory(self)
        self.chains = SqlChains(self, POSTGRES_WORDS)
        self.security_log = SqlSecurityLog(self)
        self.leases = SqlLeases(self, POSTGRES_WORDS)
        self.transactions = PostgresTransactions(
            self,
            name,
            self._finish_prepared,
            is_listed=settings.home.database is None or settings.place_server is None,
        )
        self.identity = SqlIdentityStore(self)
        self.tenants = SqlTenantStore(self)
        self.webhooks = SqlWebhookStore(self, POSTGRES_WORDS)
        self._schema = PostgresSchema(
            self.begin,
            lambda: self._role,
            has_walls=settings.row_security,
            is_place=shared is not None,
        )
        self._places = self._open_places() if settings.home == USUAL else None

    @property
    def name(self) -> DataSource:
        """See `Driver`."""
        return self._name

    @property
    def kind(self) -> str:
        """See `Driver`."""
        return "postgres"

    @property
    def capabilities(self) -> Capabilities:
        """See `Driver`."""
        return Capabilities()

    @property
    def places(self) -> TenantPlaces | None:
        """See `Driver`."""
        return self._places

    def _open_places(self) -> PostgresPlaces:
        return PostgresPlaces(
            self._name,
            self._settings,
            self._shared,
            self._clock,
            read=self.read,
            changing=self._schema.changing,
            make_driver=self._make_placed,
        )

    def _make_placed(self, settings: PostgresSettings, shared: Shared) -> PostgresDriver:
        return PostgresDriver(settings, name=self._name, clock=self._clock, shared=shared)

    @property
    def pool(self) -> ConnectionPool[TenantConnection]:
        """The connections, for the process's `PoolManager`."""
        return self._pool

    # --- connections ---------------------------------------------------------------------------

    async def connect(self) -> None:
        """See `Driver`."""
        await self._open()
        try:
            await self._schema.create_system_tables()
            await self.run(IDEMPOTENCY_SQL.purge)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """See `Driver`."""
        if self._places is not None:
            await self._places.close()
        await self._close()

    async def check_health(self) -> None:
        """See `Driver`."""
        try:
            await self._pool.check_health()
        except PoolExhausted:
            raise
        except ObjectQLError as exc:
            raise Unavailable(what=self._name) from exc

    def statistics(self) -> Mapping[str, float]:
        """See `Driver`."""
        return {
            **msgspec.structs.asdict(self._pool.statistics()),
            "reads_total": self._reads,
            "writes_total": self._writes,
            "transactions_total": self._begun,
            "retries_total": self._retries,
            "grouped_writes_total": self._groups.grouped,
        }

    # --- reads ---------------------------------------------------------------------------------

    def lower(self, query: BoundQuery) -> Lowered:
        """See `Driver`."""
        return lower(query, POSTGRES)

    async def _answer(
        self,
        read: Callable[[Source], Awaitable[T]],
        tenant: str,
        deadline_ms: int | None,
        freshness: Freshness | None,
    ) -> T:
        """See `PostgresReads`; there is nothing fresher than the primary."""
        del freshness
        return await read(Source(partial(self._read, self._shown(tenant), deadline_ms)))

    async def position(self) -> int | None:  # noqa: RUF029 - the port's shape
        """See `Driver`."""
        return None

    def read_counts(self) -> ReadCounts:
        """See `Driver`."""
        return ReadCounts(self._reads)

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
        deadline = self._deadline(deadline_ms)
        pause_s = _FIRST_PAUSE_S
        for _ in range(MAX_RETRIES):
            try:
                return await self._write(writes, scope, idempotency, deadline)
            except WriteConflict:
                left_s = deadline.left_s()
                wait_s = pause_s * (0.5 + random.random())  # noqa: S311 - jitter, not a secret
                if left_s is not None and wait_s >= left_s:
                    raise
                self._retries += 1
                await self._clock.sleep(wait_s)
                pause_s *= 2
        return await self._write(writes, scope, idempotency, deadline)

    async def _write(
        self,
        writes: Sequence[RowWrite],
        scope: WriteScope,
        idempotency: Idempotency | None,
        deadline: Deadline,
    ) -> tuple[WriteOutcome, ...] | Remembered:
        if len(writes) == 1:
            lone = LoneWrite(writes[0], scope, idempotency, deadline)
            if scope.batch or scope.batch_size != 1 or not self._settings.group_writes:
                return await self._write_one(lone)
            return await self._groups.write(lone)
        async with self.begin(deadline_ms=deadline.at_ms, tenant=scope.tenant) as session:
            if idempotency is not None:
                remembered = await session.recall(idempotency)
                if remembered is not None:
                    return remembered
            return await session.apply(writes, scope, idempotency)

    async def _write_one(self, lone: LoneWrite) -> tuple[WriteOutcome, ...] | Remembered:
        """One write in one round trip.

        A request that ran at the same time under the same key shows itself as a violation of the
        key, of another unique index, or as a record that is gone or has moved on: then the answer
        is looked for once more.
        """
        write, scope, idempotency, deadline = lone
        shape = shape_of(write)
        form = "one" if idempotency is None else "remembered"
        text = self._statements.text(shape, form)
        args = (document((write,), form), *parameters(write.object, scope, idempotency))
        self._names.learn((write.object,))
        try:
            target = Target(write.kind, write.object, write.id)
            rows = await self._commit(text, args, deadline, target, scope.tenant)
        except UniqueViolation as exc:
            remembered = await self._find(idempotency)
            if remembered is not None:
                return remembered
            if exc.object == _IDEMPOTENCY_TABLE:  # the key is there and has expired
                await self.run(IDEMPOTENCY_SQL.purge)
                raise WriteConflict from exc
            raise
        row = rows[0]
        if idempotency is not None and row[5] is not None:
            return Remembered(row[4], row[5])
        outcome = outcome_of(write, row)
        if outcome.status in {"missing", "stale"}:
            remembered = await self._find(idempotency)
            if remembered is not None:
                return remembered
        return (outcome,)

    async def _find(self, idempotency: Idempotency | None) -> Remembered | None:
        if idempotency is None:
            return None
        return remembered_of(await self.read(IDEMPOTENCY_SQL.find, *idempotency_key(idempotency)))

    async def read(self, text: str, *params: object) -> Sequence[Sequence[Any]]:
        """See `SystemRunner`."""
        return await self._read(None, None, text, params)

    async def run(self, text: str, *params: object) -> Sequence[Sequence[Any]]:
        """See `SystemRunner`."""
        return await self._commit(text, params, Deadline(self._clock, None), _AUTOCOMMIT)

    async def sweep(self) -> None:
        """See `Driver`."""
        await self.run(IDEMPOTENCY_SQL.purge)
        await self.run(purge_marks_text(POSTGRES_WORDS))

    def transaction(self) -> contextlib.AbstractAsyncContextManager[PostgresSession]:
        """See `SystemRunner`."""
        return self.begin()

    # --- transactions --------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def begin(
        self,
        *,
        isolation: Isolation = "read_committed",
        deadline_ms: int | None = None,
        tenant: TenantId | None = None,
    ) -> AsyncGenerator[PostgresSession, None]:
        """See `Driver`."""
        deadline = self._deadline(deadline_ms)
        shown = None if tenant is None else self._shown(tenant)
        connection = await self._acquire(deadline, shown)
        self._begun += 1
        is_sound = False
        try:
            await self._calls.show(connection, shown, deadline)
            session = PostgresSession(
                connection,
                self._calls,
                self._statements,
                deadline,
                has_walls=self._settings.row_security,
            )
            await session.run(_BEGIN[isolation])
            try:
                yield session
                if session.failure is not None:
                    raise session.failure
                if not session.is_prepared:
                    await session.drop_unused_claims()
            except Exception:
                is_sound = session.is_prepared or await self._roll_back(connection, session)
                raise
            if not session.is_prepared:
                await self._calls.commit_rows(connection, "COMMIT", (), deadline, Target())
            is_sound = True
        finally:
            self._pool.release(connection, discard=not is_sound)

    async def _finish_prepared(self, text: str) -> bool:
        """Run a `finish_text`; whether there was such a part."""
        deadline = Deadline(self._clock, self._clock.now_ms() + _FINISH_WITHIN_MS)
        connection = await self._acquire(deadline)
        is_sound = False
        try:
            await self._calls.commit_text(connection, text, deadline)
            is_sound = True
        except ObjectQLError as exc:
            is_sound = not isinstance(exc, DeadlineExceeded)
            if is_unknown_name(exc.__cause__):
                return False
            if is_busy(exc.__cause__):
                raise WriteConflict from exc
            raise
        finally:
            self._pool.release(connection, discard=not is_sound)
        return True

    # --- schema --------------------------------------------------------------------------------

    async def plan_schema(
        self, objects: Sequence[ObjectDef], *, allow_destructive: bool = False
    ) -> SchemaPlan:
        """See `Driver`."""
        self._names.learn(objects)
        return await self._schema.plan(objects, allow_destructive=allow_destructive)

    async def apply_schema(self, plan: SchemaPlan) -> None:
        """See `Driver`."""
        await self._schema.apply(plan)

    async def has_records(self, tenant: TenantId, objects: Sequence[ObjectDef]) -> bool:
        """See `Driver`."""
        if not objects:
            return False
        async with self.begin(tenant=tenant) as session:
            return bool(await session.run(any_record(objects), tenant))

    async def delete_tenant(self, tenant: TenantId, objects: Sequence[ObjectDef]) -> None:
        """See `Driver`."""
        await self._schema.delete_tenant(tenant, objects)

    async def clear_columns(
        self, tenant: TenantId, object_: ObjectDef, columns: Sequence[str]
    ) -> None:
        """See `Driver`."""
        await self._schema.clear_columns(tenant, object_, columns)

    async def drop_object(self, object_: ObjectName, table: str) -> None:
        """See `Driver`. References to the table from others lose their constraint."""
        del object_
        await self._schema.drop(table)
