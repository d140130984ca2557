"""One tenant that asks for more than there is hurts only itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import asyncpg  # noqa: TID251 - holds a lock, so that queries are slow
import httpx
import jwt
import pytest
from tests.clusters import client, eventually

from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

HEAVY = 1000
SAMPLES = 400
NOISE_S = 0.01
"""What two cores shared with the heavy tenant's clients may add to any measurement."""


def token(cluster: Cluster, tenant: str) -> str:
    claims = {"sub": "greedy", "tenant": tenant, "roles": ["admin"], "exp": 4_000_000_000}
    return jwt.encode(claims, cluster.env["OQL_JWT_SECRET"], algorithm="HS256")


async def p99_s(http: httpx.AsyncClient) -> float:
    """Of reading one record over and over."""
    took: list[float] = []
    for _ in range(SAMPLES):
        started = time.monotonic()
        answer = await http.get("/api/account/acme")
        took.append(time.monotonic() - started)
        assert answer.status_code == 200, answer.text
    return sorted(took)[int(SAMPLES * 0.99)]


async def test_a_thousand_slow_queries_of_one_tenant_leave_the_others_fast(
    cluster: Cluster,
) -> None:
    """The table that the heavy tenant reads is locked, so each of its queries holds a connection."""
    statuses: Counter[int] = Counter()
    async with (
        client(cluster.env) as http,
        httpx.AsyncClient(
            base_url=cluster.env["OQL_REST_URL"],
            headers={
                "Authorization": f"Bearer {token(cluster, 'greedy')}",
                "X-Timeout-Ms": "30000",
            },
            timeout=60,
            limits=httpx.Limits(max_connections=HEAVY),
        ) as greedy,
    ):
        await p99_s(http)  # warm
        baseline = min([await p99_s(http) for _ in range(2)])
        blocker = await asyncpg.connect(cluster.env["OQL_PG_URL"])

        async def slow(number: int) -> None:
            answer = await greedy.get(f"/api/task?$top={number % 50 + 1}&$filter=id ne '{number}'")
            statuses[answer.status_code] += 1
            if answer.status_code == 429:
                assert answer.json()["code"] == "RATE_LIMIT_EXCEEDED"
                assert int(answer.headers["Retry-After"]) >= 1

        try:
            await blocker.execute("BEGIN; LOCK TABLE task")
            queries = [asyncio.create_task(slow(number)) for number in range(HEAVY)]

            async def refused() -> bool:
                return statuses[429] >= HEAVY // 10

            await eventually(refused, within_s=30, what="refusing the heavy tenant")
            loaded = min([await p99_s(http) for _ in range(2)])
            assert loaded <= baseline * 1.5 + NOISE_S, (baseline, loaded, statuses)
        finally:
            await blocker.close()
        await asyncio.gather(*queries)
        assert set(statuses) <= {200, 429}, statuses
        assert (await greedy.get("/api/task")).status_code == 200
