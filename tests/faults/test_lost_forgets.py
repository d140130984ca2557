"""A writer that dies before it makes the cache forget: how long an old answer may live (T15)."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import httpx
import pytest
from tests.clusters import body, client, eventually, one_of_each

from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

BOUND_S = 10.0
"""The lease of the dead relay, its successor's first turn, and the second forget: far below the
end of the answer itself, which is a minute."""

WATCHED_S = 4.0
"""How long after the bound no old answer may be seen."""


async def test_an_answer_outlives_a_lost_forget_only_until_its_event_is_relayed(
    tmp_path: Path,
) -> None:
    kernel_env: dict[str, str] = {}
    cluster = one_of_each(tmp_path, kernel_env)
    await asyncio.to_thread(cluster.start)
    try:
        kernel_env["OQL_KERNEL_FAILPOINTS"] = "after_commit"
        await asyncio.to_thread(cluster.restart, "kernel-1")
        async with client(cluster.env) as http:
            await eventually(lambda: shown(http), within_s=5, what="the gateway finding the kernel")
            await eventually(lambda: is_kept(cluster, http), within_s=10, what="a kept answer")
            answer = await http.patch(
                "/api/account/acme",
                content=body({"name": "Renamed"}),
                headers={"X-Timeout-Ms": "3000"},
            )
            assert answer.status_code == 503, answer.text
            kernel_env.clear()
            await asyncio.to_thread(cluster.restart, "kernel-1")

            async def is_served() -> bool:
                return await shown(http, policy="primary") is not None

            await eventually(is_served, within_s=5, what="the gateway finding the kernel")
            assert await shown(http, policy="primary") == "Renamed"

            # A new worker trusts no answer at first, so it may say what is true and then what was.
            started_s = time.monotonic()
            last_old_s = 0.0
            while (elapsed_s := time.monotonic() - started_s) < BOUND_S + WATCHED_S:
                if await shown(http) == "Acme Air":
                    last_old_s = elapsed_s
                await asyncio.sleep(0.05)
            assert last_old_s < BOUND_S
    finally:
        await asyncio.to_thread(cluster.stop)


async def shown(http: httpx.AsyncClient, policy: str | None = None) -> str | None:
    """The account's name, or None while nobody serves it."""
    headers = {} if policy is None else {"Oql-Read-Policy": policy}
    answer = await http.get("/api/account/acme", headers=headers)
    return answer.json()["name"] if answer.status_code == 200 else None


async def is_kept(cluster: Cluster, http: httpx.AsyncClient) -> bool:
    """Whether an answer has come from the cache."""
    assert await shown(http) == "Acme Air"
    port = cluster.state.known_port("kernel-1/admin")
    metrics = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    hits = re.search(r'^oql_cache_reads_total\{[^}]*"hit"[^}]*\} (\S+)', metrics, re.MULTILINE)
    return hits is not None and float(hits[1]) > 0
