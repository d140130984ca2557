"""Row-level security keeps tenants apart where the statement's own condition is gone."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg  # noqa: TID251 - the test looks behind the driver
import pytest
import sqlalchemy as sa  # noqa: TID251 - and takes a condition out of its statements

from objectql.drivers.pool import PoolSettings
from objectql.drivers.sql import writes as write_statements
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.drivers.sql.scope import Scope
from objectql.errors import ObjectQLError
from objectql.ids import TenantId
from objectql.testing.driver_samples import (
    ACME,
    CUSTOMERS,
    OBJECTS,
    ORDERS,
    OnPurpose,
    delete,
    ids,
    insert,
    one_by_id,
    read,
    update,
    write,
)

pytestmark = pytest.mark.servers

GLOBEX = TenantId("globex")


@pytest.fixture(params=["superuser", "owner"])
async def url(request: pytest.FixtureRequest, postgres_url: str) -> str:
    """An empty database, as a superuser sees it and as an ordinary user who owns it."""
    name = f"walls_{request.param}"
    admin = await asyncpg.connect(postgres_url)
    await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    if request.param == "owner":
        await admin.execute(
            "DO $$ BEGIN CREATE ROLE plain LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
    user = "plain" if request.param == "owner" else "postgres"
    await admin.execute(f"CREATE DATABASE {name} OWNER {user}")
    await admin.close()
    return postgres_url.replace("postgres@", f"{user}@").rpartition("/")[0] + f"/{name}"


@pytest.fixture
async def driver(url: str) -> AsyncIterator[PostgresDriver]:
    driver = PostgresDriver(PostgresSettings(url, pool=PoolSettings(max_size=2)))
    await driver.connect()
    await driver.apply_schema(await driver.plan_schema(OBJECTS))
    for tenant in (ACME, GLOBEX):
        await write(driver, insert(CUSTOMERS, f"{tenant}-1", name=f"of {tenant}"), tenant=tenant)
        await write(driver, insert(ORDERS, f"{tenant}-o", number="1"), tenant=tenant)
    yield driver
    await driver.close()


@pytest.fixture
def _no_first_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements without their condition on the tenant."""

    def anybody(_scope: Scope) -> sa.True_:
        return sa.true()

    monkeypatch.setattr(Scope, "of_tenant", anybody)
    change = write_statements._change_parts  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def without(*args: Any) -> str:
        text = change(*args)
        assert "r.tenant_id = $2" in text
        return text.replace("r.tenant_id = $2", "$2::text IS NOT NULL")

    monkeypatch.setattr(write_statements, "_change_parts", without)


@pytest.mark.usefixtures("_no_first_wall")
async def test_second_wall_holds_alone(driver: PostgresDriver) -> None:
    assert "tenant_id" not in driver.lower(one_by_id(CUSTOMERS)).text
    assert await ids(driver, CUSTOMERS, ACME) == ["acme-1"]
    assert await ids(driver, CUSTOMERS, GLOBEX) == ["globex-1"]
    assert await read(driver, CUSTOMERS, "globex-1", ACME) is None
    lowered = driver.lower(one_by_id(CUSTOMERS))
    found = await driver.fetch_one_each(lowered, [(ACME, "acme-1"), (ACME, "globex-1")])
    assert [record is not None for record in found] == [True, False]
    for change in (update(CUSTOMERS, "globex-1", name="taken"), delete(CUSTOMERS, "globex-1")):
        (outcome,) = await write(driver, change, tenant=ACME)
        assert outcome.status == "missing"
    assert await read(driver, CUSTOMERS, "globex-1", GLOBEX) is not None


@pytest.mark.usefixtures("_no_first_wall")
async def test_second_wall_holds_alone_in_transactions(driver: PostgresDriver) -> None:
    lowered = driver.lower(one_by_id(CUSTOMERS))
    async with driver.begin(tenant=GLOBEX) as session:
        assert await session.fetch_one(lowered, (GLOBEX, "acme-1")) is None
        assert await session.fetch_one(lowered, (ACME, "acme-1")) is not None
        assert await session.fetch_one(lowered, (ACME, "globex-1")) is None
        with contextlib.suppress(OnPurpose):
            async with session.savepoint():
                assert await session.fetch_one(lowered, (GLOBEX, "globex-1")) is not None
                raise OnPurpose
        assert await session.fetch_one(lowered, (ACME, "globex-1")) is None
        assert await session.fetch_one(lowered, (ACME, "acme-1")) is not None
    # What a transaction showed last is not what its connection shows from then on.
    for _ in range(3):
        assert await ids(driver, CUSTOMERS, GLOBEX) == ["globex-1"]
        assert await ids(driver, CUSTOMERS, ACME) == ["acme-1"]


async def test_statement_in_nobodys_name_finds_nothing(driver: PostgresDriver, url: str) -> None:
    async with driver.begin() as session:  # on a connection that shows somebody's rows
        await session.show("")
        assert await session.run("SELECT count(*) FROM customers") == [(0,)]
    fresh = PostgresDriver(PostgresSettings(url))
    await fresh.connect()
    try:
        assert await fresh.read("SELECT count(*) FROM customers") == [(0,)]
        assert await fresh.read("SELECT count(*) FROM shop_orders") == [(0,)]
        with pytest.raises(ObjectQLError):
            await fresh.run(
                "INSERT INTO customers (tenant_id, id, version, created_at, updated_at)"
                " VALUES ('acme', 'x', 1, now(), now())"
            )
    finally:
        await fresh.close()


async def test_switched_off_walls_come_down_and_up_again(driver: PostgresDriver, url: str) -> None:
    for is_on in (False, True):
        other = PostgresDriver(PostgresSettings(url, row_security=is_on))
        await other.connect()
        try:
            await other.apply_schema(await other.plan_schema(OBJECTS))
            assert (await other.plan_schema(OBJECTS)).steps == ()
            rows = await other.read("SELECT count(*) FROM customers")
            assert rows == [(0 if is_on else 2,)]
        finally:
            await other.close()


async def test_tables_made_later_have_walls(driver: PostgresDriver) -> None:
    await driver.drop_object(ORDERS.name, ORDERS.table)
    await driver.apply_schema(await driver.plan_schema(OBJECTS))
    await write(driver, insert(ORDERS, "o1"), tenant=GLOBEX)
    assert await ids(driver, ORDERS, GLOBEX) == ["o1"]
    async with driver.begin() as session:
        await session.show(ACME)
        assert await session.run("SELECT count(*) FROM shop_orders") == [(0,)]
