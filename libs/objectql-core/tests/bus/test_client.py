from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest

from objectql.bus.breaker import BreakerPolicy
from objectql.bus.client import KernelClient, RetryPolicy
from objectql.bus.memory import MemoryBus, MemoryNetwork
from objectql.bus.port import Envelope
from objectql.bus.server import BusServer, LoadLimits, Verb
from objectql.context import Actor, Context
from objectql.errors import (
    CallerUntrusted,
    DeadlineExceeded,
    Internal,
    InvalidRequest,
    ObjectQLError,
    OutcomeUnknown,
    Overloaded,
    RecordNotFound,
    Unavailable,
)
from objectql.wire.headers import to_headers
from objectql.wire.messages import CreateRequest, GetRequest, JsonReply
from objectql.wire.trust import ContextKeys

GET = GetRequest(object="task", id="1")
CREATE = CreateRequest(object="task", data=b"{}")


def context(seconds: float = 5.0, *, key: str | None = None) -> Context:
    return Context(
        actor=Actor(id="ann"),
        deadline_ms=time.time_ns() // 1_000_000 + round(seconds * 1000),
        request_id="r-1",
        idempotency_key=key,
    )


async def serve(
    bus: MemoryBus, *, limits: LoadLimits | None = None, **answers: Verb[Any]
) -> BusServer:
    server = BusServer(bus, answers, limits=limits)
    await server.start()
    return server


async def test_call_returns_the_typed_reply_and_passes_the_context() -> None:
    bus = MemoryBus()

    async def get(request: GetRequest, ctx: Context) -> JsonReply:
        return JsonReply(body=f"{request.object}/{request.id} by {ctx.actor.id}".encode())

    await serve(bus, get=Verb(GetRequest, get))
    reply = await KernelClient(bus).call("get", GET, context(), JsonReply)
    assert reply.body == b"task/1 by ann"


async def test_a_service_with_keys_does_nothing_for_callers_without_one() -> None:
    bus = MemoryBus()
    done: list[GetRequest] = []

    async def get(request: GetRequest, _: Context) -> JsonReply:
        done.append(request)
        return JsonReply(body=b"done")

    keys = ContextKeys(["a key that the cluster shares, secret"])
    await BusServer(bus, {"get": Verb(GetRequest, get)}, keys=keys).start()
    stranger = ContextKeys(["a key that nobody else has, of strangers"])
    for untrusted in (KernelClient(bus), KernelClient(bus, keys=stranger)):
        with pytest.raises(CallerUntrusted):
            await untrusted.call("get", GET, context(), JsonReply)
    assert not done
    reply = await KernelClient(bus, keys=keys).call("get", GET, context(), JsonReply)
    assert (reply.body, done) == (b"done", [GET])


async def test_error_of_the_service_arrives_as_the_same_class_with_its_fields() -> None:
    bus = MemoryBus()

    async def get(_: GetRequest, __: Context) -> JsonReply:
        raise RecordNotFound(object="task", id="1")

    await serve(bus, get=Verb(GetRequest, get))
    with pytest.raises(RecordNotFound) as caught:
        await KernelClient(bus).call("get", GET, context(), JsonReply)
    assert (caught.value.object, caught.value.id) == ("task", "1")


async def test_crash_is_answered_with_internal_and_logged_under_the_request_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = MemoryBus()

    async def get(_: GetRequest, __: Context) -> JsonReply:
        raise ZeroDivisionError

    await serve(bus, get=Verb(GetRequest, get))
    with pytest.raises(Internal):
        await KernelClient(bus).call("get", GET, context(), JsonReply)
    assert caplog.records[0].getMessage() == "request_crashed"
    assert vars(caplog.records[0])["request_id"] == "r-1"
    assert caplog.records[0].exc_info is not None


async def test_undecodable_body_is_an_invalid_request() -> None:
    bus = MemoryBus()

    async def get(_: GetRequest, __: Context) -> JsonReply:
        return JsonReply(body=b"")

    await serve(bus, get=Verb(GetRequest, get))
    with pytest.raises(InvalidRequest):
        await KernelClient(bus).call_raw("get", b"\xc1", context())
    reply = await bus.request("oql.v1.rpc.kernel.get", b"", {}, timeout_s=1)
    assert reply.headers["Nats-Service-Error-Code"] == "400"


