"""What the requests of gRPC say, whichever service they were sent to.

Documents and records are as in the bodies of the REST gateway, so what is made of them is the same.
Names are not checked here, but for masks of messages that cannot have what they name.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

Verb: TypeAlias = Literal[
    "get",
    "list",
    "create",
    "update",
    "delete",
    "query",
    "export",
    "aggregate",
    "bulk",
    "batch",
    "action",
    "transaction",
    "watch",
    "session",
]

Fields: TypeAlias = tuple[str, ...] | None
"""The fields that an answer shall have; None: all."""


class GetCall(msgspec.Struct, frozen=True):
    object: str
    id: str
    fields: Fields = None
    expand: tuple[str, ...] = ()


class ListCall(msgspec.Struct, frozen=True):
    """`filter` and `order_by` are as `$filter` and `$orderby`; `page_size` 0 is the default."""

    object: str
    filter: str = ""
    order_by: str = ""
    fields: Fields = None
    expand: tuple[str, ...] = ()
    page_size: int = 0
    page_token: str = ""
    count: bool = False


class CreateCall(msgspec.Struct, frozen=True):
    """`data` is a JSON object."""

    object: str
    data: bytes


class UpdateCall(msgspec.Struct, frozen=True):
    """`data` is a JSON object; with `replace`, what it lacks becomes its default or null."""

    object: str
    id: str
    data: bytes
    replace: bool = False
    if_version: int | None = None


class DeleteCall(msgspec.Struct, frozen=True):
    object: str
    id: str
    if_version: int | None = None


class QueryCall(msgspec.Struct, frozen=True):
    """A query or an export; `document` is the body of `POST /api/{object}/query`."""

    object: str
    document: dict[str, Any]


class AggregateCall(msgspec.Struct, frozen=True):
    object: str
    document: dict[str, Any]


class BulkCall(msgspec.Struct, frozen=True):
    """One message of a stream; an empty `object` or `operation` is that of the one before.

    `records` is a JSON array, as in the body of `POST /api/{object}/bulk`.
    """

    object: str
    operation: Literal["create", "update", "delete", "upsert"] | None
    records: bytes
    match: tuple[str, ...] = ()
    atomic: bool = False
    continue_on_error: bool = False
    report_all: bool = False


class BatchCall(msgspec.Struct, frozen=True):
    """`body` is that of `POST /api/batch`."""

    body: bytes


class ActionCall(msgspec.Struct, frozen=True):
    """`parameters` is a JSON object."""

    object: str
    action: str
    id: str | None
    parameters: bytes


class TransactionCall(msgspec.Struct, frozen=True):
    id: str


class WatchCall(msgspec.Struct, frozen=True):
    """A live query: `where` is as in a query, `since` the cursor of the last event seen."""

    object: str
    where: dict[str, Any] | None = None
    fields: Fields = None
    snapshot: bool = False
    since: str | None = None


class SessionFrame(msgspec.Struct, frozen=True):
    """A frame of the WebSocket protocol, as JSON."""

    frame: bytes


Call: TypeAlias = (
    GetCall
    | ListCall
    | CreateCall
    | UpdateCall
    | DeleteCall
    | QueryCall
    | AggregateCall
    | BulkCall
    | BatchCall
    | ActionCall
    | TransactionCall
    | WatchCall
    | SessionFrame
)
