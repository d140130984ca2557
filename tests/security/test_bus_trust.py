"""Who is not let in by NATS can do nothing on the bus, and who is can do only their own part."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from objectql.wire.access import BUS_USERS, OPERATOR
from objectql.wire.subjects import inbox, kernel_event, kernel_rpc
from objectql_devstack.cluster import Cluster
from tests.clusters import body, client

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
            assert await bus.may_publish(answers) == (user in {"kernel", "coordinator"})


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
