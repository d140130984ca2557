"""Floods of connections and of frames: whoever sends them is bounded, and the others are served."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, cast

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from objectql.clock import SystemClock
from objectql.context import Actor
from objectql.errors import Unauthenticated
from objectql.ids import TenantId
from objectql.rates.limiter import Limiter
from objectql.service.addresses import Proxies
from objectql.service.caller_rates import Rates
from objectql.service.claims import Caller
from objectql.service.data.limits import RequestLimits
from objectql.service.live.limits import Seats
from objectql.service.live.listeners import Listeners
from objectql.service.live.requests import Requests
from objectql.service.live.subscription import Subscription
from objectql.service.rates import CallerRateSettings
from objectql.service.revocations import Revocations, dependence
from objectql.wire.messages import RecordReply
from objectql_gateway_ws.gateway import Gateway
from objectql_gateway_ws.server import SILENT, TOO_MANY, UNAUTHENTICATED, SocketServer
from objectql_gateway_ws.settings import SocketLimits, SocketSettings
from objectql_gateway_ws.strangers import Strangers

LIMITS = SocketLimits(site_strangers=3, strangers=5, frame_bytes=4096, subscribing="1/h:4")


class Names:
    """Believes any token to be its owner's name."""

    async def caller(self, token: str) -> Caller:
        if token == "nobody":  # noqa: S105 - a name
            raise Unauthenticated
        right = dependence("acme", 0.0, user=token)
        return Caller(Actor(token, TenantId("acme")), 2.0**40, right)


class Deaf:
    """Neither a stream nor kernels: subscriptions begin, and nothing happens."""

    version = 1
    own: dict[str, int] = {}

    def __init__(self) -> None:
        self.begun: list[Subscription] = []

    async def begin(self, subscription: Subscription, **_: Any) -> None:
        self.begun.append(subscription)

    def remove(self, _subscription: Any) -> None: ...
    def is_behind(self, _subscription: Any) -> bool:
        return False


class Slow:
    """A kernel that answers when it is let, with much."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_let = asyncio.Event()

    async def call(self, verb: str, request: Any, context: Any, reply_type: Any) -> Any:  # noqa: ARG002
        self.asked += 1
        await self.is_let.wait()
        record = json.dumps({"id": request.id, "text": "x" * 2000}).encode()
        return RecordReply(record, request.id, 1)


def unlimited() -> Rates:
    return Rates(CallerRateSettings(), Limiter(SystemClock()), refused=lambda _: None)


def asking(kernel: Slow) -> Requests:
    """What answers requests, by asking `kernel`."""
    return Requests(
        *(kernel, SystemClock(), RequestLimits(), unlimited()),
        observe=lambda _operation, _outcome, _s: None,
    )


@asynccontextmanager
async def serving(
    limits: SocketLimits = LIMITS, requests: Requests | None = None, **more: Any
) -> AsyncGenerator[SocketServer]:
    settings = SocketSettings(host="127.0.0.1", port=0, **more)
    deaf = cast("Any", Deaf())
    listeners = Listeners(
        hub=lambda _lost: deaf,
        subscribing=lambda _hub: deaf,
        verifier=Names(),
        revocations=Revocations(),
        rates=unlimited(),
        clock=SystemClock(),
        limits=limits,
        seats=Seats("sockets", limits.tenant_sockets, limits.principal_sockets),
        missed=lambda: None,
    )
    gateway = Gateway(
        listeners,
        requests or deaf,
        limits=limits,
        strangers=Strangers(limits, Proxies(settings.trusted_proxies)),
        count=lambda *_: None,
    )
    server = SocketServer(gateway, settings, frame_bytes=limits.frame_bytes)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def server() -> AsyncGenerator[SocketServer]:
    async with serving(auth_timeout_s=45) as running:  # longer than any test waits
        yield running


def opened(server: SocketServer, name: str = "", **headers: str) -> connect:
    given = headers | ({"Authorization": f"Bearer {name}"} if name else {})
    given = {key.replace("_", "-"): value for key, value in given.items()}
    url = f"ws://127.0.0.1:{server.port}/ws"
    return connect(url, additional_headers=given, max_size=None, compression=None)


async def hear(client: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(30):
        return json.loads(await client.recv())


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not check():
            await asyncio.sleep(0.01)


async def ping(client: ClientConnection) -> None:
    """The client is served."""
    await client.send('{"type":"ping","id":"p"}')
    while (await hear(client))["type"] != "pong":
        pass


async def tcp(server: SocketServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that says nothing."""
    return await asyncio.open_connection("127.0.0.1", server.port)


