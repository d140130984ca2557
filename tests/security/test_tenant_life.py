"""A tenant that is suspended or deleted is refused by every kernel, within a second."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from typing import Any

import httpx
import msgspec
import pytest

from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.ids import uuid7
from objectql_devstack.cluster import Cluster
from tests.clusters import CRM, administrator, client, eventually

pytestmark = pytest.mark.servers

TENANTS = "/api/admin/tenants"
AT_ONCE = 16
"""With two kernels in the queue group, both get some."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    root = tmp_path_factory.mktemp("tenants")
    with Cluster(root, ports="free", kernels=2, metadata=[CRM], ephemeral=True) as running:
        yield running


@pytest.fixture
async def operator(cluster: Cluster) -> AsyncGenerator[httpx.AsyncClient]:
    async with client(cluster.env) as http:
        yield http


async def statuses(http: httpx.AsyncClient) -> set[int]:
    """How every kernel answers reads and writes."""
    reads = [http.get("/api/account") for _ in range(AT_ONCE)]
    writes = [http.post("/api/account", json={"name": uuid7()}) for _ in range(AT_ONCE)]
    return {answer.status_code for answer in await asyncio.gather(*reads, *writes)}


async def test_suspension_holds_everywhere_and_ends_again(
    cluster: Cluster, operator: httpx.AsyncClient
) -> None:
    assert (await operator.post(TENANTS, json={"id": "acme"})).status_code == 201
    async with administrator(cluster.env, "acme") as acme:
        assert await statuses(acme) == {200, 201}
        await operator.patch(f"{TENANTS}/acme", json={"suspended": True})

        async def refused() -> bool:
            return await statuses(acme) == {403}

        await eventually(refused, within_s=5, what="the refusal by every kernel")
        answer = await acme.get("/api/account")
        assert answer.json()["code"] == "TENANT_NOT_ACTIVE"
        await operator.patch(f"{TENANTS}/acme", json={"suspended": False})

        async def served() -> bool:
            return await statuses(acme) == {200, 201}

        await eventually(served, within_s=5, what="service by every kernel")


async def test_suspension_whose_announcement_is_lost_is_noticed(
    cluster: Cluster, operator: httpx.AsyncClient
) -> None:
    assert (await operator.post(TENANTS, json={"id": "quiet"})).status_code == 201
    async with administrator(cluster.env, "quiet") as quiet:
        assert await statuses(quiet) == {200, 201}
        store = PostgresDriver(PostgresSettings(cluster.env["OQL_PG_URL"]))
        await store.connect()
        try:  # nobody is told
            known = next(t for t in (await store.tenants.load())[1] if t.id == "quiet")
            await store.tenants.save(msgspec.structs.replace(known, suspended=True))
        finally:
            await store.close()

        async def refused() -> bool:
            return await statuses(quiet) == {403}

        await eventually(refused, within_s=5, what="the refusal by every kernel")


async def test_deleted_tenant_is_gone_with_its_data(
    cluster: Cluster, operator: httpx.AsyncClient
) -> None:
    await operator.post(TENANTS, json={"id": "gone"})
    async with administrator(cluster.env, "gone") as gone:
        assert (await gone.post("/api/account", json={"name": "Marker"})).status_code == 201
        exported = await operator.get(f"{TENANTS}/gone/export")
        lines: list[dict[str, Any]] = [json.loads(line) for line in exported.text.splitlines()]
        assert [line["record"]["name"] for line in lines if "record" in line] == ["Marker"]
        assert (await operator.delete(f"{TENANTS}/gone")).status_code == 409
        deleted = await operator.delete(f"{TENANTS}/gone", params={"confirm": "gone"})
        assert deleted.status_code == 204, deleted.text
        assert await statuses(gone) == {403}
    assert (await operator.get(f"{TENANTS}/gone")).status_code == 404
    assert (await operator.get(f"{TENANTS}/gone/export")).status_code == 404
    assert (await operator.post(TENANTS, json={"id": "gone"})).status_code == 409


async def test_administration_is_for_the_system_role(cluster: Cluster) -> None:
    async with administrator(cluster.env, "acme") as acme:
        for method, path in (
            ("GET", TENANTS),
            ("POST", TENANTS),
            ("GET", f"{TENANTS}/default"),
            ("GET", f"{TENANTS}/none"),
            ("PATCH", f"{TENANTS}/default"),
            ("DELETE", f"{TENANTS}/default"),
            ("GET", f"{TENANTS}/default/export"),
        ):
            answer = await acme.request(method, path, content=b"{}")
            assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")
