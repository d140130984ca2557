"""`kill -9` of one of two kernels under load loses nothing and doubles nothing."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import pytest
from tests.clusters import body, client

from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

WRITERS = 8
WRITES = 40


async def test_no_read_fails_while_a_kernel_dies(cluster: Cluster) -> None:
    stop = asyncio.Event()
    statuses: Counter[int] = Counter()

    async def read() -> None:
        async with client(cluster.env) as http:
            while not stop.is_set():
                statuses[(await http.get("/api/account/acme")).status_code] += 1

    readers = [asyncio.create_task(read()) for _ in range(WRITERS)]
    async with client(cluster.env) as http:
        while sum(statuses.values()) < 200:
            await http.get("/api/account/acme")
    await asyncio.to_thread(cluster.kill, "kernel-1")
    before = sum(statuses.values())
    async with asyncio.timeout(30):
        while sum(statuses.values()) < before + 500:
            await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*readers)
    await asyncio.to_thread(cluster.restart, "kernel-1")

    assert set(statuses) == {200}, statuses


async def test_no_acknowledged_write_is_lost_or_doubled(cluster: Cluster) -> None:
    acknowledged: dict[str, str] = {}
    done = 0

    async def write(writer: int) -> None:
        nonlocal done
        async with client(cluster.env) as http:
            for number in range(WRITES):
                name = f"write {writer}-{number}"
                answer = await keyed_create(http, name, f"key-{writer}-{number}")
                acknowledged[name] = answer["id"]
                done += 1

    async def keyed_create(http: httpx.AsyncClient, name: str, key: str) -> dict[str, str]:
        async with asyncio.timeout(60):
            while True:
                answer = await http.post(
                    "/api/account", content=body({"name": name}), headers={"Idempotency-Key": key}
                )
                if answer.status_code == 201:
                    return answer.json()
                assert answer.status_code in {503, 504}, answer.text

    writers = [asyncio.create_task(write(number)) for number in range(WRITERS)]
    while done < WRITERS * WRITES // 4:
        await asyncio.sleep(0.005)
    await asyncio.to_thread(cluster.kill, "kernel-2")
    await asyncio.gather(*writers)
    await asyncio.to_thread(cluster.restart, "kernel-2")

    async with client(cluster.env) as http:
        answer = await http.get(
            "/api/account",
            params={"$filter": "startswith(name,'write ')", "$top": 1000, "$select": "name"},
        )
    stored = Counter(item["name"] for item in answer.json()["items"])
    assert set(stored) == set(acknowledged)
    assert set(stored.values()) == {1}
    ids = {item["name"]: item["id"] for item in answer.json()["items"]}
    assert ids == acknowledged


async def test_a_kernel_that_is_told_to_stop_finishes_what_it_has(cluster: Cluster) -> None:
    stop = asyncio.Event()
    statuses: Counter[int] = Counter()

    async def write(writer: int) -> None:
        async with client(cluster.env) as http:
            number = 0
            while not stop.is_set():
                number += 1
                # No idempotency key: the gateway may not repeat, so a lost request would show.
                answer = await http.patch(
                    "/api/account/globex", content=body({"employees": writer * 1000 + number})
                )
                statuses[answer.status_code] += 1

    writers = [asyncio.create_task(write(number)) for number in range(1, 5)]
    while sum(statuses.values()) < 50:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(cluster.restart, "kernel-1")
    before = sum(statuses.values())
    while sum(statuses.values()) < before + 50:
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*writers)

    assert set(statuses) == {200}, statuses
