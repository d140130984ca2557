"""`/api/v1/data/{object}`: single records in the envelopes of the ObjectStack client."""

from __future__ import annotations

from typing import Any

import msgspec

from objectql.errors import ObjectQLError, VersionConflict
from objectql.metadata.registry import MetadataSnapshot
from objectql.service.bodies import decode_json
from objectql.service.data.answers import to_json
from objectql.service.data.facts import version_condition
from objectql.service.data.names import check_id, check_object
from objectql.service.data.queries import document_query
from objectql.wire.messages import (
    CloneRequest,
    CreateRequest,
    DeleteReply,
    DeleteRequest,
    GetRequest,
    PageReply,
    RecordReply,
    UpdateRequest,
)
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.params import list_query, projection
from objectql_gateway_rest.problems import error_headers, v1_error
from objectql_gateway_rest.records import find
from objectql_gateway_rest.representation import expected_version, record_headers
from objectql_gateway_rest.routes import Route
from objectql_gateway_rest.v1_params import CloneBody


def list_response(object: str, page: PageReply) -> Response:
    """`{"object", "records", "total"?, "hasMore"}`."""
    text = b'{"object":' + to_json(object) + b',"records":' + page.items
    if page.total is not None:
        text += b',"total":%d' % page.total
    if page.next is not None:
        text += b',"nextCursor":' + to_json(page.next)
    return Response(text + b',"hasMore":' + (b"true}" if page.has_next else b"false}"))


def record_response(object: str, reply: RecordReply, *, status: int = 200) -> Response:
    """`{"object", "id", "record", "droppedFields"?}`."""
    text = b'{"object":%s,"id":%s,"record":%s' % (
        to_json(object),
        to_json(reply.id),
        reply.record,
    )
    if reply.dropped:
        dropped = [{"object": object, "fields": reply.dropped, "reason": "readonly"}]
        text += b',"droppedFields":' + to_json(dropped)
    return Response(text + b"}", status=status, headers=record_headers(reply))


async def own_snapshot(call: Call) -> MetadataSnapshot | None:
    """The caller's metadata, where there are parameters that may be names of fields."""
    if not call.request.query_string:
        return None
    return await call.services.metadata.of(call.context.tenant)


async def list_records(call: Call, object: str) -> Response:
    """The client's type promises a total; `count=false` skips its cost."""
    asked = list_query(call, object, "v1", await own_snapshot(call))
    query = asked.query
    if asked.total is None and not query.is_aggregate:
        query = msgspec.structs.replace(query, count="exact")
    return list_response(object, await find(call, query))


async def query_records(call: Call, object: str) -> Response:
    document = await call.document()
    query = document_query(object, document, call.services.limits)
    if query.count == "none" and not query.is_aggregate and "count" not in document:
        query = msgspec.structs.replace(query, count="exact")
    return list_response(object, await find(call, query))


async def get_record(call: Call, object: str, id: str) -> Response:
    snapshot = await own_snapshot(call)
    wanted = projection(call, check_object(object), "v1", snapshot)
    request = GetRequest(object, check_id(object, id), wanted.fields, wanted.expand)
    return record_response(object, await call.read("get", request, RecordReply))


async def create_record(call: Call, object: str) -> Response:
    data = await call.object_bytes()
    reply = await call.write("create", CreateRequest(check_object(object), data), RecordReply)
    return record_response(object, reply, status=201)


async def update_record(call: Call, object: str, id: str) -> Response:
    data = await call.object_bytes()
    fields = decode_json(data, dict[str, msgspec.Raw], nesting=call.services.limits.nesting)
    condition = expected_version(call.request)
    if "expectedVersion" in fields:
        text = bytes(fields.pop("expectedVersion")).decode()
        condition = condition or version_condition(text, "expectedVersion")
        data = to_json(fields)
    request = UpdateRequest(
        object=check_object(object), id=check_id(object, id), data=data, **condition
    )
    try:
        reply = await call.write("update", request, RecordReply)
    except VersionConflict as exc:
        return await conflict_response(call, exc)
    return record_response(object, reply)


async def delete_record(call: Call, object: str, id: str) -> Response:
    request = DeleteRequest(
        object=check_object(object), id=check_id(object, id), **expected_version(call.request)
    )
    try:
        reply = await call.write("delete", request, DeleteReply)
    except VersionConflict as exc:
        return await conflict_response(call, exc)
    return Response(b'{"object":%s,"id":%s,"success":true}' % (to_json(object), to_json(reply.id)))


async def conflict_response(call: Call, error: VersionConflict) -> Response:
    """409 with the record as it is now, so that the client can merge.

    The record is left out when it cannot be read any more.
    """
    body: dict[str, Any] = v1_error(error, call.request_id)
    try:
        reply = await call.read("get", GetRequest(error.object, error.id), RecordReply)
    except ObjectQLError as exc:
        body["details"]["currentRecordError"] = exc.code
    else:
        body["currentVersion"] = reply.version
        body["currentRecord"] = msgspec.Raw(reply.record)
    return Response(to_json(body), status=409, headers=error_headers(error))


async def clone_record(call: Call, object: str, id: str) -> Response:
    text = await call.object_bytes(may_be_empty=True)
    body = decode_json(text, CloneBody, nesting=call.services.limits.nesting)
    request = CloneRequest(check_object(object), check_id(object, id), bytes(body.overrides))
    reply = await call.write("clone", request, RecordReply)
    return record_response(object, reply, status=201)


ROUTES = (
    Route("GET", "/api/v1/data/{object}", list_records, "v1"),
    Route("POST", "/api/v1/data/{object}", create_record, "v1"),
    Route("POST", "/api/v1/data/{object}/query", query_records, "v1"),
    Route("GET", "/api/v1/data/{object}/{id}", get_record, "v1"),
    Route("PATCH", "/api/v1/data/{object}/{id}", update_record, "v1"),
    Route("PUT", "/api/v1/data/{object}/{id}", update_record, "v1"),
    Route("DELETE", "/api/v1/data/{object}/{id}", delete_record, "v1"),
    Route("POST", "/api/v1/data/{object}/{id}/clone", clone_record, "v1"),
)
