from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

import asyncpg  # noqa: TID251 - looks behind the driver's back
import pytest

from objectql.drivers.pool import PoolSettings
from objectql.drivers.protocol import Remembered
from objectql.drivers.sql import postgres_connect
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.errors import DeadlineExceeded, OutcomeUnknown, Unavailable
from objectql.testing.driver_samples import (
    ACME,
    CUSTOMERS,
    by_id,
    ids,
    insert,
    key,
    read,
    scope,
    update,
    write,
)
from objectql.testing.drivers import DriverSuite, PreparePromises

pytestmark = pytest.mark.servers


@pytest.fixture
async def driver(database_url: str) -> AsyncIterator[PostgresDriver]:
    pool = PoolSettings(min_size=1, max_size=8)
    driver = PostgresDriver(PostgresSettings(database_url, pool=pool))
    await driver.connect()
    yield driver
    await driver.close()


class TestPostgres(DriverSuite, PreparePromises):
    pass


# --- what only a server can do -------------------------------------------------------------------


class Cable:
    """A TCP proxy that can fall silent towards the client, and be cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.speaks = asyncio.Event()
        self.speaks.set()
        self.swallowed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, up_writer]
        for source, sink, is_answer in ((reader, up_writer, False), (up_reader, writer, True)):
            task = asyncio.create_task(self._pump(source, sink, is_answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_answer: bool
    ) -> None:
        try:
            while data := await source.read(65536):
                if is_answer and not self.speaks.is_set():
                    self.swallowed.set()
                    await self.speaks.wait()
                sink.write(data)
        except ConnectionError:
            return  # cut


async def goes_away(_: object) -> None:  # noqa: RUF029 - stands for a statement
    raise asyncpg.InternalClientError("cannot switch to state 12; another operation is in progress")


async def says_nothing(_: object) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("server", [goes_away, says_nothing])
async def test_a_server_lost_while_a_connection_is_made_ready_is_unavailable(
    database_url: str, monkeypatch: pytest.MonkeyPatch, server: Callable[[object], Awaitable[None]]
) -> None:
    made: list[asyncpg.Connection] = []

    async def make_ready(connection: asyncpg.Connection) -> None:
        made.append(connection)
        await server(connection)

    monkeypatch.setattr(postgres_connect, "use_our_types", make_ready)
    with pytest.raises(Unavailable):
        await postgres_connect.open_connection(
            database_url, name="main", timeout_s=0.5, statement_cache=0
        )
    assert made[0].is_closed()


@pytest.fixture
async def blocker(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of someone else who holds locks."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def until_waiting(observer: asyncpg.Connection, count: int = 1) -> None:
    """Return when so many statements wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while await observer.fetchval(query) < count:
        await asyncio.sleep(0.005)


async def in_progress(observer: asyncpg.Connection) -> int:
    return await observer.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid() "
        "AND application_name = 'objectql'"
    )


def soon_ms(ms: int = 150) -> int:
    return time.time_ns() // 1_000_000 + ms


async def test_read_past_its_deadline_is_cancelled_on_the_server(
    driver: PostgresDriver, blocker: asyncpg.Connection
) -> None:
    await blocker.execute("BEGIN; LOCK TABLE customers")
    with pytest.raises(DeadlineExceeded):
        await driver.fetch(driver.lower(by_id(CUSTOMERS)), (ACME,), deadline_ms=soon_ms())
    await driver.close()
    assert await in_progress(blocker) == 0


async def test_the_server_ends_what_nobody_cancels_and_the_pool_goes_on(
    database_url: str, blocker: asyncpg.Connection
) -> None:
    pool = PoolSettings(min_size=1, max_size=1)
    driver = PostgresDriver(PostgresSettings(database_url, pool=pool, max_statement_s=0.2))
    await driver.connect()
    query = driver.lower(by_id(CUSTOMERS))
    await blocker.execute("BEGIN; LOCK TABLE customers")
    with pytest.raises(DeadlineExceeded):
        await driver.fetch(query, (ACME,))
    assert await in_progress(blocker) == 0
    await blocker.execute("ROLLBACK")
    assert (await driver.fetch(query, (ACME,))).count == 0
    await driver.close()