async def test_expired_request_is_answered_and_not_executed() -> None:
    bus = MemoryBus()
    runs = 0

    async def get(_: GetRequest, __: Context) -> JsonReply:
        nonlocal runs
        runs += 1
        return JsonReply(body=b"")

    await serve(bus, get=Verb(GetRequest, get))
    headers = to_headers(context(-1))
    body = msgspec.msgpack.encode(GET)
    reply = await bus.request("oql.v1.rpc.kernel.get", body, headers, timeout_s=1)
    assert reply.headers["Nats-Service-Error"] == "DEADLINE_EXCEEDED"
    assert runs == 0


async def test_work_is_cancelled_at_the_deadline_unless_it_must_not_be_cut() -> None:
    bus = MemoryBus()
    ends: list[str] = []

    async def stall(_: GetRequest, __: Context) -> JsonReply:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        return JsonReply(body=b"")

    release = asyncio.Event()

    async def commit(_: CreateRequest, __: Context) -> JsonReply:
        await release.wait()
        ends.append("finished")
        return JsonReply(body=b"")

    server = await serve(
        bus, get=Verb(GetRequest, stall), create=Verb(CreateRequest, commit, is_bounded=False)
    )
    client = KernelClient(bus)
    with pytest.raises(DeadlineExceeded):
        await client.call("get", GET, context(0.05), JsonReply)
    with pytest.raises(OutcomeUnknown):
        await client.call("create", CREATE, context(0.05), JsonReply)
    release.set()
    assert await server.drain(5)
    assert ends == ["cancelled", "finished"]


async def test_requests_beyond_running_and_waiting_are_refused_as_overloaded() -> None:
    bus = MemoryBus()
    entered, release = asyncio.Event(), asyncio.Event()

    async def get(_: GetRequest, __: Context) -> JsonReply:
        entered.set()
        await release.wait()
        return JsonReply(body=b"")

    limits = LoadLimits(max_running=1, max_waiting=1)
    await serve(bus, limits=limits, get=Verb(GetRequest, get))
    client = KernelClient(bus)
    first = asyncio.ensure_future(client.call("get", GET, context(), JsonReply))
    await entered.wait()
    second = asyncio.ensure_future(client.call("get", GET, context(), JsonReply))
    third = asyncio.ensure_future(client.call("get", GET, context(), JsonReply))
    with pytest.raises(Overloaded) as caught:
        await third
    assert caught.value.retry_after_ms == limits.retry_after_ms
    release.set()
    await asyncio.gather(first, second)


async def test_breaker_opens_fails_fast_and_closes_after_a_probe() -> None:
    network = MemoryNetwork()
    bus = MemoryBus(network)
    policy = BreakerPolicy(failures=3, open_s=0.05)
    client = KernelClient(bus, breaker=policy)

    async def get(_: GetRequest, __: Context) -> JsonReply:
        return JsonReply(body=b"")

    await serve(MemoryBus(network), get=Verb(GetRequest, get))
    bus.disconnect()
    for _ in range(3):
        with pytest.raises(Unavailable):
            await client.call("get", GET, context(), JsonReply)
    bus.reconnect()
    with pytest.raises(Unavailable) as caught:  # still open
        await client.call("get", GET, context(), JsonReply)
    assert caught.value.retry_after_ms is not None
    assert 0 < caught.value.retry_after_ms <= 50
    await network.clock.sleep(policy.open_s)
    await client.call("get", GET, context(), JsonReply)
    assert not client.is_open


def swallow_first(network: MemoryNetwork) -> list[Envelope]:
    """Drop the first request, as a kernel that is killed while it works does."""
    seen: list[Envelope] = []

    def drop(envelope: Envelope) -> bool:
        if envelope.subject:
            seen.append(envelope)
        return len(seen) == 1

    network.faults.drop = drop
    return seen


async def test_calls_beside_a_successful_probe_do_not_fail() -> None:
    network = MemoryNetwork()
    server_bus = MemoryBus(network)
    client = KernelClient(MemoryBus(network), breaker=BreakerPolicy(failures=1, open_s=0.01))
    with pytest.raises(Unavailable):
        await client.call("get", GET, context(), JsonReply)
    release = asyncio.Event()

    async def get(_request: GetRequest, _ctx: Context) -> JsonReply:
        await release.wait()
        return JsonReply(body=b"back")

    await serve(server_bus, get=Verb(GetRequest, get))
    await asyncio.sleep(0.02)  # the circuit lets a probe through
    calls = [asyncio.ensure_future(client.call("get", GET, context(), JsonReply)) for _ in range(8)]
    done, _ = await asyncio.wait(calls, timeout=0.02)
    assert not done, "one probes and the others wait for it"
    release.set()
    assert {(await call).body for call in calls} == {b"back"}


