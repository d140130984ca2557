"""`/api/{object}` and `/api/{object}/{id}`: the records of one object."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from objectql.errors import InvalidQuery
from objectql.query.ast import Query
from objectql.query.url import ExplainMode
from objectql.service.bodies import decode_json, first_byte
from objectql.service.data.answers import deleted_json
from objectql.service.data.bulk import created_json, creations
from objectql.service.data.names import check_id, check_object
from objectql.service.data.queries import document_query
from objectql.service.data.row_errors import raise_first
from objectql.wire.messages import (
    AggregateRequest,
    BulkReply,
    CreateRequest,
    DeleteReply,
    DeleteRequest,
    ExplainRequest,
    FindRequest,
    GetRequest,
    JsonReply,
    PageReply,
    RecordReply,
    UpdateRequest,
)
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.params import explain_mode, list_query, projection
from objectql_gateway_rest.representation import (
    etag,
    expected_version,
    is_not_modified,
    items_response,
    page_response,
    record_headers,
)
from objectql_gateway_rest.routes import Route


async def find(call: Call, query: Query) -> PageReply:
    """The page that `query` asks for, be it of records or of groups."""
    if query.is_aggregate:
        return await call.read("aggregate", AggregateRequest(query), PageReply)
    return await call.read("find", FindRequest(query), PageReply)


async def explain(call: Call, query: Query, mode: ExplainMode) -> Response:
    """What becomes of `query`, instead of its answer."""
    request = ExplainRequest(query, analyze=mode == "analyze")
    reply = await call.read("explain", request, JsonReply)
    return Response(reply.body, headers=[(b"cache-control", b"no-store")])


async def list_records(call: Call, object: str) -> Response:
    asked = list_query(call, object, "odata")
    if asked.explain != "no":
        return await explain(call, asked.query, asked.explain)
    return page_response(await find(call, asked.query))


async def query_records(call: Call, object: str) -> Response:
    query = document_query(object, await call.document(), call.services.limits)
    if (mode := explain_mode(call)) != "no":
        return await explain(call, query, mode)
    return page_response(await find(call, query))


async def aggregate_records(call: Call, object: str) -> Response:
    query = document_query(object, await call.document(), call.services.limits)
    if not query.is_aggregate:
        raise InvalidQuery(reason="say what to compute", path="aggregations")
    if (mode := explain_mode(call)) != "no":
        return await explain(call, query, mode)
    return items_response(await find(call, query))


async def get_record(call: Call, object: str, id: str) -> Response:
    wanted = projection(call, check_object(object), "odata")
    request = GetRequest(object, check_id(object, id), wanted.fields, wanted.expand)
    reply = await call.read("get", request, RecordReply)
    tag = etag(reply.version)
    # The tag is the record's version; what stands in its relations may have changed without it.
    if not wanted.expand and is_not_modified(call.request, tag):
        return Response(status=304, headers=[(b"etag", tag)])
    body = b'{"data":' + reply.record + b"}" if wanted.is_wrapped else reply.record
    return Response(body, headers=record_headers(reply))


async def create_records(call: Call, object: str) -> Response:
    """One record of an object, or all of a list."""
    body = await call.body()
    if first_byte(body) == b"[":
        return await _create_all(call, check_object(object), body)
    data = await call.object_bytes()
    reply = await call.write("create", CreateRequest(check_object(object), data), RecordReply)
    return _created(call, object, reply)


def _created(call: Call, object: str, reply: RecordReply) -> Response:
    location = f"/api/{object}/{quote(reply.id, safe='')}".encode()
    headers = [(b"location", location), *record_headers(reply)]
    if _wants_minimal(call):
        return Response(status=204, headers=[*headers, _APPLIED])
    return Response(reply.record, status=201, headers=headers)


async def _create_all(call: Call, object: str, body: bytes) -> Response:
    limits = call.services.limits
    rows = decode_json(body, list[msgspec.Raw], nesting=limits.nesting)
    request = creations(object, rows, most=limits.bulk_records)
    reply = await call.write("bulk", request, BulkReply) if rows else BulkReply(())
    raise_first(reply.results, object)
    return Response(created_json(reply), status=201)


async def replace_record(call: Call, object: str, id: str) -> Response:
    return await _update(call, object, id, replace=True)


async def patch_record(call: Call, object: str, id: str) -> Response:
    return await _update(call, object, id, replace=False)


async def _update(call: Call, object: str, id: str, *, replace: bool) -> Response:
    data = await call.object_bytes()
    request = UpdateRequest(
        object=check_object(object),
        id=check_id(object, id),
        data=data,
        replace=replace,
        **expected_version(call.request),
    )
    reply = await call.write("update", request, RecordReply)
    if _wants_minimal(call):
        return Response(status=204, headers=[*record_headers(reply), _APPLIED])
    return Response(reply.record, headers=record_headers(reply))


async def delete_record(call: Call, object: str, id: str) -> Response:
    request = DeleteRequest(
        object=check_object(object), id=check_id(object, id), **expected_version(call.request)
    )
    reply = await call.write("delete", request, DeleteReply)
    if _wants_minimal(call):
        return Response(status=204, headers=[_APPLIED])
    return Response(deleted_json(reply.id))


_APPLIED = (b"preference-applied", b"return=minimal")


def _wants_minimal(call: Call) -> bool:
    preferences = call.request.headers.get("prefer", "")
    return "return=minimal" in preferences.replace(" ", "").lower()


ROUTES = (
    Route("GET", "/api/{object}", list_records),
    Route("POST", "/api/{object}", create_records),
    Route("POST", "/api/{object}/query", query_records),
    Route("POST", "/api/{object}/aggregate", aggregate_records),
    Route("GET", "/api/{object}/{id}", get_record),
    Route("PUT", "/api/{object}/{id}", replace_record),
    Route("PATCH", "/api/{object}/{id}", patch_record),
    Route("DELETE", "/api/{object}/{id}", delete_record),
)
