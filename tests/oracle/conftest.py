"""A Postgres for the tests of the oracle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from objectql_devstack import DataStack


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running Postgres of this test session; the URL of an empty database."""
    with DataStack.start(tmp_path_factory.mktemp("postgres"), {"postgres"}) as stack:
        yield stack.pg_url
