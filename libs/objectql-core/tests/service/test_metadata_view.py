from __future__ import annotations

import asyncio
from typing import Any

import pytest

from objectql.bus.memory import MemoryBus
from objectql.clock import SystemClock
from objectql.context import Context
from objectql.errors import Unavailable
from objectql.metadata.registry import MetadataSnapshot
from objectql.service.metadata_view import MetadataView
from objectql.wire import codec, subjects
from objectql.wire.messages import MetadataChanged, SnapshotReply, SnapshotRequest


class StillClock(SystemClock):
    """A clock whose sleepers wait until they are woken."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await self.wake.wait()
        self.wake.clear()


class Source:
    """A kernel with one version of metadata."""

    def __init__(self) -> None:
        self.version = 1
        self.is_down = False
        self.answered = asyncio.Event()

    async def call(self, verb: str, request: Any, context: Context, reply_type: Any) -> Any:
        assert (verb, type(request)) == ("snapshot", SnapshotRequest)
        self.answered.set()
        if self.is_down:
            raise Unavailable(what="the kernel")
        items = None if request.known == self.version else str(self.version).encode()
        return SnapshotReply(self.version, items)

    async def next_answer(self) -> None:
        self.answered.clear()
        async with asyncio.timeout(5):
            await self.answered.wait()
        await asyncio.sleep(0)


def decode(items: bytes) -> MetadataSnapshot:
    return MetadataSnapshot(int(items), {})


async def test_an_announcement_brings_the_new_snapshot_before_the_poll() -> None:
    bus, clock, source = MemoryBus(), StillClock(), Source()
    view = MetadataView(source, clock, decode)
    with pytest.raises(Unavailable):
        _ = view.snapshot
    await view.start(bus)
    await source.next_answer()
    assert view.version == 1
    source.version = 2
    news = codec.encode(MetadataChanged(version=2, origin="k1"))
    await bus.publish(subjects.kernel_event("metadata:published"), news)
    await source.next_answer()
    assert view.version == 2
    await view.stop()
    await bus.close()


async def test_the_poll_finds_what_no_announcement_told_even_after_an_outage() -> None:
    bus, clock, source = MemoryBus(), StillClock(), Source()
    source.is_down = True
    view = MetadataView(source, clock, decode)
    await view.start(bus)
    await source.next_answer()
    assert not view.is_ready
    source.is_down = False
    source.version = 5
    clock.wake.set()
    await source.next_answer()
    assert view.version == 5
    await view.stop()
    await bus.close()


async def test_refresh_with_a_known_version_asks_nobody() -> None:
    source = Source()
    view = MetadataView(source, StillClock(), decode)
    await view.refresh()
    source.answered.clear()
    await view.refresh(1)
    assert not source.answered.is_set()
