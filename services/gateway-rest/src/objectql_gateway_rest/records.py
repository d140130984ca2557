"""`/api/{object}` and `/api/{object}/{id}`: the records of one object."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from objectql.errors import InvalidQuery, InvalidRequest, RecordNotFound
from objectql.ids import is_record_id
from objectql.query.ast import Query
from objectql.query.url import ExplainMode
from objectql.service.bodies import decode_json, first_byte
from objectql.wire.messages import (
    AggregateRequest,
    BulkReply,
    BulkRequest,
    BulkRow,
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
from objectql_gateway_rest.bulk import check_size
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.params import (
    body_query,
    check_object,
    explain_mode,
    list_query,
    projection,
)
from objectql_gateway_rest.representation import (
    etag,
    expected_version,
    is_not_modified,
    items_response,
    page_response,
    record_headers,
    to_json,
)
from objectql_gateway_rest.routes import Route
from objectql_gateway_rest.row_errors import raise_first


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
    query = body_query(call, object, await call.document())
    if (mode := explain_mode(call)) != "no":
        return await explain(call, query, mode)
    return page_response(await find(call, query))


async def aggregate_records(call: Call, object: str) -> Response:
    query = body_query(call, object, await call.document())
    if not query.is_aggregate:
        raise InvalidQuery(reason="say what to compute", path="aggregations")
    if (mode := explain_mode(call)) != "no":
        return await explain(call, query, mode)
    return items_response(await find(call, query))


def check_id(object: str, id: str) -> str:
    """`id` if it may be a record's.

    Raises:
        RecordNotFound: no record can have it.

    """
    if not is_record_id(id):
        raise RecordNotFound(object=object, id=id[:100])
    return id


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
    check_size(len(rows), limits.bulk_records)
    for index, row in enumerate(rows):
        if first_byte(bytes(row)) != b"{":
            raise InvalidRequest(reason=f"item {index} is not a JSON object")
    request = BulkRequest(
        object=object,
        operation="create",
        rows=tuple(BulkRow(data=bytes(row)) for row in rows),
        atomic=True,
    )
    if not rows:
        return Response(b'{"items":[],"count":0}', status=201)
    reply = await call.write("bulk", request, BulkReply)
    raise_first(reply.results, object)
    items = b",".join(result.record or b"{}" for result in reply.results)
    return Response(
        b'{"items":[' + items + b'],"count":%d}' % len(reply.results),
        status=201,
    )


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
    return Response(b'{"id":' + to_json(reply.id) + b',"deleted":true}')


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
