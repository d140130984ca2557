"""What goes on while a data service is away."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from tests.clusters import body, client, eventually

from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.containers, pytest.mark.timeout(180)]


async def reads_and_writes(cluster: Cluster, mark: str) -> None:
    async with client(cluster.env) as http:
        created = await http.post("/api/account", content=body({"name": f"Outage {mark}"}))
        assert created.status_code == 201, created.text
        read = await http.get(created.headers["Location"])
        assert read.status_code == 200
        assert read.json()["name"] == f"Outage {mark}"


async def test_reads_and_writes_go_on_without_zookeeper(cluster: Cluster) -> None:
    await asyncio.to_thread(cluster.kill, "zookeeper-1")
    await reads_and_writes(cluster, "zookeeper away")
    async with httpx.AsyncClient(base_url=cluster.env["OQL_COORDINATOR_URL"]) as http:

        async def no_leader() -> bool:
            return (await http.get("/cluster")).json()["leader"] is None

        async def leader() -> bool:
            return (await http.get("/cluster")).json()["leader"] is not None

        await eventually(no_leader, within_s=20, what="the coordinators stepping down")
        await reads_and_writes(cluster, "no leader")
        await asyncio.to_thread(cluster.restart, "zookeeper-1")
        await eventually(leader, within_s=30, what="a new leader")


async def test_reads_and_writes_go_on_without_redis(cluster: Cluster) -> None:
    await asyncio.to_thread(cluster.kill, "redis-1")
    await reads_and_writes(cluster, "redis away")
    await asyncio.to_thread(cluster.restart, "redis-1")
    await reads_and_writes(cluster, "redis back")


async def test_nats_outage_answers_503_fast_and_recovers_within_5_s(cluster: Cluster) -> None:
    async with client(cluster.env) as http:
        assert (await http.get("/api/account/acme")).status_code == 200
        await asyncio.to_thread(cluster.kill, "nats-1")

        async def refused() -> bool:
            return (await http.get("/api/account/acme")).status_code == 503

        await eventually(refused, within_s=5, what="the breaker opening")
        for _ in range(20):
            started = time.monotonic()
            answer = await http.get("/api/account/acme")
            assert answer.status_code == 503
            assert time.monotonic() - started < 0.2
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.json()["retry_after_ms"] > 0

        await asyncio.to_thread(cluster.restart, "nats-1")

        async def answered() -> bool:
            return (await http.get("/api/account/acme")).status_code == 200

        _, took_s = await eventually(answered, within_s=5, what="recovery")
        assert took_s < 5
    await reads_and_writes(cluster, "nats back")


async def test_postgres_restart_is_survived(cluster: Cluster) -> None:
    await asyncio.to_thread(cluster.kill, "postgres-1")
    async with client(cluster.env) as http:
        # Replica and cache may go on answering whoever does not ask for the primary.
        http.headers["Oql-Read-Policy"] = "primary"
        answer = await http.get("/api/account/acme")
        assert answer.status_code in {503, 504}, answer.text
        await asyncio.to_thread(cluster.restart, "postgres-1")

        async def answered() -> bool:
            return (await http.get("/api/account/acme")).status_code == 200

        await eventually(answered, within_s=15, what="recovery")
    await reads_and_writes(cluster, "postgres back")
