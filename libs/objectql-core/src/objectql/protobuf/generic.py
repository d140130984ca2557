"""`objectql.v1.ObjectService`: every object through one service, records as structures.

Its file is values like the files of objects are, so text, descriptors and codecs have one source.
Numbers of fields are kept by hand here: what goes is `retired`, and never given again.
"""

from __future__ import annotations

from typing import Final

from objectql.protobuf.model import (
    MASK,
    STATUS,
    STRUCT,
    VALUE,
    Field,
    Message,
    Method,
    ProtoFile,
    Service,
    listed,
)

CHANGE_TYPES: Final = listed(
    "ChangeType", ("snapshot", "created", "updated", "deleted", "resync", "bookmark")
)
MATCHES: Final = listed("ChangeMatch", ("entered", "left"))
"""What `Watch` tells, here and in the services of objects."""

READ_MASK: Final = "The fields to answer with; all that you may read where it is left out."
IF_VERSION: Final = "Only if the record has this version, else FAILED_PRECONDITION."

_ACTION: Final = listed("Action", ("create", "update", "delete", "upsert"))
_OBJECT: Final = Field("object", "string", 1)
_ID: Final = Field("id", "string", 2)
_EXPAND: Final = "Relations whose records stand in the places of their ids."
_QUERY: Final = "As the body of `POST /api/{object}/query`."

_READS: Final = (
    Message(
        "GetRequest",
        (
            _OBJECT,
            _ID,
            Field("read_mask", MASK, 3, READ_MASK),
            Field("expand", "repeated string", 4, _EXPAND),
        ),
    ),
    Message("GetResponse", (Field("record", STRUCT, 1),)),
    Message(
        "ListRequest",
        (
            _OBJECT,
            Field("page_size", "int32", 2, "As many as fit where it is 0."),
            Field("page_token", "string", 3, "What the page before gave."),
            Field("filter", "string", 4, "As `$filter`: `status eq 'open' and total gt 5`."),
            Field("order_by", "string", 5, "As `$orderby`: `created_at desc, name`."),
            Field("read_mask", MASK, 6, READ_MASK),
            Field("expand", "repeated string", 7, _EXPAND),
            Field("count", "bool", 8, "Whether to count all that the filter names."),
        ),
    ),
    Message(
        "ListResponse",
        (
            Field("records", f"repeated {STRUCT}", 1),
            Field("next_page_token", "string", 2, "Empty after the last page."),
            Field("total_size", "optional int64", 3, "Where `count` was asked for."),
        ),
    ),
    Message("QueryRequest", (_OBJECT, Field("query", STRUCT, 2, _QUERY))),
    Message("QueryResponse", (Field("records", f"repeated {STRUCT}", 1),)),
    Message("ExportRequest", (_OBJECT, Field("query", STRUCT, 2, _QUERY))),
    Message("ExportResponse", (Field("records", f"repeated {STRUCT}", 1),)),
    Message(
        "AggregateRequest",
        (_OBJECT, Field("query", STRUCT, 2, "With `groupBy` and `aggregations`.")),
    ),
    Message("AggregateResponse", (Field("groups", f"repeated {STRUCT}", 1),)),
)

_WRITES: Final = (
    Message("CreateRequest", (_OBJECT, Field("data", STRUCT, 2))),
    Message("CreateResponse", (Field("record", STRUCT, 1),)),
    Message(
        "UpdateRequest",
        (
            _OBJECT,
            _ID,
            Field("data", STRUCT, 3, "The fields that change."),
            Field("if_version", "optional int64", 4, IF_VERSION),
            Field("replace", "bool", 5, "Whether fields that `data` lacks lose their values."),
        ),
    ),
    Message("UpdateResponse", (Field("record", STRUCT, 1),)),
    Message(
        "DeleteRequest",
        (_OBJECT, _ID, Field("if_version", "optional int64", 3, IF_VERSION)),
    ),
    Message("DeleteResponse"),
    Message(
        "ActionRequest",
        (
            _OBJECT,
            Field("action", "string", 2),
            Field("id", "string", 3, "Of the record; left out where the action is of none."),
            Field("parameters", STRUCT, 4),
        ),
    ),
    Message("ActionResponse", (Field("result", VALUE, 1),)),
)

