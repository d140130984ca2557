"""Many writes in one request: `/api/{object}/bulk`, `/api/batch`, `/api/transactions/{id}`."""

from __future__ import annotations

from typing import Any, Literal, cast

import msgspec

from objectql.errors import BatchTooLarge, ErrorInfo, InvalidRequest, Issue
from objectql.service.bodies import decoder, first_byte
from objectql.wire.messages import (
    BatchOperation,
    BatchReply,
    BatchRequest,
    BulkReply,
    BulkRequest,
    BulkRow,
    RowResult,
)
from objectql.wire.transactions import TransactionReply, TransactionRequest
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.params import check_object
from objectql_gateway_rest.representation import json_response, to_json
from objectql_gateway_rest.routes import Route
from objectql_gateway_rest.row_errors import raise_first

BulkOperation = Literal["create", "update", "upsert", "delete"]
Isolation = Literal["read_committed", "repeatable_read", "serializable"]


class BulkBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `/api/{object}/bulk`; see `read_row` for what a record may look like."""

    operation: BulkOperation
    records: list[msgspec.Raw]
    atomic: bool = False
    continue_on_error: bool = False
    return_records: bool = True
    match: tuple[str, ...] = ()


class BatchStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    object: str
    action: Literal["create", "update", "delete", "upsert"]
    id: Any = None
    data: msgspec.Raw = msgspec.Raw(b"{}")
    if_version: int | None = None


class BatchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `/api/batch`."""

    operations: list[BatchStep]
    atomic: bool = True
    isolation: Isolation = "read_committed"


class WrappedRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row whose values stand under `data`."""

    data: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | None = None
    external_id: str | None = None
    if_version: int | None = None


async def bulk(call: Call, object: str) -> Response:
    body = await call.decode(BulkBody)
    check_size(len(body.records), call.services.limits.bulk_records)
    request = BulkRequest(
        object=check_object(object),
        operation=body.operation,
        rows=read_rows(body.records, body.operation),
        atomic=body.atomic,
        continue_on_error=body.continue_on_error,
        return_records=body.return_records,
        match=body.match,
    )
    reply = await call.write("bulk", request, BulkReply)
    failed = sum(result.error is not None for result in reply.results)
    rows = b",".join(_row(index, result) for index, result in enumerate(reply.results))
    counts = b',"succeeded":%d,"failed":%d}' % (len(reply.results) - failed, failed)
    return Response(b'{"results":[' + rows + b"]" + counts)


def check_size(count: int, most: int) -> None:
    """Return if one request may hold `count` records.

    Raises:
        BatchTooLarge: it may not.

    """
    if count > most:
        raise BatchTooLarge(count=count, max=most)


def read_rows(records: list[msgspec.Raw], operation: BulkOperation) -> tuple[BulkRow, ...]:
    """The rows of a bulk request.

    A row is the record itself, with its `id` among the values; or, to say more about it,
    `{"id"?, "external_id"?, "if_version"?, "data": {...}}`; for `delete` also a bare id.

    Raises:
        InvalidRequest: with every row that is none of these.

    """
    issues: list[Issue] = []
    rows: list[BulkRow] = []
    for index, raw in enumerate(records):
        try:
            rows.append(_read_row(bytes(raw), operation))
        except msgspec.ValidationError as exc:
            issues.append(Issue(path=f"records.{index}", code="invalid_type", message=str(exc)))
    if issues:
        raise InvalidRequest(reason=f"records.{issues[0].path}", issues=tuple(issues))
    return tuple(rows)


def _read_row(text: bytes, operation: BulkOperation) -> BulkRow:
    if operation == "delete" and first_byte(text) == b'"':
        return BulkRow(id=decoder(str).decode(text))
    keys = decoder(dict[str, msgspec.Raw]).decode(text)
    if keys.keys() <= _WRAPPED_KEYS and (
        operation == "delete" or first_byte(bytes(keys.get("data", b""))) == b"{"
    ):
        row = decoder(WrappedRow).decode(text)
        return BulkRow(bytes(row.data), row.id, row.external_id, row.if_version)
    id = decoder(str).decode(keys["id"]) if "id" in keys else None
    return BulkRow(text, id)


_WRAPPED_KEYS = frozenset(WrappedRow.__struct_fields__)


def _row(index: int, result: RowResult) -> bytes:
    text = b'{"index":%d,"id":%s,"action":"%s"' % (
        index,
        to_json(result.id),
        result.action.encode(),
    )
    if result.version:
        text += b',"version":%d' % result.version
    if result.record is not None:
        text += b',"record":' + result.record
    if result.error is not None:
        text += b',"error":' + to_json(row_error(result.error))
    return text + b"}"


def row_error(error: ErrorInfo) -> dict[str, Any]:
    """What is told of a row that failed while others did not."""
    return {"code": error.code, "message": error.message, "errors": error.issues}


async def batch(call: Call) -> Response:
    body = await call.decode(BatchBody)
    return await run_batch(call, body, with_transaction=True)


async def run_batch(call: Call, body: BatchBody, *, with_transaction: bool) -> Response:
    """The results in order; a batch in doubt answers 202 and where to ask again."""
    check_size(len(body.operations), call.services.limits.bulk_records)
    request = BatchRequest(
        operations=tuple(_operation(index, step) for index, step in enumerate(body.operations)),
        atomic=body.atomic,
        isolation=body.isolation,
    )
    reply = await call.write("batch", request, BatchReply)
    if body.atomic:
        raise_first(reply.results, "operations")
    results = b",".join(
        _batch_result(step, result)
        for step, result in zip(body.operations, reply.results, strict=True)
    )
    text = b'{"results":[' + results + b"]"
    if with_transaction:
        transaction = {"id": reply.transaction_id, "state": reply.state}
        text += b',"transaction":' + to_json(transaction)
    if reply.state != "in_doubt":
        return Response(text + b"}")
    location = (b"location", f"/api/transactions/{reply.transaction_id}".encode())
    return Response(text + b"}", status=202, headers=[location])


def _operation(index: int, step: BatchStep) -> BatchOperation:
    problem = None
    if first_byte(bytes(step.data)) != b"{":
        problem = ("data", "must be a JSON object")
    elif not (step.id is None or isinstance(step.id, str) or _is_reference(step.id)):
        problem = ("id", 'must be a string or {"$ref": n}')
    elif step.action in {"update", "delete"} and step.id is None:
        problem = ("id", f"is needed to {step.action} a record")
    if problem is not None:
        key, reason = problem
        path = f"operations.{index}.{key}"
        issue = Issue(path=path, code="invalid_value", message=f"{key} {reason}")
        raise InvalidRequest(reason=f"{path} {reason}", issues=(issue,))
    return BatchOperation(
        object=check_object(step.object),
        action=step.action,
        id=step.id,
        data=bytes(step.data),
        if_version=step.if_version,
    )


def _is_reference(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    keys = cast("dict[str, Any]", value)
    return keys.keys() == {"$ref"} and type(keys["$ref"]) is int


def _batch_result(step: BatchStep, result: RowResult) -> bytes:
    if result.error is not None:
        return to_json({"error": row_error(result.error)})
    if result.record is not None:
        return result.record
    return to_json({"id": result.id, "deleted": step.action == "delete"})


async def transaction(call: Call, id: str) -> Response:
    reply = await call.read("transaction", TransactionRequest(id), TransactionReply)
    told = {"id": reply.id, "state": reply.state, "sources": reply.sources}
    return json_response(told)


ROUTES = (
    Route("POST", "/api/{object}/bulk", bulk),
    Route("POST", "/api/batch", batch),
    Route("GET", "/api/transactions/{id}", transaction),
)
