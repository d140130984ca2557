from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from objectql.bus.memory import MemoryBus, MemoryNetwork, MemoryStream, matches
from objectql.bus.port import Envelope, EventStream, PositionLost
from objectql.errors import DeadlineExceeded, OutcomeUnknown, Unavailable
from objectql.testing.bus import BusConformance, MakeBus, echo
from objectql.testing.streams import ALL, StreamConformance, message
from objectql.wire.stream import StreamMessage


@pytest.fixture
async def make_bus() -> AsyncIterator[MakeBus]:
    network = MemoryNetwork()
    made: list[MemoryBus] = []

    async def make() -> MemoryBus:
        made.append(MemoryBus(network))
        return made[-1]

    yield make
    for bus in made:
        await bus.close()


class TestMemoryBus(BusConformance):
    pass


@pytest.mark.parametrize(
    ("pattern", "subject", "fits"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("*.b", "a.b", True),
        ("a.b", "a.c", False),
    ],
)
def test_matches_follows_the_wildcards_of_nats(pattern: str, subject: str, fits: bool) -> None:
    assert matches(pattern, subject) is fits


async def test_disconnect_loses_what_is_in_flight_and_reconnect_serves_again() -> None:
    network = MemoryNetwork()
    server, client = MemoryBus(network), MemoryBus(network)
    entered = asyncio.Event()

    async def stall(envelope: Envelope) -> Envelope:
        entered.set()
        await asyncio.Event().wait()
        return envelope

    await server.serve("s", "q", {"stall": stall, "echo": echo}, version="1.0.0")
    running = asyncio.ensure_future(client.request("stall", b"", {}, timeout_s=30))
    await entered.wait()
    client.disconnect()
    with pytest.raises(OutcomeUnknown):
        await running
    with pytest.raises(Unavailable):
        await client.request("echo", b"", {}, timeout_s=1)
    client.reconnect()
    assert (await client.request("echo", b"x", {}, timeout_s=1)).body == b"x"


async def test_dropped_message_ends_in_deadline_exceeded_and_repeated_one_runs_twice() -> None:
    network = MemoryNetwork()
    bus = MemoryBus(network)
    runs: list[bytes] = []

    async def note(envelope: Envelope) -> Envelope:
        runs.append(envelope.body)
        return Envelope(subject="", body=b"")

    await bus.serve("s", "q", {"note": note}, version="1.0.0")
    network.faults.drop = lambda envelope: envelope.body == b"lost"
    network.faults.repeat = lambda envelope: envelope.body == b"twice"
    with pytest.raises(DeadlineExceeded):
        await bus.request("note", b"lost", {}, timeout_s=0.02)
    await bus.request("note", b"twice", {}, timeout_s=1)
    assert runs == [b"twice", b"twice"]


async def test_stream_stores_a_message_id_once_and_reaches_listeners() -> None:
    network = MemoryNetwork()
    bus, stream = MemoryBus(network), MemoryStream(network)
    heard: asyncio.Queue[Envelope] = asyncio.Queue()
    await bus.subscribe("evt.>", heard.put)
    await stream.publish([StreamMessage("evt.a", b"1", "id-1")] * 2)
    assert [m.body for m in stream.messages] == [b"1"]
    assert (await heard.get()).subject == "evt.a"
    stream.is_down = True
    with pytest.raises(Unavailable):
        await stream.publish([StreamMessage("evt.a", b"2", "id-2")])


class TestMemoryStream(StreamConformance):
    async def lose(self, stream: EventStream) -> None:
        assert isinstance(stream, MemoryStream)
        stream.vanish()

    @pytest.fixture
    def stream(self) -> MemoryStream:
        return MemoryStream(MemoryNetwork())


@pytest.mark.parametrize("is_lost", [True, False])
async def test_reader_of_a_stream_that_was_lost_or_has_expired_is_told(is_lost: bool) -> None:
    stream = MemoryStream(MemoryNetwork())
    await stream.publish([message(n) for n in range(3)])
    state = await stream.state()
    if is_lost:
        stream.lose()
    else:
        stream.expire(2)
    with pytest.raises(PositionLost):
        await anext(stream.read(1, epoch=state.epoch, subject=ALL))
