"""The reference driver: rows in dictionaries, queries by `query.interpret`.

It keeps every promise of the port, slowly where that is simpler, and nothing over a restart.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final, Literal, cast

import msgspec

from objectql.clock import Clock, SystemClock
from objectql.drivers.memory_chains import MemoryChains, MemoryHistory
from objectql.drivers.memory_identity import MemoryIdentityStore
from objectql.drivers.memory_security_log import MemorySecurityLog
from objectql.drivers.memory_state import (
    Remembering,
    Tables,
    Transaction,
    image_of,
    table_of,
    to_json,
)
from objectql.drivers.memory_stores import (
    MemoryLeases,
    MemoryMetadataStore,
    MemoryOutbox,
    MemoryPlaces,
    MemoryTenantStore,
)
from objectql.drivers.memory_webhooks import MemoryWebhookStore
from objectql.drivers.places import TenantPlaces
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
    SchemaStep,
    WriteOutcome,
    WriteScope,
)
from objectql.drivers.remembering import reply_of
from objectql.drivers.writer_lock import WriterLock, check_deadline
from objectql.errors import ObjectQLError, Unavailable, WriteConflict
from objectql.ids import DataSource, FieldName, ObjectName, TenantId, is_tenants_own
from objectql.metadata.model import SHARES, ObjectDef
from objectql.query.bound import BoundQuery, Column, Output
from objectql.query.interpret import RowsOf, interpret
from objectql.values import Value

DEFAULT_SOURCE: Final = DataSource("default")
_DAY_MS: Final = 24 * 60 * 60 * 1000
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
        if found is None or found.at_ms <= self._clock.now_ms() - _DAY_MS:
            return None
        return Remembered(found.body_hash, found.reply)

    async def next_sequence(self, tenant: TenantId, scope: str, count: int = 1) -> int:
        """See `Session`."""
        self._enter()
        return self._transaction.next_sequence(tenant, scope, count)

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


class SchemaChange(msgspec.Struct, frozen=True):
    """A step on memory tables, as the JSON text of a `SchemaStep`."""

    kind: Literal["create", "add", "drop"]
    table: str
    fields: tuple[str, ...]

    def step(self, description: str) -> SchemaStep:
        """The step that says this."""
        text = msgspec.json.encode(self).decode()
        return SchemaStep(description, text, self.kind == "drop")


class MemoryDriver:
    """See `Driver`. One transaction writes at a time; readers never wait."""

    def __init__(self, *, name: DataSource = DEFAULT_SOURCE, clock: Clock | None = None) -> None:
        self._name = name
        self._clock = clock or SystemClock()
        self._tables = Tables({}, {}, {}, {}, {})
        self._columns: dict[str, set[str]] = {}
        self._writer = WriterLock(name, self._clock)
        self._is_open = False
        self._reads = self._writes = self._transactions = 0
        self.outbox = MemoryOutbox(self._clock)
        self.chains = MemoryChains()
        self.history = MemoryHistory(self.chains)
        self.security_log = MemorySecurityLog(self.chains)
        self.metadata = MemoryMetadataStore(self.security_log)
        self.leases = MemoryLeases(self._clock)
        self.identity = MemoryIdentityStore(self.security_log)
        self.tenants = MemoryTenantStore(self.security_log)
        self.webhooks = MemoryWebhookStore(self.security_log)
        self.places: TenantPlaces | None = MemoryPlaces(lambda: MemoryPlace(name, self._clock))

    @property
    def name(self) -> DataSource:
        """See `Driver`."""
        return self._name

    @property
    def kind(self) -> str:
        """See `Driver`."""
        return "memory"

    @property
    def capabilities(self) -> Capabilities:
        """See `Driver`."""
        return Capabilities()

    async def connect(self) -> None:
        """See `Driver`."""
        self._is_open = True

    async def close(self) -> None:
        """See `Driver`. The rows stay for a later `connect`."""
        self._is_open = False
        async with self._writer.hold():
            return

    async def check_health(self) -> None:
        """See `Driver`."""
        self._enter(None)

    async def sweep(self) -> None:  # noqa: RUF029 - the port's shape
        """See `Driver`. Nothing else runs meanwhile, so no transaction sees half of it."""
        oldest_ms = self._clock.now_ms() - _DAY_MS
        remembered = self._tables.remembered
        for key in [key for key, record in remembered.items() if record.at_ms <= oldest_ms]:
            del remembered[key]

    async def has_records(self, tenant: TenantId, objects: Sequence[ObjectDef]) -> bool:
        """See `Driver`."""
        rows = self._tables.rows
        return any(rows.get((object_.name, tenant)) for object_ in objects)

    async def delete_tenant(self, tenant: TenantId, objects: Sequence[ObjectDef]) -> None:
        """See `Driver`."""
        del objects  # rows are kept by tenant, whatever the object
        async with self._writer.hold():
            self._tables.forget(tenant)
            self.outbox.forget(tenant)
            self.chains.forget(tenant)
            self.identity.forget(tenant)
            self.webhooks.forget(tenant)

    def statistics(self) -> Mapping[str, float]:
        """See `Driver`."""
        return {
            "reads_total": self._reads,
            "writes_total": self._writes,
            "transactions_total": self._transactions,
        }

    def _enter(self, deadline_ms: int | None) -> None:
        if not self._is_open:
            raise Unavailable(what=self._name)
        check_deadline(self._clock, deadline_ms)

    # --- reads ---------------------------------------------------------------------------------

    def lower(self, query: BoundQuery) -> Lowered:
        """See `Driver`."""
        return MemoryQuery(query)

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
        self._enter(deadline_ms)
        self._reads += 1
        return answer_page(query, params, Transaction(self._tables).rows_of)

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
        self._enter(deadline_ms)
        self._reads += 1
        return answer_one(query, params, Transaction(self._tables).rows_of)

    async def position(self) -> int | None:  # noqa: RUF029 - the port's shape
        """See `Driver`."""
        return None

    def read_counts(self) -> ReadCounts:
        """See `Driver`."""
        return ReadCounts(self._reads)

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
        self._enter(deadline_ms)
        self._reads += 1
        rows_of = Transaction(self._tables).rows_of
        return [answer_page(query, one, rows_of) for one in params]

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
        self._enter(deadline_ms)
        self._reads += 1
        rows_of = Transaction(self._tables).rows_of
        return [answer_one(query, one, rows_of) for one in params]

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
        async with self.begin(deadline_ms=deadline_ms) as session:
            if idempotency is not None:
                remembered = await session.recall(idempotency)
                if remembered is not None:
                    return remembered
            outcomes = await session.apply(writes, scope)
            if idempotency is not None:
                reply = reply_of(outcomes)
                if reply is not None:
                    await session.remember(idempotency, reply)
            return outcomes

    @contextlib.asynccontextmanager
    async def begin(
        self,
        *,
        isolation: Isolation = "read_committed",
        deadline_ms: int | None = None,
        tenant: TenantId | None = None,
    ) -> AsyncGenerator[MemorySession, None]:
        """See `Driver`. Every isolation is serial execution."""
        del isolation, tenant
        self._enter(deadline_ms)
        async with self._writer.hold(deadline_ms):
            self._enter(deadline_ms)
            self._transactions += 1
            transaction = Transaction(self._tables)
            session = MemorySession(transaction, self._clock, deadline_ms)
            yield session
            if session.failure is not None:
                raise session.failure
            check_deadline(self._clock, deadline_ms)
            transaction.commit()
            self.outbox.append(transaction.events)
            self.history.append(transaction.history)

    # --- schema --------------------------------------------------------------------------------

    async def plan_schema(
        self, objects: Sequence[ObjectDef], *, allow_destructive: bool = False
    ) -> SchemaPlan:
        """See `Driver`."""
        steps: list[SchemaStep] = []
        refused: list[SchemaStep] = []
        for object_ in objects:
            table = table_of(object_)
            self._tables.objects[table] = object_
            wanted = {field.column_name for field in object_.stored_fields}
            known = self._columns.get(table)
            if known is None:
                change = SchemaChange("create", table, tuple(sorted(wanted)))
                steps.append(change.step(f"create {object_.name}"))
                continue
            for name in sorted(wanted - known):
                change = SchemaChange("add", table, (name,))
                steps.append(change.step(f"add {object_.name}.{name}"))
            for name in sorted(known - wanted - {SHARES}):  # they wait for their rule
                if is_tenants_own(name):
                    continue
                change = SchemaChange("drop", table, (name,))
                kept = steps if allow_destructive else refused
                kept.append(change.step(f"drop {object_.name}.{name}"))
        return SchemaPlan(tuple(steps), tuple(refused))

    async def apply_schema(self, plan: SchemaPlan) -> None:
        """See `Driver`."""
        async with self._writer.hold():
            for step in plan.steps:
                change = msgspec.json.decode(step.statement, type=SchemaChange)
                columns = self._columns.setdefault(change.table, set())
                if change.kind != "drop":
                    columns.update(change.fields)
                    continue
                columns.difference_update(change.fields)
                for (table, _), rows in self._tables.rows.items():
                    if table == change.table:
                        for id_, row in rows.items():
                            kept = {k: v for k, v in row.items() if k not in change.fields}
                            rows[id_] = kept

    async def drop_object(self, object_: ObjectName, table: str) -> None:
        """See `Driver`."""
        del object_
        async with self._writer.hold():
            self._columns.pop(table, None)
            self._tables.objects.pop(table, None)
            for key in [key for key in self._tables.rows if key[0] == table]:
                del self._tables.rows[key]
            for unique in [unique for unique in self._tables.uniques if unique[0] == table]:
                del self._tables.uniques[unique]

    async def clear_columns(
        self, tenant: TenantId, object_: ObjectDef, columns: Sequence[str]
    ) -> None:
        """See `Driver`."""
        async with self._writer.hold():
            rows = self._tables.rows.get((table_of(object_), tenant), {})
            for id_, row in rows.items():
                rows[id_] = {key: value for key, value in row.items() if key not in columns}


class MemoryPlace(MemoryDriver):
    """One tenant's tables; those who look at them come and go, which changes nothing."""

    def __init__(self, name: DataSource, clock: Clock) -> None:
        super().__init__(name=name, clock=clock)
        self.places = None

    async def close(self) -> None:
        """See `Driver`."""

    def set_there(self, *, is_there: bool) -> None:
        """See `MemoryTables`."""
        self._is_open = is_there


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
