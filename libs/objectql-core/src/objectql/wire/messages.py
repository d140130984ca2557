"""One request and one reply struct per operation of the kernel.

Bodies are msgpack. Within a major version fields are only added, with defaults; unknown fields
are ignored. Records travel as JSON text in `bytes`, so that neither gateway nor kernel converts
them twice. Who asks, and until when, is in the headers (`wire.headers`), never in a body.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from objectql.errors import ErrorInfo
from objectql.ids import TenantId
from objectql.query.ast import Expand, Filter, Path, Query


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of all bodies."""


DataFrom: TypeAlias = Literal["db", "cache"]
"""Who answered a read: its data source, or the result cache."""

Timing: TypeAlias = tuple[int, int, DataFrom]
"""What a read took in the kernel, in microseconds: until it had its plan, then until its data."""

# --- reads ---------------------------------------------------------------------------------


class FindRequest(Message, frozen=True):
    """Verb `find`. `max_limit` is the edge's page limit; the kernel refuses more."""

    query: Query


class PageReply(Message, frozen=True):
    """`items` is a JSON array of `count` records. `next` is the cursor of the following page."""

    items: bytes
    count: int
    limit: int
    offset: int = 0
    has_next: bool = False
    next: str | None = None
    total: int | None = None
    timing: Timing | None = None


class GetRequest(Message, frozen=True):
    """Verb `get`."""

    object: str
    id: str
    fields: tuple[Path, ...] | None = None
    expand: tuple[Expand, ...] = ()


class RecordReply(Message, frozen=True):
    """One record. `dropped` names fields of the request that callers may not set."""

    record: bytes
    id: str
    version: int
    dropped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    consistency_token: str | None = None
    timing: Timing | None = None


class AggregateRequest(Message, frozen=True):
    """Verb `aggregate`; answered by `PageReply` whose items are groups."""

    query: Query


class ExportRequest(Message, frozen=True):
    """Verb `export`: the next page of all records that a query names; answered by `ExportReply`."""

    query: Query


class ExportReply(Message, frozen=True):
    """`items` is a JSON array of `count` records with the keys `columns`, in that order.

    `next` is the cursor of the following page; None after the last one.
    """

    items: bytes
    count: int
    columns: tuple[str, ...]
    next: str | None = None


class ExplainRequest(Message, frozen=True):
    """Verb `explain`: what becomes of a query; answered by `JsonReply`.

    `analyze` also runs it, which only administrators may ask for.
    """

    query: Query
    analyze: bool = False


class SharesRequest(Message, frozen=True):
    """Verb `shares`: with whom a record is shared by hand."""

    object: str
    id: str


class ShareRequest(Message, frozen=True):
    """Verb `share`: share a record with `principal` (`user:<id>`, `role:` or `team:`), or no more."""

    object: str
    id: str
    principal: str
    level: Literal["read", "edit"] | None = None


class HistoryRequest(Message, frozen=True):
    """Verb `history`: what became of one record, the latest first; answered by `PageReply`.

    `after` is the cursor of the page before.
    """

    object: str
    id: str
    limit: int | None = None
    after: str | None = None


class SearchRequest(Message, frozen=True):
    """Verb `search`: one text over several objects (none named: all searchable ones)."""

    text: str
    objects: tuple[str, ...] = ()
    limit: int = 20
    per_object: int = 5


class JsonReply(Message, frozen=True):
    """Any finished JSON document."""

    body: bytes
    version: int = 0
    found: bool = True
    consistency_token: str | None = None


# --- writes --------------------------------------------------------------------------------


class CreateRequest(Message, frozen=True):
    """Verb `create`. `data` is a JSON object."""

    object: str
    data: bytes


class UpdateRequest(Message, frozen=True):
    """Verb `update`. `replace` (PUT) gives fields that are absent their default or null.

    `if_version` is a version number; `if_updated_at` the instant that ObjectStack clients send
    instead. One that does not match raises `VersionConflict`.
    """

    object: str
    id: str
    data: bytes
    replace: bool = False
    if_version: int | None = None
    if_updated_at: str | None = None


class DeleteRequest(Message, frozen=True):
    """Verb `delete`."""

    object: str
    id: str
    if_version: int | None = None
    if_updated_at: str | None = None


class DeleteReply(Message, frozen=True):
    id: str
    version: int = 0
    consistency_token: str | None = None


class BulkRow(Message, frozen=True):
    """One record of a bulk request; `data` is a JSON object."""

    data: bytes = b"{}"
    id: str | None = None
    external_id: str | None = None
    if_version: int | None = None


class BulkRequest(Message, frozen=True):
    """Verb `bulk`: the same operation on many records of one object.

    `atomic`: all or nothing. Otherwise rows are written in order and the first failure ends the
    run, unless `continue_on_error`. `match` are the fields that find an existing record for
    `upsert` (default: id, then the object's external id field).
    """

    object: str
    operation: Literal["create", "update", "upsert", "delete"]
    rows: tuple[BulkRow, ...]
    atomic: bool = False
    continue_on_error: bool = False
    return_records: bool = True
    match: tuple[str, ...] = ()


