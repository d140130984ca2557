"""Reading the stream from its middle, while nothing new comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import cast

from objectql.bus.port import EventStream, StreamEntry, StreamState
from objectql.events import ChangeEvent
from objectql.ids import ObjectName, TenantId
from objectql.live.cursor import Cursors
from objectql.service.live.hub import WARM_UP, Hub
from objectql.service.live.subscription import Subscription
from objectql.wire.codec import encode


class QuickClock:
    """A clock on which waiting takes no time."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)


class IdleStream:
    """Holds events, and never gets another."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self._bodies = bodies

    async def state(self) -> StreamState:
        return StreamState("epoch", 1, len(self._bodies))

    async def read(
        self, after: int, *, epoch: str, subject: str
    ) -> AsyncGenerator[list[StreamEntry]]:
        assert (epoch, bool(subject)) == ("epoch", True)
        yield [StreamEntry(n + 1, body) for n, body in enumerate(self._bodies) if n >= after]
        await asyncio.Event().wait()


def event(number: int, batch: str, size: int) -> bytes:
    return encode(
        ChangeEvent(
            id=f"e{number}",
            tenant=TenantId("default"),
            object=ObjectName("note"),
            record_id=f"r{number}",
            kind="created",
            version=1,
            at="2026-01-01T00:00:00Z",
            actor="u1",
            batch=batch,
            batch_size=size,
        )
    )


async def test_a_commit_that_began_before_reading_holds_up_snapshots_for_a_moment_only() -> None:
    size = WARM_UP + 100
    bodies = [event(n, "large", size) for n in range(size)]
    clock = QuickClock()
    stream = cast("EventStream", IdleStream(bodies))  # nobody writes to it

    def lost(subscription: Subscription, reason: str) -> None:
        raise AssertionError((subscription, reason))

    hub = Hub(stream, Cursors(b"s" * 32), clock, lost=lost)
    reading = asyncio.ensure_future(hub.run())
    try:
        async with asyncio.timeout(20):
            while not hub.is_reading:
                await asyncio.sleep(0)
            await hub.caught_up(size, [f"e{size - 1}"])
    finally:
        reading.cancel()
        await asyncio.wait({reading})
    assert clock.now_s - 1000 < 5
    assert hub.position.place.cut == size
