from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objectql.drivers.sql.sqlite import SqliteDriver, SqliteSettings
from objectql.testing.drivers import OBJECTS, DriverSuite


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[SqliteDriver]:
    driver = SqliteDriver(SqliteSettings(str(tmp_path / "records.db")))
    await driver.connect()
    await driver.apply_schema(await driver.plan_schema(OBJECTS))
    yield driver
    await driver.close()


class TestSqlite(DriverSuite):
    pass
