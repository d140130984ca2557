"""NATS as three servers, of which one dies, and a kernel that is cut off from all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator

import pytest
from tests.clusters import CRM
from tests.keyed_clients import KeyedClients, names_of
from tests.live.sockets import open_socket
from tests.proxies import Proxy

from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

NODES = ("nats-1", "nats-2", "nats-3")
CUT_OFF = "kernel-2"


@pytest.fixture(scope="module")
def wire() -> Generator[Proxy]:
    """Between one kernel and NATS."""
    with Proxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, wire: Proxy) -> Generator[Cluster]:
    wired: dict[str, str] = {}
    made = Cluster(
        tmp_path_factory.mktemp("nats_nodes"),
        ports="free",
        kernels=2,
        counts={"coordinator": 1},
        metadata=[CRM],
        nats_nodes=len(NODES),
        ephemeral=True,
        extra_env={CUT_OFF: wired},
    )
    password = made.state.secret("nats/kernel")
    wired["OQL_KERNEL_BUS__URL"] = f"nats://kernel:{password}@127.0.0.1:{wire.port}"
    wire.target = lambda: made.state.known_port("nats-1")
    with made as running:
        yield running


async def test_one_server_of_nats_dies_after_the_other_and_all_goes_on(cluster: Cluster) -> None:
    clients = KeyedClients(cluster, "node")
    url, token = cluster.env["OQL_WS_URL"], cluster.env["OQL_ADMIN_TOKEN"]
    async with open_socket(url, token) as socket:
        await socket.subscribe("account", where={"name": {"$startsWith": "node-"}}, fields=["name"])
        async with clients.at_work():
            for node in NODES:
                await clients.grow(10)
                await asyncio.to_thread(cluster.kill, node)
                await clients.grow(20)
                await asyncio.to_thread(cluster.restart, node)
        assert names_of(await socket.events(len(clients.written))) == Counter(
            clients.written.keys()
        )
    stored = await clients.stored()
    assert len(stored) == len(clients.written)
    assert {item["name"]: item["id"] for item in stored} == clients.written
    assert clients.reads[200] >= len(NODES)
    assert set(clients.reads) <= {200, 503, 504}, clients.reads


async def test_a_kernel_that_is_cut_off_from_nats_leaves_its_work_to_the_other(
    cluster: Cluster, wire: Proxy
) -> None:
    clients = KeyedClients(cluster, "cut")
    url, token = cluster.env["OQL_WS_URL"], cluster.env["OQL_ADMIN_TOKEN"]
    async with open_socket(url, token) as socket:
        await socket.subscribe("account", where={"name": {"$startsWith": "cut-"}}, fields=["name"])
        # So that who will be cut off holds the relay, whose lease lies in the store.
        await asyncio.to_thread(cluster.restart, "kernel-1")
        async with clients.at_work():
            await clients.grow(10)
            wire.is_cut = True
            try:
                await clients.grow(20)
                heard = await socket.events(len(clients.written))  # while it is still cut off
            finally:
                wire.is_cut = False
                wire.drop()
            await clients.grow(10)
        heard += await socket.events(len(clients.written) - len(heard))
    assert names_of(heard) == Counter(clients.written.keys())
    assert {item["name"]: item["id"] for item in await clients.stored()} == clients.written
