"""T16: a replica that lags, dies or is promoted. No outage, and no token holder sees older data."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Generator

import asyncpg
import httpx
import pytest
from tests.clusters import CRM, body, client, eventually

from objectql_devstack.cluster import Cluster
from objectql_devstack.stack import SERVICES

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

TOKEN = "Oql-Consistency-Token"
POLICY = "Oql-Read-Policy"
ANY = {POLICY: "any"}
SHORT = {POLICY: "bounded:1"}
ACCOUNT = "/api/account/acme"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    """Without the result cache, which would answer in the replica's place."""
    need = SERVICES - {"redis"}
    root = tmp_path_factory.mktemp("cluster")
    with Cluster(root, ports="free", metadata=[CRM], ephemeral=True, need=need) as running:
        yield running


async def tell_replica(cluster: Cluster, command: str) -> None:
    connection = await asyncpg.connect(cluster.data.pg_replica_url)
    await connection.execute(command)
    await connection.close()


async def in_use(cluster: Cluster) -> list[float]:
    """What each kernel says of the replica."""
    found: list[float] = []
    async with httpx.AsyncClient() as http:
        for name in cluster.names:
            if name.startswith("kernel-"):
                port = cluster.state.known_port(f"{name}/admin")
                text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
                lines = [line for line in text.splitlines() if "oql_replica_in_use{" in line]
                found += [float(line.rsplit(" ", 1)[1]) for line in lines]
    return found


async def until_in_use(cluster: Cluster) -> None:
    async def both() -> bool:
        return await in_use(cluster) == [1.0, 1.0]

    await eventually(both, within_s=20, what="the kernels using the replica")


async def rename(http: httpx.AsyncClient, name: str) -> str:
    answer = await http.patch(ACCOUNT, content=body({"name": name}))
    assert answer.status_code == 200, answer.text
    return answer.headers[TOKEN]


async def name_under(http: httpx.AsyncClient, headers: dict[str, str]) -> str:
    answer = await http.get(ACCOUNT, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["name"]


async def test_a_replica_that_stands_still_answers_nobody_who_may_expect_more(
    cluster: Cluster,
) -> None:
    await until_in_use(cluster)
    async with client(cluster.env) as http:
        token = await rename(http, "Before")

        async def arrived() -> bool:
            return await name_under(http, {**ANY, TOKEN: token}) == "Before"

        await eventually(arrived, within_s=5, what="the write")
        await tell_replica(cluster, "SELECT pg_wal_replay_pause()")
        token = await rename(http, "After")
        for policy in ({}, ANY, SHORT, {POLICY: "primary"}):
            for _ in range(8):  # whichever kernel answers
                assert await name_under(http, {**policy, TOKEN: token}) == "After"
        for _ in range(8):
            assert await name_under(http, {}) == "After"  # written through the same gateway
        old = [await name_under(http, ANY) for _ in range(8)]
        assert "Before" in old, "the replica does answer those who do not mind"
        await asyncio.sleep(1.5)  # past the bound
        for _ in range(8):
            assert await name_under(http, SHORT) == "After"
        await tell_replica(cluster, "SELECT pg_wal_replay_resume()")


async def test_no_read_fails_or_hangs_while_the_replica_dies(cluster: Cluster) -> None:
    await until_in_use(cluster)
    stop = asyncio.Event()
    statuses: Counter[int] = Counter()
    slowest_s = 0.0

    async def read() -> None:
        nonlocal slowest_s
        async with client(cluster.env) as http:
            while not stop.is_set():
                started = time.monotonic()
                statuses[(await http.get(ACCOUNT, headers=ANY)).status_code] += 1
                slowest_s = max(slowest_s, time.monotonic() - started)

    readers = [asyncio.create_task(read()) for _ in range(4)]
    await asyncio.to_thread(cluster.data.kill, "replica")

    async def is_out() -> bool:
        return await in_use(cluster) == [0.0, 0.0]

    await eventually(is_out, within_s=6, what="the kernels leaving the replica out")
    stop.set()
    await asyncio.gather(*readers)
    assert set(statuses) == {200}
    assert slowest_s < 2
    await asyncio.to_thread(cluster.data.restart, "replica")
    await until_in_use(cluster)


async def test_a_promoted_replica_takes_no_more_reads(cluster: Cluster) -> None:
    """The last test of this module: the replica is none any more."""
    await until_in_use(cluster)
    await tell_replica(cluster, "SELECT pg_promote()")
    promoted_at = time.monotonic()
    async with client(cluster.env) as http:
        token = await rename(http, "Promoted")

        async def from_primary() -> bool:
            names = [await name_under(http, ANY) for _ in range(8)]
            assert await name_under(http, {**ANY, TOKEN: token}) == "Promoted"
            return set(names) == {"Promoted"}

        await eventually(from_primary, within_s=2, what="the kernels leaving the replica out")
        assert time.monotonic() - promoted_at < 3