async def test_write_past_its_deadline_is_cancelled_and_leaves_nothing(
    driver: PostgresDriver, blocker: asyncpg.Connection
) -> None:
    await write(driver, insert(CUSTOMERS, "c1", name="Ann"))
    await blocker.execute("BEGIN; SELECT 1 FROM customers FOR UPDATE")
    change = update(CUSTOMERS, "c1", name="Bea")
    with pytest.raises(DeadlineExceeded):
        await driver.write([change], scope(), deadline_ms=soon_ms())
    assert await in_progress(blocker) == 0
    await blocker.execute("ROLLBACK")
    record = await read(driver, CUSTOMERS, "c1")
    assert record is not None
    assert record.version == 1


async def test_transaction_past_its_deadline_is_rolled_back(
    driver: PostgresDriver, blocker: asyncpg.Connection
) -> None:
    await write(driver, insert(CUSTOMERS, "c1", name="Ann"))
    await blocker.execute("BEGIN; SELECT 1 FROM customers FOR UPDATE")

    async def transaction() -> None:
        async with driver.begin(deadline_ms=soon_ms()) as session:
            await session.apply([insert(CUSTOMERS, "c2")], scope())
            await session.apply([update(CUSTOMERS, "c1", name="Bea")], scope())

    with pytest.raises(DeadlineExceeded):
        await transaction()
    await blocker.execute("ROLLBACK")
    assert await ids(driver, CUSTOMERS) == ["c1"]


async def test_write_whose_server_process_is_ended_has_an_unknown_outcome(
    driver: PostgresDriver, blocker: asyncpg.Connection
) -> None:
    await write(driver, insert(CUSTOMERS, "c1", name="Ann"))
    await blocker.execute("BEGIN; SELECT 1 FROM customers FOR UPDATE")
    writing = asyncio.create_task(write(driver, update(CUSTOMERS, "c1", name="Bea")))
    await until_waiting(blocker)
    await blocker.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    )
    with pytest.raises(OutcomeUnknown):  # asyncpg does not pass on the server's last word
        await writing
    await blocker.execute("ROLLBACK")
    (outcome,) = await write(driver, update(CUSTOMERS, "c1", name="Bea"))
    assert outcome.version == 2


async def through(cable: Cable, url: str) -> PostgresDriver:
    """A driver whose connections go through `cable`."""
    head, _, tail = url.rpartition(":")
    return PostgresDriver(PostgresSettings(f"{head}:{cable.port}/{tail.partition('/')[2]}"))


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


async def test_write_whose_answer_is_lost_has_an_unknown_outcome(
    database_url: str, driver: PostgresDriver
) -> None:
    async with Cable(port_of(database_url)) as cable:
        far = await through(cable, database_url)
        await far.connect()
        await write(far, insert(CUSTOMERS, "c0"))  # the connection shows the tenant's rows by now
        cable.speaks.clear()
        writing = asyncio.create_task(
            far.write([insert(CUSTOMERS, "c1")], scope(), idempotency=key())
        )
        await cable.swallowed.wait()
        cable.cut()
        with pytest.raises(OutcomeUnknown):
            await writing
        await far.close()
    assert await ids(driver, CUSTOMERS) in (["c0"], ["c0", "c1"])
    await driver.write([insert(CUSTOMERS, "c1")], scope(), idempotency=key())
    assert await ids(driver, CUSTOMERS) == ["c0", "c1"]
    assert len(await driver.outbox.pending(10)) == 2


async def test_commit_whose_answer_is_lost_has_an_unknown_outcome(
    database_url: str, driver: PostgresDriver
) -> None:
    async with Cable(port_of(database_url)) as cable:
        far = await through(cable, database_url)
        await far.connect()

        async def transaction() -> None:
            async with far.begin() as session:
                await session.apply([insert(CUSTOMERS, "c1")], scope())
                cable.speaks.clear()

        running = asyncio.create_task(transaction())
        await cable.swallowed.wait()
        cable.cut()
        with pytest.raises(OutcomeUnknown):
            await running
        await far.close()


