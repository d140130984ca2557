"""One tenant that asks for more than there is hurts only itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from urllib.parse import urlsplit

import asyncpg  # noqa: TID251 - holds a lock, so that queries are slow
import jwt
import pytest
from tests.clusters import eventually

from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

HEAVY = 1000
SAMPLES = 400
NOISE_S = 0.01
"""What two cores shared with the heavy tenant's clients may add to any measurement."""


def token(cluster: Cluster, tenant: str) -> str:
    claims = {"sub": "greedy", "tenant": tenant, "roles": ["admin"], "exp": 4_000_000_000}
    return jwt.encode(claims, cluster.env["OQL_JWT_SECRET"], algorithm="HS256")


async def ask(cluster: Cluster, path: str, bearer: str) -> tuple[int, bytes]:
    """Status and headers of one GET on a connection of its own.

    A client with a pool of a thousand connections would be slower than what is measured.
    """
    address = urlsplit(cluster.env["OQL_REST_URL"])
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n"
            f"Authorization: Bearer {bearer}\r\nX-Timeout-Ms: 30000\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        return int(head.split(b" ", 2)[1]), head.lower()
    finally:
        writer.close()


async def p99_s(cluster: Cluster) -> float:
    """Of reading one record over and over."""
    took: list[float] = []
    for _ in range(SAMPLES):
        started = time.monotonic()
        status, _ = await ask(cluster, "/api/account/acme", cluster.env["OQL_ADMIN_TOKEN"])
        took.append(time.monotonic() - started)
        assert status == 200
    return sorted(took)[int(SAMPLES * 0.99)]


async def test_a_thousand_slow_queries_of_one_tenant_leave_the_others_fast(
    cluster: Cluster,
) -> None:
    """The table that the heavy tenant reads is locked, so each of its queries holds a connection."""
    statuses: Counter[int] = Counter()
    greedy = token(cluster, "greedy")
    await p99_s(cluster)  # warm
    baseline = min([await p99_s(cluster) for _ in range(2)])
    blocker = await asyncpg.connect(cluster.env["OQL_PG_URL"])

    async def slow(number: int) -> None:
        path = f"/api/task?$top={number % 50 + 1}&$filter=id%20ne%20%27{number}%27"
        status, headers = await ask(cluster, path, greedy)
        statuses[status] += 1
        assert (b"\r\nretry-after: " in headers) is (status == 429)

    async def refused() -> bool:
        return statuses[429] >= HEAVY // 10

    try:
        await blocker.execute("BEGIN; LOCK TABLE task")
        queries = [asyncio.create_task(slow(number)) for number in range(HEAVY)]
        await eventually(refused, within_s=20, what="refusing the heavy tenant")
        loaded = min([await p99_s(cluster) for _ in range(2)])
        assert loaded <= baseline * 1.5 + NOISE_S, (baseline, loaded, statuses)
    finally:
        await blocker.close()
    await asyncio.gather(*queries)
    assert set(statuses) <= {200, 429}, statuses
    assert (await ask(cluster, "/api/task", greedy))[0] == 200
