"""One transaction in memory, and how it answers queries."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from objectql.clock import Clock
from objectql.drivers.memory_state import Remembering, Transaction, image_of, to_json
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
from objectql.drivers.transactions import Mark
from objectql.drivers.writer_lock import check_deadline
from objectql.errors import ObjectQLError, SourceCannotPrepare, WriteConflict
from objectql.ids import FieldName, TenantId
from objectql.metadata.model import ObjectDef
from objectql.query.bound import BoundQuery, Column, Output
from objectql.query.interpret import RowsOf, interpret
from objectql.values import Value

DAY_MS: Final = 24 * 60 * 60 * 1000
_VERSION: Final = "$version"
"""The output that carries the version; no field or alias can have this name."""


class MemoryQuery(msgspec.Struct, frozen=True):
    """A query as it is: the interpreter needs no other form."""

    query: BoundQuery

    @property
    def text(self) -> str:
        """For people."""
        return f"interpret over all {self.query.object.name} in memory"

    def tenant_of(self, params: Sequence[Value]) -> TenantId:
        """See `Lowered`."""
        return cast("TenantId", params[self.query.tenant.index])


class MemorySession:
    """See `Session`."""

    def __init__(self, transaction: Transaction, clock: Clock, deadline_ms: int | None) -> None:
        self._transaction = transaction
        self._clock = clock
        self._deadline_ms = deadline_ms
        self.failure: ObjectQLError | None = None

    def _enter(self) -> None:
        if self.failure is not None:
            raise self.failure
        check_deadline(self._clock, self._deadline_ms)

    async def fetch(self, query: Lowered, params: Sequence[Value]) -> Page:
        """See `Session`."""
        self._enter()
        return answer_page(query, params, self._transaction.rows_of)

    async def fetch_one(self, query: Lowered, params: Sequence[Value]) -> RecordImage | None:
        """See `Session`."""
        self._enter()
        return answer_one(query, params, self._transaction.rows_of)

    async def explain(
        self, query: Lowered, params: Sequence[Value], *, analyze: bool = False
    ) -> bytes | None:
        """See `Session`: every read looks at every row."""
        del query, params, analyze
        return None

    async def apply(
        self,
        writes: Sequence[RowWrite],
        scope: WriteScope,
        idempotency: Idempotency | None = None,
    ) -> tuple[WriteOutcome, ...]:
        """See `Session`."""
        self._enter()
        try:
            if idempotency is not None:
                if await self.recall(idempotency) is not None:
                    raise WriteConflict
                await self.remember(idempotency, b"")
            return tuple([self._transaction.apply(write, scope) for write in writes])
        except ObjectQLError as failure:
            self.failure = failure
            raise

    async def lock(self, object_: ObjectDef, tenant: TenantId, id_: str) -> RecordImage | None:
        """See `Session`; a session is the only writer as it is."""
        self._enter()
        row = self._transaction.row(object_, tenant, id_)
        return None if row is None else RecordImage(image_of(object_, row), _version(row))

    async def remember(self, idempotency: Idempotency, reply: bytes) -> None:
        """See `Session`."""
        self._enter()
        record = Remembering(idempotency.body_hash, reply, self._clock.now_ms())
        self._transaction.remembered.put(_key(idempotency), record)

    async def recall(self, idempotency: Idempotency) -> Remembered | None:
        """See `Session`."""
        self._enter()
        found = self._transaction.remembered.get(_key(idempotency))
        if found is None or found.at_ms <= self._clock.now_ms() - DAY_MS:
            return None
        return Remembered(found.body_hash, found.reply)

    async def next_sequence(self, tenant: TenantId, scope: str, count: int = 1) -> int:
        """See `Session`."""
        self._enter()
        return self._transaction.next_sequence(tenant, scope, count)

    async def mark(self, mark: Mark) -> None:
        """See `Session`."""
        self._enter()
        self._transaction.marks.put(mark.id, (mark, self._clock.now_ms()))

    async def expect_prepare(self, lock_wait_s: float) -> None:
        """See `Session`; a session is the only writer as it is."""

    async def prepare(self, name: str) -> None:
        """See `Session`."""
        raise SourceCannotPrepare(source="memory", reason=f"it cannot keep {name}")

    @contextlib.asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None, None]:
        """See `Session`."""
        self._enter()
        mark = self._transaction.mark()
        try:
            yield
            if self.failure is not None:
                raise self.failure
        except Exception:
            self._transaction.undo_to(mark)
            self.failure = None
            raise


def answer_page(query: Lowered, params: Sequence[Value], rows_of: RowsOf) -> Page:
    """The page of a memory query."""
    assert isinstance(query, MemoryQuery)
    answer = interpret(query.query, params, rows_of)
    last_key = None if answer.last_key is None else to_json(answer.last_key)
    return Page(to_json(answer.items), len(answer.items), answer.has_next, last_key, answer.total)


def answer_one(query: Lowered, params: Sequence[Value], rows_of: RowsOf) -> RecordImage | None:
    """The first record of a memory query."""
    assert isinstance(query, MemoryQuery)
    bound = query.query
    version = Output(_VERSION, Column(bound.object.fields[FieldName("version")]))
    one = msgspec.structs.replace(bound, outputs=(*bound.outputs, version), limit=1)
    answer = interpret(one, params, rows_of)
    if not answer.items:
        return None
    item: dict[str, Any] = answer.items[0]
    version = item.pop(_VERSION)
    return RecordImage(to_json(item), version)


def _version(row: Mapping[str, Any]) -> int:
    return int(row["version"])


def _key(idempotency: Idempotency) -> tuple[str, str, str]:
    return idempotency.tenant, idempotency.principal, idempotency.key