async def test_connection_lost_before_the_commit_undoes_everything(
    database_url: str, driver: PostgresDriver
) -> None:
    async with Cable(port_of(database_url)) as cable:
        far = await through(cable, database_url)
        await far.connect()

        async def transaction() -> None:
            async with far.begin() as session:
                await session.apply([insert(CUSTOMERS, "c1")], scope())
                cable.cut()
                await session.apply([insert(CUSTOMERS, "c2")], scope())

        with pytest.raises(Unavailable):
            await transaction()
        await write(far, insert(CUSTOMERS, "c3"))
        await far.close()
    assert await ids(driver, CUSTOMERS) == ["c3"]


async def test_deadlock_is_retried(
    driver: PostgresDriver, blocker: asyncpg.Connection, database_url: str
) -> None:
    """The driver's last wait closes the circle; the other never looks for one, so it gives way."""
    await write(driver, *(insert(CUSTOMERS, f"c{n}") for n in (1, 2, 3)))
    observer, gate = [await asyncpg.connect(database_url) for _ in range(2)]
    await gate.execute("BEGIN; SELECT 1 FROM customers WHERE id = 'c2' FOR UPDATE")
    await blocker.execute("SET deadlock_timeout = '1h'")
    await blocker.execute("BEGIN; SELECT 1 FROM customers WHERE id = 'c3' FOR UPDATE")
    changes = [update(CUSTOMERS, f"c{n}", city="Ulm") for n in (1, 2, 3)]
    writing = asyncio.create_task(write(driver, *changes))
    await until_waiting(observer)
    wanted = "UPDATE customers SET name = 'Cem' WHERE id = 'c1'; COMMIT"
    blocking = asyncio.create_task(blocker.execute(wanted))
    await until_waiting(observer, 2)
    await gate.execute("COMMIT")
    assert [outcome.status for outcome in await writing] == ["written"] * 3
    assert driver.statistics()["retries_total"] >= 1
    await blocking
    await observer.close()
    await gate.close()


async def test_expired_key_is_free_again(
    driver: PostgresDriver, blocker: asyncpg.Connection
) -> None:
    await driver.write([insert(CUSTOMERS, "c1")], scope(), idempotency=key())
    await blocker.execute("UPDATE oql_idempotency SET created_at = now() - interval '25 hours'")
    again = await driver.write([insert(CUSTOMERS, "c2")], scope(), idempotency=key())
    assert not isinstance(again, Remembered)
    assert await ids(driver, CUSTOMERS) == ["c1", "c2"]


async def test_many_drivers_may_start_on_an_empty_database_at_once(postgres_url: str) -> None:
    admin = await asyncpg.connect(postgres_url)
    await admin.execute("CREATE DATABASE at_once")
    await admin.close()
    settings = PostgresSettings(f"{postgres_url.rpartition('/')[0]}/at_once")
    drivers = [PostgresDriver(settings) for _ in range(5)]
    await asyncio.gather(*(driver.connect() for driver in drivers))
    assert await drivers[0].metadata.current_version() == 0
    for driver in drivers:
        await driver.close()


async def test_unreachable_database_is_unavailable(unused_tcp_port: int) -> None:
    url = f"postgresql://postgres@127.0.0.1:{unused_tcp_port}/none"
    with pytest.raises(Unavailable):
        await PostgresDriver(PostgresSettings(url)).connect()


async def test_a_worker_that_starts_waits_for_no_open_transaction(
    driver: PostgresDriver, database_url: str
) -> None:
    assert driver.name
    writer = await asyncpg.connect(database_url)
    starting = PostgresDriver(PostgresSettings(database_url, pool=PoolSettings(max_size=2)))
    try:
        tables = await writer.fetch("SELECT tablename FROM pg_tables WHERE tablename ~ '^oql_'")
        async with writer.transaction():
            names = ", ".join(row[0] for row in tables)
            await writer.execute(f"LOCK TABLE {names} IN ROW EXCLUSIVE MODE")  # as writers do
            async with asyncio.timeout(20):
                await starting.connect()
    finally:
        await starting.close()
        await writer.close()
