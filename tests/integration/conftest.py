"""One cluster for all integration tests: the shipped shape, with crm, flights' objects and a few rows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from itertools import islice

import httpx
import pytest
from examples.flights import rows
from tests.clusters import CRM, FLIGHTS, body, client

from objectql_devstack.cluster import Cluster

SAMPLE = 3000
"""Flights of the sample; enough for pages, groups and dangling lookups."""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    root = tmp_path_factory.mktemp("cluster")
    with Cluster(root, ports="free", kernels=2, metadata=[FLIGHTS, CRM], ephemeral=True) as running:
        load_sample(running.env)
        yield running


def load_sample(env: dict[str, str]) -> None:
    """Load all airlines, airports and planes, and the first `SAMPLE` flights, in bulk."""
    dangling = rows.Dangling()
    sources = {
        "airline": rows.airlines(),
        "airport": rows.airports(),
        "plane": rows.planes(),
        "flight": islice(rows.flights(dangling), SAMPLE),
    }
    headers = {"Authorization": f"Bearer {env['OQL_ADMIN_TOKEN']}"}
    with httpx.Client(base_url=env["OQL_REST_URL"], headers=headers, timeout=60) as http:
        for name, records in sources.items():
            while chunk := list(islice(records, 1000)):
                answer = http.post(
                    f"/api/{name}/bulk",
                    content=body(
                        {
                            "operation": "create",
                            "records": [{"data": row} for row in chunk],
                            "atomic": True,
                            "return_records": False,
                        }
                    ),
                )
                assert answer.status_code == 200, answer.text
                assert answer.json()["failed"] == 0, answer.text[:2000]


@pytest.fixture
async def api(cluster: Cluster) -> AsyncGenerator[httpx.AsyncClient]:
    async with client(cluster.env) as http:
        yield http
