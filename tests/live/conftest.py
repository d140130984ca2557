"""One cluster with notes for all live tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import httpx
import pytest

from objectql_devstack.cluster import Cluster
from tests.clusters import ROOT, client
from tests.live.sockets import Socket, open_socket

METADATA = ROOT / "tests" / "live" / "metadata"


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    root = tmp_path_factory.mktemp("live")
    with Cluster(
        root,
        ports="free",
        kernels=2,
        counts={"coordinator": 1, "gateway-ws": 2},
        metadata=[METADATA],
        ephemeral=True,
    ) as running:
        yield running


@pytest.fixture
async def api(cluster: Cluster) -> AsyncGenerator[httpx.AsyncClient]:
    async with client(cluster.env) as http:
        yield http


@pytest.fixture
async def socket(cluster: Cluster) -> AsyncGenerator[Socket]:
    async with open_socket(cluster.env["OQL_WS_URL"], cluster.env["OQL_ADMIN_TOKEN"]) as opened:
        yield opened
