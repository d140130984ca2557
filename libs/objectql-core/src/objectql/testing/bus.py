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


VERBS = "oql.v1.rpc.t"
"""Verbs of a service: their requests may share messages, and be cancelled."""


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

    async def test_requests_of_one_turn_have_answers_errors_and_headers_of_their_own(
        self, make_bus: MakeBus
    ) -> None:
        server, client = await make_bus(), await make_bus()

        async def refuse(envelope: Envelope) -> Envelope:  # noqa: RUF029 - a handler is one
            return Envelope(subject="", body=envelope.body, headers={"Nats-Service-Error": "NO"})

        handlers = {f"{VERBS}.echo": echo, f"{VERBS}.refuse": refuse}
        await server.serve("s", "q", handlers, version="1.0.0")
        names = ["echo", "refuse"] * 25
        replies = await asyncio.gather(
            *(
                client.request(f"{VERBS}.{name}", b"%d" % n, {"Oql-N": f"ü {n}"}, timeout_s=10)
                for n, name in enumerate(names)
            )
        )
        assert [r.body for r in replies] == [b"%d" % n for n in range(50)]
        for n, reply in enumerate(replies):
            mine = {"Oql-N": f"ü {n}"} if n % 2 == 0 else {"Nats-Service-Error": "NO"}
            assert dict(reply.headers) == mine

    async def test_slow_request_holds_back_none_that_was_sent_with_it(
        self, make_bus: MakeBus
    ) -> None:
        server, client = await make_bus(), await make_bus()
        release = asyncio.Event()

        async def slow(envelope: Envelope) -> Envelope:
            await release.wait()
            return Envelope(subject="", body=envelope.body)

        handlers = {f"{VERBS}.slow": slow, f"{VERBS}.echo": echo}
        await server.serve("s", "q", handlers, version="1.0.0")
        held = asyncio.ensure_future(client.request(f"{VERBS}.slow", b"s", {}, timeout_s=10))
        replies = await asyncio.gather(
            *(client.request(f"{VERBS}.echo", b"%d" % n, {}, timeout_s=10) for n in range(5))
        )
        assert [r.body for r in replies] == [b"%d" % n for n in range(5)]
        assert not held.done()
        release.set()
        assert (await held).body == b"s"

    async def test_long_bodies_of_one_turn_arrive_whole_both_ways(self, make_bus: MakeBus) -> None:
        server, client = await make_bus(), await make_bus()

        async def grow(envelope: Envelope) -> Envelope:  # noqa: RUF029 - a handler is one
            return Envelope(subject="", body=envelope.body * 3)

        await server.serve("s", "q", {f"{VERBS}.grow": grow}, version="1.0.0")
        bodies = [bytes([n]) * size for n, size in enumerate((10, 700_000, 90_000, 60_000, 0))]
        replies = await asyncio.gather(
            *(client.request(f"{VERBS}.grow", sent, {}, timeout_s=10) for sent in bodies)
        )
        assert [r.body for r in replies] == [sent * 3 for sent in bodies]

    async def test_verb_that_nobody_serves_is_unavailable_among_others_that_are_served(
        self, make_bus: MakeBus
    ) -> None:
        server, client = await make_bus(), await make_bus()

        async def ask(verb: str) -> Envelope:
            return await client.request(f"{VERBS}.{verb}", b"1", {}, timeout_s=30)

        with pytest.raises(Unavailable):
            await ask("echo")
        await server.serve("s", "q", {f"{VERBS}.echo": echo}, version="1.0.0")
        served, unserved = await asyncio.gather(ask("echo"), ask("gone"), return_exceptions=True)
        assert isinstance(served, Envelope)
        assert isinstance(unserved, Unavailable)

    @pytest.mark.parametrize("ends", ["cancelled", "expired"])
    async def test_handler_that_may_be_is_cancelled_when_its_caller_goes_and_others_finish(
        self, make_bus: MakeBus, ends: str
    ) -> None:
        server, client = await make_bus(), await make_bus()
        entered = {"read": asyncio.Event(), "write": asyncio.Event()}
        ended: asyncio.Queue[str] = asyncio.Queue()
        release = asyncio.Event()

        def handler(verb: str) -> Callable[[Envelope], Awaitable[Envelope]]:
            async def work(envelope: Envelope) -> Envelope:
                entered[verb].set()
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    ended.put_nowait(f"{verb} cancelled")
                    raise
                ended.put_nowait(f"{verb} finished")
                return envelope

            return work

        handlers = {f"{VERBS}.{verb}": handler(verb) for verb in entered}
        cancellable = {f"{VERBS}.read"}
        await server.serve("s", "q", handlers, version="1.0.0", cancellable=cancellable)
        timeout_s = 0.3 if ends == "expired" else 30
        calls = [
            asyncio.ensure_future(client.request(f"{VERBS}.{verb}", b"", {}, timeout_s=timeout_s))
            for verb in entered
        ]
        async with asyncio.timeout(10):
            for event in entered.values():
                await event.wait()
            if ends == "cancelled":
                for call in calls:
                    call.cancel()
            await asyncio.wait(calls)
            assert await ended.get() == "read cancelled"
            release.set()
            assert await ended.get() == "write finished"

    async def test_cancelled_request_leaves_those_sent_with_it_alone(
        self, make_bus: MakeBus
    ) -> None:
        server, client = await make_bus(), await make_bus()
        arrived, release = asyncio.Barrier(6), asyncio.Event()
        cut: asyncio.Queue[bytes] = asyncio.Queue()

        async def work(envelope: Envelope) -> Envelope:
            await arrived.wait()
            try:
                await release.wait()
            except asyncio.CancelledError:
                cut.put_nowait(envelope.body)
                raise
            return Envelope(subject="", body=envelope.body)

        verb = f"{VERBS}.work"
        await server.serve("s", "q", {verb: work}, version="1.0.0", cancellable={verb})
        calls = [
            asyncio.ensure_future(client.request(verb, b"%d" % n, {}, timeout_s=10))
            for n in range(5)
        ]
        async with asyncio.timeout(10):
            await arrived.wait()
            calls[2].cancel()
            assert await cut.get() == b"2"
            release.set()
            rest = await asyncio.gather(*calls, return_exceptions=True)
        assert cut.empty()
        assert [r.body for r in rest if isinstance(r, Envelope)] == [b"0", b"1", b"3", b"4"]

    async def test_request_cancelled_before_it_left_never_arrives(self, make_bus: MakeBus) -> None:
        server, client = await make_bus(), await make_bus()
        seen: list[bytes] = []

        async def note(envelope: Envelope) -> Envelope:  # noqa: RUF029 - a handler is one
            seen.append(envelope.body)
            return Envelope(subject="", body=b"")

        verb = f"{VERBS}.note"
        await server.serve("s", "q", {verb: note}, version="1.0.0", cancellable={verb})
        never = asyncio.ensure_future(client.request(verb, b"never", {}, timeout_s=10))
        never.cancel()
        await client.request(verb, b"sent", {}, timeout_s=10)
        assert seen == [b"sent"]

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

    @pytest.mark.parametrize("prefix", ["t.rpc", VERBS])
    async def test_drain_answers_what_runs_and_takes_no_more(
        self, make_bus: MakeBus, prefix: str
    ) -> None:
        server, client = await make_bus(), await make_bus()
        entered, release = asyncio.Event(), asyncio.Event()

        async def slow(envelope: Envelope) -> Envelope:
            entered.set()
            await release.wait()
            return Envelope(subject="", body=envelope.body)

        unsubscribe = await server.serve("s", "q", {f"{prefix}.slow": slow}, version="1.0.0")
        running = asyncio.ensure_future(client.request(f"{prefix}.slow", b"1", {}, timeout_s=10))
        await entered.wait()
        draining = asyncio.ensure_future(unsubscribe())
        async with asyncio.timeout(10):
            while True:  # until the server has heard that nobody serves any more
                try:
                    await client.request(f"{prefix}.slow", b"2", {}, timeout_s=0.05)
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

    @pytest.mark.parametrize("prefix", ["t.rpc", VERBS])
    async def test_request_in_flight_when_the_connection_goes_has_an_unknown_outcome(
        self, make_bus: MakeBus, prefix: str
    ) -> None:
        server, client = await make_bus(), await make_bus()
        entered, release = asyncio.Event(), asyncio.Event()

        async def slow(envelope: Envelope) -> Envelope:
            entered.set()
            await release.wait()
            return envelope

        await server.serve("s", "q", {f"{prefix}.slow": slow}, version="1.0.0")
        running = asyncio.ensure_future(client.request(f"{prefix}.slow", b"", {}, timeout_s=30))
        await entered.wait()
        await client.close()
        with pytest.raises(OutcomeUnknown):
            await running
        release.set()
