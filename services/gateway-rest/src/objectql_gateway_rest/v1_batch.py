"""`/api/v1/data/{object}/{batch,createMany,updateMany,deleteMany}` and `/api/v1/batch`."""

from __future__ import annotations

from typing import Any

import msgspec

from objectql.errors import InvalidRequest, NotSupported
from objectql.service.bodies import first_byte
from objectql.service.data.answers import to_json
from objectql.service.data.batches import BatchBody as TransactionBody
from objectql.service.data.bulk import BulkOperation, check_size
from objectql.service.data.names import check_object
from objectql.service.data.row_errors import raise_first
from objectql.wire.messages import BulkReply, BulkRequest, BulkRow, RowResult
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.bulk import run_batch
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.representation import json_response
from objectql_gateway_rest.routes import Route
from objectql_gateway_rest.v1 import absent
from objectql_gateway_rest.v1_params import BatchBody, DeleteManyBody, Options, Row, UpdateManyBody


async def batch(call: Call, object: str) -> Response:
    body = await call.decode(BatchBody)
    return await _run(call, object, body.operation, _rows(body.records), body.options)


async def update_many(call: Call, object: str) -> Response:
    body = await call.decode(UpdateManyBody)
    return await _run(call, object, "update", _rows(body.records), body.options)


async def delete_many(call: Call, object: str) -> Response:
    body = await call.decode(DeleteManyBody)
    rows = tuple(BulkRow(id=id) for id in body.ids)
    return await _run(call, object, "delete", rows, body.options)


async def create_many(call: Call, object: str) -> Response:
    records = await call.decode(list[msgspec.Raw])
    rows = _rows([Row(data=record) for record in records])
    reply = await _bulk(call, object, "create", rows, Options(atomic=True))
    raise_first(reply.results, object)
    items = b",".join(result.record or b"{}" for result in reply.results)
    text = b'{"object":%s,"records":[%s],"count":%d}' % (to_json(object), items, len(rows))
    return Response(text, status=201)


def _rows(records: list[Row]) -> tuple[BulkRow, ...]:
    for index, row in enumerate(records):
        if first_byte(bytes(row.data)) != b"{":
            raise InvalidRequest(reason=f"records.{index} is not a JSON object")
    return tuple(BulkRow(bytes(row.data), row.id, row.external_id) for row in records)


async def _bulk(
    call: Call, object: str, operation: BulkOperation, rows: tuple[BulkRow, ...], options: Options
) -> BulkReply:
    if options.validate_only:
        raise NotSupported(feature="validateOnly")
    check_size(len(rows), call.services.limits.v1_batch_records)
    request = BulkRequest(
        object=check_object(object),
        operation=operation,
        rows=rows,
        atomic=options.atomic,
        continue_on_error=options.continue_on_error,
        return_records=options.return_records,
    )
    if not rows:
        return BulkReply(())
    return await call.write("bulk", request, BulkReply)


async def _run(
    call: Call, object: str, operation: BulkOperation, rows: tuple[BulkRow, ...], options: Options
) -> Response:
    reply = await _bulk(call, object, operation, rows, options)
    failed = sum(result.error is not None for result in reply.results)
    return json_response(
        {
            "success": failed == 0,
            "operation": operation,
            "total": len(reply.results),
            "succeeded": len(reply.results) - failed,
            "failed": failed,
            "results": [
                _result(index, result, options) for index, result in enumerate(reply.results)
            ],
        }
    )


def _result(index: int, result: RowResult, options: Options) -> dict[str, Any]:
    row: dict[str, Any] = {"success": result.error is None, "index": index}
    if result.id is not None:
        row["id"] = result.id
    if result.error is not None:
        error: dict[str, Any] = {"code": result.error.code, "message": result.error.message}
        if result.error.issues:
            error["fields"] = [
                {"field": issue.path, "code": issue.code, "message": issue.message}
                for issue in result.error.issues
            ]
        row["errors"] = [error]
    elif options.return_records and result.record is not None:
        row["data"] = msgspec.Raw(result.record)
    return row


async def transaction(call: Call) -> Response:
    """Operations on several objects, all or nothing: `{"results": [record, ...]}`."""
    body = await call.decode(TransactionBody)
    return await run_batch(call, body, with_transaction=False)


ROUTES = (
    Route("POST", "/api/v1/batch", transaction, "v1"),
    Route("POST", "/api/v1/data/{object}/batch", batch, "v1"),
    Route("POST", "/api/v1/data/{object}/createMany", create_many, "v1"),
    Route("POST", "/api/v1/data/{object}/updateMany", update_many, "v1"),
    Route("POST", "/api/v1/data/{object}/deleteMany", delete_many, "v1"),
    Route("POST", "/api/v1/data/{object}/import", absent("import"), "v1"),
    Route("POST", "/api/v1/data/{object}/import/jobs", absent("import"), "v1"),
    Route("GET", "/api/v1/data/import/jobs", absent("import"), "v1"),
    Route("GET", "/api/v1/data/import/jobs/{rest*}", absent("import"), "v1"),
    Route("POST", "/api/v1/data/import/jobs/{rest*}", absent("import"), "v1"),
    Route("GET", "/api/v1/data/{object}/{id}/shares", absent("shares"), "v1"),
    Route("POST", "/api/v1/data/{object}/{id}/shares", absent("shares"), "v1"),
    Route("DELETE", "/api/v1/data/{object}/{id}/shares/{share}", absent("shares"), "v1"),
)
