"""The reference driver: rows in dictionaries, queries by `query.interpret`.

It keeps every promise of the port, slowly where that is simpler, and nothing over a restart.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from objectql.clock import Clock, SystemClock
from objectql.drivers.memory_chains import MemoryChains, MemoryHistory
from objectql.drivers.memory_identity import MemoryIdentityStore
from objectql.drivers.memory_security_log import MemorySecurityLog
from objectql.drivers.memory_session import (
    DAY_MS,
    MemoryQuery,
    MemorySession,
    answer_one,
    answer_page,
)
from objectql.drivers.memory_state import Tables, Transaction, table_of
from objectql.drivers.memory_stores import (
    MemoryLeases,
    MemoryMetadataStore,
    MemoryOutbox,
    MemoryPlaces,
    MemoryTenantStore,
)
from objectql.drivers.memory_transactions import MemoryTransactions
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
from objectql.drivers.transactions import MARKS_DAYS
from objectql.drivers.writer_lock import WriterLock, check_deadline
from objectql.errors import Unavailable
from objectql.ids import DataSource, ObjectName, TenantId, is_tenants_own
from objectql.metadata.model import SHARES, ObjectDef
from objectql.query.bound import BoundQuery
from objectql.values import Value

DEFAULT_SOURCE: Final = DataSource("default")


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
        self._tables = Tables({}, {}, {}, {}, {}, {})
        self._columns: dict[str, set[str]] = {}
        self._writer = WriterLock(name, self._clock)
        self._is_open = False
        self._reads = self._writes = self._begun = 0
        self.outbox = MemoryOutbox(self._clock)
        self.chains = MemoryChains()
        self.history = MemoryHistory(self.chains)
        self.security_log = MemorySecurityLog(self.chains)
        self.metadata = MemoryMetadataStore(self.security_log)
        self.leases = MemoryLeases(self._clock)
        self.transactions = MemoryTransactions(self._tables.marks, name)
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
        now_ms = self._clock.now_ms()
        remembered, marks = self._tables.remembered, self._tables.marks
        for key in [k for k, record in remembered.items() if record.at_ms <= now_ms - DAY_MS]:
            del remembered[key]
        oldest_ms = now_ms - MARKS_DAYS * DAY_MS
        for id_ in [id_ for id_, (_, at_ms) in marks.items() if at_ms <= oldest_ms]:
            del marks[id_]

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
            "transactions_total": self._begun,
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
            self._begun += 1
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