class RowResult(Message, frozen=True):
    """What became of one row: `action` says what was done, `error` why not."""

    id: str | None = None
    action: Literal["created", "updated", "unchanged", "deleted", "none"] = "none"
    version: int = 0
    record: bytes | None = None
    error: ErrorInfo | None = None


class BulkReply(Message, frozen=True):
    """One result per row, in order. Unreached rows carry `NOT_ATTEMPTED`, undone `ROLLED_BACK`."""

    results: tuple[RowResult, ...]
    consistency_token: str | None = None


class WhereWriteRequest(Message, frozen=True):
    """Verb `write_where`: update or delete every record that matches (through the pipeline)."""

    object: str
    operation: Literal["update", "delete"]
    where: Filter | None = None
    data: bytes = b"{}"


class CountReply(Message, frozen=True):
    count: int
    consistency_token: str | None = None


class BatchOperation(Message, frozen=True):
    """One step of a batch. `data` is a JSON object that may hold `{"$ref": n}`, `{"$inc": n}`."""

    object: str
    action: Literal["create", "update", "delete", "upsert"]
    id: Any = None  # a string, or {"$ref": n}
    data: bytes = b"{}"
    if_version: int | None = None


class BatchRequest(Message, frozen=True):
    """Verb `batch`: an ordered list of operations, atomic unless told otherwise."""

    operations: tuple[BatchOperation, ...]
    atomic: bool = True
    isolation: Literal["read_committed", "repeatable_read", "serializable"] = "read_committed"


class BatchReply(Message, frozen=True):
    """Results in order, and the transaction's state (`committed` for one data source)."""

    results: tuple[RowResult, ...]
    transaction_id: str
    state: str
    consistency_token: str | None = None


class CloneRequest(Message, frozen=True):
    """Verb `clone`: a copy of a record with some fields changed."""

    object: str
    id: str
    overrides: bytes = b"{}"


class ActionRequest(Message, frozen=True):
    """Verb `action`. `object` is `global` for actions that belong to no object."""

    object: str
    action: str
    id: str | None = None
    params: bytes = b"{}"


# --- permissions ---------------------------------------------------------------------------


class PermissionsRequest(Message, frozen=True):
    """Verb `permissions`; answered by `JsonReply` with what the caller may do."""


class ExplainAccessRequest(Message, frozen=True):
    """Verb `explain_access`; answered by `JsonReply` with a decision and its reasons.

    Without `user` it is about the caller. Administrators may ask about others of their tenant:
    as whom they have `roles` and `claims`; without `roles`, as a user of the built-in directory.
    """

    object: str
    operation: str
    id: str | None = None
    user: str | None = None
    roles: tuple[str, ...] | None = None
    claims: dict[str, Any] = {}


# --- metadata ------------------------------------------------------------------------------


class MetaTypesRequest(Message, frozen=True):
    """Verb `meta_types`; answered by `JsonReply` with a list of `{type, count}`."""


class MetaListRequest(Message, frozen=True):
    """Verb `meta_list`; answered by `JsonReply` with a list of documents."""

    type: str
    package: str | None = None


class MetaGetRequest(Message, frozen=True):
    """Verb `meta_get`; `JsonReply.found` is false when there is none."""

    type: str
    name: str


class MetaPutRequest(Message, frozen=True):
    """Verb `meta_put`: validate, apply the additive schema change, store, publish."""

    type: str
    name: str
    document: bytes
    if_version: int | None = None
    allow_destructive: bool = False


class MetaDeleteRequest(Message, frozen=True):
    """Verb `meta_delete`: remove what `meta_put` stored."""

    type: str
    name: str
    allow_destructive: bool = False
    if_version: int | None = None


class MetaWriteReply(Message, frozen=True):
    """`version` is that of the snapshot in which the change is."""

    version: int
    changes: tuple[str, ...] = ()


class ViewRequest(Message, frozen=True):
    """Verb `view`: the stored or generated view of an object; answered by `JsonReply`."""

    object: str
    type: str = "list"


class SnapshotRequest(Message, frozen=True):
    """Verb `snapshot`: all metadata, for gateways. `known` is the version the caller has."""

    known: int = 0


class SnapshotReply(Message, frozen=True):
    """`objects` is msgpack of the published model, absent when `known` is current.

    Large snapshots come compressed with zlib.
    """

    version: int
    items: bytes | None = None


# --- events and heartbeats -------------------------------------------------------------------


class MetadataChanged(Message, frozen=True):
    """On `kernel_event("metadata:published")`."""

    version: int
    origin: str


class Committed(Message, frozen=True):
    """On `kernel_event("outbox")`: something was committed; `tenants` have it in their own places.

    An empty body says that there are none of those.
    """

    tenants: tuple[TenantId, ...] = ()


class CacheDoubt(Message, frozen=True):
    """On `kernel_event("cache:doubt")`: believe no cached answer under `tags`."""

    tags: tuple[str, ...]
    origin: str


class Heartbeat(Message, frozen=True):
    """Sent each second by every process on its `heartbeat` subject.

    Whoever is `draining` finishes what it has and takes nothing more; `drained`, it has nothing left.
    """

    service: str
    instance: str
    version: str
    started_ms: int
    sent_ms: int
    status: Literal["starting", "ready", "draining", "drained"]
    address: str = ""
    metadata_version: int = 0
    load: float = 0.0
    details: dict[str, Any] = {}
