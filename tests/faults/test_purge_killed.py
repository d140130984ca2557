"""A kernel that dies around a purge leaves a log that proves itself, and the purge is done later."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from tests.clusters import body, client, eventually, one_of_each

from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

OLD, LEFT = 5, 2
"""Entries of long ago, and entries of today behind them."""


@pytest.mark.parametrize("failpoint", ["before_purge", "after_purge"])
async def test_what_is_old_goes_and_what_is_left_holds(tmp_path: Path, failpoint: str) -> None:
    settings = {
        "OQL_KERNEL_AUDIT__SECURITY_RETENTION_DAYS": "30",
        "OQL_KERNEL_AUDIT__PURGE_EVERY_S": "0.2",
    }
    kernel_env = {**settings, "OQL_KERNEL_FAILPOINTS": failpoint}
    cluster = one_of_each(tmp_path, kernel_env)
    await asyncio.to_thread(cluster.start)
    try:
        async with client(cluster.env) as http:
            answer = await http.post("/api/admin/tenants", content=body({"id": "acme"}))
            assert answer.status_code == 201, answer.text
            await record(cluster)

            async def is_dead() -> bool:
                return any(s.name == "kernel-1" and s.condition == "dead" for s in cluster.status())

            await eventually(is_dead, within_s=60, what="the armed kernel dying")
            kernel_env.clear()
            await asyncio.to_thread(cluster.restart, "kernel-1")
            await eventually(lambda: is_served(http), within_s=60, what="the kernel serving")
            between = await verified(http)
            kernel_env |= settings
            await asyncio.to_thread(cluster.restart, "kernel-1")
            await eventually(lambda: is_served(http), within_s=60, what="the kernel serving")

            async def is_purged() -> bool:
                return (await verified(http))["entries"] == LEFT

            await eventually(is_purged, within_s=60, what="the purge")
            after = await verified(http)
    finally:
        await asyncio.to_thread(cluster.stop)
    assert between["entries"] == (LEFT if failpoint == "after_purge" else LEFT + OLD)
    assert (after["first"], after["last"], after["unsealed"]) == (OLD + 1, OLD + LEFT, 0)
    assert after["hash"] == between["hash"]


async def record(cluster: Cluster) -> None:
    """Write entries as if they had been committed when they say."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    times = ["2020-01-01T00:00:00.000Z"] * OLD + [now] * LEFT
    connection = await asyncpg.connect(cluster.env["OQL_PG_URL"])
    try:
        await connection.executemany(
            """INSERT INTO oql_security_log (id, tenant, kind, at, actor, origin, request_id, details)
            VALUES ($1, 'acme', 'signed_in', $2, 'ann', '', '', '{}')""",
            [(f"e{number}", at) for number, at in enumerate(times)],
        )
    finally:
        await connection.close()


async def verified(http: httpx.AsyncClient) -> dict[str, Any]:
    """How the log was found, which holds at every moment."""
    answer = await http.get("/api/admin/tenants/acme/audit/verify")
    assert answer.status_code == 200, answer.text
    assert answer.json()["intact"], answer.text
    return answer.json()["chains"][0]


async def is_served(http: httpx.AsyncClient) -> bool:
    return (await http.get("/api/account/acme")).status_code == 200
