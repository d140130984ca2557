"""A primary and a streaming standby: what readers with tokens and bounds are shown."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress

import asyncpg  # noqa: TID251 - looks behind the driver's back
import msgspec
import pytest

from objectql.drivers.pool import PoolSettings
from objectql.drivers.protocol import Freshness, ReplicaStatus
from objectql.drivers.sql.postgres import PostgresSettings
from objectql.drivers.sql.postgres_replicas import ReplicaSettings
from objectql.drivers.sql.postgres_replicated import ReplicatedPostgresDriver
from objectql.drivers.sql.postgres_walls import AS_OWNER
from objectql.ids import FieldName
from objectql.testing.driver_samples import (
    ACME,
    CUSTOMERS,
    OBJECTS,
    field,
    insert,
    one_by_id,
    update,
    write,
)
from objectql_devstack import DataStack

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

ANY = Freshness()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataStack]:
    with DataStack.start(tmp_path_factory.mktemp("replica"), {"replica"}) as stack:
        yield stack


def make_driver(stack: DataStack, *, max_lag_s: float = 60) -> ReplicatedPostgresDriver:
    return ReplicatedPostgresDriver(
        PostgresSettings(stack.pg_url, pool=PoolSettings(max_size=8)),
        {
            "replica-1": ReplicaSettings(
                stack.pg_replica_url, PoolSettings(min_size=0, max_size=8), max_lag_s
            )
        },
    )


async def as_owner(driver: ReplicatedPostgresDriver, statement: str) -> None:
    """Run what only the owner of the tables may."""
    async with driver.begin() as session:
        await session.run(AS_OWNER)
        await session.run(statement)


@pytest.fixture
async def driver(stack: DataStack) -> AsyncIterator[ReplicatedPostgresDriver]:
    driver = make_driver(stack)
    await driver.connect()
    await driver.apply_schema(await driver.plan_schema(OBJECTS))
    await as_owner(driver, "TRUNCATE customers CASCADE")
    await write(driver, insert(CUSTOMERS, "a", name="0"))
    await reaches(driver, lambda: served(driver, Freshness(position=1)))
    yield driver
    await driver.close()


async def reaches(
    driver: ReplicatedPostgresDriver, check: Callable[[], Awaitable[bool]], within_s: float = 10
) -> float:
    started = time.monotonic()
    while not await check():
        assert time.monotonic() - started < within_s, status(driver)
        await asyncio.sleep(0.01)
    return time.monotonic() - started


def status(driver: ReplicatedPostgresDriver) -> ReplicaStatus:
    return driver.read_counts().replicas[0]


async def name_of(
    driver: ReplicatedPostgresDriver, freshness: Freshness | None
) -> tuple[str, bool] | None:
    """The name of customer `a`, and whether a replica told it."""
    deadline_ms = int(time.time() * 1000) + 5000
    query = driver.lower(one_by_id(CUSTOMERS))
    image = await driver.fetch_one(query, (ACME, "a"), deadline_ms=deadline_ms, freshness=freshness)
    if image is None:
        return None
    return msgspec.json.decode(image.json)["name"], image.is_replica


async def served(driver: ReplicatedPostgresDriver, freshness: Freshness) -> bool:
    """Whether a replica answers."""
    found = await name_of(driver, freshness)
    return found is not None and found[1]


async def rename(driver: ReplicatedPostgresDriver, name: str) -> int:
    await write(driver, update(CUSTOMERS, "a", name=name))
    position = await driver.position()
    assert position is not None
    return position


async def tell_replica(stack: DataStack, command: str) -> None:
    connection = await asyncpg.connect(stack.pg_replica_url)
    await connection.execute(command)
    await connection.close()


@pytest.fixture
async def paused(stack: DataStack, driver: ReplicatedPostgresDriver) -> AsyncIterator[None]:
    """Replay stands still; what is committed from now on does not reach readers of the replica."""
    position = await driver.position()
    await reaches(driver, lambda: served(driver, Freshness(position=position)))
    await tell_replica(stack, "SELECT pg_wal_replay_pause()")
    yield
    with suppress(OSError, asyncpg.PostgresError):
        await tell_replica(stack, "SELECT pg_wal_replay_resume()")


async def test_a_read_without_a_freshness_is_the_primary_s(
    driver: ReplicatedPostgresDriver,
) -> None:
    assert await name_of(driver, None) == ("0", False)
    assert await name_of(driver, ANY) == ("0", True)


@pytest.mark.usefixtures("paused")
async def test_a_paused_replica_never_answers_the_holder_of_a_newer_token(
    driver: ReplicatedPostgresDriver,
) -> None:
    token = await rename(driver, "1")
    assert await name_of(driver, Freshness(position=token)) == ("1", False)
    assert await name_of(driver, Freshness(max_lag_s=60, position=token)) == ("1", False)
    assert await name_of(driver, ANY) == ("0", True)  # without a token it may


@pytest.mark.usefixtures("paused")
async def test_a_reader_who_waits_is_answered_by_the_replica_once_it_has_caught_up(
    stack: DataStack, driver: ReplicatedPostgresDriver
) -> None:
    token = await rename(driver, "1")
    reading = asyncio.create_task(name_of(driver, Freshness(position=token, wait_s=2)))
    await reaches(driver, lambda: _has_waited(driver))
    await tell_replica(stack, "SELECT pg_wal_replay_resume()")
    assert await reading == ("1", True)


async def _has_waited(driver: ReplicatedPostgresDriver) -> bool:  # noqa: RUF029 - see `reaches`
    return status(driver).lag_bytes > 0


@pytest.mark.usefixtures("paused")
async def test_a_bound_sends_readers_to_the_primary_once_the_replica_is_too_old(
    driver: ReplicatedPostgresDriver,
) -> None:
    await rename(driver, "1")
    assert await name_of(driver, Freshness(max_lag_s=30)) == ("0", True)

    async def answered_by_primary() -> bool:
        return await name_of(driver, Freshness(max_lag_s=1)) == ("1", False)

    await reaches(driver, answered_by_primary, within_s=3)
    assert await name_of(driver, ANY) == ("0", True)


async def test_an_idle_replica_does_not_grow_old(driver: ReplicatedPostgresDriver) -> None:
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert await served(driver, Freshness(max_lag_s=1))
        await asyncio.sleep(0.05)


@pytest.mark.usefixtures("paused")
async def test_a_column_that_has_not_arrived_is_read_from_the_primary(
    driver: ReplicatedPostgresDriver,
) -> None:
    fields = {**CUSTOMERS.fields, FieldName("later"): field("later", "text")}
    grown = msgspec.structs.replace(CUSTOMERS, fields=fields)
    await driver.apply_schema(await driver.plan_schema([grown]))
    image = await driver.fetch_one(driver.lower(one_by_id(grown)), (ACME, "a"), freshness=ANY)
    assert image is not None
    assert not image.is_replica
    assert msgspec.json.decode(image.json)["later"] is None
    assert await name_of(driver, ANY) == ("0", True)
    await as_owner(driver, "ALTER TABLE customers DROP COLUMN later")


async def test_a_replica_behind_by_more_than_allowed_is_left_out_and_comes_back(
    stack: DataStack,
) -> None:
    driver = make_driver(stack, max_lag_s=0.5)
    await driver.connect()
    try:
        await reaches(driver, lambda: served(driver, ANY))
        await tell_replica(stack, "SELECT pg_wal_replay_pause()")
        await rename(driver, "late")

        async def left_out() -> bool:
            return await name_of(driver, ANY) == ("late", False)

        assert await reaches(driver, left_out) < 2
        assert status(driver).ejections == {"lag": 1}
        await tell_replica(stack, "SELECT pg_wal_replay_resume()")
        await reaches(driver, lambda: served(driver, ANY))
    finally:
        await tell_replica(stack, "SELECT pg_wal_replay_resume()")
        await driver.close()


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_a_dead_replica_is_out_within_2_s_and_every_read_is_answered(
    stack: DataStack, driver: ReplicatedPostgresDriver, how: str
) -> None:
    slowest_s = 0.0
    stopped = asyncio.Event()

    async def read_on() -> None:
        nonlocal slowest_s
        while not stopped.is_set():
            started = time.monotonic()
            assert await name_of(driver, ANY) is not None
            slowest_s = max(slowest_s, time.monotonic() - started)

    async def is_out() -> bool:  # noqa: RUF029 - see `reaches`
        return not status(driver).is_in

    bring_back = {"kill": stack.restart, "freeze": stack.thaw}[how]
    try:
        async with asyncio.TaskGroup() as readers:
            for _ in range(4):
                readers.create_task(read_on())
            await asyncio.to_thread(getattr(stack, how), "replica")
            assert await reaches(driver, is_out) < 2
            await asyncio.sleep(0.2)
            stopped.set()
    finally:
        await asyncio.to_thread(bring_back, "replica")
    assert slowest_s < 2
    await reaches(driver, lambda: served(driver, ANY))


async def test_no_reader_ever_sees_less_than_its_token_or_bound_allows(
    stack: DataStack, driver: ReplicatedPostgresDriver
) -> None:
    """Writers, readers and a replica that is paused, resumed, killed and restarted at random."""
    rng = random.Random(20_260_301)  # noqa: S311 - a seed, not a secret
    bound_s = 1.0
    acked: list[tuple[float, int]] = []  # time and position of write n + 1
    reads = {True: 0, False: 0}
    stopped = asyncio.Event()

    async def write_on() -> None:
        while not stopped.is_set():
            position = await rename(driver, str(len(acked) + 1))
            acked.append((time.monotonic(), position))
            await asyncio.sleep(rng.random() * 0.01)

    async def read_on() -> None:
        while not stopped.is_set():
            chosen = rng.randrange(len(acked) + 1)
            wait_s = rng.choice([0.0, 0.0, 0.05])
            if rng.random() < 0.5 and chosen:
                wanted = Freshness(position=acked[chosen - 1][1], wait_s=wait_s)
                floor = chosen
            elif rng.random() < 0.5:
                wanted = Freshness(position=acked[-1][1] if acked else 0)
                floor = len(acked)
            else:
                wanted = Freshness(max_lag_s=bound_s)
                old_s = time.monotonic() - bound_s
                floor = sum(at < old_s for at, _ in acked)
            found = await name_of(driver, wanted)
            assert found is not None
            seen, is_replica = int(found[0]), found[1]
            assert seen >= floor, (seen, floor, wanted, is_replica)
            reads[is_replica] += 1
            await asyncio.sleep(0)

    async def disturb() -> None:
        for step in range(12):
            await asyncio.sleep(0.2 + rng.random() * 0.4)
            if step == 5:
                await asyncio.to_thread(stack.kill, "replica")
                await asyncio.to_thread(stack.restart, "replica")
            elif step % 2:
                await tell_replica(stack, "SELECT pg_wal_replay_resume()")
            else:
                await tell_replica(stack, "SELECT pg_wal_replay_pause()")
        stopped.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(write_on())
        for _ in range(4):
            group.create_task(read_on())
        group.create_task(disturb())
    await tell_replica(stack, "SELECT pg_wal_replay_resume()")
    assert reads[True] > 100, "the replica took part"
    assert reads[False] > 100, "and so did the primary"


async def test_a_promoted_replica_is_left_out(stack: DataStack) -> None:
    """The last test of this module: the replica is none any more."""
    driver = make_driver(stack)
    await driver.connect()
    try:
        await reaches(driver, lambda: served(driver, ANY))
        await tell_replica(stack, "SELECT pg_promote()")

        async def answered_by_primary() -> bool:
            return not await served(driver, ANY)

        assert await reaches(driver, answered_by_primary) < 2
        assert status(driver).ejections == {"promoted": 1}
    finally:
        await driver.close()
