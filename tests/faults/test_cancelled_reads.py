"""A read that nobody waits for any more ends in the database too, whichever gateway was asked.

The reads are slow because the test holds the table's lock.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import asyncpg
import pytest
from tests.clusters import client, eventually
from tests.rpc import Rpc

from objectql.errors import DeadlineExceeded, RemoteError
from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

LIMIT_S = 0.1
WAITING = """
    SELECT count(*) FROM pg_stat_activity JOIN pg_locks USING (pid)
    WHERE state = 'active' AND relation = 'account'::regclass AND NOT granted
"""
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


class Table:
    """The table `account`, which the test has locked, and who waits for it."""

    def __init__(self, holder: asyncpg.Connection, watcher: asyncpg.Connection) -> None:
        self.holder = holder
        self._watcher = watcher

    async def waiting(self) -> int:
        return await self._watcher.fetchval(WAITING)

    async def connections(self) -> int:
        return await self._watcher.fetchval(CONNECTIONS)

    async def reach(self, count: int) -> float:
        """Seconds until so many statements wait for the table."""

        async def reached() -> bool:
            return await self.waiting() == count

        _, took_s = await eventually(reached, within_s=10, what=f"{count} waiting statements")
        return took_s


@pytest.fixture
async def table(cluster: Cluster) -> AsyncIterator[Table]:
    holder = await asyncpg.connect(cluster.env["OQL_PG_URL"])
    watcher = await asyncpg.connect(cluster.env["OQL_PG_URL"])
    await holder.execute("BEGIN")
    await holder.execute("LOCK TABLE account IN ACCESS EXCLUSIVE MODE")
    yield Table(holder, watcher)
    await holder.close()
    await watcher.close()


class Door(Protocol):
    """A client of one gateway."""

    async def read(self, timeout_ms: int = 20_000) -> None:
        """Read what nobody else asks for, in a statement of its own.

        `ne`: reads that differ only in what an index finds (`eq`) may share one.

        Raises:
            ObjectQLError: the time is over.

        """
        ...

    async def close(self) -> None: ...


class Http:
    def __init__(self, env: dict[str, str]) -> None:
        self._http = client(env)

    async def read(self, timeout_ms: int = 20_000) -> None:
        path = f"/api/account?$filter=name ne '{time.monotonic_ns()}'"
        headers = {"X-Timeout-Ms": str(timeout_ms), "Oql-Read-Policy": "primary"}
        answer = await self._http.get(path, headers=headers)
        if answer.status_code == 504:
            assert answer.json()["code"] == "DEADLINE_EXCEEDED"
            raise DeadlineExceeded
        assert answer.status_code == 200

    async def close(self) -> None:
        await self._http.aclose()


class Grpc:
    def __init__(self, env: dict[str, str]) -> None:
        headers = {"authorization": f"Bearer {env['OQL_ADMIN_TOKEN']}"}
        self._rpc = Rpc(env["OQL_GRPC_TARGET"], headers | {"oql-read-policy": "primary"})

    async def read(self, timeout_ms: int = 20_000) -> None:
        body = {"object": "account", "filter": f"name ne '{time.monotonic_ns()}'"}
        try:
            await self._rpc.one("objectql.v1.ObjectService/List", body, timeout_s=timeout_ms / 1000)
        except RemoteError as exc:  # the client's own clock may end the call first
            if exc.remote_code == "GRPC_DEADLINE_EXCEEDED":
                raise DeadlineExceeded from exc
            raise

    async def close(self) -> None:
        await self._rpc.close()


@pytest.fixture(params=[Http, Grpc])
def door(request: pytest.FixtureRequest, cluster: Cluster) -> Callable[[], Door]:
    """Opens a gateway's door."""
    return lambda: request.param(cluster.env)


async def test_statement_of_a_client_that_hung_up_is_gone_within_100_ms(
    door: Callable[[], Door], table: Table
) -> None:
    took_s: list[float] = []
    for _ in range(5):
        async with closing(door()) as opened:
            reading = asyncio.create_task(opened.read())
            await table.reach(1)
            reading.cancel()
            took_s.append(await table.reach(0))
    assert statistics.median(took_s) <= LIMIT_S, took_s


async def test_statement_of_a_request_whose_time_is_over_is_gone_within_100_ms(
    door: Callable[[], Door], table: Table
) -> None:
    took_s: list[float] = []
    async with closing(door()) as opened:
        for _ in range(5):
            started_s = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                await opened.read(timeout_ms=50)
            assert time.monotonic() - started_s < 5
            took_s.append(await table.reach(0))
    assert statistics.median(took_s) <= LIMIT_S, took_s


async def test_cancelled_reads_leave_no_connection_and_no_place_behind(
    door: Callable[[], Door], table: Table
) -> None:
    before = await table.connections()
    for _ in range(5):
        async with closing(door()) as opened:
            reading = [asyncio.create_task(opened.read()) for _ in range(4)]
            await table.reach(4)
            for task in reading:
                task.cancel()
            await table.reach(0)

    async def as_before() -> bool:
        return await table.connections() <= before + 4

    await eventually(as_before, within_s=10, what="closing the connections of cancelled reads")
    await table.holder.execute("ROLLBACK")
    async with closing(door()) as opened:
        await asyncio.gather(*(opened.read() for _ in range(100)))


@asynccontextmanager
async def closing(opened: Door) -> AsyncGenerator[Door]:
    try:
        yield opened
    finally:
        await opened.close()


async def test_write_whose_client_hung_up_is_not_cut(cluster: Cluster, table: Table) -> None:
    async with client(cluster.env) as http:
        body = b'{"name": "written for nobody"}'
        writing = asyncio.create_task(http.post("/api/account", content=body))
        await table.reach(1)
        writing.cancel()
        await asyncio.wait({writing})
    await table.holder.execute("ROLLBACK")
    async with client(cluster.env) as http:

        async def is_there() -> bool:
            answer = await http.get("/api/account?$filter=name eq 'written for nobody'")
            return len(answer.json()["items"]) == 1

        await eventually(is_there, within_s=10, what="the write")
