"""A kernel that dies around commit and publish loses no event and delivers each id once."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import httpx
import pytest
from tests.clusters import body, client, eventually, one_of_each
from tests.streams import all_events, unpublished

from objectql.events import ChangeEvent
from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]


@pytest.mark.parametrize("failpoint", ["after_commit", "before_publish", "after_publish"])
async def test_the_event_of_a_commit_is_delivered_once(tmp_path: Path, failpoint: str) -> None:
    kernel_env: dict[str, str] = {}
    cluster = one_of_each(tmp_path, kernel_env)
    await asyncio.to_thread(cluster.start)
    try:
        seeded = await drained(cluster)
        assert seeded
        kernel_env["OQL_KERNEL_FAILPOINTS"] = failpoint
        await asyncio.to_thread(cluster.restart, "kernel-1")

        async with client(cluster.env) as http:
            await served(http)
            answer = await http.post(
                "/api/account",
                content=body({"id": "doomed", "name": "Doomed"}),
                headers={"X-Timeout-Ms": "3000"},
            )
        # Killed before the reply, the outcome is unknown to the caller; after it, it is created.
        assert answer.status_code == (503 if failpoint == "after_commit" else 201), answer.text

        async def is_dead() -> bool:
            return not [
                s for s in cluster.status() if s.name == "kernel-1" and s.condition != "dead"
            ]

        await eventually(is_dead, within_s=10, what="the armed kernel dying")

        kernel_env.clear()
        await asyncio.to_thread(cluster.restart, "kernel-1")
        async with client(cluster.env) as http:
            await served(http)
            assert (await http.get("/api/account/doomed")).status_code == 200
        events = await drained(cluster)
    finally:
        await asyncio.to_thread(cluster.stop)

    assert Counter(event.id for event in events).most_common(1)[0][1] == 1
    doomed = [event for event in events if event.record_id == "doomed"]
    assert [(event.kind, event.version) for event in doomed] == [("created", 1)]


async def served(http: httpx.AsyncClient) -> None:
    """Wait out the gateway's breaker, which may still be open from the time without a kernel."""

    async def is_served() -> bool:
        return (await http.get("/api/account/acme")).status_code == 200

    await eventually(is_served, within_s=5, what="the gateway finding the kernel")


async def drained(cluster: Cluster) -> list[ChangeEvent]:
    """Every event of the stream, once the outbox has no other."""

    async def is_empty() -> bool:
        return await unpublished(cluster.env["OQL_PG_URL"]) == 0

    await eventually(is_empty, within_s=15, what="the relay emptying the outbox")
    return await all_events(cluster.env["OQL_NATS_URL"])
