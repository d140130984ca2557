"""One SQLite transaction."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

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
from objectql.drivers.sql.answers import lowered_sql, page_of, record_of
from objectql.drivers.sql.errors import Doing
from objectql.drivers.sql.sqlite_connection import SqliteConnection
from objectql.drivers.sql.sqlite_writes import SqliteWriter
from objectql.drivers.sql.system import (
    NEXT_SEQUENCE,
    SQLITE_WORDS,
    idempotency_key,
    idempotency_sql,
    remembered_of,
)
from objectql.drivers.sql.transactions import leave_mark
from objectql.drivers.transactions import Mark
from objectql.errors import ObjectQLError, SourceCannotPrepare, WriteConflict
from objectql.ids import TenantId
from objectql.metadata.model import ObjectDef
from objectql.values import Value

T = TypeVar("T")

IDEMPOTENCY_SQL = idempotency_sql(SQLITE_WORDS)


class Call(Protocol):
    """Runs a function on the transaction's connection; its errors are the port's."""

    async def __call__(self, work: Callable[[SqliteConnection], T], doing: Doing = "read") -> T: ...


class SqliteSession:
    """See `Session`. Made by `SqliteDriver.begin`, which also ends it."""

    def __init__(self, call: Call, writer: SqliteWriter) -> None:
        self._unsafe_call = call
        self._writer = writer
        self._savepoints = 0
        self._claims: set[tuple[str, str, str]] = set()
        self.failure: ObjectQLError | None = None
        """What made the transaction unusable, as on Postgres; savepoints apart."""

    async def _call(self, work: Callable[[SqliteConnection], T], doing: Doing = "read") -> T:
        if self.failure is not None:
            raise self.failure
        try:
            return await self._unsafe_call(work, doing)
        except ObjectQLError as failure:
            self.failure = failure
            raise

    async def run(self, text: str, *params: object) -> Sequence[Sequence[Any]]:
        """The rows of one statement of the transaction."""
        return await self._call(lambda connection: connection.numbered(text, params))

    async def read(self, text: str, *params: object) -> Sequence[Sequence[Any]]:
        """See `SystemRunner`."""
        return await self.run(text, *params)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncGenerator[SqliteSession, None]:
        """The session itself: a nested block is part of the transaction."""
        yield self

    async def fetch(self, query: Lowered, params: Sequence[Value]) -> Page:
        """See `Session`."""
        lowered = lowered_sql(query)
        args = lowered.arguments(params)
        return page_of(await self._call(lambda c: c.rows(lowered.text, args)))

    async def fetch_one(self, query: Lowered, params: Sequence[Value]) -> RecordImage | None:
        """See `Session`."""
        lowered = lowered_sql(query).record
        args = lowered.arguments(params)
        return record_of(await self._call(lambda c: c.rows(lowered.text, args)))

    async def explain(
        self, query: Lowered, params: Sequence[Value], *, analyze: bool = False
    ) -> bytes | None:
        """See `Session`. SQLite tells the same with and without running it."""
        del analyze
        lowered = lowered_sql(query)
        text, args = f"EXPLAIN QUERY PLAN {lowered.text}", lowered.arguments(params)
        rows = await self._call(lambda c: c.rows(text, args))
        return msgspec.json.encode([str(row[3]) for row in rows])

    async def apply(
        self,
        writes: Sequence[RowWrite],
        scope: WriteScope,
        idempotency: Idempotency | None = None,
    ) -> tuple[WriteOutcome, ...]:
        """See `Session`."""
        if idempotency is not None:
            await self._claim(idempotency)
        return await self._call(lambda c: self._writer.apply(c, writes, scope), "update")

    async def lock(self, object_: ObjectDef, tenant: TenantId, id_: str) -> RecordImage | None:
        """See `Session`; a session is the only writer as it is."""
        found = await self._call(lambda c: self._writer.stored(c, object_, tenant, id_))
        return None if found is None else RecordImage(found[1].encode(), found[0])

    async def _claim(self, idempotency: Idempotency) -> None:
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
        """See `Session`. When there is none, the key is claimed."""
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
        """See `Session`."""
        rows = await self.run(NEXT_SEQUENCE, tenant, scope, count)
        return int(rows[0][0]) - count + 1

    async def expect_prepare(self, lock_wait_s: float) -> None:
        """See `Session`; a session is the only writer as it is."""

    async def mark(self, mark: Mark) -> None:
        """See `Session`."""
        await leave_mark(self, mark)

    async def prepare(self, name: str) -> None:
        """See `Session`."""
        raise SourceCannotPrepare(source="sqlite", reason=f"it cannot keep {name}")

    @contextlib.asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None, None]:
        """See `Session`."""
        self._savepoints += 1
        name = f"s{self._savepoints}"
        claims = set(self._claims)
        await self.run(f"SAVEPOINT {name}")
        try:
            yield
            await self.run(f"RELEASE SAVEPOINT {name}")
        except Exception:
            self.failure = None
            await self.run(f"ROLLBACK TO SAVEPOINT {name}")
            self._claims = claims
            raise
