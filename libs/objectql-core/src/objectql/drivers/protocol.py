"""The driver port. The memory, SQLite and Postgres drivers pass one conformance suite.

Reads answer with finished JSON, so that nothing between the database and the client looks at a
row. Writes go through `Session.apply`, which stores the rows, their outbox events and the
idempotency record in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol, TypeAlias

import msgspec

from objectql.drivers.chains import ChainStore
from objectql.drivers.history import HistoryStore
from objectql.drivers.identity import IdentityStore
from objectql.drivers.places import TenantPlaces
from objectql.drivers.security_log import SecurityLog
from objectql.drivers.stores import Leases, MetadataStore, Outbox
from objectql.drivers.tenants import TenantStore
from objectql.drivers.transactions import Mark, Transactions
from objectql.drivers.webhooks import WebhookStore
from objectql.ids import DataSource, ObjectName, TenantId
from objectql.metadata.model import ObjectDef
from objectql.query.bound import BoundQuery
from objectql.values import Value

Isolation: TypeAlias = Literal["read_committed", "repeatable_read", "serializable"]


class Capabilities(msgspec.Struct, frozen=True):
    """What a driver can do beyond the port."""

    replicas: bool = False
    schema_changes: bool = True


class Page(msgspec.Struct, frozen=True):
    """One page of an answer.

    `items` is a JSON array of `count` elements. `has_next` tells that more rows follow; then
    `last_key` is the JSON array of the last item's sort key values (canonical, nulls allowed),
    unless the query is grouped or distinct. `total` is set when the query asks to count.
    """

    items: bytes
    count: int
    has_next: bool = False
    last_key: bytes | None = None
    total: int | None = None
    is_replica: bool = False
    """It came from a copy that may be behind the primary."""


class RecordImage(msgspec.Struct, frozen=True):
    """One record as JSON with its version; `is_replica` as in `Page`."""

    json: bytes
    version: int
    is_replica: bool = False


class Freshness(msgspec.Struct, frozen=True):
    """How old an answer may be, for a reader who does not insist on the primary.

    The answer holds everything committed up to `position` (see `Driver.position`), and everything
    committed longer than `max_lag_s` ago (None: no such bound). A reader with a position waits for
    up to `wait_s` for a replica to reach it before the primary is asked.
    """

    max_lag_s: float | None = None
    position: int | None = None
    wait_s: float = 0.0


class ReplicaStatus(msgspec.Struct, frozen=True):
    """How a replica does. `age_s` bounds the age of its data from above (infinite: unknown).

    `ejections` counts by reason how often it was left out: `unreachable`, `lost` (in the middle
    of a read), `promoted`, `lag`.
    """

    name: str
    is_in: bool
    age_s: float
    lag_bytes: int
    reads: int
    ejections: Mapping[str, int]


class ReadCounts(msgspec.Struct, frozen=True):
    """Where reads went, since the start.

    `waits` counts the readers whose token was ahead of every replica as last measured, by who
    answered in the end: `replica` or `primary`.
    """

    primary: int = 0
    replicas: tuple[ReplicaStatus, ...] = ()
    waits: Mapping[str, int] = {}


class Lowered(Protocol):
    """A query in the driver's own form. Opaque, immutable, may be cached and shared."""

    @property
    def text(self) -> str:
        """The native form for people: SQL text, or a description."""
        ...

    def tenant_of(self, params: Sequence[Value]) -> TenantId:
        """Whose records it reads, given the plan's parameters."""
        ...


