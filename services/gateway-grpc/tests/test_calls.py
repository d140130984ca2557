"""Calls with one answer: what kernels are asked, what is told behind the answer, how calls fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.rpc import refusal

from objectql.clock import SystemClock
from objectql.errors import (
    DeadlineExceeded,
    FieldUnknown,
    Internal,
    InvalidQuery,
    InvalidRequest,
    Issue,
    NotSupported,
    Overloaded,
    RateLimited,
    RecordNotFound,
    RemoteError,
    Unauthenticated,
    ValidationFailed,
    VersionConflict,
)
from objectql.wire import messages as m
from objectql_gateway_grpc.calls import MAX_DETAILS_BYTES, bounded_status
from objectql_gateway_grpc.settings import CallLimits

NOTES = "objectql.app.v1.NoteService"
ALL = "objectql.v1.ObjectService"


async def test_a_record_is_a_message_of_its_object(gateway: Any) -> None:
    rpc = gateway.client()
    told = await rpc.one(f"{NOTES}/GetNote", {"id": "7"})
    assert (told["id"], told["title"], told["n"]) == ("7", "a", 2)
    [(verb, request, context)] = gateway.kernel.asked
    assert (verb, request) == ("get", m.GetRequest("note", "7"))
    assert context.actor.id == "ann"
    assert context.origin == "program 127.0.0.1"
    assert rpc.trailers["etag"] == '"3"'
    assert rpc.trailers["oql-request-id"] == context.request_id
    assert gateway.observed == [("NoteService/GetNote", "OK")]


async def test_messages_have_the_fields_that_their_caller_may_read(gateway: Any) -> None:
    everything = await gateway.client("root").one(f"{NOTES}/GetNote", {"id": "7"})
    assert everything["secret"] == "s"
    assert "secret" not in await gateway.client().one(f"{NOTES}/GetNote", {"id": "7"})


async def test_a_list_is_asked_for_as_over_http(gateway: Any) -> None:
    body = {"filter": "n gt 1", "order_by": "n desc", "page_size": 5, "read_mask": "title"}
    told = await gateway.client().one(f"{NOTES}/ListNotes", body | {"count": True})
    assert (told["next_page_token"], told["total_size"], len(told["notes"])) == ("c", "5", 1)
    [(_, request, _)] = gateway.kernel.asked
    query = request.query
    assert (query.limit, query.fields, query.count) == (5, (("title",),), "exact")


async def test_writes_tell_a_token_and_a_version(gateway: Any) -> None:
    rpc = gateway.client()
    await rpc.one(f"{NOTES}/CreateNote", {"note": {"title": "x"}})
    assert rpc.trailers["oql-consistency-token"] == "1.default:10"
    await rpc.one(f"{NOTES}/UpdateNote", {"note": {"id": "7", "title": "y"}, "if_version": "3"})
    await rpc.one(f"{NOTES}/DeleteNote", {"id": "7"}, headers={"if-match": '"3"'})
    _, (_, update, _), (_, delete, _) = gateway.kernel.asked
    assert update == m.UpdateRequest("note", "7", b'{"title":"y"}', if_version=3)
    assert delete == m.DeleteRequest("note", "7", 3)


async def test_a_record_that_the_caller_has_is_not_sent_again(gateway: Any) -> None:
    rpc = gateway.client()
    told = await rpc.one(f"{NOTES}/GetNote", {"id": "7"}, headers={"if-none-match": '"3"'})
    assert told == {}
    assert rpc.trailers["oql-not-modified"] == "1"


async def test_one_service_has_all_objects(gateway: Any) -> None:
    rpc = gateway.client()
    told = await rpc.one(f"{ALL}/Get", {"object": "note", "id": "7", "expand": ["owner"]})
    assert told["record"]["title"] == "a"
    assert gateway.kernel.asked[-1][1].expand
    groups = {"groupBy": ["title"], "aggregations": [{"function": "count", "alias": "c"}]}
    told = await rpc.one(f"{ALL}/Aggregate", {"object": "note", "query": groups})
    assert told["groups"] == [{"title": "a", "c": 2.0}]
    action = {"object": "note", "action": "close", "id": "7", "parameters": {"why": "x"}}
    assert (await rpc.one(f"{ALL}/Action", action))["result"] == {"done": True}
    assert gateway.kernel.asked[-1][1] == m.ActionRequest("note", "close", "7", b'{"why":"x"}')
    steps = [{"object": "note", "action": "ACTION_CREATE", "data": {"n": 1}}]
    told = await rpc.one(f"{ALL}/Batch", {"operations": steps})
    assert told["transaction"]["state"] == "STATE_COMMITTED"
    told = await rpc.one(f"{ALL}/GetTransaction", {"id": "t1"})
    assert told["state"] == "STATE_COMMITTED"


async def test_facts_of_the_caller_travel_with_the_call(gateway: Any) -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    headers = {"idempotency-key": "k", "oql-consistency-token": "1.default:F", "traceparent": trace}
    headers |= {"oql-read-policy": "bounded:2", "x-request-id": "r1"}
    spoofed = {"oql-tenant": "other", "oql-actor": '{"id":"root","roles":["admin"]}'}
    await gateway.client().one(
        f"{NOTES}/GetNote", {"id": "7"}, headers=headers | spoofed, timeout_s=5
    )
    context = gateway.kernel.asked[0][2]
    assert (context.actor.id, context.tenant) == ("ann", "acme")
    assert (context.idempotency_key, context.consistency_token) == ("k", "1.default:F")
    assert (context.max_lag_ms, context.request_id) == (2000, "r1")
    assert context.trace == {"traceparent": trace}


async def test_an_action_is_a_method_of_its_object(gateway: Any) -> None:
    sent = {"id": "7", "parameters": {"why": "x"}}
    told = await gateway.client().one(f"{NOTES}/CloseNote", sent)
    assert told["result"] == {"done": True}
    assert gateway.kernel.asked[-1][1] == m.ActionRequest("note", "close", "7", b'{"why":"x"}')


async def test_operations_that_fail_are_told_by_their_place(gateway: Any) -> None:
    failed = m.RowResult(error=RecordNotFound(object="note", id="9").to_info())
    done = m.RowResult("7", "deleted")
    gateway.kernel.replies["batch"] = m.BatchReply((done, failed), "t1", "committed")
    steps = [{"object": "note", "action": "ACTION_DELETE", "id": id} for id in ("7", "9")]
    rpc = gateway.client()
    told = await rpc.one(f"{ALL}/Batch", {"operations": steps, "atomic": False})
    assert told["results"][0]["deleted"]
    assert told["results"][1]["error"]["message"]
    error = await refusal(rpc.one(f"{ALL}/Batch", {"operations": steps}))
    assert isinstance(error, RecordNotFound)


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "nobody", ""])
@pytest.mark.parametrize("path", [f"{NOTES}/GetNote", f"{ALL}/Get"])
async def test_strangers_are_told_nothing(gateway: Any, token: str | None, path: str) -> None:
    headers = {"authorization": None if token is None else f"Bearer {token}"}
    error = await refusal(gateway.client(None).one(path, {"id": "7"}, headers=headers))
    assert isinstance(error, Unauthenticated)
    assert gateway.kernel.asked == []


@pytest.mark.parametrize(
    "path",
    ["objectql.app.v1.NoService/GetNo", f"{NOTES}/GetNot", f"{ALL}/Nothing", "objectql.v1.X/Y"],
)
async def test_methods_that_do_not_exist_are_alike(gateway: Any, path: str) -> None:
    call = gateway.client().channel.unary_unary(f"/{path}")
    stranger = call(b"")
    with pytest.raises(Exception, match="UNAUTHENTICATED"):
        await stranger
    known = call(b"", metadata=(("authorization", "Bearer ann"),))
    with pytest.raises(Exception, match="UNIMPLEMENTED"):
        await known


async def test_objects_come_and_go_with_the_metadata(
    gateway: Any, published: Callable[..., Any]
) -> None:
    gateway.metadata.snapshot = published("memo", version=2)
    rpc = gateway.client()
    assert (await rpc.one("objectql.app.v1.MemoService/GetMemo", {"id": "7"}))["title"] == "a"
    gone = rpc.channel.unary_unary(f"/{NOTES}/GetNote")
    with pytest.raises(Exception, match="UNIMPLEMENTED"):
        await gone(b"", metadata=(("authorization", "Bearer ann"),))


MALFORMED = {
    "no message": b"\xff\xff\xff\xff",
    "a wrong wire type": b"\x08\x01",
    "no UTF-8": b"\x0a\x02\xff\xfe",
    "a length beyond the end": b"\x0a\x7f",
}


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("path", [f"{NOTES}/GetNote", f"{NOTES}/CreateNote", f"{ALL}/Get"])
async def test_malformed_messages_are_invalid_arguments(gateway: Any, path: str, name: str) -> None:
    error = await refusal(gateway.client().one(path, MALFORMED[name]))
    assert isinstance(error, InvalidRequest), error


async def test_a_mask_of_an_unknown_field_is_an_unknown_field(gateway: Any) -> None:
    mask = {"note": {"id": "7"}, "update_mask": "secret"}
    error = await refusal(gateway.client().one(f"{NOTES}/UpdateNote", mask))
    assert isinstance(error, FieldUnknown)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("idempotency-key", "a b"),
        ("oql-consistency-token", "x"),
        ("oql-read-policy", "x"),
        ("if-match", '"1", "2"'),
    ],
)
async def test_headers_without_a_meaning_are_refused(gateway: Any, header: str, text: str) -> None:
    call = gateway.client().one(f"{NOTES}/DeleteNote", {"id": "7"}, headers={header: text})
    assert isinstance(await refusal(call), InvalidRequest)


async def test_an_error_of_the_kernel_comes_as_it_is(gateway: Any) -> None:
    issues = (Issue("title", "required", "title is required"),)
    for error in (
        RecordNotFound(object="note", id="9"),
        VersionConflict(object="note", id="7", current_version=3),
        ValidationFailed(object="note", issues=issues),
    ):
        gateway.kernel.replies["get"] = error
        rpc = gateway.client()
        told = await refusal(rpc.one(f"{NOTES}/GetNote", {"id": "9"}))
        assert told.to_info() == error.to_info()
        assert rpc.trailers["oql-request-id"]


def crash(_: object) -> float:
    return 1 / 0


async def test_a_crash_tells_nothing_of_itself(gateway: Any) -> None:
    gateway.kernel.replies["get"] = crash
    error = await refusal(gateway.client().one(f"{NOTES}/GetNote", {"id": "9"}))
    assert isinstance(error, Internal)
    assert gateway.observed == [("NoteService/GetNote", "INTERNAL")]


async def test_typed_messages_refuse_what_they_cannot_hold(gateway: Any) -> None:
    call = gateway.client().many(f"{NOTES}/QueryNotes", {"query": {"expand": {"owner": {}}}})
    assert isinstance(await refusal(call), InvalidQuery)


async def test_a_message_that_is_too_long_is_not_taken(start: Callable[..., Any]) -> None:
    gateway = await start(CallLimits(message_bytes=2048))
    call = gateway.client().one(f"{NOTES}/CreateNote", {"note": {"title": "x" * 4096}})
    error = await refusal(call)
    assert isinstance(error, RemoteError)
    assert error.remote_code == "GRPC_RESOURCE_EXHAUSTED"
    assert gateway.kernel.asked == []


async def test_a_caller_has_a_rate_and_is_told_when_to_come_again(
    start: Callable[..., Any],
) -> None:
    gateway = await start(principal="2/h")
    rpc = gateway.client()
    for _ in range(2):
        await rpc.one(f"{NOTES}/GetNote", {"id": "7"})
        assert "ratelimit" in rpc.trailers
    error = await refusal(rpc.one(f"{NOTES}/GetNote", {"id": "7"}))
    assert isinstance(error, RateLimited)
    assert int(rpc.trailers["grpc-retry-pushback-ms"]) > 0
    assert len(gateway.kernel.asked) == 2


async def test_more_calls_than_there_is_room_for_are_refused(start: Callable[..., Any]) -> None:
    gateway = await start(CallLimits(in_flight=1))
    reply = gateway.kernel.replies["get"]
    held = gateway.kernel.replies["get"] = asyncio.get_running_loop().create_future()
    rpc = gateway.client()
    first = asyncio.ensure_future(rpc.one(f"{NOTES}/GetNote", {"id": "7"}))
    while not gateway.kernel.asked:
        await asyncio.sleep(0.01)
    error = await refusal(gateway.client().one(f"{NOTES}/GetNote", {"id": "7"}))
    assert isinstance(error, Overloaded)
    held.set_result(reply)
    await first


async def test_the_clients_deadline_is_the_kernels_and_its_end_cancels_the_work(
    gateway: Any,
) -> None:
    gateway.kernel.replies["get"] = asyncio.get_running_loop().create_future()
    error = await refusal(gateway.client().one(f"{NOTES}/GetNote", {"id": "7"}, timeout_s=0.2))
    assert isinstance(error, DeadlineExceeded | RemoteError)
    assert error.http == 504
    while not gateway.kernel.cancelled:
        await asyncio.sleep(0.01)
    assert gateway.calls.in_flight == 0
    assert gateway.observed == [("NoteService/GetNote", "CANCELLED")]


async def test_the_longest_time_is_the_gateways(gateway: Any) -> None:
    await gateway.client().one(f"{NOTES}/GetNote", {"id": "7"}, timeout_s=600)
    context = gateway.kernel.asked[0][2]
    assert context.deadline_ms - SystemClock().now_ms() <= 60_000


def test_details_fit_into_the_headers_of_an_answer() -> None:
    issues = tuple(Issue(f"rows.{n}.title", "required", "is required") for n in range(1000))
    status = bounded_status(ValidationFailed(object="note", issues=issues), "r1")
    assert 500 < len(status.details) <= MAX_DETAILS_BYTES
    assert NotSupported(feature="x" * 5000).message
    assert len(bounded_status(NotSupported(feature="x" * 5000), "").message) <= 500