async def is_cut(reader: asyncio.StreamReader) -> bool:
    with suppress(ConnectionResetError):
        async with asyncio.timeout(30):
            return not await reader.read(1)
    return True


async def test_one_address_has_so_many_strangers_from_their_first_packet_on(
    server: SocketServer, caplog: pytest.LogCaptureFixture
) -> None:
    strangers = server.gateway.strangers
    silent = [await tcp(server) for _ in range(3)]
    await until(lambda: len(strangers) == 3)
    newcomer = await tcp(server)
    assert await is_cut(silent[0][0])  # who has been silent for longest
    assert len(strangers) == 3
    silent[1][1].close()
    await until(lambda: len(strangers) == 2)
    async with opened(server, "ann") as client:
        assert (await hear(client))["type"] == "ready"
        assert len(strangers) == 2  # who is known takes no stranger's place
        async with opened(server, "bob") as other:
            assert (await hear(other))["type"] == "ready"
    for _, writer in (*silent, newcomer):
        writer.close()
    await until(lambda: len(strangers) == 0)
    assert caplog.records == []  # a flood of connections is none of log lines


@pytest.mark.parametrize("name", ["ann", ""], ids=["at the handshake", "in the first frame"])
async def test_silent_sockets_keep_nobody_out_who_says_who_they_are(
    server: SocketServer, name: str
) -> None:
    """The sockets have all places of the address whenever somebody honest comes."""
    silent: list[asyncio.StreamWriter] = []
    for _ in range(10):
        silent += [(await tcp(server))[1] for _ in range(3)]
        await until(lambda: len(server.gateway.strangers) == 3)
        async with opened(server, name) as client:
            if not name:
                await client.send('{"type":"auth","token":"ann"}')
            assert (await hear(client))["type"] == "ready"
            await ping(client)
    for writer in silent:
        writer.close()


async def test_strangers_of_all_addresses_have_so_many_places(server: SocketServer) -> None:
    strangers = server.gateway.strangers
    gone: list[int] = []
    for number in range(4):
        strangers.enter(f"203.0.113.{number}", partial(gone.append, number))
    _, writer = await tcp(server)
    await until(lambda: len(strangers) == 5)
    _, newcomer = await tcp(server)
    await until(lambda: gone == [0])
    assert len(strangers) == 5
    writer.close()
    newcomer.close()


async def test_clients_of_a_proxy_are_counted_where_they_come_from() -> None:
    async with serving(trusted_proxies=("127.0.0.0/8",)) as server:
        one, other = {"X_Forwarded_For": "198.51.100.1"}, {"X_Forwarded_For": "198.51.100.2"}
        neighbour = await opened(server, **other)
        strangers = [await opened(server, **one) for _ in range(4)]
        with pytest.raises(ConnectionClosed):
            await hear(strangers[0])
        assert len(server.gateway.strangers) == 4
        async with opened(server, "ann", **other) as client:
            assert (await hear(client))["type"] == "ready"
        for stranger in (neighbour, *strangers):
            await stranger.close()


async def test_who_never_says_who_they_are_is_hung_up_on() -> None:
    async with serving(auth_timeout_s=0.2) as server, opened(server) as client:
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(30):
                await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == SILENT


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Authorization: Bearer ann\r\n\r\n"
)


