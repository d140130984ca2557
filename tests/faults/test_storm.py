"""T33: an outage ends with ten times the clients that there is room for."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from tests.clusters import body, client, eventually, one_of_each

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

ROOM = {"OQL_KERNEL_LOAD__MAX_RUNNING": "8", "OQL_KERNEL_LOAD__MAX_WAITING": "8"}
CLIENTS = 160
CONNECTIONS = 8
"""Clients of HTTP, which share them."""

PAUSE_S = 0.25
BACK_WITHIN_S = 60


async def test_everybody_is_refused_in_words_meanwhile_and_served_once_soon_after(
    tmp_path: Path,
) -> None:
    cluster = one_of_each(tmp_path, ROOM)
    await asyncio.to_thread(cluster.start)
    told: Counter[str] = Counter()
    try:
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(client(cluster.env)) for _ in range(CONNECTIONS)
            ]

            async def insist(number: int) -> None:
                """Ask until it is done, sooner than one is told to come again."""
                http = clients[number % CONNECTIONS]
                while (answer := await create(http, number)).status_code != 201:
                    problem = answer.json()
                    told[problem["code"]] += 1
                    assert answer.status_code in {429, 503, 504}, problem
                    await asyncio.sleep(PAUSE_S)

            async def all_are_refused() -> bool:
                return told.total() >= CLIENTS

            await asyncio.to_thread(cluster.kill, "kernel-1")
            storm = [asyncio.create_task(insist(number)) for number in range(CLIENTS)]
            await eventually(all_are_refused, within_s=30, what="everybody being refused")
            await asyncio.to_thread(cluster.restart, "kernel-1")
            healed_s = time.monotonic()
            await asyncio.gather(*storm)
            assert time.monotonic() - healed_s < BACK_WITHIN_S
            asked = {"$filter": "startswith(name,'storm-')", "$top": 1000}
            found = (await clients[0].get("/api/account", params=asked)).json()["items"]
    finally:
        await asyncio.to_thread(cluster.stop)
    assert Counter(item["name"] for item in found) == Counter(f"storm-{n}" for n in range(CLIENTS))


async def create(http: httpx.AsyncClient, number: int) -> httpx.Response:
    name = f"storm-{number}"
    return await http.post(
        "/api/account", content=body({"name": name}), headers={"Idempotency-Key": name}
    )
