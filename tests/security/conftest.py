"""One guarded cluster for the tests that attack what lies behind and before the gateways."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from objectql_devstack.cluster import Cluster
from tests.clusters import CRM


@pytest.fixture(scope="package")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    """A cluster as `make up` starts it, with one kernel and one coordinator."""
    with Cluster(
        tmp_path_factory.mktemp("guarded"),
        ports="free",
        kernels=1,
        counts={"coordinator": 1},
        metadata=[CRM],
        need=frozenset({"nats", "postgres", "zookeeper"}),
        ephemeral=True,
    ) as running:
        yield running
