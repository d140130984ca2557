"""Databases for the tests of drivers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator

import asyncpg  # noqa: TID251 - makes databases for the tests
import pytest

from objectql.drivers.places import Place
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.testing.databases import drop_database
from objectql.testing.driver_samples import ACME, OBJECTS
from objectql_devstack import DataStack

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running Postgres of this test session; the URL of an empty database."""
    with DataStack.start(tmp_path_factory.mktemp("postgres"), {"postgres"}) as stack:
        yield stack.pg_url


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """The name of a database in which the driver has made its tables, and places for `ACME`."""

    async def prepare() -> None:
        admin = await asyncpg.connect(postgres_url)
        await admin.execute("CREATE DATABASE suite_template")
        await admin.close()
        driver = PostgresDriver(PostgresSettings(beside(postgres_url, "suite_template")))
        await driver.connect()
        await driver.apply_schema(await driver.plan_schema(OBJECTS))
        assert driver.places is not None
        for kind in ("schema", "database"):
            place = Place(ACME, kind)
            await driver.places.create(place)
            own = driver.places.open(place)
            await own.apply_schema(await own.plan_schema(OBJECTS))
            await own.close()
        await driver.close()

    asyncio.run(prepare())
    return "suite_template"


def beside(url: str, database: str) -> str:
    return f"{url.rpartition('/')[0]}/{database}"


async def copy_place_of_acme(url: str) -> None:
    """Give `ACME` a database beside that of `url`, a copy of the one beside the template."""
    admin = await asyncpg.connect(url)
    name = f"{url.rpartition('/')[2]}~{ACME}"
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "suite_template~{ACME}"')
    await admin.close()


@pytest.fixture
async def database_url(postgres_url: str, template: str) -> AsyncIterator[str]:
    """A fresh database with the tables, dropped afterwards."""
    name = f"suite_{next(_numbers)}"
    admin = await asyncpg.connect(postgres_url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY wal_log")
    await admin.close()
    url = beside(postgres_url, name)
    yield url
    await drop_database(url)
