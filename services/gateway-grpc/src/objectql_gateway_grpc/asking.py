"""Calls with one answer: the message for kernels, and what their reply is to the caller."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from objectql.errors import InvalidQuery
from objectql.protobuf.calls import (
    ActionCall,
    AggregateCall,
    BatchCall,
    CreateCall,
    DeleteCall,
    GetCall,
    ListCall,
    TransactionCall,
    UpdateCall,
)
from objectql.protobuf.generic_service import GENERIC, GenericCodec
from objectql.query.ast import Query
from objectql.query.url import parse_url
from objectql.service.bodies import decode_json
from objectql.service.data.batches import BatchBody, transaction_json
from objectql.service.data.facts import names_tag, version_condition
from objectql.service.data.names import check_id, check_object
from objectql.service.data.queries import document_query, limited
from objectql.service.data.row_errors import raise_first
from objectql.wire.messages import (
    ActionRequest,
    AggregateRequest,
    BatchReply,
    CreateRequest,
    DeleteReply,
    DeleteRequest,
    FindRequest,
    GetRequest,
    JsonReply,
    PageReply,
    RecordReply,
    UpdateRequest,
)
from objectql.wire.transactions import TransactionReply, TransactionRequest
from objectql_gateway_grpc.catalog import Codec
from objectql_gateway_grpc.request import Request

NOT_MODIFIED: Final = ("oql-not-modified", "1")
"""Behind an empty answer to `if-none-match`."""

_QUERIES: Final = 2048


async def get(request: Request, call: GetCall, codec: Codec) -> bytes:
    """One record, or nothing where the caller has it already."""
    object, id = check_object(call.object), call.id
    wanted = _query(object, call.fields, call.expand)
    message = GetRequest(object, check_id(object, id), wanted.fields, wanted.expand)
    reply = await request.read("get", message, RecordReply)
    tag = _tell_version(request, reply)
    # The tag is the record's version; what stands in its relations may have changed without it.
    if not wanted.expand and names_tag(request.headers.get("if-none-match"), tag):
        request.trailers.append(NOT_MODIFIED)
        return b""
    return codec.record(reply.record)


async def list_page(request: Request, call: ListCall, codec: Codec) -> bytes:
    """One page of records."""
    query = limited(_listed(check_object(call.object), call), request.limits)
    check_held(query, codec)
    page = await request.read("find", FindRequest(query), PageReply)
    return codec.page(page.items, page.next, page.total)


async def create(request: Request, call: CreateCall, codec: Codec) -> bytes:
    """A new record."""
    message = CreateRequest(check_object(call.object), call.data)
    reply = await request.write("create", message, RecordReply)
    _tell_version(request, reply)
    return codec.record(reply.record)


async def update(request: Request, call: UpdateCall, codec: Codec) -> bytes:
    """The record as it is after the change."""
    object = check_object(call.object)
    message = UpdateRequest(
        object,
        check_id(object, call.id),
        call.data,
        replace=call.replace,
        **_condition(request, call.if_version),
    )
    reply = await request.write("update", message, RecordReply)
    _tell_version(request, reply)
    return codec.record(reply.record)


async def delete(request: Request, call: DeleteCall, codec: Codec) -> bytes:
    """That it is gone."""
    object = check_object(call.object)
    message = DeleteRequest(
        object, check_id(object, call.id), **_condition(request, call.if_version)
    )
    reply = await request.write("delete", message, DeleteReply)
    return codec.deleted(reply.id)


async def aggregate(request: Request, call: AggregateCall, codec: GenericCodec) -> bytes:
    """Groups with what was computed of each."""
    query = document_query(call.object, call.document, request.limits)
    if not query.is_aggregate:
        raise InvalidQuery(reason="say what to compute", path="aggregations")
    page = await request.read("aggregate", AggregateRequest(query), PageReply)
    return codec.groups(page.items)


async def batch(request: Request, call: BatchCall, codec: GenericCodec) -> bytes:
    """The results in order, and the state of the transaction."""
    body = decode_json(call.body, BatchBody, nesting=request.limits.nesting)
    message = body.request(most=request.limits.bulk_records)
    reply = await request.write("batch", message, BatchReply)
    if body.atomic:
        raise_first(reply.results, "operations")
    return codec.batch(reply.results, reply.transaction_id, reply.state)


async def action(request: Request, call: ActionCall, codec: Codec) -> bytes:
    """What the action answers."""
    object = check_object(call.object)
    id = None if call.id is None else check_id(object, call.id)
    message = ActionRequest(object, call.action, id, call.parameters)
    return codec.result((await request.write("action", message, JsonReply)).body)


async def transaction(request: Request, call: TransactionCall, codec: GenericCodec) -> bytes:
    """What became of a batch."""
    reply = await request.read("transaction", TransactionRequest(call.id), TransactionReply)
    return codec.transaction(transaction_json(reply))


def check_held(query: Query, codec: Codec) -> None:
    """Return if the messages of `codec` can hold the answer to `query`.

    Raises:
        InvalidQuery: they have no place for it.

    """
    if isinstance(codec, GenericCodec):
        return
    path = "groupBy" if query.is_aggregate else "expand" if query.expand else None
    if path is not None:
        reason = f"a message of {codec.service} has no place for it; ask {GENERIC.service}"
        raise InvalidQuery(reason=reason, path=path)


# --- parts of messages -------------------------------------------------------------------------


@lru_cache(maxsize=_QUERIES)
def _query(object: str, fields: tuple[str, ...] | None, expand: tuple[str, ...]) -> Query:
    pairs: list[tuple[str, str]] = []
    if fields is not None:
        pairs.append(("$select", ",".join(fields)))
    if expand:
        pairs.append(("$expand", ",".join(expand)))
    return parse_url(object, pairs, dialect="odata").query


@lru_cache(maxsize=_QUERIES)
def _listed(object: str, call: ListCall) -> Query:
    pairs = [
        ("$filter", call.filter),
        ("$orderby", call.order_by),
        ("$select", "" if call.fields is None else ",".join(call.fields)),
        ("$expand", ",".join(call.expand)),
        ("$top", str(call.page_size) if call.page_size else ""),
        ("$after", call.page_token),
        ("$count", "true" if call.count else ""),
    ]
    given = [(name, text) for name, text in pairs if text]
    return parse_url(object, given, dialect="odata").query


def _condition(request: Request, version: int | None) -> dict[str, Any]:
    """Which version is expected: what the message says, else what `if-match` does."""
    if version is not None:
        return {"if_version": version}
    given = request.headers.get("if-match", "").strip()
    return {} if given in {"", "*"} else version_condition(given, "if-match")


def _tell_version(request: Request, reply: RecordReply) -> str:
    tag = f'"{reply.version}"'
    request.trailers.append(("etag", tag))
    return tag