async def test_calls_beside_a_probe_without_answer_are_refused_soon() -> None:
    network = MemoryNetwork()
    client = KernelClient(MemoryBus(network), breaker=BreakerPolicy(failures=1, open_s=0.01))
    with pytest.raises(Unavailable):
        await client.call("get", GET, context(), JsonReply)

    async def get(_request: GetRequest, _ctx: Context) -> JsonReply:
        await asyncio.Event().wait()
        raise AssertionError

    await serve(MemoryBus(network), get=Verb(GetRequest, get))
    await asyncio.sleep(0.02)
    probe = asyncio.ensure_future(client.call("get", GET, context(), JsonReply))
    await asyncio.sleep(0)
    started_s = time.monotonic()
    with pytest.raises(Unavailable):
        await client.call("get", GET, context(), JsonReply)
    assert 0.1 < time.monotonic() - started_s < 1
    probe.cancel()


async def test_slow_answers_of_a_live_service_do_not_open_the_circuit() -> None:
    network = MemoryNetwork()

    async def get(_request: GetRequest, _ctx: Context) -> JsonReply:
        await asyncio.Event().wait()
        raise AssertionError

    async def find(_request: GetRequest, _ctx: Context) -> JsonReply:
        return JsonReply(body=b"quick")

    await serve(MemoryBus(network), get=Verb(GetRequest, get), find=Verb(GetRequest, find))
    client = KernelClient(MemoryBus(network), breaker=BreakerPolicy(failures=2))
    slow = [client.call("get", GET, context(1.1), JsonReply) for _ in range(4)]
    failures = await asyncio.gather(*slow, return_exceptions=True)
    assert {type(failure) for failure in failures} == {DeadlineExceeded}
    assert not client.is_open
    assert (await client.call("find", GET, context(), JsonReply)).body == b"quick"


async def test_read_lost_with_a_killed_kernel_is_sent_again() -> None:
    network = MemoryNetwork()
    bus = MemoryBus(network)

    async def get(_: GetRequest, __: Context) -> JsonReply:
        return JsonReply(body=b"here")

    await serve(bus, get=Verb(GetRequest, get))
    sent = swallow_first(network)
    client = KernelClient(bus, retry=RetryPolicy(hedge_after_s=0.02))
    assert (await client.call("get", GET, context(), JsonReply)).body == b"here"
    assert len(sent) == 2


@pytest.mark.parametrize("winner", [1, 2])
async def test_slow_read_is_answered_by_the_faster_of_two_attempts(winner: int) -> None:
    bus = MemoryBus()
    calls: list[int] = []
    is_free = [asyncio.Event(), asyncio.Event()]

    async def get(_: GetRequest, __: Context) -> JsonReply:
        number = len(calls) + 1
        calls.append(number)
        await is_free[number - 1].wait()
        return JsonReply(body=str(number).encode())

    await serve(bus, get=Verb(GetRequest, get))
    client = KernelClient(bus, retry=RetryPolicy(hedge_after_s=0.01))
    asked = asyncio.create_task(client.call("get", GET, context(), JsonReply))
    while len(calls) < 2:
        await asyncio.sleep(0)
    is_free[winner - 1].set()
    assert (await asked).body == str(winner).encode()
    assert calls == [1, 2]
    is_free[2 - winner].set()


async def test_second_attempt_answers_when_the_first_fails_after_it_began() -> None:
    network = MemoryNetwork()
    bus = MemoryBus(network)
    calls = 0
    is_second_there = asyncio.Event()

    async def get(_: GetRequest, __: Context) -> JsonReply:
        nonlocal calls
        calls += 1
        if calls == 1:
            await is_second_there.wait()
            raise Unavailable(what="the database")
        is_second_there.set()
        await asyncio.sleep(0.01)
        return JsonReply(body=b"second")

    await serve(bus, get=Verb(GetRequest, get))
    client = KernelClient(bus, retry=RetryPolicy(attempts=1, hedge_after_s=0.01))
    assert (await client.call("get", GET, context(), JsonReply)).body == b"second"


