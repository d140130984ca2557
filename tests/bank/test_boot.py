"""Everything is down and starts again, in whatever order."""

from __future__ import annotations

import asyncio
import random

import httpx
import pytest
from examples.bank.load import TOTAL

from objectql_devstack.cluster import Cluster
from tests.bank.bed import Bed, balances
from tests.clusters import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]


async def pages(cluster: Cluster, page: str) -> list[int]:
    """What every process answers on its admin port; 0 where none answers."""

    async def ask(http: httpx.AsyncClient, name: str) -> int:
        port = cluster.state.known_port(f"{name}/admin")
        try:
            return (await http.get(f"http://127.0.0.1:{port}{page}")).status_code
        except httpx.HTTPError:
            return 0

    async with httpx.AsyncClient() as http:
        return await asyncio.gather(*(ask(http, name) for name in cluster.names))


async def test_services_that_start_before_what_they_need_wait_for_it_and_then_serve(
    bed: Bed,
) -> None:
    cluster, rng = bed.cluster, random.Random(32)
    processes, data = list(cluster.names), list(cluster.data.names)
    rng.shuffle(processes)
    rng.shuffle(data)
    await bed.do(cluster.kill, *processes, *data)

    # `restart` returns when a process is ready, and here none can be.
    early, late = processes[:3], processes[3:]
    starting = asyncio.create_task(bed.do(cluster.restart, *early))

    async def some_wait() -> bool:
        alive, ready = await pages(cluster, "/live"), await pages(cluster, "/ready")
        return alive.count(200) == len(early) and ready.count(503) == len(early)

    await eventually(some_wait, within_s=30, what="three processes being alive and not ready")
    # A standby cannot follow a primary that is not there; all else starts at once.
    await bed.do(cluster.restart, *(name for name in data if name != "postgres-replica-1"))
    await bed.do(cluster.restart, "postgres-replica-1", *late)
    await starting
    assert set(await pages(cluster, "/ready")) == {200}
    async with bed.client() as http:
        sides = [await balances(http, name) for name in ("east_account", "west_account")]
    assert sum(balance for side in sides for balance, _ in side.values()) == TOTAL
