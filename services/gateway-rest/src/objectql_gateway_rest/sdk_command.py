"""The ObjectQL SDK's `/api/command`: one write, or several of a kind, described in the body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from objectql.errors import InvalidRequest
from objectql.service.bodies import decoder, first_byte
from objectql.service.data.bulk import BulkOperation, check_size
from objectql.service.data.names import check_id, check_object
from objectql.service.data.row_errors import raise_first
from objectql.wire.messages import (
    BulkReply,
    BulkRequest,
    BulkRow,
    CreateRequest,
    DeleteReply,
    DeleteRequest,
    RecordReply,
    RowResult,
    UpdateRequest,
)
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.representation import json_response
from objectql_gateway_rest.routes import Route
from objectql_gateway_rest.sdk import create_all


class CommandUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    data: msgspec.Raw


class CommandBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `/api/command`."""

    type: Literal["create", "update", "delete", "bulkCreate", "bulkUpdate", "bulkDelete"]
    object: str
    data: msgspec.Raw = msgspec.Raw()
    id: str | None = None
    ids: list[str] = []
    updates: list[CommandUpdate] = []
    options: Any = None


async def command(call: Call) -> Response:
    """`{"success": true, "data": ..., "affected": n}`; many rows are written all or none."""
    body = await call.decode(CommandBody)
    data, affected = await _COMMANDS[body.type](call, body)
    return json_response({"success": True, "data": data, "affected": affected})


async def _command_create(call: Call, body: CommandBody) -> tuple[Any, int]:
    request = CreateRequest(check_object(body.object), _data(body))
    return _record(await call.write("create", request, RecordReply)), 1


async def _command_update(call: Call, body: CommandBody) -> tuple[Any, int]:
    request = UpdateRequest(check_object(body.object), _id(body), _data(body))
    return _record(await call.write("update", request, RecordReply)), 1


async def _command_delete(call: Call, body: CommandBody) -> tuple[Any, int]:
    request = DeleteRequest(check_object(body.object), _id(body))
    reply = await call.write("delete", request, DeleteReply)
    return {"id": reply.id, "deleted": True}, 1


async def _command_bulk_create(call: Call, body: CommandBody) -> tuple[Any, int]:
    rows = decoder(list[msgspec.Raw]).decode(_data(body, b"["))
    records = await create_all(call, body.object, [bytes(row) for row in rows])
    return [msgspec.Raw(record) for record in records], len(records)


async def _command_bulk_update(call: Call, body: CommandBody) -> tuple[Any, int]:
    rows = tuple(BulkRow(bytes(update.data), update.id) for update in body.updates)
    results = await all_rows(call, check_object(body.object), "update", rows)
    return [msgspec.Raw(result.record or b"{}") for result in results], len(results)


async def _command_bulk_delete(call: Call, body: CommandBody) -> tuple[Any, int]:
    rows = tuple(BulkRow(id=id) for id in body.ids)
    results = await all_rows(call, check_object(body.object), "delete", rows)
    return [result.id for result in results], len(results)


_COMMANDS: dict[str, Callable[[Call, CommandBody], Awaitable[tuple[Any, int]]]] = {
    "create": _command_create,
    "update": _command_update,
    "delete": _command_delete,
    "bulkCreate": _command_bulk_create,
    "bulkUpdate": _command_bulk_update,
    "bulkDelete": _command_bulk_delete,
}


def _record(reply: RecordReply) -> msgspec.Raw:
    return msgspec.Raw(reply.record)


def _data(body: CommandBody, kind: bytes = b"{") -> bytes:
    if first_byte(bytes(body.data)) != kind:
        expected = "a JSON object" if kind == b"{" else "a list of JSON objects"
        raise InvalidRequest(reason=f'"data" must be {expected}')
    return bytes(body.data)


def _id(body: CommandBody) -> str:
    if body.id is None:
        raise InvalidRequest(reason='"id" is missing')
    return check_id(body.object, body.id)


async def all_rows(
    call: Call, object: str, operation: BulkOperation, rows: tuple[BulkRow, ...]
) -> tuple[RowResult, ...]:
    """The results of rows that are written all or none."""
    check_size(len(rows), call.services.limits.bulk_records)
    if not rows:
        return ()
    request = BulkRequest(object=object, operation=operation, rows=rows, atomic=True)
    reply = await call.write("bulk", request, BulkReply)
    raise_first(reply.results, object)
    return reply.results


ROUTES = (
    Route("POST", "/api/command", command, "sdk"),
    Route("POST", "/api/execute", command, "sdk"),
)
