"""One small cluster per fault module: two kernels, one gateway, three coordinators."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from tests.clusters import CRM

from objectql_devstack.cluster import Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    root = tmp_path_factory.mktemp("cluster")
    with Cluster(root, ports="free", kernels=2, metadata=[CRM], ephemeral=True) as running:
        yield running
