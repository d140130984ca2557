from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import asyncpg  # noqa: TID251 - looks behind the driver's back
import pytest

from objectql.drivers.pool import PoolSettings
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.testing.drivers import OBJECTS, DriverSuite

pytestmark = pytest.mark.servers

_numbers = itertools.count()


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """The name of a database in which the driver has made its tables."""

    async def prepare() -> None:
        admin = await asyncpg.connect(postgres_url)
        await admin.execute("CREATE DATABASE suite_template")
        await admin.close()
        driver = PostgresDriver(PostgresSettings(beside(postgres_url, "suite_template")))
        await driver.connect()
        await driver.apply_schema(await driver.plan_schema(OBJECTS))
        await driver.close()

    asyncio.run(prepare())
    return "suite_template"


def beside(url: str, database: str) -> str:
    return f"{url.rpartition('/')[0]}/{database}"


@pytest.fixture
async def database_url(postgres_url: str, template: str) -> str:
    """A fresh database with the tables."""
    name = f"suite_{next(_numbers)}"
    admin = await asyncpg.connect(postgres_url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    await admin.close()
    return beside(postgres_url, name)


@pytest.fixture
async def driver(database_url: str) -> AsyncIterator[PostgresDriver]:
    pool = PoolSettings(min_size=1, max_size=8)
    driver = PostgresDriver(PostgresSettings(database_url, pool=pool))
    await driver.connect()
    yield driver
    await driver.close()


class TestPostgres(DriverSuite):
    pass
