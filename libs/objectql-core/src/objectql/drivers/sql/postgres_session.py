"""One Postgres transaction."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from objectql.drivers.protocol import (
    Idempotency,
    Lowered,
    Page,
    RecordImage,
    Remembered,
    RowWrite,
    WriteOutcome,
    WriteScope,
)
from objectql.drivers.sql.answers import Source, fetch_page, lowered_sql, record_of
from objectql.drivers.sql.postgres_calls import READ, Deadline, PostgresCalls, Target
from objectql.drivers.sql.postgres_walls import SHOW_LOCAL, TenantConnection
from objectql.drivers.sql.system import (
    NEXT_SEQUENCE,
    POSTGRES_WORDS,
    idempotency_key,
    idempotency_sql,
    remembered_of,
)
from objectql.drivers.sql.transactions import (
    EXPECT_PREPARE,
    check_room,
    leave_mark,
    prepare_text,
)
from objectql.drivers.sql.writes import (
    WriteStatements,
    document,
    outcome_of,
    parameters,
    runs,
)
from objectql.drivers.transactions import Mark
from objectql.errors import ObjectQLError, WriteConflict
from objectql.ids import TenantId
from objectql.metadata.model import ObjectDef
from objectql.values import Value

IDEMPOTENCY_SQL = idempotency_sql(POSTGRES_WORDS)


class PostgresSession:
    """See `Session`. Made by `PostgresDriver.begin`, which also ends it."""

    def __init__(
        self,
        connection: TenantConnection,
        calls: PostgresCalls,
        statements: WriteStatements,
        deadline: Deadline,
        *,
        has_walls: bool,
    ) -> None:
        self._connection = connection
        self._calls = calls
        self._statements = statements
        self._deadline = deadline
        self._savepoints = 0
        self._has_walls = has_walls
        self._tenant = connection.tenant
        self._claims: set[tuple[str, str, str]] = set()
        self.failure: ObjectQLError | None = None
        """What made the transaction unusable; a failed statement dooms it, savepoints apart."""
        self.is_prepared = False
        """Whether the transaction has ended by `prepare`."""

    async def run(
        self, text: str, *params: object, target: Target = READ
    ) -> Sequence[Sequence[Any]]:
        """The rows of one statement of the transaction."""
        if self.failure is not None:
            raise self.failure
        try:
            return await self._calls.rows(self._connection, text, params, self._deadline, target)
        except ObjectQLError as failure:
            self.failure = failure
            raise

    async def show(self, tenant: str) -> None:
        """Let the statements that follow see the rows of `tenant`, until the transaction ends."""
        if self._has_walls and tenant != self._tenant:
            await self.run(SHOW_LOCAL, tenant)
            self._tenant = tenant

    async def read(self, text: str, *params: object) -> Sequence[Sequence[Any]]:
        """See `SystemRunner`."""
        return await self.run(text, *params)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncGenerator[PostgresSession, None]:
        """The session itself: a nested block is part of the transaction."""
        yield self

    async def _rows(self, text: str, args: Sequence[object]) -> Sequence[Sequence[Any]]:
        return await self.run(text, *args)

    async def fetch(self, query: Lowered, params: Sequence[Value]) -> Page:
        """See `Session`."""
        lowered = lowered_sql(query)
        await self.show(lowered.tenant_of(params))
        return await fetch_page(lowered, params, Source(self._rows))

    async def fetch_one(self, query: Lowered, params: Sequence[Value]) -> RecordImage | None:
        """See `Session`."""
        lowered = lowered_sql(query).record
        await self.show(lowered.tenant_of(params))
        return record_of(await self.run(lowered.text, *lowered.arguments(params)))

    async def explain(
        self, query: Lowered, params: Sequence[Value], *, analyze: bool = False
    ) -> bytes | None:
        """See `Session`."""
        lowered = lowered_sql(query)
        options = "ANALYZE, BUFFERS, FORMAT JSON" if analyze else "FORMAT JSON"
        if analyze:
            await self.run("SET TRANSACTION READ ONLY")
        await self.show(lowered.tenant_of(params))
        text = f"EXPLAIN ({options}) {lowered.text}"
        rows = await self.run(text, *lowered.arguments(params))
        return str(rows[0][0]).encode()

    async def apply(
        self,
        writes: Sequence[RowWrite],
        scope: WriteScope,
        idempotency: Idempotency | None = None,
    ) -> tuple[WriteOutcome, ...]:
        """See `Session`; runs of like writes go as one statement."""
        if idempotency is not None:
            await self._claim(idempotency)
        await self.show(scope.tenant)
        outcomes: list[WriteOutcome] = []
        for shape, run in runs(writes):
            form = "one" if len(run) == 1 else "many"
            self._calls.names.learn((shape.object,))
            rows = await self.run(
                self._statements.text(shape, form),
                document(run, form),
                *parameters(shape.object, scope, None),
                target=Target(shape.kind, shape.object, run[0].id),
            )
            outcomes += map(outcome_of, run, rows)
        return tuple(outcomes)

    async def lock(self, object_: ObjectDef, tenant: TenantId, id_: str) -> RecordImage | None:
        """See `Session`."""
        await self.show(tenant)
        return record_of(await self.run(self._statements.lock_text(object_), tenant, id_))

    async def _claim(self, idempotency: Idempotency) -> None:
        """Make the key ours until the end.

        Raises:
            WriteConflict: the same request was done meanwhile; a retry will recall its answer.

        """
        key = idempotency_key(idempotency)
        if key in self._claims:
            self._claims.discard(key)
            return
        if not await self.run(IDEMPOTENCY_SQL.claim, *key, idempotency.body_hash):
            raise WriteConflict

    async def remember(self, idempotency: Idempotency, reply: bytes) -> None:
        """See `Session`."""
        key = idempotency_key(idempotency)
        self._claims.discard(key)
        await self.run(IDEMPOTENCY_SQL.remember, *key, reply)

    async def recall(self, idempotency: Idempotency) -> Remembered | None:
        """See `Session`. When there is none, the key is claimed: others wait for this one."""
        key = idempotency_key(idempotency)
        if await self.run(IDEMPOTENCY_SQL.claim, *key, idempotency.body_hash):
            self._claims.add(key)
            return None
        return remembered_of(await self.run(IDEMPOTENCY_SQL.find, *key))

    async def drop_unused_claims(self) -> None:
        """Before the commit: a key that was looked up and never written under stays free."""
        for key in self._claims:
            await self.run(IDEMPOTENCY_SQL.forget, *key)

    async def next_sequence(self, tenant: TenantId, scope: str, count: int = 1) -> int:
        """See `Session`; the numbers have no gaps, since the row is locked until the end."""
        rows = await self.run(NEXT_SEQUENCE, tenant, scope, count)
        return int(rows[0][0]) - count + 1

    async def expect_prepare(self, lock_wait_s: float) -> None:
        """See `Session`."""
        rows = await self.run(EXPECT_PREPARE, f"{round(lock_wait_s * 1000)}ms")
        _, count, most = rows[0]
        check_room(int(count), int(most))

    async def mark(self, mark: Mark) -> None:
        """See `Session`."""
        await leave_mark(self, mark)

    async def prepare(self, name: str) -> None:
        """See `Session`."""
        if self.failure is not None:
            raise self.failure
        await self.drop_unused_claims()
        try:
            await self._calls.commit_text(self._connection, prepare_text(name), self._deadline)
        except ObjectQLError as failure:
            self.failure = failure
            raise
        self.is_prepared = True

    @contextlib.asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None, None]:
        """See `Session`."""
        self._savepoints += 1
        name = f"s{self._savepoints}"
        claims, tenant = set(self._claims), self._tenant
        await self.run(f"SAVEPOINT {name}")
        try:
            yield
            await self.run(f"RELEASE SAVEPOINT {name}")
        except Exception:
            self.failure = None
            await self.run(f"ROLLBACK TO SAVEPOINT {name}")
            self._claims, self._tenant = claims, tenant
            raise
