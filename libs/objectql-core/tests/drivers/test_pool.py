from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from objectql.drivers.pool import ConnectionPool, Connector, PoolManager, PoolSettings
from objectql.errors import PoolExhausted, Unavailable


class Wire:
    """A connection that remembers what was done to it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_open = True
        self.is_healthy = True
        self.pings = 0


class Source:
    """Makes `Wire`s, unless it is down."""

    def __init__(self) -> None:
        self.made: list[Wire] = []
        self.is_down = False
        self.gate: asyncio.Event | None = None

    async def connect(self) -> Wire:
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise Unavailable(what="source")
        self.made.append(Wire(len(self.made)))
        return self.made[-1]

    async def close(self, wire: Wire) -> None:
        wire.is_open = False

    async def ping(self, wire: Wire) -> None:
        wire.pings += 1
        if not wire.is_healthy:
            raise Unavailable(what="source")


class HeldClock:
    """Time that only the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


def make_pool(source: Source, clock: HeldClock, **settings: Any) -> ConnectionPool[Wire]:
    connector = Connector[Wire](source.connect, source.close, source.ping, lambda w: w.is_open)
    bounds: dict[str, Any] = {"min_size": 1, "max_size": 2, **settings}
    return ConnectionPool("p", connector, PoolSettings(**bounds), clock)


@pytest.fixture
async def pool(source: Source, clock: HeldClock) -> AsyncIterator[ConnectionPool[Wire]]:
    pool = make_pool(source, clock)
    await pool.open()
    yield pool
    await pool.close(timeout_s=0.0)


async def test_open_makes_the_minimum(pool: ConnectionPool[Wire]) -> None:
    assert (pool.statistics().size, pool.statistics().idle) == (1, 1)


async def test_open_fails_when_the_source_is_down(source: Source, clock: HeldClock) -> None:
    source.is_down = True
    pool = make_pool(source, clock)
    with pytest.raises(Unavailable):
        await pool.open()
    assert pool.statistics().size == 0


async def test_released_connection_is_used_again(pool: ConnectionPool[Wire]) -> None:
    first = await pool.acquire()
    pool.release(first)
    assert await pool.acquire() is first
    statistics = pool.statistics()
    assert (statistics.acquires_total, statistics.connects_total) == (2, 1)
    pool.release(first)


