"""One cluster for the tests of identities: two gateways, so that none relies on what it did itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import httpx
import pytest
from tests.clusters import CRM, client
from tests.security.identity.people import PASSWORD, ROOT_NAME

from objectql_devstack.cluster import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    with Cluster(
        tmp_path_factory.mktemp("identity"),
        ports="free",
        kernels=2,
        metadata=[CRM],
        ephemeral=True,
        counts={"gateway-rest": 2, "coordinator": 0},
        extra_env={
            "kernel": {
                "OQL_KERNEL_IDENTITY__ADMIN_NAME": ROOT_NAME,
                "OQL_KERNEL_IDENTITY__ADMIN_PASSWORD": PASSWORD,
                "OQL_KERNEL_IDENTITY__FREE_ATTEMPTS": "3",
                "OQL_KERNEL_IDENTITY__FIRST_WAIT_S": "30",
            }
        },
    ) as running:
        yield running


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncGenerator[httpx.AsyncClient]:
    """The administrator of the default tenant, by the development token."""
    async with client(cluster.env) as http:
        yield http


@pytest.fixture
async def other(cluster: Cluster) -> AsyncGenerator[httpx.AsyncClient]:
    """The second gateway, without credentials."""
    async with httpx.AsyncClient(
        base_url=f"http://{cluster.address('gateway-rest-2')}", timeout=30
    ) as http:
        yield http
