"""The ObjectQL SDK: `/api/data` with its envelopes. Rows carry `_id` and `@type` beside `id`.

These rows are re-encoded; clients that want the fast path use `/api/{object}`.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import msgspec

from objectql.errors import InvalidRequest
from objectql.query.ast import Query
from objectql.query.document_parts import parse_optional_filter
from objectql.service.bodies import decode_json, decoder, first_byte
from objectql.service.data.answers import to_json
from objectql.service.data.bulk import check_size
from objectql.service.data.names import check_id, check_object
from objectql.service.data.row_errors import raise_first
from objectql.wire.messages import (
    BulkReply,
    BulkRequest,
    BulkRow,
    CountReply,
    CreateRequest,
    DeleteReply,
    DeleteRequest,
    GetRequest,
    PageReply,
    RecordReply,
    UpdateRequest,
    WhereWriteRequest,
)
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.params import list_query, projection
from objectql_gateway_rest.records import find
from objectql_gateway_rest.representation import expected_version, json_response, record_headers
from objectql_gateway_rest.routes import Route

RawRow = dict[str, msgspec.Raw]


class WhereBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `bulk-update` and `bulk-delete`."""

    filters: Any
    data: msgspec.Raw = msgspec.Raw()


def typed_row(object: str, record: bytes) -> RawRow:
    """A record with `_id` and `@type`; the values stay the bytes they are."""
    row = decoder(RawRow).decode(record)
    if "id" in row:
        row["_id"] = row["id"]
    row["@type"] = msgspec.Raw(to_json(object))
    return row


def typed_rows(object: str, items: bytes) -> list[RawRow]:
    """See `typed_row`."""
    return [typed_row(object, bytes(item)) for item in decoder(list[msgspec.Raw]).decode(items)]


def with_total(query: Query) -> Query:
    """The query with a count: this surface always says how many match."""
    if query.is_aggregate or query.count != "none":
        return query
    return msgspec.structs.replace(query, count="exact")


def page_meta(page: PageReply) -> dict[str, Any]:
    """`total`, `page` (from 1), `size`, `pages`, `has_next`."""
    total = page.count if page.total is None else page.total
    size = page.limit
    return {
        "total": total,
        "page": page.offset // size + 1 if size else 1,
        "size": size,
        "pages": ceil(total / size) if size else 0,
        "has_next": page.has_next,
    }


async def list_records(call: Call, object: str) -> Response:
    page = await find(call, with_total(list_query(call, object, "objectql").query))
    meta = page_meta(page)
    answer: dict[str, Any] = {"items": typed_rows(object, page.items), "meta": meta}
    if page.limit == 0:
        answer["count"] = meta["total"]  # how the SDK counts
    return json_response(answer)


async def get_record(call: Call, object: str, id: str) -> Response:
    wanted = projection(call, check_object(object), "objectql")
    request = GetRequest(object, check_id(object, id), wanted.fields, wanted.expand)
    return record_response(object, await call.read("get", request, RecordReply))


def record_response(object: str, reply: RecordReply, *, status: int = 200) -> Response:
    """`{"data": {...}}`."""
    answer = {"data": typed_row(object, reply.record)}
    return json_response(answer, status=status, headers=record_headers(reply))


async def create_records(call: Call, object: str) -> Response:
    body = await call.body()
    if first_byte(body) == b"[":
        rows = decode_json(body, list[msgspec.Raw], nesting=call.services.limits.nesting)
        records = await create_all(call, object, [bytes(row) for row in rows])
        answer = {
            "items": [typed_row(object, record) for record in records],
            "count": len(records),
            "@type": object,
        }
        return json_response(answer, status=201)
    data = unwrapped(await call.object_bytes())
    reply = await call.write("create", CreateRequest(check_object(object), data), RecordReply)
    return record_response(object, reply, status=201)


