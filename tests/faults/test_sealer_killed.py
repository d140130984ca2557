"""A kernel that dies around a seal leaves no entry out of the chain, and none in it twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import httpx
import pytest
from tests.clusters import body, client, eventually, one_of_each

from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]


@pytest.mark.parametrize("failpoint", ["before_seal", "after_seal"])
async def test_what_was_committed_is_sealed_once(tmp_path: Path, failpoint: str) -> None:
    kernel_env: dict[str, str] = {}
    cluster = one_of_each(tmp_path, kernel_env)
    await asyncio.to_thread(cluster.start)
    try:
        async with client(cluster.env) as http:
            await eventually(lambda: is_sealed(cluster, 1), within_s=20, what="sealing the seeds")
            before = await verified(http)
            kernel_env["OQL_KERNEL_FAILPOINTS"] = failpoint
            await asyncio.to_thread(cluster.restart, "kernel-1")
            await eventually(lambda: is_served(http), within_s=10, what="the kernel serving")
            answer = await http.post("/api/account", content=body({"id": "late", "name": "Late"}))
            # It dies when there is an entry to seal, so that is committed; perhaps before the reply.
            assert answer.status_code in {201, 503}, answer.text

            async def is_dead() -> bool:
                return any(s.name == "kernel-1" and s.condition == "dead" for s in cluster.status())

            await eventually(is_dead, within_s=20, what="the armed kernel dying")
            kernel_env.clear()
            await asyncio.to_thread(cluster.restart, "kernel-1")
            await eventually(lambda: is_served(http), within_s=10, what="the kernel serving")
            entries = before["entries"] + 1
            await eventually(lambda: is_sealed(cluster, entries), within_s=20, what="the seal")
            after = await verified(http)
    finally:
        await asyncio.to_thread(cluster.stop)
    assert (after["entries"], after["last"], after["unsealed"]) == (entries, entries, 0)
    assert after["intact"]


async def verified(http: httpx.AsyncClient) -> dict[str, int]:
    """How the chain of the accounts was found."""
    answer = await http.get("/api/admin/tenants/default/audit/verify")
    assert answer.status_code == 200, answer.text
    assert answer.json()["intact"], answer.text
    return next(c for c in answer.json()["chains"] if c["chain"] == "history/account")


async def is_served(http: httpx.AsyncClient) -> bool:
    return (await http.get("/api/account/acme")).status_code == 200


async def is_sealed(cluster: Cluster, at_least: int) -> bool:
    """Whether no entry of the accounts waits, of that many."""
    connection = await asyncpg.connect(cluster.env["OQL_PG_URL"])
    try:
        [[entries, sealed]] = await connection.fetch(
            "SELECT count(*), count(sequence) FROM oql_history WHERE object = 'account'"
        )
    finally:
        await connection.close()
    return entries == sealed >= at_least
