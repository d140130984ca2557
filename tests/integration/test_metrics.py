"""Every process serves its health and its metrics."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.clusters import body, eventually

from objectql_devstack.cluster import Cluster

pytestmark = pytest.mark.servers


def admin(cluster: Cluster, name: str) -> str:
    return f"http://127.0.0.1:{cluster.state.known_port(f'{name}/admin')}"


@pytest.mark.parametrize("path", ["/live", "/ready", "/metrics"])
async def test_every_process_answers_on_its_admin_port(cluster: Cluster, path: str) -> None:
    async with httpx.AsyncClient() as http:
        for name in cluster.names:
            answer = await http.get(admin(cluster, name) + path)
            assert answer.status_code == 200, (name, answer.text)


async def test_kernels_tell_of_pools_relays_and_plans(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    assert (await api.post("/api/account", content=body({"name": "Counted"}))).status_code == 201
    assert (await api.get("/api/account", params={"$top": 1})).status_code == 200

    async def told() -> list[dict[str, float]]:
        kernels = [name for name in cluster.names if name.startswith("kernel-")]
        async with httpx.AsyncClient() as http:
            texts = [(await http.get(admin(cluster, name) + "/metrics")).text for name in kernels]
        found = [
            {
                line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
                for line in text.splitlines()
                if line.startswith("oql_")
            }
            for text in texts
        ]
        leading = [f for f in found if f.get('oql_relay_leading{source="default"}') == 1.0]
        published = sum(f.get("oql_events_published_total", 0.0) for f in found)
        return found if len(leading) == 1 and published > 0 else []

    found, _ = await eventually(told, within_s=15, what="the metrics of the relay")
    for metrics in found:
        assert metrics['oql_source_up{source="default"}'] == 1.0
        assert metrics['oql_pool_connections{source="default",state="idle"}'] >= 1.0
        assert metrics["oql_metadata_version"] >= 1.0
    assert sum(metrics["oql_plan_cache_misses_total"] for metrics in found) > 0


async def test_kernels_tell_by_which_fields_records_were_found(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    assert (await api.get("/api/account", params={"$filter": "employees gt 7"})).status_code == 200
    uses: list[dict[str, Any]] = []
    async with httpx.AsyncClient() as http:
        for name in cluster.names:
            if name.startswith("kernel-"):
                uses += (await http.get(admin(cluster, name) + "/index-uses")).json()
    asked = [use for use in uses if use["access"]["ranged"] == ["employees"]]
    assert {(use["object"], *use["wanted"]) for use in asked} == {("account", "employees")}, uses
    assert all(use["queries"] >= 1 for use in asked)