async def create_all(call: Call, object: str, rows: list[bytes]) -> list[bytes]:
    """All records or none.

    Raises:
        BatchTooLarge: more than one request may hold.
        InvalidRequest: a row that is no object.

    """
    check_size(len(rows), call.services.limits.bulk_records)
    for index, row in enumerate(rows):
        if first_byte(row) != b"{":
            raise InvalidRequest(reason=f"item {index} is not a JSON object")
    if not rows:
        return []
    request = BulkRequest(
        object=check_object(object),
        operation="create",
        rows=tuple(BulkRow(data=row) for row in rows),
        atomic=True,
    )
    reply = await call.write("bulk", request, BulkReply)
    raise_first(reply.results, object)
    return [result.record or b"{}" for result in reply.results]


def unwrapped(body: bytes) -> bytes:
    """The record of a body that is it, or has it under `data` and nothing else."""
    keys = decoder(RawRow).decode(body)
    if keys.keys() == {"data"} and first_byte(bytes(keys["data"])) == b"{":
        return bytes(keys["data"])
    return body


async def update_record(call: Call, object: str, id: str) -> Response:
    data = unwrapped(await call.object_bytes())
    request = UpdateRequest(
        object=check_object(object),
        id=check_id(object, id),
        data=data,
        **expected_version(call.request),
    )
    return record_response(object, await call.write("update", request, RecordReply))


async def delete_record(call: Call, object: str, id: str) -> Response:
    request = DeleteRequest(
        object=check_object(object), id=check_id(object, id), **expected_version(call.request)
    )
    reply = await call.write("delete", request, DeleteReply)
    data = {"id": reply.id, "_id": reply.id, "deleted": True, "@type": object}
    return json_response({"data": data, "success": True, "deleted_count": 1})


async def bulk_update(call: Call, object: str) -> Response:
    await call.document()  # refuses keys that stand twice, of which one would be lost
    body = await call.decode(WhereBody)
    if first_byte(bytes(body.data)) != b"{":
        raise InvalidRequest(reason='"data" must be a JSON object with the new values')
    count = await write_where(call, object, body.filters, bytes(body.data))
    return json_response({"count": count})


async def bulk_delete(call: Call, object: str) -> Response:
    await call.document()  # refuses keys that stand twice, of which one would be lost
    body = await call.decode(WhereBody)
    if bytes(body.data):
        raise InvalidRequest(reason='"data" has no meaning in a deletion')
    count = await write_where(call, object, body.filters, None)
    return json_response({"count": count, "deleted_count": count})


async def write_where(call: Call, object: str, filters: Any, data: bytes | None) -> int:
    """How many records were updated with `data`, or deleted when it is None.

    Raises:
        InvalidRequest: there is no filter; `{}` says that every record is meant.

    """
    where = parse_optional_filter(filters, "filters")
    if where is None and filters != {}:
        raise InvalidRequest(reason='"filters" says nothing; {} stands for every record')
    request = WhereWriteRequest(
        object=check_object(object),
        operation="delete" if data is None else "update",
        where=where,
        data=b"{}" if data is None else data,
    )
    return (await call.write("write_where", request, CountReply)).count


async def without_id(_: Call, __: str) -> Response:
    raise InvalidRequest(reason="name the record: /api/data/{object}/{id}")


ROUTES = (
    Route("GET", "/api/data/{object}", list_records, "sdk"),
    Route("POST", "/api/data/{object}", create_records, "sdk"),
    Route("PUT", "/api/data/{object}", without_id, "sdk"),
    Route("DELETE", "/api/data/{object}", without_id, "sdk"),
    Route("GET", "/api/data/{object}/{id}", get_record, "sdk"),
    Route("PUT", "/api/data/{object}/{id}", update_record, "sdk"),
    Route("PATCH", "/api/data/{object}/{id}", update_record, "sdk"),
    Route("DELETE", "/api/data/{object}/{id}", delete_record, "sdk"),
    Route("POST", "/api/data/{object}/bulk-update", bulk_update, "sdk"),
    Route("POST", "/api/data/{object}/bulk-delete", bulk_delete, "sdk"),
)