_MANY: Final = (
    Message(
        "BulkWriteRequest",
        (
            Field("object", "string", 1, "As in the message before where it is left out."),
            Field("action", "Action", 2, "Likewise."),
            Field(
                "records",
                f"repeated {STRUCT}",
                3,
                'As `records` of `POST /api/{object}/bulk`: the values, or `{"id", "if_version", "data"}`.',
            ),
            Field("match", "repeated string", 4, "The fields by which an upsert finds a record."),
            Field("atomic", "bool", 5, "Whether all records of this message are written or none."),
            Field("continue_on_error", "bool", 6, "Whether to go on after one that failed."),
            Field("report_all", "bool", 7, "Whether to tell also of those that were written."),
        ),
        (_ACTION,),
    ),
    Message(
        "BulkWriteResponse",
        (
            Field("results", "repeated BulkWriteResult", 1),
            Field("succeeded", "int64", 2),
            Field("failed", "int64", 3),
        ),
    ),
    Message(
        "BulkWriteResult",
        (
            Field("index", "int64", 1, "Of the record in the whole stream, from 0."),
            Field("id", "string", 2),
            Field("outcome", "Outcome", 3),
            Field("version", "int64", 4),
            Field("error", STATUS, 5),
        ),
        (listed("Outcome", ("created", "updated", "unchanged", "deleted", "none")),),
    ),
    Message(
        "BatchRequest",
        (
            Field("operations", "repeated BatchOperation", 1),
            Field("atomic", "optional bool", 2, "Whether all or none; so where it is left out."),
            Field("isolation", "Isolation", 3),
        ),
        (listed("Isolation", ("read_committed", "repeatable_read", "serializable")),),
    ),
    Message(
        "BatchOperation",
        (
            _OBJECT,
            Field("action", "Action", 2),
            Field("id", "string", 3),
            Field("data", STRUCT, 4, 'May hold `{"$ref": n}` and `{"$inc": n}`.'),
            Field("if_version", "optional int64", 5, IF_VERSION),
            Field("id_of", "optional int32", 6, "Instead of `id`: that of the n-th operation."),
        ),
        (_ACTION,),
    ),
    Message(
        "BatchResponse",
        (
            Field("results", "repeated BatchResult", 1),
            Field("transaction", "Transaction", 2),
        ),
    ),
    Message(
        "BatchResult",
        (
            Field("record", STRUCT, 1, "Of a record that was deleted, the id."),
            Field("deleted", "bool", 2),
            Field("error", STATUS, 3),
        ),
    ),
    Message("GetTransactionRequest", (Field("id", "string", 1),)),
    Message(
        "Transaction",
        (
            Field("id", "string", 1),
            Field("state", "State", 2),
            Field("details", STRUCT, 3, "As `GET /api/transactions/{id}` answers."),
        ),
        (listed("State", ("active", "in_doubt", "committed", "aborted")),),
    ),
)

_LIVE: Final = (
    Message(
        "WatchRequest",
        (
            _OBJECT,
            Field("where", STRUCT, 2, "As `where` of a query; all records where it is left out."),
            Field("read_mask", MASK, 3, READ_MASK),
            Field("snapshot", "bool", 4, "Whether to begin with the records as they are."),
            Field("since", "string", 5, "The cursor of the last event that was seen."),
        ),
    ),
    Message(
        "WatchResponse",
        (
            Field("type", CHANGE_TYPES.name, 1),
            _ID,
            Field("record", STRUCT, 3, "As it is now; not where it is gone."),
            Field("cursor", "string", 4, "Where to go on from after this."),
            Field("match", MATCHES.name, 5),
        ),
        (CHANGE_TYPES, MATCHES),
    ),
    Message(
        "SessionRequest",
        (Field("frame", STRUCT, 1, "As clients send them over WebSocket."),),
    ),
    Message(
        "SessionResponse",
        (Field("frame", STRUCT, 1, "As servers send them over WebSocket."),),
    ),
)


def _unary(name: str, comment: str) -> Method:
    return Method(name, f"{name}Request", f"{name}Response", comment=comment)


_METHODS: Final = (
    _unary("Get", "One record."),
    _unary("List", "A page of the records that a filter names."),
    _unary("Create", "A new record."),
    _unary("Update", "Changes the fields of a record that are given."),
    _unary("Delete", "Deletes a record."),
    Method(
        "Query",
        "QueryRequest",
        "QueryResponse",
        is_stream=True,
        comment="All records that a query names, many in each message; `limit` is of them all.",
    ),
    Method(
        "Export",
        "ExportRequest",
        "ExportResponse",
        is_stream=True,
        comment="Likewise, for those who may take records away.",
    ),
    _unary("Aggregate", "Groups of records."),
    Method(
        "BulkWrite",
        "BulkWriteRequest",
        "BulkWriteResponse",
        takes_stream=True,
        comment="Many records of an object; each message is written before the next is read.",
    ),
    _unary("Batch", "Operations on any objects, in order, as one transaction."),
    Method(
        "GetTransaction",
        "GetTransactionRequest",
        "Transaction",
        comment="How the transaction of a batch stands.",
    ),
    _unary("Action", "Runs an action."),
    Method(
        "Watch",
        "WatchRequest",
        "WatchResponse",
        is_stream=True,
        comment="What becomes of the records that a filter names, from now or from a cursor.",
    ),
    Method(
        "Session",
        "SessionRequest",
        "SessionResponse",
        takes_stream=True,
        is_stream=True,
        comment="Many live queries and requests over one stream.",
    ),
)

FILE: Final = ProtoFile(
    path="objectql/v1/object_service.proto",
    package="objectql.v1",
    messages=(*_READS, *_WRITES, *_MANY, *_LIVE),
    service=Service("ObjectService", _METHODS, "Every object that there is."),
)
