"""The service of all objects as a codec: its requests say which, and records are structures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from objectql.errors import ErrorInfo
from objectql.protobuf.calls import (
    ActionCall,
    AggregateCall,
    BatchCall,
    BulkCall,
    Call,
    CreateCall,
    DeleteCall,
    GetCall,
    QueryCall,
    SessionFrame,
    TransactionCall,
    UpdateCall,
    Verb,
)
from objectql.protobuf.generic import FILE
from objectql.protobuf.messages import codecs_of
from objectql.protobuf.rpcs import (
    Rpc,
    list_call,
    missing,
    read_mask,
    reader,
    result_bytes,
    watch_call,
)
from objectql.protobuf.status import status_message

_decode: Final = msgspec.json.decode
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class Row(Protocol):
    """What became of one of many records."""

    @property
    def id(self) -> str | None: ...
    @property
    def action(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def record(self) -> bytes | None: ...
    @property
    def error(self) -> ErrorInfo | None: ...


class GenericCodec:
    """The service of all objects: its requests say which, and records are structures."""

    def __init__(self) -> None:
        self.file: Final = FILE
        self.service: Final = self.file.service_name
        self._codecs: Final = codecs_of(self.file.messages)
        calls: dict[str, tuple[Verb, Callable[[dict[str, Any]], Call]]] = {
            "Get": ("get", _get),
            "List": ("list", lambda values: list_call(_object(values), values, read_mask(values))),
            "Create": ("create", _create),
            "Update": ("update", _update),
            "Delete": ("delete", _delete),
            "Query": ("query", _query),
            "Export": ("export", _query),
            "Aggregate": ("aggregate", _aggregate),
            "BulkWrite": ("bulk", _bulk),
            "Batch": ("batch", _batch),
            "GetTransaction": ("transaction", _transaction),
            "Action": ("action", _action),
            "Watch": (
                "watch",
                lambda values: watch_call(_object(values), values, read_mask(values)),
            ),
            "Session": ("session", _frame),
        }
        self.rpcs: Final[Mapping[str, Rpc]] = {
            name: Rpc(verb, reader(self._codecs[f"{name}Request"], make))
            for name, (verb, make) in calls.items()
        }

    def record(self, record: bytes) -> bytes:
        """The answer that is one record."""
        return self._codecs["GetResponse"].write({"record": _decode(record)})

    def page(self, items: bytes, next: str | None, total: int | None) -> bytes:
        """The answer of a list; `items` is a JSON array."""
        told = {"records": _decode(items), "next_page_token": next, "total_size": total}
        return self._codecs["ListResponse"].write(told)

    def chunk(self, items: bytes) -> bytes:
        """A message of a stream of records; `items` is a JSON array."""
        return self._codecs["QueryResponse"].write({"records": _decode(items)})

    def deleted(self, id: str) -> bytes:  # noqa: ARG002, PLR6301 - as those of objects
        """The answer of a deletion."""
        return b""

    def change(
        self, type: str, id: str, record: bytes | None, cursor: str, match: str | None
    ) -> bytes:
        """What a live query tells, in the words of its frames."""
        told = None if record is None else _decode(record)
        return self._codecs["WatchResponse"].write(
            {"type": type, "id": id, "record": told, "cursor": cursor, "match": match}
        )

    def groups(self, items: bytes) -> bytes:
        """The answer of an aggregate; `items` is a JSON array."""
        return self._codecs["AggregateResponse"].write({"groups": _decode(items)})

    def bulk(self, rows: Iterable[tuple[int, Row]], succeeded: int, failed: int) -> bytes:
        """The answer to a whole stream of records; each row comes with its place in the stream."""
        results = [
            {
                "index": index,
                "id": row.id,
                "outcome": row.action,
                "version": row.version,
                "error": _status(row),
            }
            for index, row in rows
        ]
        return self._codecs["BulkWriteResponse"].write(
            {"results": results, "succeeded": succeeded, "failed": failed}
        )

    def batch(self, rows: Iterable[Row], transaction_id: str, state: str) -> bytes:
        """The answer of a batch: one result for each operation, in order."""
        results = [
            {
                "record": {"id": row.id} if row.record is None else _decode(row.record),
                "deleted": row.action == "deleted",
            }
            if row.error is None
            else {"error": _status(row)}
            for row in rows
        ]
        transaction = {"id": transaction_id, "state": state}
        return self._codecs["BatchResponse"].write({"results": results, "transaction": transaction})

    def transaction(self, body: bytes) -> bytes:
        """How a transaction stands, from the answer of `GET /api/transactions/{id}`."""
        told = _decode(body)
        known = {"id": told["id"], "state": told["state"], "details": told}
        return self._codecs["Transaction"].write(known)

    def result(self, body: bytes) -> bytes:  # noqa: PLR6301 - as those of objects
        """What an action returned, as JSON; null is not set."""
        return result_bytes(body)

    def frame(self, frame: bytes) -> bytes:
        """A frame of the WebSocket protocol, as JSON."""
        return self._codecs["SessionResponse"].write({"frame": _decode(frame)})


def _status(row: Row) -> bytes | None:
    return None if row.error is None else status_message(row.error).SerializeToString()


# --- requests -------------------------------------------------------------------------------


def _object(values: Mapping[str, Any]) -> str:
    object = values.get("object", "")
    if not object:
        raise missing("object")
    return object


def _get(values: dict[str, Any]) -> GetCall:
    expand = tuple(values.get("expand", ()))
    return GetCall(_object(values), values.get("id", ""), read_mask(values), expand)


def _create(values: dict[str, Any]) -> CreateCall:
    return CreateCall(_object(values), _encode(values.get("data", {})))


def _update(values: dict[str, Any]) -> UpdateCall:
    return UpdateCall(
        _object(values),
        values.get("id", ""),
        _encode(values.get("data", {})),
        values.get("replace", False),
        values.get("if_version"),
    )


def _delete(values: dict[str, Any]) -> DeleteCall:
    return DeleteCall(_object(values), values.get("id", ""), values.get("if_version"))


def _query(values: dict[str, Any]) -> QueryCall:
    return QueryCall(_object(values), values.get("query", {}))


def _aggregate(values: dict[str, Any]) -> AggregateCall:
    return AggregateCall(_object(values), values.get("query", {}))


def _bulk(values: dict[str, Any]) -> BulkCall:
    return BulkCall(
        values.get("object", ""),
        values.get("action"),
        _encode(values.get("records", [])),
        match=tuple(values.get("match", ())),
        atomic=values.get("atomic", False),
        continue_on_error=values.get("continue_on_error", False),
        report_all=values.get("report_all", False),
    )


def _batch(values: dict[str, Any]) -> BatchCall:
    operations = [
        _operation(index, each) for index, each in enumerate(values.get("operations", []))
    ]
    body: dict[str, Any] = {"operations": operations, "atomic": values.get("atomic", True)}
    if values.get("isolation") is not None:
        body["isolation"] = values["isolation"]
    return BatchCall(_encode(body))


def _operation(index: int, values: dict[str, Any]) -> dict[str, Any]:
    for name in ("object", "action"):
        if not values.get(name):
            raise missing(f"operations.{index}.{name}")
    told = {
        name: values[name] for name in ("object", "action", "data", "if_version") if name in values
    }
    if values.get("id"):
        told["id"] = values["id"]
    elif "id_of" in values:
        told["id"] = {"$ref": values["id_of"]}
    return told


def _transaction(values: dict[str, Any]) -> TransactionCall:
    return TransactionCall(values.get("id", ""))


def _action(values: dict[str, Any]) -> ActionCall:
    if not values.get("action"):
        raise missing("action")
    return ActionCall(
        _object(values),
        values["action"],
        values.get("id") or None,
        _encode(values.get("parameters", {})),
    )


def _frame(values: dict[str, Any]) -> SessionFrame:
    return SessionFrame(_encode(values.get("frame", {})))


GENERIC: Final = GenericCodec()