async def test_read_that_its_caller_gives_up_ends_both_attempts() -> None:
    bus = MemoryBus()
    calls = 0
    never = asyncio.Event()

    async def get(_: GetRequest, __: Context) -> JsonReply:
        nonlocal calls
        calls += 1
        await never.wait()
        return JsonReply(body=b"")

    await serve(bus, get=Verb(GetRequest, get))
    client = KernelClient(bus, retry=RetryPolicy(hedge_after_s=0.01))
    asked = asyncio.create_task(client.call("get", GET, context(), JsonReply))
    while calls < 2:
        await asyncio.sleep(0)
    others = {task for task in asyncio.all_tasks() if "KernelClient._read" in repr(task)}
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await asyncio.wait(others, timeout=1)
    assert others
    assert all(task.done() for task in others)
    never.set()


@pytest.mark.parametrize(("key", "sends"), [("k-1", 2), (None, 1)])
async def test_write_is_sent_again_only_with_an_idempotency_key(
    key: str | None, sends: int
) -> None:
    network = MemoryNetwork()
    bus = MemoryBus(network)

    async def create(_: CreateRequest, __: Context) -> JsonReply:
        return JsonReply(body=b"made")

    await serve(bus, create=Verb(CreateRequest, create))
    sent = swallow_first(network)
    client = KernelClient(bus, retry=RetryPolicy(write_attempt_s=0.02))
    if key is None:
        with pytest.raises(OutcomeUnknown):
            await client.call("create", CREATE, context(0.1), JsonReply)
    else:
        reply = await client.call("create", CREATE, context(key=key), JsonReply)
        assert reply.body == b"made"
    assert len(sent) == sends


async def test_inner_hops_never_retry() -> None:
    network = MemoryNetwork()
    bus = MemoryBus(network)
    runs = 0

    async def get(_: GetRequest, __: Context) -> JsonReply:
        nonlocal runs
        runs += 1
        raise Unavailable(what="a replica")

    await serve(bus, get=Verb(GetRequest, get))
    with pytest.raises(Unavailable):
        await KernelClient(bus).call("get", GET, context(), JsonReply)
    assert runs == 1
    policy = RetryPolicy(attempts=3, pause_s=0.001)
    with pytest.raises(Unavailable):
        await KernelClient(bus, retry=policy).call("get", GET, context(), JsonReply)
    assert runs == 4


async def test_write_refused_before_it_was_done_stays_unavailable() -> None:
    bus = MemoryBus()
    client = KernelClient(bus, retry=RetryPolicy(attempts=2, pause_s=0.001))
    with pytest.raises(Unavailable):
        await client.call("create", CREATE, context(key="k"), JsonReply)


async def test_write_that_nobody_took_is_sent_again_without_a_key() -> None:
    bus = MemoryBus()
    client = KernelClient(bus, retry=RetryPolicy(attempts=3, pause_s=0.02))
    asked = asyncio.create_task(client.call("create", CREATE, context(), JsonReply))
    await asyncio.sleep(0)

    async def create(_: CreateRequest, __: Context) -> JsonReply:
        return JsonReply(body=b"made")

    assert not asked.done()
    await serve(bus, create=Verb(CreateRequest, create))
    assert (await asked).body == b"made"


@pytest.mark.parametrize(("key", "runs"), [("k-1", 2), (None, 1)])
async def test_write_that_a_kernel_refused_is_sent_again_only_with_a_key(
    key: str | None, runs: int
) -> None:
    bus = MemoryBus()
    ran = 0

    async def create(_: CreateRequest, __: Context) -> JsonReply:
        nonlocal ran
        ran += 1
        raise Unavailable(what="the database")

    await serve(bus, create=Verb(CreateRequest, create))
    client = KernelClient(bus, retry=RetryPolicy(attempts=2, pause_s=0.001))
    with pytest.raises(Unavailable):
        await client.call("create", CREATE, context(key=key), JsonReply)
    assert ran == runs


async def test_observer_is_told_verb_outcome_and_duration() -> None:
    bus = MemoryBus()
    seen: list[tuple[str, str]] = []

    async def get(_: GetRequest, __: Context) -> JsonReply:
        raise Unavailable(what="x")

    server = BusServer(
        bus,
        {"get": Verb(GetRequest, get)},
        observe=lambda verb, outcome, seconds: seen.append((verb, outcome)),
    )
    await server.start()
    with pytest.raises(ObjectQLError):
        await KernelClient(bus).call("get", GET, context(), JsonReply)
    assert seen == [("get", "SERVICE_UNAVAILABLE")]
