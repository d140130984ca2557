"""A cluster, and in it two tenants of each isolation."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator
from dataclasses import replace
from typing import NamedTuple

import pytest

from objectql_devstack.cluster import Cluster
from objectql_devstack.services import SERVICES
from tests.clusters import CRM, ROOT
from tests.security.cross_tenant.victim import Tenant, Victim, found_tenant

ISOLATIONS = ("row", "schema")
"""Databases are asked where nothing else is between tenants: they differ from schemas by the
connection alone, and take longer to make."""
WALLS = ("both walls", "second wall", "no wall")
"""What stands between tenants who share tables: the condition on the tenant in each statement, and
row-level security behind it."""
_ONE_WALL = (sys.executable, "-m", "tests.security.cross_tenant.one_wall")


class World(NamedTuple):
    """Who attacks whom, where."""

    cluster: Cluster
    attacker: Tenant
    victim: Victim


@pytest.fixture(scope="package", params=WALLS)
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Cluster]:
    kernel, *others = SERVICES
    env = {"OQL_KERNEL_TENANCY__UNKNOWN": "refuse"}
    if request.param != "both walls":
        kernel = replace(kernel, command=_ONE_WALL)
        env["PYTHONPATH"] = str(ROOT)
    if request.param == "no wall":
        env["OQL_KERNEL_TENANCY__ROW_SECURITY"] = "false"
    with Cluster(
        tmp_path_factory.mktemp("cross_tenant"),
        ports="free",
        kernels=1,
        counts={"coordinator": 0},
        services=[kernel, *others],
        metadata=[CRM],
        extra_env={"kernel": env},
        ephemeral=True,
    ) as running:
        yield running


@pytest.fixture(params=ISOLATIONS)
def isolation(request: pytest.FixtureRequest) -> str:
    """What keeps the two tenants apart."""
    return request.param


@pytest.fixture
async def world(cluster: Cluster, isolation: str) -> AsyncGenerator[World]:
    attacker = await found_tenant(cluster.env, isolation)
    victim = Victim(await found_tenant(cluster.env, isolation), cluster.env)
    yield World(cluster, attacker, victim)
    await attacker.http.aclose()
    await victim.tenant.http.aclose()
