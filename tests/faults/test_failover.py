"""T17: the primary of a data source dies under writes, and its standby takes its place."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import asyncpg
import pytest
from tests.clusters import CRM, eventually
from tests.keyed_clients import KeyedClients, names_of
from tests.live.sockets import open_socket
from tests.proxies import Proxy

from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]


async def tell(url: str, *statements: str) -> object:
    """The value of the last of the statements on a server."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


async def keep_in_step(cluster: Cluster) -> None:
    """Have the primary answer a commit when the standby has it too."""

    async def is_in_step() -> bool:
        asked = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        return await tell(cluster.data.pg_url, asked) == 1

    await tell(
        cluster.data.pg_url,
        "ALTER SYSTEM SET synchronous_standby_names = '*'",
        "SELECT pg_reload_conf()",
    )
    await eventually(is_in_step, within_s=20, what="the standby being in step")


async def test_what_was_answered_outlives_the_primary_and_each_key_has_one_effect(
    tmp_path: Path,
) -> None:
    with Proxy() as wire:
        cluster = Cluster(
            tmp_path,
            ports="free",
            kernels=2,
            counts={"coordinator": 1},
            metadata=[CRM],
            ephemeral=True,
            extra_env={
                "kernel": {
                    "OQL_KERNEL_DATASOURCES__DEFAULT": (
                        f"postgresql://postgres@127.0.0.1:{wire.port}/objectql"
                    )
                }
            },
        )
        wire.target = lambda: cluster.state.known_port("postgres-1")
        await asyncio.to_thread(cluster.start)
        try:
            await keep_in_step(cluster)
            clients = KeyedClients(cluster, "moved")
            url, token = cluster.env["OQL_WS_URL"], cluster.env["OQL_ADMIN_TOKEN"]
            async with open_socket(url, token) as socket:
                await socket.subscribe(
                    "account", where={"name": {"$startsWith": "moved-"}}, fields=["name"]
                )
                async with clients.at_work():
                    await clients.grow(20)
                    await asyncio.to_thread(cluster.kill, "postgres-1")
                    assert await tell(cluster.data.pg_replica_url, "SELECT pg_promote()") is True
                    # As a platform does it: the address of the source leads elsewhere.
                    wire.target = lambda: cluster.state.known_port("postgres-replica-1")
                    wire.drop()
                    await clients.grow(20)
                heard = names_of(await socket.events(len(clients.written)))
            stored = await clients.stored()
        finally:
            await asyncio.to_thread(cluster.stop)
    assert len(stored) == len(clients.written)
    assert {item["name"]: item["id"] for item in stored} == clients.written
    assert heard == Counter(clients.written.keys())
