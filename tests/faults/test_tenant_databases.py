"""A server of tenants' databases that falls silent harms nobody whose tables are elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator

import httpx
import pytest
from tests.clusters import CRM, administrator, client, eventually
from tests.proxies import Proxy
from tests.streams import all_events

from objectql.ids import uuid7
from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

TENANTS = "/api/admin/tenants"
AT_ONCE = 8


@pytest.fixture(scope="module")
def proxy() -> Generator[Proxy]:
    with Proxy() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    """Two kernels that find tenants' databases through `proxy`, on the server of all else."""
    server = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"
    with Cluster(
        tmp_path_factory.mktemp("cluster"),
        ports="free",
        kernels=2,
        metadata=[CRM],
        extra_env={"kernel": {"OQL_KERNEL_TENANCY__DATABASE_SERVER": server}},
        ephemeral=True,
    ) as running:
        proxy.target = httpx.URL(running.env["OQL_PG_URL"]).port
        yield running


@pytest.fixture
async def operator(cluster: Cluster) -> AsyncGenerator[httpx.AsyncClient]:
    async with client(cluster.env) as http:
        yield http


async def writes(http: httpx.AsyncClient) -> set[int]:
    asked = [http.post("/api/account", json={"name": uuid7()}) for _ in range(AT_ONCE)]
    return {answer.status_code for answer in await asyncio.gather(*asked)}


async def make_and_see(cluster: Cluster, id_: str, http: httpx.AsyncClient) -> None:
    """Return when the event of a new record has reached the stream."""
    made = await http.post("/api/account", json={"name": "Event"})
    assert made.status_code == 201, made.text

    async def arrived() -> bool:
        events = await all_events(cluster.env["OQL_NATS_URL"])
        return (id_, made.json()["id"]) in {(e.tenant, e.record_id) for e in events}

    await eventually(arrived, within_s=30, what=f"the event of {id_}")


async def test_silent_server_of_databases_leaves_all_others_unharmed(
    cluster: Cluster, operator: httpx.AsyncClient, proxy: Proxy
) -> None:
    for id_, isolation in (("far", "database"), ("near", "schema"), ("sharing", "row")):
        made = await operator.post(TENANTS, json={"id": id_, "isolation": isolation})
        assert made.json()["status"] == "active", made.text
    async with (
        administrator(cluster.env, "far") as far,
        administrator(cluster.env, "near") as near,
        administrator(cluster.env, "sharing") as sharing,
    ):
        for http in (far, near, sharing):
            assert await writes(http) == {201}
        proxy.is_cut = True
        lost = asyncio.gather(*(far.get("/api/account") for _ in range(AT_ONCE)))
        for id_, http in (("near", near), ("sharing", sharing)):
            for _ in range(3):
                assert await writes(http) == {201}
            await make_and_see(cluster, id_, http)
        note = {"fields": {"name": {"type": "text"}}}
        assert (await operator.put("/api/meta/object/note", json=note)).status_code == 200
        for http in (near, sharing):
            assert (await http.post("/api/note", json={"name": "N"})).status_code == 201
        assert (await operator.get(f"{TENANTS}/far")).json()["status"] == "blocked"
        assert {answer.status_code for answer in await lost} <= {503, 504}
        proxy.is_cut = False

        async def served() -> bool:
            return await writes(far) == {201}

        await eventually(served, within_s=90, what="service where the databases are")
        assert (await far.post("/api/note", json={"name": "N"})).status_code == 201
        await make_and_see(cluster, "far", far)
