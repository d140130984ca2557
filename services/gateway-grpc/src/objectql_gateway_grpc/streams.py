"""Calls of many messages: pages of records sent as they are read, chunks of rows written as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Final, TypeVar

import msgspec

from objectql.errors import InvalidRequest, Issue
from objectql.protobuf.calls import BulkCall, QueryCall
from objectql.protobuf.generic_service import GenericCodec
from objectql.query.ast import Query
from objectql.query.parse import parse_query
from objectql.service.bodies import decode_json, decoder
from objectql.service.data.bulk import BulkOperation, check_size, read_rows
from objectql.service.data.exports import ahead, exported, pages
from objectql.service.data.facts import check_key
from objectql.service.data.names import check_object
from objectql.wire.messages import (
    BulkReply,
    BulkRequest,
    ExportReply,
    ExportRequest,
    FindRequest,
    PageReply,
    RowResult,
)
from objectql_gateway_grpc.asking import check_held
from objectql_gateway_grpc.catalog import Codec
from objectql_gateway_grpc.request import Request

P = TypeVar("P", PageReply, ExportReply)

_FIRST_PAGE: Final = 100
"""Records of the first page, by which the size of the others is judged."""

_MOST_TOLD: Final = 5000
"""Rows of a stream of writes of which is told; that is what fits into an answer."""

# --- reading -----------------------------------------------------------------------------------


async def query(request: Request, call: QueryCall, codec: Codec) -> None:
    """All records that a query names, each page as of its own moment."""

    async def ask(query: Query) -> PageReply:
        return await request.read("find", FindRequest(query), PageReply)

    sizes = _Sizes(request)
    found = pages(_streamed(call, codec), ask, size=sizes.next, go_on=request.go_on)
    await _send(request, found, codec, sizes)


async def export(request: Request, call: QueryCall, codec: Codec) -> None:
    """The same for who may export."""

    async def ask(query: Query) -> ExportReply:
        return await request.read("export", ExportRequest(query), ExportReply)

    sizes = _Sizes(request)
    found = pages(_streamed(call, codec), ask, size=sizes.next, go_on=request.go_on)
    await _send(request, found, codec, sizes)


def _streamed(call: QueryCall, codec: Codec) -> Query:
    query = parse_query(call.document, object=check_object(call.object))
    check_held(query, codec)
    return exported(query)


class _Sizes:
    """How many records a page has, so that one page is about one message."""

    def __init__(self, request: Request) -> None:
        self._limits = request.limits
        self._next = min(_FIRST_PAGE, request.limits.max_page)

    def next(self) -> int:
        return self._next

    def learn(self, page: PageReply | ExportReply) -> None:
        """Judge the next page by this one."""
        if page.count:
            fitting = self._limits.chunk_bytes * page.count // len(page.items)
            self._next = min(max(fitting, 1), self._limits.max_page)


async def _send(request: Request, found: AsyncGenerator[P], codec: Codec, sizes: _Sizes) -> None:
    """Send the pages of `found`; the next one is read while the client takes this one."""
    async with aclosing(ahead(found, learn=sizes.learn)) as coming:
        async for page in coming:
            for items in parts(page.items, request.limits.chunk_bytes):
                await request.send(codec.chunk(items))


def parts(items: bytes, most: int) -> Iterator[bytes]:
    """The JSON array `items` as arrays of about `most` bytes, or of one item."""
    if len(items) <= 2 * most:
        yield items
        return
    part: list[bytes] = []
    size = 0
    for item in decoder(list[msgspec.Raw]).decode(items):
        text = bytes(item)
        if part and size + len(text) > most:
            yield b"[" + b",".join(part) + b"]"
            part, size = [], 0
        part.append(text)
        size += len(text)
    yield b"[" + b",".join(part) + b"]"


# --- writing -----------------------------------------------------------------------------------


async def bulk(request: Request, calls: AsyncIterator[BulkCall], codec: GenericCodec) -> bytes:
    """What became of all rows. Each message is written before the next one is taken.

    The first message with a row that fails ends it, unless it says that it goes on. Each message has
    an idempotency key of its own, made of the caller's and of its number.
    """
    key = request.context.idempotency_key
    written = _Written()
    object, operation = "", None
    number = 0
    async for call in calls:
        object, operation = call.object or object, call.operation or operation
        await request.go_on(key=None if key is None else check_key(f"{key}.{number}"))
        message = _chunk(request, call, object, operation, number)
        if message.rows:
            reply = await request.write("bulk", message, BulkReply)
            written.add(reply.results, tells_all=call.report_all)
            if written.failed and not call.continue_on_error:
                break
        number += 1
    return codec.bulk(written.told, written.succeeded, written.failed)


def _chunk(
    request: Request, call: BulkCall, object: str, operation: BulkOperation | None, number: int
) -> BulkRequest:
    if operation is None:
        issue = Issue(path="action", code="required", message='"action" is missing')
        raise InvalidRequest(reason=f"message {number} does not say what to do", issues=(issue,))
    rows = decode_json(call.records, list[msgspec.Raw], nesting=request.limits.nesting)
    check_size(len(rows), request.limits.bulk_records)
    return BulkRequest(
        object=check_object(object),
        operation=operation,
        rows=read_rows(rows, operation),
        atomic=call.atomic,
        continue_on_error=call.continue_on_error,
        return_records=False,
        match=call.match,
    )


class _Written:
    """The rows of all messages so far."""

    def __init__(self) -> None:
        self.succeeded = 0
        self.failed = 0
        self.told: list[tuple[int, RowResult]] = []

    def add(self, results: tuple[RowResult, ...], *, tells_all: bool) -> None:
        """Count the rows of one more message, and note what is to be told of them."""
        for each in results:
            index = self.succeeded + self.failed
            if each.error is None:
                self.succeeded += 1
            else:
                self.failed += 1
            if (tells_all or each.error is not None) and len(self.told) < _MOST_TOLD:
                self.told.append((index, each))
