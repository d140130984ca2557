from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from objectql.bus.nats import NatsBus, NatsEventStream
from objectql.bus.port import Envelope, EventStream, PositionLost
from objectql.errors import OutcomeUnknown, Unavailable
from objectql.testing.bus import BusConformance, MakeBus, echo
from objectql.testing.streams import ALL, StreamConformance, bodies, message
from objectql.wire.stream import StreamMessage

pytestmark = pytest.mark.servers


class NatsServer:
    """A real server on a port of its own, which keeps the port over restarts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        binary = shutil.which("nats-server", path=str(Path(sys.executable).parent))
        assert binary is not None
        command = [binary, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self._folder)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end_s = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < end_s, "nats-server did not start"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
async def make_bus(shared: NatsServer) -> AsyncIterator[MakeBus]:
    made: list[NatsBus] = []

    async def make() -> NatsBus:
        made.append(await NatsBus.connect(shared.url, name="test"))
        assert made[-1].is_connected
        return made[-1]

    yield make
    for bus in made:
        await bus.close()


class TestNatsBus(BusConformance):
    pass


async def test_service_answers_ping_info_and_stats_with_its_errors(shared: NatsServer) -> None:
    async def refuse(_: Envelope) -> Envelope:
        return Envelope(subject="", body=b"", headers={"Nats-Service-Error": "NO"})

    bus = await NatsBus.connect(shared.url, name="test")
    handlers = {"m.rpc.echo": echo, "m.rpc.refuse": refuse}
    unsubscribe = await bus.serve("kernel", "kernel", handlers, version="1.2.3")
    await bus.request("m.rpc.echo", b"", {}, timeout_s=5)
    await bus.request("m.rpc.refuse", b"", {}, timeout_s=5)
    ping = json.loads((await bus.request("$SRV.PING.kernel", b"", {}, timeout_s=5)).body)
    info = json.loads((await bus.request("$SRV.INFO.kernel", b"", {}, timeout_s=5)).body)
    stats = json.loads((await bus.request("$SRV.STATS.kernel", b"", {}, timeout_s=5)).body)
    assert (ping["name"], ping["version"]) == ("kernel", "1.2.3")
    assert {e["subject"] for e in info["endpoints"]} == set(handlers)
    counted = {e["name"]: (e["num_requests"], e["num_errors"]) for e in stats["endpoints"]}
    assert counted == {"echo": (1, 0), "refuse": (1, 1)}
    await unsubscribe()
    await bus.close()


async def test_bus_serves_again_after_the_server_was_killed_and_started(own: NatsServer) -> None:
    own.start()
    server = await NatsBus.connect(own.url, name="server")
    client = await NatsBus.connect(own.url, name="client")
    entered = asyncio.Event()

    async def stall(envelope: Envelope) -> Envelope:
        entered.set()
        await asyncio.Event().wait()
        return envelope

    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(envelope: Envelope) -> None:
        heard.put_nowait(envelope.body)

    await server.serve("s", "q", {"r.echo": echo, "r.stall": stall}, version="1.0.0")
    await server.subscribe("r.evt.*", listen)
    running = asyncio.ensure_future(client.request("r.stall", b"", {}, timeout_s=30))
    await entered.wait()
    own.stop()
    with pytest.raises(OutcomeUnknown):
        await running
    started_s = time.monotonic()
    with pytest.raises(Unavailable):
        await client.request("r.echo", b"", {}, timeout_s=30)
    with pytest.raises(Unavailable):
        await client.publish("r.evt.a", b"lost")
    assert time.monotonic() - started_s < 0.2

    own.start()
    started_s = time.monotonic()
    async with asyncio.timeout(5):
        await client.wait_connected()
        await server.wait_connected()
        reply = await client.request("r.echo", b"back", {}, timeout_s=5)
    assert reply.body == b"back"
    await client.publish("r.evt.a", b"new")
    assert await asyncio.wait_for(heard.get(), 5) == b"new"
    await client.close()
    await server.close()


async def test_bus_comes_back_when_the_last_that_was_to_be_written_cannot_be(
    own: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-py writes that when the server has gone, and calls nobody back if it fails."""
    own.start()
    bus = await NatsBus.connect(own.url, name="full", wait_s=10)
    client = await bus.connected()

    async def refuse(_: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr("nats.aio.transport.TcpTransport.drain", refuse)
        patch.setattr(client, "_pending_data_size", 1)
        own.stop()
        async with asyncio.timeout(10):
            while bus.is_connected:
                await asyncio.sleep(0.01)
    own.start()
    async with asyncio.timeout(20):
        assert await bus.connected() is not client
    await bus.close()


async def test_bus_started_before_the_server_serves_when_it_comes(own: NatsServer) -> None:
    bus = NatsBus(own.url, name="early", reconnect_wait_s=0.1)
    await bus.start()
    await bus.serve("s", "q", {"b.echo": echo}, version="1.0.0")
    with pytest.raises(Unavailable):
        await bus.request("b.echo", b"", {}, timeout_s=30)
    own.start()
    await asyncio.wait_for(bus.wait_connected(), 5)
    assert (await bus.request("b.echo", b"1", {}, timeout_s=5)).body == b"1"
    await bus.close()


async def test_stream_stores_each_message_id_once_and_keeps_it_over_a_restart(
    own: NatsServer,
) -> None:
    own.start()
    bus = await NatsBus.connect(own.url, name="stream")
    stream = NatsEventStream(bus)
    await stream.ensure()
    await stream.ensure()
    subject = "oql.v1.evt.data.default.task.created"
    await stream.publish([StreamMessage(subject, b"%d" % n, f"id-{n % 50}") for n in range(100)])
    own.stop()
    while bus.is_connected:
        await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await stream.publish([StreamMessage(subject, b"", "id-x")])
    own.start()
    await asyncio.wait_for(bus.wait_connected(), 5)
    info = await bus.request("$JS.API.STREAM.INFO.OQL_DATA", b"", {}, timeout_s=5)
    state = json.loads(info.body)
    assert state["state"]["messages"] == 50
    assert state["config"]["max_age"] == 24 * 3600 * 10**9
    assert state["config"]["duplicate_window"] == 120 * 10**9
    await bus.close()


class TestNatsEventStream(StreamConformance):
    @pytest.fixture
    async def stream(self, own: NatsServer) -> AsyncIterator[NatsEventStream]:
        own.start()
        self.url = own.url
        bus = await NatsBus.connect(own.url, name="stream")
        stream = NatsEventStream(bus, name="T", subjects=(ALL,))
        await stream.ensure()
        yield stream
        await bus.close()

    async def lose(self, stream: EventStream) -> None:
        bus = await NatsBus.connect(self.url, name="somebody else")
        await bus.request("$JS.API.STREAM.DELETE.T", b"", {}, timeout_s=5)
        await bus.close()


async def test_reader_goes_on_where_it_was_after_a_restart_of_the_server(own: NatsServer) -> None:
    own.start()
    bus = await NatsBus.connect(own.url, name="stream")
    stream = NatsEventStream(bus, name="T", subjects=(ALL,))
    await stream.ensure()
    state = await stream.state()
    await stream.publish([message(n) for n in range(100)])
    reading = asyncio.ensure_future(bodies(stream, 200, after=state.last, epoch=state.epoch))
    await bodies(stream, 100, after=state.last, epoch=state.epoch)
    own.stop()
    own.start()
    async with asyncio.timeout(20):
        await bus.connected()
        while True:  # JetStream comes up after the port does
            try:
                stored = await stream.publish([message(n) for n in range(100, 200)])
                if None not in stored.positions:
                    break
            except Unavailable:
                pass
            await asyncio.sleep(0.05)
    assert await reading == [b"%d" % n for n in range(200)]
    await bus.close()


async def test_reader_of_a_stream_that_was_made_again_is_told(own: NatsServer) -> None:
    own.start()
    bus = await NatsBus.connect(own.url, name="stream")
    stream = NatsEventStream(bus, name="T", subjects=(ALL,))
    await stream.ensure()
    state = await stream.state()
    await stream.publish([message(n) for n in range(3)])
    reading = stream.read(state.last, epoch=state.epoch, subject=ALL)
    assert [entry.body for entry in await anext(reading)]
    await bus.request("$JS.API.STREAM.DELETE.T", b"", {}, timeout_s=5)
    await stream.ensure()
    with pytest.raises(PositionLost):
        async with asyncio.timeout(20):
            _ = [entries async for entries in reading]
    await bus.close()
