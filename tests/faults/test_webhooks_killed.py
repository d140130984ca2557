"""`kill -9` of kernels in the middle of deliveries loses nothing and tells every record in order."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import asyncpg  # noqa: TID251 - a failure is told with what the database holds
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


STATE = {
    "unfinished": """SELECT record, position, state, attempts, status, reason,
        due_ms - round(extract(epoch FROM clock_timestamp()) * 1000) AS due_in_ms
        FROM oql_webhook_queue WHERE state <> 'done' ORDER BY position LIMIT 20""",
    "of each record": """SELECT record, state, count(*), max(attempts) FROM oql_webhook_queue
        GROUP BY record, state ORDER BY record, state""",
    "holds": "SELECT * FROM oql_webhook_holds",
    "leases": "SELECT *, expires_at - clock_timestamp() AS left FROM oql_leases ORDER BY name",
    "unpublished": "SELECT count(*) FROM oql_outbox WHERE published_at IS NULL",
    "waiting": """SELECT pid, state, wait_event_type, wait_event, now() - xact_start AS since,
        left(query, 100) FROM pg_stat_activity WHERE xact_start IS NOT NULL""",
}


async def state_of(cluster: Cluster, told: list[Received]) -> str:
    """What a failure is told with: the queue, who holds what, and what has come."""
    lines = [f"{service.name}: {service.condition}" for service in cluster.status()]
    connection = await asyncpg.connect(cluster.env["OQL_PG_URL"])
    try:
        for what, query in STATE.items():
            try:
                found = [str(dict(row)) for row in await connection.fetch(query)]
            except asyncpg.PostgresError as exc:
                found = [str(exc)]
            lines += [f"{what}:", *(f"  {line}" for line in found)]
    finally:
        await connection.close()
    versions: dict[str, list[int]] = defaultdict(list)
    for request in told:
        data = request.message["data"]
        versions[data["id"]].append(data["version"])
    return "\n".join((*lines, f"{len(told)} requests came", *map(str, versions.items())))


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

            try:
                await eventually(is_told, within_s=90, what="telling of every change")
            except AssertionError as exc:
                raise AssertionError(await state_of(cluster, receiver.received)) from exc
    finally:
        await asyncio.to_thread(cluster.stop)
    seen: dict[str, list[int]] = defaultdict(list)
    for request in receiver.received:
        seen[request.message["data"]["id"]].append(request.message["data"]["version"])
    assert [request.id for request in receiver.received].count(first) > 1
    assert {id_: list(dict.fromkeys(order)) for id_, order in seen.items()} == {
        id_: list(range(1, last + 1)) for id_, last in versions.items()
    }
