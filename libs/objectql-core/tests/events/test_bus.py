from __future__ import annotations

import asyncio
import logging

import pytest

from objectql.errors import InvalidRequest
from objectql.events import (
    DriverConnected,
    Event,
    EventBus,
    KernelStarted,
    KernelStopped,
    PluginStarted,
)
from objectql.events.bus import compile_pattern

STARTED = KernelStarted(timestamp_ms=1, node="n")
STOPPED = KernelStopped(timestamp_ms=2, node="n")


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("kernel:*", "kernel:started", True),
        ("kernel:*", "plugin:started", False),
        ("*:started", "plugin:started", True),
        ("**", "data:account.created", True),
        ("data:*", "data:account.created", False),
        ("data:**", "data:account.created", True),
        ("data:account.*", "data:account.created", True),
        ("kernel:started", "kernel:started", True),
        ("kernel:start", "kernel:started", False),
    ],
)
def test_patterns_match_segment_by_segment(pattern: str, name: str, matches: bool) -> None:
    assert (compile_pattern(pattern).fullmatch(name) is not None) is matches


@pytest.mark.parametrize("pattern", ["", "kernel:", "kern*", "a::b"])
def test_a_malformed_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequest):
        compile_pattern(pattern)


async def test_handlers_hear_only_what_they_asked_for_until_they_unsubscribe() -> None:
    bus = EventBus()
    heard: list[Event] = []
    stop = bus.on("kernel:*", heard.append)
    await bus.emit(STARTED)
    await bus.emit(DriverConnected(driver="default"))
    stop()
    stop()
    await bus.emit(STOPPED)
    assert heard == [STARTED]


async def test_filter_narrows_a_pattern() -> None:
    bus = EventBus()
    heard: list[Event] = []
    bus.on("plugin:*", heard.append, filter=lambda e: getattr(e, "plugin", "") == "audit")
    await bus.emit(PluginStarted(plugin="other", version="1.0.0"))
    await bus.emit(PluginStarted(plugin="audit", version="1.0.0"))
    assert heard == [PluginStarted(plugin="audit", version="1.0.0")]


async def test_once_hears_one_event() -> None:
    bus = EventBus()
    heard: list[Event] = []
    bus.once("kernel:*", heard.append)
    await bus.emit(STARTED)
    await bus.emit(STOPPED)
    assert heard == [STARTED]


async def test_handlers_run_concurrently() -> None:
    bus = EventBus()
    gate = asyncio.Event()

    async def waits(_: Event) -> None:
        await gate.wait()

    async def opens(_: Event) -> None:
        gate.set()

    bus.on("**", waits)
    bus.on("**", opens)
    await asyncio.wait_for(bus.emit(STARTED), timeout=5)


async def test_a_failing_handler_is_logged_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = EventBus()
    heard: list[Event] = []

    def fails(_: Event) -> None:
        raise RuntimeError("boom")

    bus.on("**", fails)
    bus.on("**", heard.append)
    with caplog.at_level(logging.ERROR):
        assert await bus.emit(STARTED) == 1
    assert heard == [STARTED]
    assert "event handler failed" in caplog.text


async def test_replay_is_bounded_and_numbered_without_gaps() -> None:
    bus = EventBus(capacity=2)
    for event in (STARTED, DriverConnected(driver="a"), STOPPED):
        await bus.emit(event)
    assert [r.sequence for r in bus.replay()] == [2, 3]
    assert [r.event for r in bus.replay("kernel:*", since=1, until=3)] == [STOPPED]
    assert bus.sequence == 3


async def test_a_replaying_subscriber_sees_old_and_new_in_order_once() -> None:
    bus = EventBus()
    heard: list[Event] = []
    await bus.emit(STARTED)
    first_delivered = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(event: Event) -> None:
        heard.append(event)
        first_delivered.set()
        await go_on.wait()

    bus.on("**", slow, replay_from="all")
    await first_delivered.wait()
    await bus.emit(STOPPED)  # while the replay hangs in the first event
    go_on.set()
    await bus.drain()
    await bus.emit(DriverConnected(driver="late"))
    assert heard == [STARTED, STOPPED, DriverConnected(driver="late")]


async def test_replay_from_a_sequence_skips_what_is_older() -> None:
    bus = EventBus()
    heard: list[Event] = []
    await bus.emit(STARTED)
    await bus.emit(STOPPED)
    bus.on("**", heard.append, replay_from=2)
    await bus.drain()
    assert heard == [STOPPED]
