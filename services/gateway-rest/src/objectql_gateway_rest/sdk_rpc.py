"""The ObjectQL SDK's calls with the operation in the body: `/api/objectql` and `/api/query`.

A `user` in the body is never believed; it is refused like any other unknown key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import msgspec

from objectql.errors import InvalidRequest, RecordNotFound
from objectql.query.ast import Query
from objectql.query.parse import parse_query
from objectql.service.bodies import decode_document, decode_json, first_byte
from objectql.service.data.names import check_id, check_object
from objectql.service.data.queries import document_query, limited
from objectql.wire.messages import (
    ActionRequest,
    CreateRequest,
    DeleteReply,
    DeleteRequest,
    GetRequest,
    JsonReply,
    RecordReply,
    UpdateRequest,
)
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.records import find
from objectql_gateway_rest.representation import json_response
from objectql_gateway_rest.routes import Route
from objectql_gateway_rest.sdk import (
    RawRow,
    create_all,
    page_meta,
    typed_row,
    typed_rows,
    with_total,
    write_where,
)

T = TypeVar("T")

Operation = Literal[
    "find",
    "findOne",
    "create",
    "update",
    "delete",
    "count",
    "action",
    "createMany",
    "updateMany",
    "deleteMany",
]


class RpcBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `/api/objectql`. `ai_context` is accepted and not used."""

    op: Operation
    object: str
    args: msgspec.Raw = msgspec.Raw(b"null")
    ai_context: Any = None


class UpdateArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    data: msgspec.Raw


class IdArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str


class WhereArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    filters: Any = None
    data: msgspec.Raw = msgspec.Raw()


class ActionArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    action: str
    id: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    params: msgspec.Raw = msgspec.Raw()


async def rpc(call: Call) -> Response:
    body = await call.decode(RpcBody)
    check_object(body.object)
    return await _OPERATIONS[body.op](call, body.object, bytes(body.args))


def _args(call: Call, text: bytes, type_: type[T]) -> T:
    return decode_json(text, type_, nesting=call.services.limits.nesting)


def _query(call: Call, object: str, text: bytes) -> Query:
    if text == b"null":
        return limited(Query(object=object), call.services.limits)
    return document_query(
        object, decode_document(text, nesting=call.services.limits.nesting), call.services.limits
    )


async def _find(call: Call, object: str, args: bytes) -> Response:
    page = await find(call, with_total(_query(call, object, args)))
    rows = typed_rows(object, page.items)
    return json_response({"data": rows, "items": rows, "meta": page_meta(page)})


async def _find_one(call: Call, object: str, args: bytes) -> Response:
    """By id (`"x"` or `{"id": "x"}`), or the first match of a query; null when there is none."""
    id: str | None = None
    if first_byte(args) == b'"':
        id = _args(call, args, str)
    elif first_byte(args) == b"{":
        keys = _args(call, args, RawRow)
        if keys.keys() == {"id"}:
            id = _args(call, args, IdArgs).id
    if id is not None:
        try:
            reply = await call.read("get", GetRequest(object, check_id(object, id)), RecordReply)
        except RecordNotFound:
            return json_response({"data": None})
        return json_response({"data": typed_row(object, reply.record)})
    query = msgspec.structs.replace(_query(call, object, args), limit=1)
    rows = typed_rows(object, (await find(call, query)).items)
    return json_response({"data": rows[0] if rows else None})


async def _create(call: Call, object: str, args: bytes) -> Response:
    _args(call, args, dict[str, Any])
    reply = await call.write("create", CreateRequest(object, args), RecordReply)
    return json_response({"data": typed_row(object, reply.record)})


async def _update(call: Call, object: str, args: bytes) -> Response:
    given = _args(call, args, UpdateArgs)
    request = UpdateRequest(object, check_id(object, given.id), bytes(given.data))
    reply = await call.write("update", request, RecordReply)
    return json_response({"data": typed_row(object, reply.record)})


async def _delete(call: Call, object: str, args: bytes) -> Response:
    id = _args(call, args, str) if first_byte(args) == b'"' else _args(call, args, IdArgs).id
    reply = await call.write("delete", DeleteRequest(object, check_id(object, id)), DeleteReply)
    return json_response({"data": {"id": reply.id, "deleted": True, "@type": object}})


async def _count(call: Call, object: str, args: bytes) -> Response:
    """How many match a filter (bare, or under `filters` or `where`)."""
    condition: Any = None
    if first_byte(args) == b"[":
        condition = _args(call, args, list[Any])
    elif args != b"null":
        condition = decode_document(args, nesting=call.services.limits.nesting)
        if len(condition) == 1 and condition.keys() <= {"filters", "filter", "where"}:
            condition = next(iter(condition.values()))
    query = parse_query({"where": condition} if condition else {}, object=object)
    query = msgspec.structs.replace(query, limit=0, count="exact")
    total = (await find(call, query)).total or 0
    return json_response({"data": total, "count": total})


async def _action(call: Call, object: str, args: bytes) -> Response:
    given = _args(call, args, ActionArgs)
    params = bytes(given.input) or bytes(given.params) or b"{}"
    request = ActionRequest(object, given.action, given.id, params)
    reply = await call.write("action", request, JsonReply)
    return Response(b'{"data":' + reply.body + b"}")


async def _create_many(call: Call, object: str, args: bytes) -> Response:
    rows = _args(call, args, list[msgspec.Raw])
    records = await create_all(call, object, [bytes(row) for row in rows])
    items = [typed_row(object, record) for record in records]
    return json_response({"data": items, "items": items, "count": len(items)})


async def _update_many(call: Call, object: str, args: bytes) -> Response:
    given = _args(call, args, WhereArgs)
    if first_byte(bytes(given.data)) != b"{":
        raise InvalidRequest(reason='"data" must be a JSON object with the new values')
    count = await write_where(call, object, given.filters, bytes(given.data))
    return json_response({"data": {"count": count}, "count": count})


async def _delete_many(call: Call, object: str, args: bytes) -> Response:
    given = _args(call, args, WhereArgs)
    count = await write_where(call, object, given.filters, None)
    return json_response({"data": {"count": count}, "count": count})


_OPERATIONS: dict[str, Callable[[Call, str, bytes], Awaitable[Response]]] = {
    "find": _find,
    "findOne": _find_one,
    "create": _create,
    "update": _update,
    "delete": _delete,
    "count": _count,
    "action": _action,
    "createMany": _create_many,
    "updateMany": _update_many,
    "deleteMany": _delete_many,
}


async def query(call: Call) -> Response:
    """`{"value": [...], "count": n}`; `count` is the number of all matches."""
    document = await call.document()
    object = document.get("object")
    if not isinstance(object, str):
        raise InvalidRequest(reason='"object" is missing')
    page = await find(call, with_total(document_query(object, document, call.services.limits)))
    total = page.count if page.total is None else page.total
    return Response(b'{"value":' + page.items + b',"count":%d}' % total)


ROUTES = (
    Route("POST", "/api/objectql", rpc, "sdk"),
    Route("POST", "/api/query", query, "sdk"),
)