async def is_hung_up_on(server: SocketServer, frames: bytes, times: int) -> bool:
    """Whether a client that sends `frames` so often, and reads nothing, is hung up on meanwhile."""
    loop = asyncio.get_running_loop()
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await loop.sock_connect(raw, ("127.0.0.1", server.port))
        await loop.sock_sendall(raw, HANDSHAKE)
        try:
            async with asyncio.timeout(60):
                for _ in range(times):
                    await loop.sock_sendall(raw, frames)
        except ConnectionError:
            return True
    return False


@pytest.mark.parametrize(
    ("frame", "what"),
    [(b"\x89\xfd" + bytes(4) + b"x" * 125, "pings"), (b"\x81\x81" + bytes(4) + b"}", "junk")],
    ids=["pings", "junk"],
)
async def test_who_reads_no_answers_is_hung_up_on(
    server: SocketServer, frame: bytes, what: str
) -> None:
    async with opened(server, "bob") as other:
        assert await is_hung_up_on(server, frame * 1000, 2000), what
        await ping(other)


async def test_fragments_without_an_end_are_no_message(server: SocketServer) -> None:
    async def fragments() -> AsyncGenerator[str]:
        while True:
            yield "x"
            await asyncio.sleep(0)

    async with opened(server, "ann") as client, opened(server, "bob") as other:
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(60):
                await client.send(fragments())
        assert client.close_code in {1002, 1008, 1009, 1011}
        await ping(other)


async def test_frame_that_is_too_long_is_not_read(server: SocketServer) -> None:
    async with opened(server, "ann") as client, opened(server, "bob") as other:
        assert (await hear(client))["type"] == "ready"
        await client.send("x" * (LIMITS.frame_bytes + 1))
        with pytest.raises(ConnectionClosed):
            await hear(client)
        assert client.close_code == 1009
        await ping(other)


async def test_junk_is_told_so_and_nobody_else_waits_for_it(server: SocketServer) -> None:
    async with opened(server, "ann") as client, opened(server, "bob") as other:
        assert (await hear(client))["type"] == "ready"

        async def flood() -> None:
            for number in range(2_000):
                await client.send("}" * (number % 50))

        async def read() -> int:
            kinds = [(await hear(client))["type"] for _ in range(200)]
            return kinds.count("error")

        flooding = asyncio.create_task(flood())
        assert await read() == 200
        for _ in range(20):
            await ping(other)
        flooding.cancel()
        await asyncio.wait({flooding})
        client.transport.abort()  # or its end would wait behind what nobody reads


async def test_nobody_subscribes_more_often_than_so(server: SocketServer) -> None:
    async with opened(server, "ann") as client, opened(server, "bob") as other:
        assert (await hear(client))["type"] == "ready"
        for number in range(6):
            await client.send(json.dumps({"type": "subscribe", "id": "s", "object": "note"}))
            told = await hear(client) if number >= 4 else None
            if told is None:
                await client.send('{"type":"unsubscribe","sub":"s"}')
                assert (await hear(client))["type"] == "unsubscribed"
            else:
                assert told["code"] == "RATE_LIMIT_EXCEEDED", told
        await ping(other)
        async with opened(server, "ann") as again:  # another socket is the same caller
            assert (await hear(again))["type"] == "ready"
            await again.send(json.dumps({"type": "subscribe", "id": "s", "object": "note"}))
            assert (await hear(again))["code"] == "RATE_LIMIT_EXCEEDED"


def get(number: int) -> str:
    asked = {"type": "request", "id": f"r{number}", "operation": "get", "object": "note"}
    return json.dumps(asked | {"record": f"n{number}"})


