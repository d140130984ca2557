"""What every bus must do. The memory bus and the NATS bus run this one suite.

A subclass gives the fixture `buses`, which makes connections to one server and closes them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from objectql.bus.port import Bus, Envelope
from objectql.errors import DeadlineExceeded, OutcomeUnknown, PayloadTooLarge, Unavailable

MakeBus: TypeAlias = Callable[[], Awaitable[Bus]]


async def echo(envelope: Envelope) -> Envelope:
    """Answers with the request's own body and headers."""
    return Envelope(subject="", body=envelope.body, headers=envelope.headers)


class BusConformance:
    """Request and reply, queue groups, publish and subscribe, failure."""

    async def test_request_is_answered_with_body_and_headers(self, make_bus: MakeBus) -> None:
        server, client = await make_bus(), await make_bus()
        await server.serve("s", "q", {"t.rpc.echo": echo}, version="1.0.0")
        reply = await client.request("t.rpc.echo", b"hi", {"Oql-A": "ü 1"}, timeout_s=5)
        assert reply.body == b"hi"
        assert reply.headers["Oql-A"] == "ü 1"

    async def test_request_that_nobody_serves_is_unavailable_at_once(
        self, make_bus: MakeBus
    ) -> None:
        client = await make_bus()
        started_s = time.monotonic()
        with pytest.raises(Unavailable):
            await client.request("t.rpc.nobody", b"", {}, timeout_s=30)
        assert time.monotonic() - started_s < 5

    async def test_request_without_answer_ends_with_deadline_exceeded(
        self, make_bus: MakeBus
    ) -> None:
        server, client = await make_bus(), await make_bus()
        release = asyncio.Event()

        async def stall(envelope: Envelope) -> Envelope:
            await release.wait()
            return envelope

        await server.serve("s", "q", {"t.rpc.stall": stall}, version="1.0.0")
        with pytest.raises(DeadlineExceeded):
            await client.request("t.rpc.stall", b"", {}, timeout_s=0.05)
        release.set()

    async def test_requests_run_concurrently_and_answers_find_their_callers(
        self, make_bus: MakeBus
    ) -> None:
        server, client = await make_bus(), await make_bus()
        arrived = asyncio.Barrier(20)

        async def meet(envelope: Envelope) -> Envelope:
            await arrived.wait()  # passes only when all twenty run at the same time
            return Envelope(subject="", body=envelope.body)

        await server.serve("s", "q", {"t.rpc.meet": meet}, version="1.0.0")
        replies = await asyncio.gather(
            *(client.request("t.rpc.meet", b"%d" % n, {}, timeout_s=10) for n in range(20))
        )
        assert [r.body for r in replies] == [b"%d" % n for n in range(20)]

    async def test_queue_group_gives_each_request_to_one_member_and_uses_all(
        self, make_bus: MakeBus
    ) -> None:
        client = await make_bus()
        counts = {"a": 0, "b": 0}

        def member(name: str) -> Callable[[Envelope], Awaitable[Envelope]]:
            async def count(_: Envelope) -> Envelope:  # noqa: RUF029 - a handler is a coroutine
                counts[name] += 1
                return Envelope(subject="", body=name.encode())

            return count

        for name in counts:
            bus = await make_bus()
            await bus.serve("s", "q", {"t.rpc.count": member(name)}, version="1.0.0")
        for _ in range(100):
            await client.request("t.rpc.count", b"", {}, timeout_s=5)
        assert sum(counts.values()) == 100
        assert min(counts.values()) > 0

    async def test_long_reply_arrives_whole(self, make_bus: MakeBus) -> None:
        server, client = await make_bus(), await make_bus()
        body = bytes(range(256)) * 12_000  # 3 MB

        async def long(_: Envelope) -> Envelope:  # noqa: RUF029 - a handler is a coroutine
            return Envelope(subject="", body=body, headers={"Oql-A": "1"})

        await server.serve("s", "q", {"t.rpc.long": long}, version="1.0.0")
        reply = await client.request("t.rpc.long", b"", {}, timeout_s=10)
        assert reply.body == body
        assert dict(reply.headers) == {"Oql-A": "1"}

    async def test_request_longer_than_the_bus_takes_is_refused(self, make_bus: MakeBus) -> None:
        server, client = await make_bus(), await make_bus()
        await server.serve("s", "q", {"t.rpc.echo": echo}, version="1.0.0")
        with pytest.raises(PayloadTooLarge):
            await client.request("t.rpc.echo", bytes(2_000_000), {}, timeout_s=5)
        reply = await client.request("t.rpc.echo", b"still there", {}, timeout_s=5)
        assert reply.body == b"still there"

    async def test_listeners_get_messages_of_matching_subjects_in_order(
        self, make_bus: MakeBus
    ) -> None:
        publisher, subscriber = await make_bus(), await make_bus()
        got: dict[str, list[str]] = {"t.evt.*": [], "t.evt.>": []}
        done = asyncio.Event()

        def listener(pattern: str) -> Callable[[Envelope], Awaitable[None]]:
            async def listen(envelope: Envelope) -> None:  # noqa: RUF029 - a listener is one
                got[pattern].append(envelope.subject)
                if envelope.subject == "t.evt.last.one":
                    done.set()

            return listen

        for pattern in got:
            await subscriber.subscribe(pattern, listener(pattern))
        for subject in ("t.evt.a", "t.other", "t.evt.b", "t.evt", "t.evt.last.one"):
            await publisher.publish(subject, b"")
        async with asyncio.timeout(10):
            await done.wait()
        assert got["t.evt.*"] == ["t.evt.a", "t.evt.b"]
        assert got["t.evt.>"] == ["t.evt.a", "t.evt.b", "t.evt.last.one"]

    async def test_listener_hears_nothing_after_unsubscribing(self, make_bus: MakeBus) -> None:
        bus = await make_bus()
        heard: list[bytes] = []
        again = asyncio.Event()

        async def listen(envelope: Envelope) -> None:  # noqa: RUF029 - a listener is one
            heard.append(envelope.body)

        async def listen_again(_: Envelope) -> None:  # noqa: RUF029 - a listener is one
            again.set()

        unsubscribe = await bus.subscribe("t.evt.gone", listen)
        await unsubscribe()
        await bus.subscribe("t.evt.gone", listen_again)
        await bus.publish("t.evt.gone", b"1")
        async with asyncio.timeout(10):
            await again.wait()
        assert heard == []

    async def test_drain_answers_what_runs_and_takes_no_more(self, make_bus: MakeBus) -> None:
        server, client = await make_bus(), await make_bus()
        entered, release = asyncio.Event(), asyncio.Event()

        async def slow(envelope: Envelope) -> Envelope:
            entered.set()
            await release.wait()
            return Envelope(subject="", body=envelope.body)

        unsubscribe = await server.serve("s", "q", {"t.rpc.slow": slow}, version="1.0.0")
        running = asyncio.ensure_future(client.request("t.rpc.slow", b"1", {}, timeout_s=10))
        await entered.wait()
        draining = asyncio.ensure_future(unsubscribe())
        async with asyncio.timeout(10):
            while True:  # until the server has heard that nobody serves any more
                try:
                    await client.request("t.rpc.slow", b"2", {}, timeout_s=0.05)
                except Unavailable:
                    break
                except DeadlineExceeded:
                    pass
        assert not draining.done()
        release.set()
        assert (await running).body == b"1"
        await draining

    async def test_closed_bus_is_unavailable_at_once(self, make_bus: MakeBus) -> None:
        bus = await make_bus()
        await bus.close()
        assert not bus.is_connected
        with pytest.raises(Unavailable):
            await bus.request("t.rpc.echo", b"", {}, timeout_s=30)
        with pytest.raises(Unavailable):
            await bus.publish("t.evt.a", b"")

    async def test_request_in_flight_when_the_connection_goes_has_an_unknown_outcome(
        self, make_bus: MakeBus
    ) -> None:
        server, client = await make_bus(), await make_bus()
        entered, release = asyncio.Event(), asyncio.Event()

        async def slow(envelope: Envelope) -> Envelope:
            entered.set()
            await release.wait()
            return envelope

        await server.serve("s", "q", {"t.rpc.slow": slow}, version="1.0.0")
        running = asyncio.ensure_future(client.request("t.rpc.slow", b"", {}, timeout_s=30))
        await entered.wait()
        await client.close()
        with pytest.raises(OutcomeUnknown):
            await running
        release.set()
