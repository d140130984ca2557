"""One cluster for the tests of identities: two gateways, so that none relies on what it did itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import httpx
import pytest
from tests.clusters import CRM, client
from tests.security.identity.issuer import Issuer
from tests.security.identity.people import PASSWORD, ROOT_NAME

from objectql_devstack.cluster import Cluster


@pytest.fixture(scope="session")
def issuer() -> Generator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Generator[Cluster]:
    external = "OQL_GATEWAY_REST_AUTH__ISSUERS__CORPORATE__"
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
            },
            "gateway-rest": {
                f"{external}ISSUER": issuer.url,
                f"{external}DISCOVERY": "true",
                f"{external}AUDIENCE": "oql",
                f"{external}ALGORITHMS": "RS256,ES256,EdDSA",
                f"{external}TENANT_CLAIM": "org.id",
                f"{external}ROLES_CLAIM": "realm_access.roles",
                f"{external}TENANTS": "default,acme",
                "OQL_GATEWAY_REST_AUTH__REFETCH_S": "0.2",
                "OQL_GATEWAY_REST_COOKIES__ENABLED": "true",
                "OQL_GATEWAY_REST_RATES__ADDRESS": "off",
            },
            "gateway-rest-1": {"OQL_GATEWAY_REST_PUBLISH_KEYS": "false"},
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