class RowWrite(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row to change.

    `values` holds canonical values by field name: for `insert` every stored field that is not
    null (`id`, audit fields and `version` included), for `update` the fields to set (`updated_at`
    and `updated_by` included; the driver sets `version` to the old one plus one). `increments`
    adds to numeric fields. Where none of the *caller's* fields in an update differ from the stored
    row, nothing is written and no event arises. `expected_version` must match the stored one.
    `event_id` and `at` go into the outbox event.
    """

    kind: Literal["insert", "update", "delete"]
    object: ObjectDef
    id: str
    event_id: str
    at: str
    values: Mapping[str, Value] = {}
    increments: Mapping[str, Value] = {}
    expected_version: int | None = None


class WriteScope(msgspec.Struct, frozen=True, omit_defaults=True):
    """What all writes of one request share; ends up in every outbox event.

    `batch_size` 0 says that nobody knows yet how many writes there will be. `origin` (see `Context`)
    is for the history alone: who listens to events need not know where people work.
    """

    tenant: TenantId
    actor: str
    request_id: str = ""
    traceparent: str = ""
    batch: str = ""
    batch_size: int = 1
    origin: str = ""


class Idempotency(msgspec.Struct, frozen=True):
    """The identity of a request that must have one effect.

    `body_hash` tells whether a repeated key is the same request. Records live for 24 hours.
    """

    tenant: TenantId
    principal: str
    key: str
    body_hash: bytes


class Remembered(msgspec.Struct, frozen=True):
    """An earlier answer under the same key."""

    body_hash: bytes
    reply: bytes


class WriteOutcome(msgspec.Struct, frozen=True):
    """What became of one `RowWrite`.

    `written`: `after` is the new image (insert, update) and `before` the old one (update, delete).
    `unchanged`: an update that changes nothing; `before` and `after` are the stored image.
    `missing`: no such row. `stale`: `expected_version` does not match; `before` is the stored
    image. Images hold every readable stored field in declaration order.
    """

    status: Literal["written", "unchanged", "missing", "stale"]
    version: int = 0
    before: bytes | None = None
    after: bytes | None = None


class Session(Protocol):
    """One open transaction. Ends with the `begin` block: commit, or rollback on an exception."""

    async def fetch(self, query: Lowered, params: Sequence[Value]) -> Page:
        """Run a read inside the transaction."""
        ...

    async def fetch_one(self, query: Lowered, params: Sequence[Value]) -> RecordImage | None:
        """The first record of a read, with its version."""
        ...

    async def explain(
        self, query: Lowered, params: Sequence[Value], *, analyze: bool = False
    ) -> bytes | None:
        """The database's own plan of a read as JSON; None where there is none to tell.

        `analyze` runs the read and adds what it took. The transaction can only read from then on.
        """
        ...

    async def apply(
        self,
        writes: Sequence[RowWrite],
        scope: WriteScope,
        idempotency: Idempotency | None = None,
    ) -> tuple[WriteOutcome, ...]:
        """Write rows and their events, in order; `stale` and `missing` rows write nothing.

        The events go to the outbox; those of objects with `enable.track_history` also to `history`.
        With `idempotency` the record is stored with an empty reply; `remember` fills it.

        Raises:
            UniqueViolation, ValidationFailed (a reference that does not exist), WriteConflict,
            DatabaseFailed; the transaction is then unusable.

        """
        ...

    async def lock(self, object_: ObjectDef, tenant: TenantId, id_: str) -> RecordImage | None:
        """The whole stored image of a record, locked against writers until the end."""
        ...

    async def remember(self, idempotency: Idempotency, reply: bytes) -> None:
        """Store the answer of this request under its key."""
        ...

    async def recall(self, idempotency: Idempotency) -> Remembered | None:
        """The answer stored under the key of `idempotency`, if any (waits for one in flight)."""
        ...

    async def next_sequence(self, tenant: TenantId, scope: str, count: int = 1) -> int:
        """Reserve `count` numbers of a named sequence; the first of them, from 1."""
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """A block whose failure undoes only the block."""
        ...

    async def expect_prepare(self, lock_wait_s: float) -> None:
        """Say that this is a part of a transaction over several sources.

        From now on a wait for others' locks ends in `WriteConflict` after so long: they may wait for
        each other in a circle that none of the sources sees.

        Raises:
            TransactionUnavailable: the server keeps nearly as many prepared parts as it can.

        """
        ...

    async def mark(self, mark: Mark) -> None:
        """Leave `mark`, for `Transactions.find` to find once this has committed."""
        ...

    async def prepare(self, name: str) -> None:
        """End the transaction here, prepared as `name`; `Transactions.finish` decides the rest.

        Nothing more can be done in it, and the end of the `begin` block changes nothing.

        Raises:
            SourceCannotPrepare: it is as if this had not been called.
            WriteConflict, ValidationFailed, Unavailable: it is rolled back.
            DeadlineExceeded, OutcomeUnknown: it may be prepared nevertheless.

        """
        ...


class SchemaStep(msgspec.Struct, frozen=True):
    """One change of the physical schema; `destructive` steps may lose data."""

    description: str
    statement: str
    destructive: bool = False


class SchemaPlan(msgspec.Struct, frozen=True):
    """What would make the tables match the objects. `refused` is not part of `steps`."""

    steps: tuple[SchemaStep, ...] = ()
    refused: tuple[SchemaStep, ...] = ()


class Driver(Protocol):
    """One data source."""

    @property
    def name(self) -> DataSource: ...
    @property
    def kind(self) -> str:
        """`memory`, `sqlite` or `postgres`."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...
    @property
    def metadata(self) -> MetadataStore: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def history(self) -> HistoryStore: ...
    @property
    def chains(self) -> ChainStore: ...
    @property
    def security_log(self) -> SecurityLog: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def identity(self) -> IdentityStore: ...
    @property
    def tenants(self) -> TenantStore: ...
    @property
    def webhooks(self) -> WebhookStore: ...
    @property
    def transactions(self) -> Transactions: ...
    @property
    def places(self) -> TenantPlaces | None:
        """Where tenants can have tables of their own; None: they share these, row by row."""
        ...

    async def connect(self) -> None:
        """Open the pool and create the system tables where they are missing."""
        ...

    async def close(self) -> None:
        """Wait for what runs, then release everything. May be called twice."""
        ...

    async def check_health(self) -> None:
        """Return when the source answers; raise `Unavailable` otherwise."""
        ...

    def statistics(self) -> Mapping[str, float]:
        """Gauges of the pool and counters of the driver."""
        ...

    def lower(self, query: BoundQuery) -> Lowered:
        """The driver's form of a query. Pure; the kernel caches it."""
        ...

    async def fetch(
        self,
        query: Lowered,
        params: Sequence[Value],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> Page:
        """Run a read outside any transaction: on the primary, unless `freshness` lets it lag.

        Raises:
            DeadlineExceeded, PoolExhausted, Unavailable, DatabaseFailed

        """
        ...

    async def fetch_one(
        self,
        query: Lowered,
        params: Sequence[Value],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> RecordImage | None:
        """The first record of a read, with its version."""
        ...

    async def position(self) -> int | None:
        """A position at or after everything committed before this call, for `Freshness`.

        None says that only the primary is sure to have it: there are no replicas, or the position
        cannot be told right now.
        """
        ...

    def read_counts(self) -> ReadCounts:
        """Where reads went, and how the replicas do."""
        ...

    async def fetch_each(
        self,
        query: Lowered,
        params: Sequence[Sequence[Value]],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> Sequence[Page]:
        """`fetch` for each of `params`, one after the other, as one statement where it can be.

        They differ only where `query.plan.varying_params` says so. A failure is that of all.
        """
        ...

    async def fetch_one_each(
        self,
        query: Lowered,
        params: Sequence[Sequence[Value]],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> Sequence[RecordImage | None]:
        """`fetch_one` for each of `params`, likewise."""
        ...

    async def write(
        self,
        writes: Sequence[RowWrite],
        scope: WriteScope,
        *,
        idempotency: Idempotency | None = None,
        deadline_ms: int | None = None,
    ) -> tuple[WriteOutcome, ...] | Remembered:
        """`Session.apply` in a transaction of its own, in as few round trips as possible.

        With `idempotency` and one write, the reply stored is its `after` image (`before` for a
        delete); a repeated key returns what was remembered and writes nothing. A `missing` or
        `stale` single write stores no idempotency record.
        """
        ...

    def begin(
        self,
        *,
        isolation: Isolation = "read_committed",
        deadline_ms: int | None = None,
        tenant: TenantId | None = None,
    ) -> AbstractAsyncContextManager[Session]:
        """A transaction: commits when the block ends, rolls back when it raises.

        It is prepared for the records of `tenant`; those of others cost a round trip more.
        """
        ...

    async def sweep(self) -> None:
        """Delete what has expired: idempotency records."""
        ...

    async def has_records(self, tenant: TenantId, objects: Sequence[ObjectDef]) -> bool:
        """Whether the tenant has a record of any of the objects, in the trash or not."""
        ...

    async def delete_tenant(self, tenant: TenantId, objects: Sequence[ObjectDef]) -> None:
        """Delete all that this source keeps of `tenant`, in one transaction, without events.

        Records of `objects` (all of this source), and what is beside them. It may be repeated.
        """
        ...

    async def clear_columns(
        self, tenant: TenantId, object_: ObjectDef, columns: Sequence[str]
    ) -> None:
        """Empty `columns` in all records of `tenant`, without events or new versions."""
        ...

    async def plan_schema(
        self, objects: Sequence[ObjectDef], *, allow_destructive: bool = False
    ) -> SchemaPlan:
        """Compare the tables with `objects`; destructive steps are refused unless allowed."""
        ...

    async def apply_schema(self, plan: SchemaPlan) -> None:
        """Carry out the plan's steps, all or nothing where the database can."""
        ...

    async def drop_object(self, object_: ObjectName, table: str) -> None:
        """Drop the table of an object that metadata no longer declares."""
        ...
