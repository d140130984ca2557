from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from tests.clusters import eventually

from objectql.clock import SystemClock
from objectql.rates.bucket import Rate
from objectql.rates.limiter import ADVANCE_S, KEPT, Limiter
from objectql.rates.tally import Tally
from objectql.redis.connection import RedisAddress, RedisConnection
from objectql_devstack import DataStack


class HeldClock(SystemClock):
    """Time stands until it is moved."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def monotonic_s(self) -> float:
        return self.time_s


async def admitted(limiter: Limiter, name: str, rate: Rate, tries: int) -> int:
    return sum([rate.admits(await limiter.ask((name,), rate)) for _ in range(tries)])


async def test_without_redis_a_process_goes_by_its_share() -> None:
    clock = HeldClock()
    limiter = Limiter(clock, share=0.5)
    rate = Rate(per_s=10, burst=20)
    assert await admitted(limiter, "a", rate, 30) == 10
    assert await admitted(limiter, "b", rate, 30) == 10
    clock.time_s += 1
    assert await admitted(limiter, "a", rate, 30) == 5


async def test_who_is_refused_hears_when_to_come_again() -> None:
    clock = HeldClock()
    limiter, rate = Limiter(clock), Rate(per_s=4, burst=1)
    assert rate.admits(await limiter.ask(("a",), rate))
    refused_s = await limiter.ask(("a",), rate)
    assert not rate.admits(refused_s)
    assert rate.wait_s(refused_s) == pytest.approx(0.25, rel=1e-5)
    clock.time_s += rate.wait_s(refused_s)
    assert rate.admits(await limiter.ask(("a",), rate))


async def test_names_that_matter_no_more_are_forgotten() -> None:
    clock = HeldClock()
    limiter, rate = Limiter(clock), Rate(per_s=1, burst=1)
    for number in range(KEPT + 100):
        assert limiter.spend((f"n{number}",), rate, clock.time_s) is not None
    clock.time_s += 0.5
    assert not await admitted(limiter, "n0", rate, 1)
    clock.time_s += 0.5
    for number in range(2 * KEPT):
        limiter.spend((f"m{number}",), rate, clock.time_s)
    assert limiter.known <= 3 * KEPT


# --- with Redis --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataStack]:
    with DataStack.start(tmp_path_factory.mktemp("redis"), {"redis"}) as running:
        yield running


async def is_shared(limiter: Limiter) -> bool:
    return limiter.is_shared


@asynccontextmanager
async def linked(
    stack: DataStack, namespace: str, *, share: float = 1.0, timeout_s: float = 5.0
) -> AsyncGenerator[Limiter]:
    limiter = Limiter(
        SystemClock(),
        url=stack.redis_url,
        namespace=namespace,
        share=share,
        timeout_s=timeout_s,
    )
    task = asyncio.create_task(limiter.run())
    await eventually(lambda: is_shared(limiter), within_s=20, what="a connection to Redis")
    yield limiter
    task.cancel()
    await asyncio.wait([task])


@asynccontextmanager
async def redis(stack: DataStack) -> AsyncGenerator[RedisConnection]:
    connection = await RedisConnection.open(RedisAddress.of(stack.redis_url), timeout_s=5)
    yield connection
    connection.close()


@pytest.mark.servers
async def test_what_is_asked_for_one_by_one_is_counted_exactly(stack: DataStack) -> None:
    rate = Rate(per_s=0.001, burst=30)
    async with linked(stack, "exact") as one, linked(stack, "exact") as two:
        counts = await asyncio.gather(*(admitted(each, "a", rate, 40) for each in (one, two)))
        refused_s = await two.ask(("a",), rate)
    assert sum(counts) == rate.burst
    assert 900 < rate.wait_s(refused_s) <= 1000


@pytest.mark.servers
async def test_together_processes_give_out_what_is_theirs_and_what_they_take_in_advance(
    stack: DataStack,
) -> None:
    clock, processes = SystemClock(), 4
    rate = Rate(per_s=200, burst=100)

    async def flood(limiter: Limiter, until_s: float) -> int:
        count = 0
        while clock.monotonic_s() < until_s:
            count += rate.admits(await limiter.ask(("a",), rate))
            await asyncio.sleep(0)
        return count

    async with AsyncExitStack() as opened:
        limiters = [
            await opened.enter_async_context(linked(stack, "bound")) for _ in range(processes)
        ]
        started_s = clock.monotonic_s()
        counts = await asyncio.gather(*(flood(each, started_s + 1.5) for each in limiters))
        took_s = clock.monotonic_s() - started_s
    most = rate.burst + rate.per_s * (took_s + processes * ADVANCE_S)
    assert rate.burst + rate.per_s <= sum(counts) <= most


async def charges(connection: RedisConnection) -> int:
    """How often the script was called since Redis began."""
    (statistics,) = await connection.ask(("INFO", "commandstats"))
    for line in statistics.decode().splitlines():
        if line.startswith("cmdstat_evalsha:calls="):
            return int(line.split("=")[1].split(",")[0])
    return 0


@pytest.mark.servers
async def test_most_requests_ask_nobody(stack: DataStack) -> None:
    rate = Rate(per_s=1000, burst=1000)
    async with linked(stack, "quiet") as limiter, redis(stack) as connection:
        before = await charges(connection)
        assert await admitted(limiter, "a", rate, 500) == 500
        assert await charges(connection) - before <= 20


@pytest.mark.servers
async def test_a_token_that_was_given_out_quietly_is_charged_before_long(stack: DataStack) -> None:
    async with linked(stack, "late") as limiter, redis(stack) as connection:
        before = await charges(connection)
        assert limiter.spend(("a",), Rate(per_s=100, burst=100), limiter.now_s()) is not None

        async def is_charged() -> bool:
            return await charges(connection) > before

        await eventually(is_charged, within_s=20, what="charging the token")


@pytest.mark.servers
async def test_a_tally_is_of_all_processes(stack: DataStack) -> None:
    async with linked(stack, "tally") as one, linked(stack, "tally") as two:
        tallies = [Tally(SystemClock(), limiter) for limiter in (one, two)]
        for tally in tallies:
            for _ in range(3):
                tally.add("a")
            tally.settle()

        async def is_told() -> bool:
            return [sum(await tally.days("a")) for tally in tallies] == [6, 6]

        await eventually(is_told, within_s=20, what="telling both of all six")
        assert await tallies[0].days("b") == (0, 0)


async def test_a_process_that_is_alone_tallies_for_itself() -> None:
    clock = SystemClock()
    tally = Tally(clock, Limiter(clock))
    for _ in range(2):
        tally.add("a")
        tally.settle()
    assert sum(await tally.days("a")) == 2


class Calendar(SystemClock):
    """A clock at noon of a day."""

    day = 20_000

    def now_ms(self) -> int:
        return int((self.day + 0.5) * 86_400_000)


async def live_through(calendar: Calendar, tally: Tally) -> None:
    tally.add("a")
    tally.add("a")
    assert await tally.days("a") == (2, 0)
    calendar.day += 1
    tally.add("a")
    assert await tally.days("a") == (1, 2)
    calendar.day += 1
    assert await tally.days("a") == (0, 1)
    calendar.day += 1
    assert await tally.days("a") == (0, 0)


async def test_a_day_ends_at_midnight_and_is_told_for_one_more() -> None:
    calendar = Calendar()
    await live_through(calendar, Tally(calendar, Limiter(calendar)))


@pytest.mark.servers
async def test_all_processes_have_the_same_midnight(stack: DataStack) -> None:
    calendar = Calendar()
    async with linked(stack, "days") as limiter:
        await live_through(calendar, Tally(calendar, limiter))


@pytest.mark.servers
async def test_callers_of_one_moment_get_no_more_than_there_is(stack: DataStack) -> None:
    rate = Rate(per_s=0.001, burst=5)
    async with linked(stack, "moment") as limiter:
        taken = await asyncio.gather(*(limiter.ask(("a",), rate) for _ in range(20)))
    assert sum(map(rate.admits, taken)) == 5


@pytest.mark.servers
async def test_a_frozen_redis_leaves_a_process_its_share(stack: DataStack) -> None:
    rate = Rate(per_s=0.001, burst=10)
    async with linked(stack, "frozen", share=0.5, timeout_s=0.05) as limiter:
        stack.freeze("redis")
        try:
            assert await admitted(limiter, "a", rate, 20) == 5
            assert not limiter.is_shared
        finally:
            stack.thaw("redis")
        await eventually(lambda: is_shared(limiter), within_s=20, what="a connection to Redis")
        assert await admitted(limiter, "b", rate, 20) == 10


@pytest.mark.servers
async def test_a_new_redis_begins_with_full_buckets(stack: DataStack) -> None:
    rate = Rate(per_s=0.001, burst=10)
    async with linked(stack, "new", share=0.5) as limiter:
        assert await admitted(limiter, "a", rate, 20) == 10
        stack["redis"].kill()

        async def is_alone() -> bool:
            return not limiter.is_shared

        await eventually(is_alone, within_s=20, what="noticing that Redis is gone")
        assert not await admitted(limiter, "a", rate, 1)
        assert await admitted(limiter, "b", rate, 20) == 5
        stack.restart("redis")
        await eventually(lambda: is_shared(limiter), within_s=20, what="a connection to Redis")
        assert await admitted(limiter, "a", rate, 20) == 10
