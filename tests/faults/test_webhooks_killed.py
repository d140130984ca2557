"""`kill -9` of kernels in the middle of deliveries loses nothing and tells every record in order."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.clusters import CRM, body, client, eventually

from objectql.testing.receivers import Received, Reply, receiving
from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

FAST = {
    "OQL_KERNEL_WEBHOOKS__FIRST_PAUSE_S": "0.1",
    "OQL_KERNEL_WEBHOOKS__LONGEST_PAUSE_S": "0.5",
}
WEBHOOK = {"name": "all", "objects": ["account"], "run_as": {"roles": ["admin"]}}
CHANGES = 6


async def written(http: httpx.AsyncClient, method: str, path: str, data: Any, key: str) -> Any:
    """The record, however often a kernel dies on the way."""
    async with asyncio.timeout(90):
        while True:
            answer = await http.request(
                method, path, content=body(data), headers={"Idempotency-Key": key}
            )
            if answer.status_code in {200, 201}:
                return answer.json()
            assert answer.status_code in {503, 504}, answer.text
            await asyncio.sleep(0.1)


async def test_no_change_is_lost_and_every_record_is_told_in_order(tmp_path: Path) -> None:
    armed: dict[str, str] = dict(FAST)
    cluster = Cluster(
        tmp_path,
        ports="free",
        kernels=2,
        counts={"coordinator": 1},
        metadata=[CRM],
        ephemeral=True,
        extra_env={"kernel-1": armed, "kernel-2": FAST},
    )
    versions: dict[str, int] = {}

    async def change(http: httpx.AsyncClient, number: int) -> None:
        made = await written(http, "POST", "/api/account", {"name": f"n{number}"}, f"m{number}")
        path = f"/api/account/{made['id']}"
        for turn in range(CHANGES):
            data, key = {"name": f"n{number} {turn}"}, f"c{number}-{turn}"
            changed = await written(http, "PATCH", path, data, key)
            versions[made["id"]] = changed["version"]

    async def is_dead() -> bool:
        return any(s.name == "kernel-1" and s.condition == "dead" for s in cluster.status())

    await asyncio.to_thread(cluster.start)
    try:
        async with receiving() as receiver, client(cluster.env) as http:
            failing = itertools.count(1)

            async def answer(_request: Received) -> Reply:
                return Reply(503) if next(failing) % 5 == 0 else Reply()

            receiver.answer = answer
            hook = body(WEBHOOK | {"url": receiver.url})
            declared = await http.post("/api/admin/webhooks", content=hook)
            assert declared.status_code == 201, declared.text
            # Alone, and dead after its first request, whose answer it has not noted.
            armed["OQL_KERNEL_FAILPOINTS"] = "after_delivery"
            await asyncio.to_thread(cluster.restart, "kernel-1")
            await asyncio.to_thread(cluster.kill, "kernel-2")
            writing = asyncio.gather(*(change(http, number) for number in range(3)))
            await eventually(is_dead, within_s=60, what="the armed kernel dying")
            first = receiver.received[0].id
            del armed["OQL_KERNEL_FAILPOINTS"]
            for name in ("kernel-1", "kernel-2"):
                await asyncio.to_thread(cluster.restart, name)
            await writing
            # Each is killed once more while there is something to tell.
            for name, numbers in (("kernel-2", range(3, 6)), ("kernel-1", range(6, 9))):
                told = len(receiver.received)
                writing = asyncio.gather(*(change(http, number) for number in numbers))
                await receiver.until(lambda got, told=told: len(got) > told, within_s=60)
                await asyncio.to_thread(cluster.kill, name)
                await asyncio.to_thread(cluster.restart, name)
                await writing

            async def is_told() -> bool:
                log = (await http.get("/api/admin/webhooks/all/deliveries?limit=1000")).json()
                states = [one["state"] for one in log["items"]]
                return len(states) == 9 * (CHANGES + 1) and set(states) == {"done"}

            await eventually(is_told, within_s=90, what="telling of every change")
    finally:
        await asyncio.to_thread(cluster.stop)
    seen: dict[str, list[int]] = defaultdict(list)
    for request in receiver.received:
        seen[request.message["data"]["id"]].append(request.message["data"]["version"])
    assert [request.id for request in receiver.received].count(first) > 1
    assert {id_: list(dict.fromkeys(order)) for id_, order in seen.items()} == {
        id_: list(range(1, last + 1)) for id_, last in versions.items()
    }
