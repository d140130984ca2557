from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objectql.drivers.sql.sqlite import SqliteDriver, SqliteSettings
from objectql.errors import NotSupported
from objectql.testing.drivers import OBJECTS, DriverSuite, NoPreparePromises


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[SqliteDriver]:
    driver = SqliteDriver(SqliteSettings(str(tmp_path / "records.db")))
    await driver.connect()
    await driver.apply_schema(await driver.plan_schema(OBJECTS))
    yield driver
    await driver.close()


class TestSqlite(DriverSuite, NoPreparePromises):
    pass


async def test_a_statement_that_nests_too_deeply_is_refused_with_a_reason(
    driver: SqliteDriver,
) -> None:
    with pytest.raises(NotSupported, match="nests this deeply"):
        await driver.read("SELECT " + "(" * 200 + "1" + ")" * 200)
