"""A data source of every kind for the recorded vectors."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from tests.engines import HeldClock, MakeDriver

from objectql.drivers.memory import MemoryDriver
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.drivers.sql.sqlite import SqliteDriver, SqliteSettings
from objectql_devstack import DataStack


@pytest.fixture(
    scope="session",
    params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.servers)],
)
def make_driver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[MakeDriver]:
    """Makes empty data sources of one kind; `data` and `zoo` are the names that there are."""
    folder = tmp_path_factory.mktemp("sources")
    clock = HeldClock()
    if request.param == "memory":
        yield lambda _name: MemoryDriver(clock=clock)
    elif request.param == "sqlite":
        yield lambda name: SqliteDriver(SqliteSettings(str(folder / f"{name}.db")), clock=clock)
    else:
        with DataStack.start(folder, {"postgres"}, databases=("data", "zoo")) as stack:
            yield lambda name: PostgresDriver(
                PostgresSettings(stack.pg_database_url(name)), clock=clock
            )
