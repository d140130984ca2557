"""Calls of many messages: pages as they are read, chunks as they come, and what ends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.rpc import refusal

from objectql.errors import (
    BatchTooLarge,
    InvalidQuery,
    InvalidRequest,
    NotSupported,
    RecordNotFound,
    Unauthenticated,
)
from objectql.wire import messages as m
from objectql_gateway_grpc.settings import CallLimits
from objectql_gateway_grpc.streams import parts

NOTES = "objectql.app.v1.NoteService"
ALL = "objectql.v1.ObjectService"


def table(rows: int, *, width: int = 1) -> Callable[[Any], Any]:
    """Pages of a table with so many rows, of `find` and of `export`."""

    def page(request: Any) -> Any:
        begin = int(request.query.after or 0)
        end = min(begin + request.query.limit, rows)
        items = json.dumps([{"id": str(n), "title": "x" * width} for n in range(begin, end)])
        following = str(end) if end < rows else None
        if isinstance(request, m.ExportRequest):
            return m.ExportReply(items.encode(), end - begin, ("id", "title"), following)
        return m.PageReply(items.encode(), end - begin, end - begin, next=following)

    return page


@pytest.mark.parametrize(("method", "verb"), [("Query", "find"), ("Export", "export")])
async def test_all_records_come_in_order_in_pages_that_grow(
    gateway: Any, method: str, verb: str
) -> None:
    gateway.kernel.replies[verb] = table(2500)
    told = await gateway.client().many(f"{NOTES}/{method}Notes", {})
    assert [each["id"] for page in told for each in page["notes"]] == [str(n) for n in range(2500)]
    limits = [request.query.limit for _, request, _ in gateway.kernel.asked]
    assert limits == [100, 1000, 1000, 1000]
    assert gateway.observed == [(f"NoteService/{method}Notes", "OK")]


async def test_the_limit_is_of_the_whole_stream(gateway: Any) -> None:
    gateway.kernel.replies["find"] = table(2500)
    told = await gateway.client().many(f"{ALL}/Query", {"object": "note", "query": {"limit": 150}})
    assert sum(len(page["records"]) for page in told) == 150


async def test_wide_records_make_small_pages(start: Callable[..., Any]) -> None:
    gateway = await start(CallLimits(chunk_bytes=20_000))
    gateway.kernel.replies["find"] = table(300, width=1000)
    told = await gateway.client().many(f"{NOTES}/QueryNotes", {})
    assert sum(len(page["notes"]) for page in told) == 300
    assert max(len(page["notes"]) for page in told) <= 20


async def test_what_is_wrong_with_a_query_is_told_at_once(gateway: Any) -> None:
    rpc = gateway.client()
    grouped = {"groupBy": ["title"], "aggregations": [{"function": "count", "alias": "c"}]}
    for path, body in (
        (f"{NOTES}/QueryNotes", {"query": grouped}),
        (f"{ALL}/Query", {"object": "note", "query": grouped}),
        (f"{ALL}/Export", {"object": "note", "query": {"where": {"$x": 1}}}),
    ):
        error = await refusal(rpc.many(path, body))
        assert isinstance(error, InvalidQuery) or error.code == "INVALID_FILTER", path
    assert gateway.kernel.asked == []


async def test_an_error_in_the_middle_ends_the_stream_as_it_is(gateway: Any) -> None:
    pages = table(2500)

    def failing(request: Any) -> Any:
        return RecordNotFound(object="note", id="1") if request.query.after else pages(request)

    gateway.kernel.replies["find"] = failing
    stream = gateway.client().stream(f"{NOTES}/QueryNotes", {})
    assert len(await stream.read()) > 100
    with pytest.raises(Exception, match="NOT_FOUND"):
        await stream.read()


async def test_a_right_that_ends_ends_the_stream(gateway: Any) -> None:
    pages = table(2500)

    def revoking(request: Any) -> Any:
        gateway.verifier.revoked.add("ann")
        return pages(request)

    gateway.kernel.replies["find"] = revoking
    error = await refusal(gateway.client().many(f"{NOTES}/QueryNotes", {}))
    assert isinstance(error, Unauthenticated)


async def test_a_client_that_does_not_read_makes_the_kernel_wait(gateway: Any) -> None:
    gateway.kernel.replies["find"] = table(1_000_000, width=500)
    stream = gateway.client().stream(f"{NOTES}/QueryNotes", {})
    await stream.read()
    asked = -1
    while asked != len(gateway.kernel.asked):  # until it stands still
        asked = len(gateway.kernel.asked)
        await asyncio.sleep(0.2)
    assert asked < 50
    stream.cancel()
    while gateway.calls.in_flight:
        await asyncio.sleep(0.01)
    assert gateway.observed == [("NoteService/QueryNotes", "CANCELLED")]


async def test_a_stream_that_is_cancelled_cancels_what_is_read(gateway: Any) -> None:
    pages, held = table(2500), asyncio.get_running_loop().create_future()

    def holding(request: Any) -> Any:
        return held if request.query.after else pages(request)

    gateway.kernel.replies["find"] = holding
    stream = gateway.client().stream(f"{NOTES}/QueryNotes", {})
    await stream.read()
    stream.cancel()
    while not gateway.kernel.cancelled:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{NOTES}/WatchNotes", {"snapshot": True}),
        (f"{ALL}/Watch", {"object": "note"}),
        (f"{ALL}/Session", {"frame": {"type": "ping"}}),
    ],
)
async def test_live_queries_are_refused_with_the_place_that_has_them(
    gateway: Any, path: str, body: dict[str, Any]
) -> None:
    error = await refusal(gateway.client().many(path, body))
    assert isinstance(error, NotSupported)
    assert "WebSocket" in error.message
    assert gateway.kernel.asked == []


def test_arrays_are_cut_between_their_items() -> None:
    items = [{"id": n, "text": 'a,[]{}"' * n} for n in range(40)]
    cut = list(parts(json.dumps(items).encode(), 500))
    assert len(cut) > 5
    assert [each for part in cut for each in json.loads(part)] == items
    assert list(parts(b"[]", 500)) == [b"[]"]


# --- writing -----------------------------------------------------------------------------------


def written(request: m.BulkRequest) -> m.BulkReply:
    results = tuple(
        m.RowResult(error=RecordNotFound(object="note", id="9").to_info())
        if b"bad" in row.data
        else m.RowResult(f"r{n}", "created", 1)
        for n, row in enumerate(request.rows)
    )
    return m.BulkReply(results, "1.default:12")


def chunk(*titles: str, **more: Any) -> dict[str, Any]:
    return {"records": [{"title": title} for title in titles]} | more


CREATES = {"object": "note", "action": "ACTION_CREATE"}


async def test_each_message_is_written_with_a_key_of_its_own(gateway: Any) -> None:
    gateway.kernel.replies["bulk"] = written
    rpc = gateway.client()
    chunks = [chunk("a", "b", **CREATES), chunk("c"), chunk()]
    told = await rpc.collect(f"{ALL}/BulkWrite", chunks, headers={"idempotency-key": "k"})
    assert (told["succeeded"], told.get("failed")) == ("3", None)
    assert "results" not in told
    keys = [context.idempotency_key for _, _, context in gateway.kernel.asked]
    assert keys == ["k.0", "k.1"]
    assert gateway.kernel.asked[1][1].rows == (m.BulkRow(b'{"title":"c"}'),)
    assert rpc.trailers["oql-consistency-token"] == "1.default:12"


async def test_rows_are_told_by_their_place_in_the_stream(gateway: Any) -> None:
    gateway.kernel.replies["bulk"] = written
    goes_on = {"continue_on_error": True, "report_all": True}
    chunks = [chunk("a", "b", **CREATES, **goes_on), chunk("bad", "d", **goes_on)]
    told = await gateway.client().collect(f"{ALL}/BulkWrite", chunks)
    assert [each.get("index", "0") for each in told["results"]] == ["0", "1", "2", "3"]
    assert told["results"][2]["error"]["message"]
    assert (told["succeeded"], told["failed"]) == ("3", "1")


async def test_the_first_failure_ends_a_stream_that_does_not_go_on(gateway: Any) -> None:
    gateway.kernel.replies["bulk"] = written
    chunks = [chunk("a", **CREATES), chunk("bad"), chunk("c")]
    told = await gateway.client().collect(f"{ALL}/BulkWrite", chunks)
    assert (told["succeeded"], told["failed"]) == ("1", "1")
    assert [each["index"] for each in told["results"]] == ["1"]
    assert len(gateway.kernel.asked) == 2


async def test_messages_that_make_no_sense_are_refused(start: Callable[..., Any]) -> None:
    gateway = await start(CallLimits(bulk_records=2))
    gateway.kernel.replies["bulk"] = written
    rpc = gateway.client()
    error = await refusal(rpc.collect(f"{ALL}/BulkWrite", [chunk("a", object="note")]))
    assert isinstance(error, InvalidRequest)
    error = await refusal(rpc.collect(f"{ALL}/BulkWrite", [chunk("a", "b", "c", **CREATES)]))
    assert isinstance(error, BatchTooLarge)
    error = await refusal(rpc.collect(f"{ALL}/BulkWrite", [b"\xff\xff"]))
    assert isinstance(error, InvalidRequest)
    assert gateway.kernel.asked == []


async def test_a_stream_without_messages_writes_nothing(gateway: Any) -> None:
    assert await gateway.client().collect(f"{ALL}/BulkWrite", []) == {}
