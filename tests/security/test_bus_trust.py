"""Who is not let in by NATS can do nothing on the bus, and who is can do only their own part."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import nats
import nats.errors
import pytest
from nats.aio.client import Client

from objectql.context import Actor, Context
from objectql.errors import CallerUntrusted
from objectql.wire import codec
from objectql.wire.access import BUS_USERS, OPERATOR
from objectql.wire.frames import Answer, Answers, Ask, Frame
from objectql.wire.headers import ERROR, TENANT, to_headers
from objectql.wire.messages import CreateRequest, GetRequest
from objectql.wire.subjects import (
    KERNEL_RPC_PREFIX,
    coordinator_rpc,
    inbox,
    kernel_event,
    kernel_rpc,
    parts_rpc,
    rpc_many,
)
from objectql.wire.trust import SIGNATURE, ContextKeys
from objectql_devstack.cluster import Cluster
from tests.clusters import body, client, eventually

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

SERVICES = [user.name for user in BUS_USERS if user.name != OPERATOR]


class Intruder:
    """A client with somebody's credentials, and what the server refused it."""

    def __init__(self, connection: Client, refused: list[str]) -> None:
        self.connection = connection
        self.refused = refused

    async def may_publish(self, subject: str) -> bool:
        """Whether the server takes a message to `subject`."""
        before = len(self.refused)
        await self.connection.publish(subject, b"intruded")
        await self._settled()
        return len(self.refused) == before

    async def _settled(self) -> None:
        for _ in range(2):  # nats-py sends its first ping past what waits to be sent
            await self.connection.flush()

    async def may_hear(self, subject: str, queue: str = "") -> bool:
        """Whether the server lets it listen to `subject`."""
        before = len(self.refused)
        heard = await self.connection.subscribe(subject, queue=queue)
        await self._settled()
        allowed = len(self.refused) == before
        if allowed:
            await heard.unsubscribe()
        return allowed


@asynccontextmanager
async def intruder(url: str) -> AsyncGenerator[Intruder]:
    refused: list[str] = []

    async def note(error: Exception) -> None:
        refused.append(str(error))

    connection = await nats.connect(
        url, error_cb=note, allow_reconnect=False, inbox_prefix="_INBOX_intruder"
    )
    try:
        yield Intruder(connection, refused)
    finally:
        await connection.close()