async def test_waiters_are_served_first_in_first_out(pool: ConnectionPool[Wire]) -> None:
    held = [await pool.acquire(), await pool.acquire()]
    order: list[int] = []

    async def wait(number: int) -> None:
        wire = await pool.acquire()
        order.append(number)
        pool.release(wire)

    tasks = [asyncio.create_task(wait(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert pool.statistics().waiting == 5
    for wire in held:
        pool.release(wire)
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]
    assert pool.statistics().acquired == 0


async def test_no_free_connection_in_time_is_pool_exhausted(pool: ConnectionPool[Wire]) -> None:
    held = [await pool.acquire(), await pool.acquire()]
    with pytest.raises(PoolExhausted):
        await pool.acquire(0.01)
    statistics = pool.statistics()
    assert (statistics.timeouts_total, statistics.waiting, statistics.acquired) == (1, 0, 2)
    for wire in held:
        pool.release(wire)
    assert pool.statistics().idle == 2


async def test_cancelled_waiter_loses_no_connection(pool: ConnectionPool[Wire]) -> None:
    held = [await pool.acquire(), await pool.acquire()]
    waiter = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    pool.release(held[0])  # handed to the waiter, which has not run yet
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert pool.statistics().acquired == 1
    assert await pool.acquire(0.01) is held[0]
    for wire in held:
        pool.release(wire)


async def test_discarded_connection_makes_room_for_a_waiter(
    pool: ConnectionPool[Wire], source: Source
) -> None:
    held = [await pool.acquire(), await pool.acquire()]
    waiter = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    pool.release(held[0], discard=True)
    fresh = await waiter
    assert fresh.number == 2
    assert not held[0].is_open
    assert pool.statistics().size == 2
    pool.release(fresh)
    pool.release(held[1])


async def test_closed_idle_connection_is_replaced(
    pool: ConnectionPool[Wire], source: Source
) -> None:
    source.made[0].is_open = False
    wire = await pool.acquire()
    assert wire.number == 1
    assert pool.statistics().size == 1
    pool.release(wire)


async def test_long_idle_connection_is_pinged_and_replaced_if_dead(
    pool: ConnectionPool[Wire], source: Source, clock: HeldClock
) -> None:
    clock.now_s = 31.0
    wire = await pool.acquire()
    assert (wire.number, wire.pings) == (0, 1)
    pool.release(wire)
    clock.now_s = 62.0
    wire.is_healthy = False
    fresh = await pool.acquire()
    assert fresh.number == 1
    await asyncio.sleep(0)
    assert not wire.is_open
    pool.release(fresh)


async def test_failed_connect_frees_its_place(pool: ConnectionPool[Wire], source: Source) -> None:
    held = await pool.acquire()
    source.is_down = True
    with pytest.raises(Unavailable):
        await pool.acquire()
    source.is_down = False
    other = await pool.acquire()
    assert pool.statistics().size == 2
    pool.release(held)
    pool.release(other)


async def test_size_never_exceeds_the_maximum_while_connecting(
    pool: ConnectionPool[Wire], source: Source
) -> None:
    source.gate = asyncio.Event()
    tasks = [asyncio.create_task(pool.acquire()) for _ in range(4)]
    await asyncio.sleep(0)
    assert pool.statistics().size == 2
    source.gate.set()
    for _ in range(2):
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            tasks.remove(task)
            pool.release(await task)
    for task in tasks:
        pool.release(await task)
    assert len(source.made) == 2


async def test_reaper_closes_idle_connections_down_to_the_minimum(
    source: Source, clock: HeldClock
) -> None:
    pool = make_pool(source, clock, max_size=4, idle_timeout_s=10.0)
    await pool.open()
    held = [await pool.acquire() for _ in range(4)]
    for wire in held:
        pool.release(wire)
    assert pool.reap() == 0
    clock.now_s = 11.0
    assert pool.reap() == 3
    assert pool.statistics().size == 1
    await pool.close()


async def test_close_waits_for_connections_in_use(pool: ConnectionPool[Wire]) -> None:
    wire = await pool.acquire()
    closing = asyncio.create_task(pool.close())
    done, _ = await asyncio.wait([closing], timeout=0.01)
    assert not done
    pool.release(wire)
    await closing
    assert not wire.is_open
    with pytest.raises(Unavailable):
        await pool.acquire()


async def test_close_sends_waiters_away(pool: ConnectionPool[Wire]) -> None:
    held = [await pool.acquire(), await pool.acquire()]
    waiter = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    await pool.close(timeout_s=0.0)
    with pytest.raises(Unavailable):
        await waiter
    for wire in held:
        pool.release(wire)
    assert pool.statistics().size == 0


async def test_lease_discards_after_an_unexpected_failure(pool: ConnectionPool[Wire]) -> None:
    seen: list[Wire] = []

    async def fail(failure: Exception) -> None:
        async with pool.lease() as wire:
            seen.append(wire)
            raise failure

    with pytest.raises(ZeroDivisionError):
        await fail(ZeroDivisionError())
    await asyncio.sleep(0)
    assert not seen[0].is_open
    with pytest.raises(PoolExhausted):
        await fail(PoolExhausted(pool="another"))
    assert seen[1].is_open


async def test_manager_divides_its_bound_among_pools(source: Source, clock: HeldClock) -> None:
    manager = PoolManager(max_connections=5)
    first = manager.grant("a", PoolSettings(max_size=4))
    second = manager.grant("b", PoolSettings(min_size=3, max_size=4))
    assert (first.max_size, second.max_size, second.min_size) == (4, 1, 1)
    with pytest.raises(PoolExhausted):
        manager.grant("c", PoolSettings())
    manager.forget("a")
    assert manager.grant("c", PoolSettings(max_size=2)).max_size == 2


async def test_manager_reports_health_and_closes_all(
    pool: ConnectionPool[Wire], source: Source
) -> None:
    manager = PoolManager()
    manager.register(pool)
    assert await manager.check_health() == {"p": True}
    source.made[0].is_healthy = False
    assert await manager.check_health() == {"p": False}
    assert manager.statistics()["p"].size == 0
    await manager.close()
    assert manager.statistics() == {}
