"""Whatever happens to Redis, no request fails and no acknowledged write is followed by older data."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import asyncpg  # noqa: TID251 - the test counts what reaches the database
import httpx
import pytest
from tests.clusters import CRM, body, client, eventually
from tests.proxies import Proxy

from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

RECORDS = ("acme", "globex")
READERS = 4


@dataclass
class World:
    """Two kernels, each with its own way to Redis; only `kernel-1` loses its own when cut."""

    cluster: Cluster
    proxies: dict[str, Proxy]

    def redis_port(self) -> int:
        return urlsplit(self.cluster.env["OQL_REDIS_URL"]).port or 6379


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    names = ("kernel-1", "kernel-2")
    with Proxy() as one, Proxy() as two:
        proxies: dict[str, Proxy] = dict(zip(names, (one, two), strict=True))
        cluster = Cluster(
            tmp_path_factory.mktemp("cluster"),
            ports="free",
            kernels=2,
            counts={"coordinator": 1},
            metadata=[CRM],
            ephemeral=True,
            extra_env={
                name: {
                    "OQL_KERNEL_CACHE__URL": f"redis://127.0.0.1:{proxy.port}/0",
                    "OQL_KERNEL_CACHE__TTL_S": "30",
                }
                for name, proxy in proxies.items()
            },
        )
        with cluster as running:
            found = World(running, proxies)
            for proxy in proxies.values():
                proxy.target = found.redis_port()
            yield found


async def counts(world: World, metric: str) -> Counter[str]:
    """A counter of both kernels, by the last label's value."""
    found: Counter[str] = Counter()
    async with httpx.AsyncClient() as http:
        for name in world.proxies:
            port = world.cluster.state.known_port(f"{name}/admin")
            for line in (await http.get(f"http://127.0.0.1:{port}/metrics")).text.splitlines():
                if line.startswith(metric):
                    found[line.partition('"')[2].partition('"')[0]] += int(float(line.split()[-1]))
    return found


async def until_cached(world: World) -> None:
    """Read until both kernels reach Redis and reads are answered from it again."""

    async def are_up() -> bool:
        return (await counts(world, "oql_cache_up "))[""] == 2

    await eventually(are_up, within_s=20, what="both kernels reaching Redis")
    before = (await counts(world, "oql_cache_reads_total{"))["hit"]
    async with client(world.cluster.env) as http:

        async def are_hits() -> bool:
            for _ in range(20):
                assert (await http.get("/api/account/acme")).status_code == 200
            return (await counts(world, "oql_cache_reads_total{"))["hit"] > before

        await eventually(are_hits, within_s=20, what="answers from the cache")


@dataclass
class Load:
    """What the clients of a test have seen. Values only grow, so less than `floor` is stale."""

    floor: dict[str, int] = field(default_factory=dict[str, int])
    statuses: Counter[int] = field(default_factory=Counter[int])
    stale: list[str] = field(default_factory=list[str])

    async def requests(self, number: int) -> None:
        """Return when so many more have been answered."""
        goal = self.statuses.total() + number
        async with asyncio.timeout(60):
            while self.statuses.total() < goal:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def load(world: World) -> AsyncGenerator[Load]:
    """One writer for each record and some readers of records and lists, while the block runs."""
    seen = Load()
    is_over = asyncio.Event()

    async def write(id: str, http: httpx.AsyncClient) -> None:
        value = (await http.get(f"/api/account/{id}")).json().get("employees") or 0
        seen.floor[id] = value
        while not is_over.is_set():
            value += 1
            answer = await http.patch(f"/api/account/{id}", content=body({"employees": value}))
            seen.statuses[answer.status_code] += 1
            if answer.status_code == 200:
                seen.floor[id] = value
            await asyncio.sleep(0.02)  # the time in which something can be found in the cache

    async def read(dice: random.Random, http: httpx.AsyncClient) -> None:
        while not is_over.is_set():
            floor = dict(seen.floor)
            id = dice.choice(RECORDS)
            if dice.random() < 0.5:
                answer = await http.get(f"/api/account/{id}")
                rows = [answer.json()]
            else:
                wanted = {"$filter": f"id eq '{id}' or name eq 'x'", "$select": "id,employees"}
                answer = await http.get("/api/account", params=wanted)
                rows = answer.json()["items"]
            seen.statuses[answer.status_code] += 1
            for row in rows:
                if (row["employees"] or 0) < floor.get(id, 0):
                    seen.stale.append(f"{id}: {row['employees']} after {floor[id]}")

    async with client(world.cluster.env) as http:
        tasks = [asyncio.create_task(write(id, http)) for id in RECORDS]
        tasks += [asyncio.create_task(read(random.Random(n), http)) for n in range(READERS)]
        try:
            yield seen
        finally:
            is_over.set()
            await asyncio.gather(*tasks)


async def transactions(world: World) -> int:
    """How many the database has ended."""
    connection = await asyncpg.connect(world.cluster.env["OQL_PG_URL"])
    try:
        return await connection.fetchval("SELECT sum(xact_commit) FROM pg_stat_database")
    finally:
        await connection.close()


async def kill(world: World) -> None:
    await asyncio.to_thread(world.cluster.kill, "redis-1")


async def restart(world: World) -> None:
    await asyncio.to_thread(world.cluster.restart, "redis-1")


async def slow(world: World) -> None:
    for proxy in world.proxies.values():
        proxy.delay_s = 0.25  # each way


async def quick(world: World) -> None:
    for proxy in world.proxies.values():
        proxy.delay_s = 0.0


async def cut(world: World) -> None:
    world.proxies["kernel-1"].is_cut = True


async def mend(world: World) -> None:
    world.proxies["kernel-1"].is_cut = False


async def flush(world: World) -> None:
    with socket.create_connection(("127.0.0.1", world.redis_port()), timeout=5) as redis:
        redis.sendall(b"FLUSHALL\r\n")
        assert redis.recv(16) == b"+OK\r\n"


Step = Callable[[World], Awaitable[None]]


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        pytest.param(kill, restart, id="down"),
        pytest.param(slow, quick, id="slow by 500 ms"),
        pytest.param(flush, flush, id="flushed"),
        pytest.param(cut, mend, id="one kernel cut off"),
    ],
)
async def test_requests_neither_fail_nor_go_stale_through_a_fault_of_redis(
    world: World, begin: Step, end: Step
) -> None:
    await until_cached(world)
    async with load(world) as seen:
        await seen.requests(200)
        started, before = await transactions(world), seen.statuses.total()
        await begin(world)
        try:
            await seen.requests(400)
            ended, after = await transactions(world), seen.statuses.total()
        finally:
            await end(world)
        await seen.requests(200)
        await until_cached(world)
        await seen.requests(400)
    assert set(seen.statuses) == {200}, seen.statuses
    assert not seen.stale
    # Relays and leases have their own; a storm of reads would be far beyond.
    assert ended - started <= 3 * (after - before)