async def test_requests_are_answered_side_by_side_and_so_many_at_a_time() -> None:
    kernel, limits = Slow(), SocketLimits(waiting_frames=4)
    async with (
        serving(limits, asking(kernel)) as server,
        opened(server, "ann") as client,
        opened(server, "bob") as other,
    ):
        assert (await hear(client))["type"] == "ready"
        for number in range(5):
            await client.send(get(number))
        told = await hear(client)
        assert (told["type"], told["id"]) == ("response", "r4")
        assert told["error"]["code"] == "OVERLOADED"
        assert told["error"]["retry_after_ms"] > 0
        await until(lambda: kernel.asked == 4)
        await ping(client)  # who waits for answers is served nevertheless
        await ping(other)
        kernel.is_let.set()
        answers = [await hear(client) for _ in range(4)]
        assert {a["id"]: a["body"]["id"] for a in answers} == {f"r{n}": f"n{n}" for n in range(4)}


async def test_answers_wait_for_a_client_that_reads_as_long_as_it_reads() -> None:
    kernel, limits = Slow(), SocketLimits(queue_bytes=3000)
    kernel.is_let.set()
    async with serving(limits, asking(kernel)) as server, opened(server, "ann") as client:
        assert (await hear(client))["type"] == "ready"
        for number in range(10):
            await client.send(get(number))
        answers = {(await hear(client))["id"] for _ in range(10)}
        assert answers == {f"r{n}" for n in range(10)}  # far more than may wait, and nobody is cut


async def test_a_request_before_anybody_has_said_who_they_are_ends_the_socket() -> None:
    kernel = Slow()
    async with serving(LIMITS, asking(kernel)) as server, opened(server) as client:
        await client.send(get(1))
        told = await hear(client)
        assert (told["id"], told["error"]["code"]) == ("r1", "UNAUTHENTICATED")
        with pytest.raises(ConnectionClosed):
            await hear(client)
        assert (client.close_code, kernel.asked) == (UNAUTHENTICATED, 0)


async def test_who_reads_too_slowly_is_cut_with_the_cursor_of_the_last_frame_they_were_sent() -> (
    None
):
    limits = SocketLimits(queue_bytes=100_000)
    async with (
        serving(limits) as server,
        opened(server, "ann") as client,
        opened(server, "bob") as other,
    ):
        deaf = cast("Deaf", server.gateway.listeners.hub)
        assert (await hear(client))["type"] == "ready"
        await client.send(json.dumps({"type": "subscribe", "id": "s", "object": "note"}))
        await until(lambda: bool(deaf.begun))
        (subscription,) = deaf.begun
        for number in range(1000):
            told = json.dumps({"text": "x" * 10_000, "cursor": f"c{number}"}).encode()
            subscription.client.tell(told, f"c{number}")
            assert server.gateway.waiting_bytes <= limits.queue_bytes + len(told)
            if subscription.is_over:
                break
            await asyncio.sleep(0)  # let it be sent, if it can be
            if not number % 50:
                await ping(other)  # who reads is served
        assert subscription.is_over
        last = None
        with pytest.raises(ConnectionClosed):  # noqa: PT012 - whichever of them it is
            while True:
                last = (await hear(client))["cursor"]
        assert client.close_code == TOO_MANY
        assert json.loads(client.close_reason or "") == {"reason": "too slow", "cursor": last}


async def test_who_reads_nothing_at_all_is_cut_off() -> None:
    limits = SocketLimits(queue_bytes=100_000)
    async with serving(limits) as server:
        _, writer = await tcp(server)  # its reader takes in a little, and then no more
        writer.write(HANDSHAKE)
        writer.write(b"\x81\xb0" + bytes(4) + b'{"type":"subscribe","id":"s","object":"note"}   ')
        deaf = cast("Deaf", server.gateway.listeners.hub)
        await until(lambda: bool(deaf.begun))
        (subscription,) = deaf.begun
        while not subscription.is_over:
            subscription.client.tell(b"x" * 50_000, "c")
            await asyncio.sleep(0)
        await until(lambda: not server.gateway.sockets)
        writer.close()