def with_user(url: str, user: str) -> str:
    """The address without its user and password, and with these."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}{parts.hostname}:{parts.port}"))


@pytest.mark.parametrize(
    "user", ["", "kernel:wrong@", "kernel@", "nobody:secret@", "operator:@", "token@"]
)
async def test_nobody_connects_without_a_password_of_the_stack(guarded: Cluster, user: str) -> None:
    said: list[str] = []

    async def note(error: Exception) -> None:
        said.append(str(error))

    connection = Client()
    with pytest.raises(nats.errors.Error):
        await connection.connect(
            with_user(guarded.data.nats_url, user),
            allow_reconnect=False,
            max_reconnect_attempts=1,
            error_cb=note,
        )
    await connection.close()
    assert any("Authorization" in text for text in said)


@pytest.mark.parametrize("user", [*SERVICES, OPERATOR])
async def test_only_gateways_may_call(guarded: Cluster, user: str) -> None:
    async with intruder(guarded.data.nats_url_of(user)) as bus:
        for verb in ("get", "many", "cancel", "create"):
            may = await bus.may_publish(kernel_rpc(verb))
            assert may == user.startswith("gateway-"), (user, verb, bus.refused)


@pytest.mark.parametrize("user", [*SERVICES, OPERATOR])
async def test_only_kernels_may_answer_for_kernels(guarded: Cluster, user: str) -> None:
    async with intruder(guarded.data.nats_url_of(user)) as bus:
        is_kernel = user == "kernel"
        assert await bus.may_hear(kernel_rpc("many"), "kernel") == is_kernel
        assert not await bus.may_hear(kernel_rpc("many"))  # a copy of every request
        assert not await bus.may_hear(kernel_rpc("many"), "another")
        assert not await bus.may_hear("oql.v1.rpc.>", "kernel")
        for gateway in ("gateway-rest", "gateway-ws", "gateway-grpc"):
            answers = f"{inbox(gateway)}.forged.answers"
            assert await bus.may_publish(answers) == is_kernel
        answers = f"{inbox('kernel')}.forged.answers"
        assert await bus.may_publish(answers) == (user == "coordinator")


@pytest.mark.parametrize("user", [*SERVICES, OPERATOR])
async def test_only_kernels_ask_for_decisions_and_only_coordinators_have_parts_ended(
    guarded: Cluster, user: str
) -> None:
    async with intruder(guarded.data.nats_url_of(user)) as bus:
        for verb in ("decide", "many", "cancel"):
            subject = coordinator_rpc("coordinator-1", verb)
            assert await bus.may_publish(subject) == (user == "kernel"), (user, verb)
        for verb in ("finish", "prepared", "many", "cancel"):
            assert await bus.may_publish(parts_rpc(verb)) == (user == "coordinator"), (user, verb)
        assert await bus.may_hear(parts_rpc("finish"), "kernel") == (user == "kernel")
        leader = coordinator_rpc("coordinator-1", "decide")
        assert await bus.may_hear(leader, "coordinator") == (user == "coordinator")


@pytest.mark.parametrize("user", [*SERVICES, OPERATOR])
async def test_nobody_hears_answers_to_another_service(guarded: Cluster, user: str) -> None:
    async with intruder(guarded.data.nats_url_of(user)) as bus:
        for other in SERVICES:
            may = await bus.may_hear(f"{inbox(other)}.>")
            assert may == (other == user), (user, other, bus.refused)
        for everything in (">", "*.>", "*.*"):
            assert not await bus.may_hear(everything), everything
        assert await bus.may_hear("_INBOX.>") == (user == OPERATOR)


@pytest.mark.parametrize("user", [*SERVICES, OPERATOR])
async def test_only_kernels_say_that_something_changed(guarded: Cluster, user: str) -> None:
    async with intruder(guarded.data.nats_url_of(user)) as bus:
        for subject in (
            kernel_event("metadata:published"),
            "oql.v1.evt.data.default.account.created",
        ):
            assert await bus.may_publish(subject) == (user == "kernel"), subject
        for other in SERVICES:
            assert await bus.may_publish(f"oql.v1.hb.{other}.forged") == (other == user)


@pytest.mark.parametrize("user", ["gateway-rest", "coordinator"])
async def test_change_events_are_heard_only_by_those_who_pass_them_on(
    guarded: Cluster, user: str
) -> None:
    async with intruder(guarded.data.nats_url_of(user)) as bus:
        assert not await bus.may_hear("oql.v1.evt.data.>")
        assert not await bus.may_hear("oql.v1.evt.>")
        for subject in ("STREAM.MSG.GET.OQL_DATA", "CONSUMER.CREATE.OQL_DATA", "STREAM.NAMES"):
            assert not await bus.may_publish(f"$JS.API.{subject}")


NAMED = {"name": "Forged"}


def forged(**headers: str) -> dict[str, str]:
    """What a gateway would put into the headers for an admin of `default`, and then some."""
    context = Context(
        actor=Actor(id="mallory", roles=("admin", "system")),
        deadline_ms=time.time_ns() // 1_000_000 + 30_000,
        request_id="forged",
    )
    return {**to_headers(context), **headers}


async def accounts(cluster: Cluster) -> int:
    """How many records of any tenant the database holds."""
    connection = await asyncpg.connect(cluster.env["OQL_PG_URL"])
    try:
        return int(await connection.fetchval("SELECT count(*) FROM account"))
    finally:
        await connection.close()


async def answer_to(
    bus: Client, subject: str, body: bytes, headers: dict[str, str]
) -> tuple[str, bytes]:
    """The error code and the body that one message of its own is answered with."""
    reply = await bus.request(subject, body, timeout=10, headers=headers)
    assert reply.headers is not None
    return reply.headers[ERROR], reply.data


async def test_a_stolen_password_of_a_gateway_is_not_enough_to_forge_a_context(
    guarded: Cluster,
) -> None:
    before = await accounts(guarded)
    connection = await nats.connect(
        guarded.data.nats_url_of("gateway-rest"), inbox_prefix=inbox("gateway-rest")
    )
    wrong = ContextKeys(["a key of enough characters, and the wrong one"])
    write = codec.encode(CreateRequest(object="account", data=body(NAMED)))
    read = codec.encode(GetRequest(object="account", id="1"))
    try:
        answers: set[tuple[str, bytes]] = set()
        for verb, request in (("create", write), ("get", read)):
            subject = kernel_rpc(verb)
            signature = wrong.sign(subject, forged(), request)
            for headers in (
                {},
                forged(),
                forged(**{TENANT: "globex"}),
                forged(**{SIGNATURE: ""}),
                forged(**{SIGNATURE: signature}),
            ):
                answers.add(await answer_to(connection, subject, request, headers))
        assert len(answers) == 1  # whatever is wrong with it, the answer is the same
        assert answers.pop()[0] == CallerUntrusted.code

        in_frames = await connection.subscribe(inbox("gateway-rest") + ".forged.answers")
        asks = (
            Ask(kernel_rpc("create"), forged(), write),
            Ask(kernel_rpc("get"), forged(**{TENANT: "globex"}), read),
        )
        frame = Frame(inbox("gateway-rest") + ".forged.answers", 0, asks)
        await connection.publish(rpc_many(KERNEL_RPC_PREFIX), codec.encode(frame))
        told: list[Answer] = []
        while len(told) < len(asks):
            message = await in_frames.next_msg(timeout=10)
            told += codec.decode(Answers, message.data).items
        assert {answer.headers[ERROR] for answer in told} == {CallerUntrusted.code}
    finally:
        await connection.close()
    assert await accounts(guarded) == before
    log = (guarded.state.logs / "kernel-1.log").read_text()
    assert '"cause":"unsigned"' in log
    assert '"cause":"forged"' in log


async def test_a_kernel_does_not_publish_for_its_callers(guarded: Cluster) -> None:
    """A caller who may not publish events must not have a kernel do it as an answer."""
    log = guarded.state.logs / "kernel-1.log"
    target = kernel_event("metadata:published")
    refusal = f'"reply_refused","service":"kernel","instance":"kernel-1","subject":"{target}"'
    watcher = await nats.connect(guarded.data.nats_url)
    caller = await nats.connect(guarded.data.nats_url_of("gateway-rest"))
    try:
        heard = await watcher.subscribe(target)
        for _ in range(2):
            await watcher.flush()
        frame = Frame(target, 0, (Ask(kernel_rpc("get"), forged(), b""),))
        await caller.publish(rpc_many(KERNEL_RPC_PREFIX), codec.encode(frame))
        await caller.publish(kernel_rpc("get"), b"", reply=target, headers=forged())

        async def refused_both() -> bool:
            return log.read_text().count(refusal) == 2

        await eventually(refused_both, within_s=30, what="the refusal of both")
        assert heard.pending_msgs == 0
    finally:
        await caller.close()
        await watcher.close()


async def test_nobody_makes_a_stream_that_records_requests(guarded: Cluster) -> None:
    for user in [*SERVICES, OPERATOR]:
        async with intruder(guarded.data.nats_url_of(user)) as bus:
            assert not await bus.may_publish("$JS.API.STREAM.CREATE.RECORDER"), user
            assert not await bus.may_publish("$JS.API.STREAM.UPDATE.RECORDER"), user


async def test_the_operator_sees_services_events_and_the_stream(guarded: Cluster) -> None:
    connection = await nats.connect(guarded.data.nats_url)
    try:
        ping = await connection.request("$SRV.PING.kernel", timeout=5)
        assert b'"kernel"' in ping.data
        heard = await connection.subscribe("oql.v1.evt.data.>")
        await connection.flush()
        async with client(guarded.env) as http:
            made = await http.post("/api/account", content=body({"name": "Seen"}))
        assert made.status_code == 201, made.text
        event = await heard.next_msg(timeout=10)
        assert event.subject == "oql.v1.evt.data.default.account.created"
        stream = await connection.jetstream().stream_info("OQL_DATA")
        assert stream.state.messages >= 1
    finally:
        await connection.close()


async def test_services_are_refused_nothing_that_they_need(guarded: Cluster) -> None:
    async with client(guarded.env) as http:
        assert (await http.get("/api/account")).status_code == 200
    for name in guarded.names:
        assert "bus_permission_refused" not in (guarded.state.logs / f"{name}.log").read_text()
