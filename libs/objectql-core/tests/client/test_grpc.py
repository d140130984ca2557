"""The client of gRPC, against a server of gRPC that says what the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from objectql.client.backoff import Patience
from objectql.client.credentials import SignIn
from objectql.client.grpc import GrpcClient
from objectql.client.operations import create, delete, ref, update
from objectql.client.repeating import Times
from objectql.errors import (
    Category,
    ErrorInfo,
    NotSupported,
    ObjectQLError,
    OutcomeUnknown,
    RecordNotFound,
    Unauthenticated,
    Unavailable,
    ValidationFailed,
    WriteConflict,
)
from objectql.protobuf.calls import (
    BatchCall,
    BulkCall,
    Call,
    CreateCall,
    GetCall,
    ListCall,
    QueryCall,
)
from objectql.protobuf.generic_service import GENERIC
from objectql.protobuf.status import DETAILS_KEY, status_of
from objectql.wire.messages import RowResult

QUICK = Patience(first_s=0.001, most_s=0.01)


class Gateway:
    """Answers every call by `answer`, and remembers what was asked."""

    def __init__(self, answer: Callable[[Call, dict[str, str]], Any]) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self.metadata: list[dict[str, str]] = []
        self.trailing: tuple[tuple[str, str], ...] = ()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        name = details.method.rpartition("/")[2]  # pyright: ignore[reportAttributeAccessIssue]
        read = GENERIC.rpcs[name].read

        async def one(body: bytes, context: Any) -> bytes:
            return await self.answered(read(body), context)

        async def many(body: bytes, context: Any) -> AsyncGenerator[bytes]:
            for part in await self.answered(read(body), context):
                yield part

        async def taken(bodies: AsyncIterator[bytes], context: Any) -> bytes:
            last = None
            async for body in bodies:
                last = await self.answered(read(body), context)
            assert last is not None
            return last

        if name == "BulkWrite":
            return grpc.stream_unary_rpc_method_handler(taken)
        if name in {"Query", "Export"}:
            return grpc.unary_stream_rpc_method_handler(many)
        return grpc.unary_unary_rpc_method_handler(one)

    async def answered(self, call: Call, context: Any) -> Any:
        metadata = dict(context.invocation_metadata())
        self.calls.append(call)
        self.metadata.append(metadata)
        try:
            answer = self.answer(call, metadata)
        except ObjectQLError as error:
            code, message, details = status_of(error, "r1")
            status = next(each for each in grpc.StatusCode if each.value[0] == code)
            await context.abort(status, message, ((DETAILS_KEY, details),))
            raise
        context.set_trailing_metadata(self.trailing)
        return answer


@asynccontextmanager
async def talking(gateway: Gateway, **options: Any) -> AsyncGenerator[GrpcClient]:
    """A client of `gateway`."""

    class Handlers(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            return gateway.service(handler_call_details)

    server = grpc.aio.server(handlers=(Handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = {"patience": QUICK, "times": Times(attempt_s=5, call_s=20), **options}
    try:
        async with GrpcClient(
            f"127.0.0.1:{port}", options.pop("credentials", "t"), **options
        ) as client:
            yield client
    finally:
        await server.stop(None)


def always(answer: Any) -> Callable[[Call, dict[str, str]], Any]:
    return lambda _call, _metadata: answer


def record(_call: Call, _metadata: dict[str, str]) -> bytes:
    return GENERIC.record(b'{"id":"a1","n":1}')


async def test_records_are_read_and_written_as_values() -> None:
    gateway = Gateway(record)
    async with talking(gateway) as client:
        assert await client.get("account", "a1", fields=["n"], expand=["owner"]) == {
            "id": "a1",
            "n": 1,
        }
        assert await client.create("account", {"n": 1, "x": [None, 0.5]}, key="k1") == {
            "id": "a1",
            "n": 1,
        }
        assert await client.update("account", "a1", {"n": 2}, if_version=0) == {"id": "a1", "n": 1}
        gateway.answer = always(b"")
        await client.delete("account", "a1")
    assert gateway.calls[:2] == [
        GetCall("account", "a1", ("n",), ("owner",)),
        CreateCall("account", b'{"n":1,"x":[null,0.5]}'),
    ]
    assert [each["authorization"] for each in gateway.metadata] == ["Bearer t"] * 4
    keys = [each.get("idempotency-key") for each in gateway.metadata]
    assert keys[:2] == [None, "k1"]
    assert None not in keys[2:]


async def test_pages_and_streams_are_records() -> None:
    def answer(call: Call, _metadata: dict[str, str]) -> Any:
        if isinstance(call, ListCall):
            return GENERIC.page(b'[{"id":"a1"}]', "next", 3)
        return [GENERIC.chunk(b'[{"id":"a1"},{"id":"a2"}]'), GENERIC.chunk(b'[{"id":"a3"}]')]

    gateway = Gateway(answer)
    async with talking(gateway) as client:
        page = await client.list("account", filter="n gt 1", page_size=1, count=True)
        assert (page.items, page.has_next, page.next, page.total) == (
            ({"id": "a1"},),
            True,
            "next",
            3,
        )
        found = [each["id"] async for each in client.query("account", {"where": {"n": 1}})]
        assert found == ["a1", "a2", "a3"]
        assert len([each async for each in client.query("account", {}, export=True)]) == 3
    assert gateway.calls[1] == QueryCall("account", {"where": {"n": 1}})


async def test_groups_actions_and_transactions_are_values() -> None:
    gateway = Gateway(lambda _call, _metadata: GENERIC.groups(b'[{"n":2}]'))
    async with talking(gateway) as client:
        assert await client.aggregate("account", {"groupBy": ["n"]}) == [{"n": 2}]
        gateway.answer = always(GENERIC.result(b'{"done":true}'))
        assert await client.act("account", "finish", {"by": "me"}, id="a1") == {"done": True}
        gateway.answer = always(GENERIC.transaction(b'{"id":"x","state":"in_doubt"}'))
        assert (await client.transaction("x")).state == "in_doubt"


FAILED = ErrorInfo(code="WRITE_CONFLICT", category=Category.CONFLICT, message="try again")


async def test_batches_are_told_as_by_rest() -> None:
    rows = (
        RowResult(id="a1", action="created", record=b'{"id":"a1"}'),
        RowResult(id="a2", action="deleted"),
        RowResult(error=FAILED),
    )
    gateway = Gateway(lambda _call, _metadata: GENERIC.batch(rows, "x1", "committed"))
    steps = (
        create("account", {"n": 1}),
        update("account", ref(0), {"n": 2}),
        delete("account", "a2"),
    )
    async with talking(gateway) as client:
        result = await client.batch(steps, atomic=False, isolation="serializable")
    assert result.transaction is not None
    assert result.transaction.state == "committed"
    assert result.results[:2] == ({"id": "a1"}, {"id": "a2", "deleted": True})
    assert result.results[2]["error"]["code"] == "WRITE_CONFLICT"
    (call,) = gateway.calls
    assert isinstance(call, BatchCall)
    assert b'"id":{"$ref":0}' in call.body


async def test_bulk_writes_are_streams_with_one_key() -> None:
    row = (7, RowResult(error=FAILED))
    gateway = Gateway(lambda _call, _metadata: GENERIC.bulk([row], 2, 1))
    gateway.trailing = (("oql-consistency-token", "c1"),)

    async def chunks() -> AsyncGenerator[list[dict[str, Any]]]:
        yield [{"n": 1}, {"n": 2}]
        yield [{"n": 3}]

    async with talking(gateway) as client:
        outcome = await client.bulk("account", "upsert", chunks(), match=["n"], key="k")
        gateway.answer = record
        await client.get("account", "a1")
    assert (outcome.succeeded, outcome.failed) == (2, 1)
    assert outcome.results[0]["index"] == 7
    assert outcome.results[0]["error"]["code"] == "WRITE_CONFLICT"
    first = gateway.calls[0]
    assert isinstance(first, BulkCall)
    assert (first.operation, first.match, first.records) == ("upsert", ("n",), b'[{"n":1},{"n":2}]')
    assert {each["idempotency-key"] for each in gateway.metadata[:2]} == {"k"}
    assert gateway.metadata[-1]["oql-consistency-token"] == "c1"


async def test_errors_are_those_of_the_server() -> None:
    def refuse(call: Call, _metadata: dict[str, str]) -> bytes:
        if isinstance(call, GetCall):
            raise RecordNotFound(object="account", id="a1")
        raise ValidationFailed(object="account")

    async with talking(Gateway(refuse)) as client:
        with pytest.raises(RecordNotFound) as missing:
            await client.get("account", "a1")
        assert (missing.value.object, missing.value.id) == ("account", "a1")
        with pytest.raises(ValidationFailed):
            [each async for each in client.query("account", {})]


async def test_what_may_be_repeated_is_under_the_same_key() -> None:
    seen: list[str] = []

    def twice(_call: Call, metadata: dict[str, str]) -> bytes:
        seen.append(metadata["idempotency-key"])
        if len(seen) < 3:
            raise WriteConflict(retry_after_ms=1)
        return GENERIC.record(b'{"id":"a1"}')

    async with talking(Gateway(twice)) as client:
        assert await client.create("account", {}) == {"id": "a1"}
    assert len(seen) == 3
    assert len(set(seen)) == 1


async def test_reads_see_what_was_written() -> None:
    gateway = Gateway(record)
    gateway.trailing = (("oql-consistency-token", "c1"),)
    async with talking(gateway) as client:
        await client.create("account", {})
        await client.get("account", "a1")
        gateway.answer = always([])
        assert [each async for each in client.query("account", {})] == []
    assert [each.get("oql-consistency-token") for each in gateway.metadata] == [None, "c1", "c1"]


async def test_a_record_that_has_not_changed_is_not_sent_again() -> None:
    gateway = Gateway(record)
    gateway.trailing = (("etag", '"1"'),)
    async with talking(gateway, cached=1) as client:
        first = await client.get("account", "a1")
        gateway.answer = always(b"")
        gateway.trailing = (("etag", '"1"'), ("oql-not-modified", "1"))
        assert await client.get("account", "a1") == first
        gateway.answer, gateway.trailing = record, (("etag", '"2"'),)
        assert await client.get("account", "a2") == first
        await client.get("account", "a1")  # only one is kept
    assert [each.get("if-none-match") for each in gateway.metadata] == [None, '"1"', None, None]


async def test_a_token_that_is_refused_is_fetched_anew_once() -> None:
    fetched: list[str] = []

    async def fetch() -> str:
        fetched.append(f"t{len(fetched)}")
        return fetched[-1]

    def answer(call: Call, metadata: dict[str, str]) -> bytes:
        if metadata["authorization"] != "Bearer t1":
            raise Unauthenticated
        return record(call, metadata)

    async with talking(Gateway(answer), credentials=fetch) as client:
        assert await client.get("account", "a1") == {"id": "a1", "n": 1}
    assert fetched == ["t0", "t1"]


async def test_nobody_there_is_unavailable_for_reads_and_unknown_for_writes() -> None:
    times = Times(attempt_s=0.2, call_s=0.5)
    async with GrpcClient("127.0.0.1:1", "t", times=times, patience=QUICK) as client:
        with pytest.raises(Unavailable):
            await client.get("account", "a1")
        with pytest.raises(OutcomeUnknown):
            await client.create("account", {})


async def test_an_attempt_has_an_end() -> None:
    waiting = asyncio.Event()

    class Asleep(Gateway):
        async def answered(self, call: Call, context: Any) -> Any:
            await waiting.wait()
            return await super().answered(call, context)

    async with talking(Asleep(record), times=Times(attempt_s=0.05, call_s=0.2)) as client:
        with pytest.raises(Unavailable):
            await client.get("account", "a1")
        waiting.set()


async def test_names_with_passwords_sign_in_elsewhere() -> None:
    async with talking(Gateway(record), credentials=SignIn("me", "secret")) as client:
        with pytest.raises(NotSupported):
            await client.get("account", "a1")
