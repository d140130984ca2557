"""Databases of single tenants: whose they are, what was left half-way, and where events are found."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import asyncpg  # noqa: TID251 - looks behind the driver
import pytest

from objectql.clock import SystemClock
from objectql.drivers.placed import PlacedDriver
from objectql.drivers.places import Place
from objectql.drivers.pool import PoolSettings
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.drivers.sql.postgres_place_databases import database_in
from objectql.errors import (
    DeadlineExceeded,
    ObjectQLError,
    PlaceForbidden,
    PlaceTaken,
    Unavailable,
)
from objectql.ids import TenantId
from objectql.testing.driver_samples import (
    ACME,
    CUSTOMERS,
    OBJECTS,
    count_inserts,
    ids,
    insert,
    scope,
    update,
    write,
)

GLOBEX = TenantId("Globex-2")
PLACE = Place(ACME, "database")

_numbers = itertools.count()


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("postgresql://u:p@h:5432/app", "app"),
        ("postgresql://h1:1,h2:2/app?sslmode=require", "app"),
        ("postgresql://h/my%20app", "my app"),
        ("postgresql:///?host=/tmp&dbname=app", "app"),
        ("postgresql://h?database=app", "app"),
        ("postgresql://u@h", None),
        ("postgresql://u@h/", None),
    ],
)
def test_database_of_a_source_is_the_one_that_its_url_names(url: str, database: str | None) -> None:
    assert database_in(url) == database


def test_source_whose_url_names_no_database_has_places_in_schemas_only() -> None:
    for url, kinds in (
        ("postgresql://h", {"schema"}),
        ("postgresql://h/a", {"schema", "database"}),
    ):
        places = PostgresDriver(PostgresSettings(url)).places
        assert places is not None
        assert places.kinds == kinds


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A superuser, in the database of the shared tables."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture(params=["own server", "other server"])
async def server(
    database_url: str, request: pytest.FixtureRequest
) -> AsyncIterator[PostgresDriver]:
    """A source, whose tenants have their databases where it is, or where another URL says."""
    elsewhere = f"{database_url.rpartition('/')[0]}/postgres"
    place_server = elsewhere if request.param == "other server" else None
    pool = PoolSettings(max_size=4)
    driver = PostgresDriver(PostgresSettings(database_url, pool, place_server=place_server))
    await driver.connect()
    yield driver
    await driver.close()


async def make(driver: PostgresDriver, *tenants: TenantId) -> PlacedDriver:
    """The driver with a database for each of the tenants."""
    assert driver.places is not None
    placed = PlacedDriver(driver, driver.places)
    places = [Place(tenant, "database") for tenant in tenants]
    placed.settle(places)
    for place in places:
        await placed.places.create(place)
        own = placed.of(place.tenant)
        await own.apply_schema(await own.plan_schema(OBJECTS))
    return placed


@pytest.fixture
async def placed(server: PostgresDriver) -> AsyncIterator[PlacedDriver]:
    driver = await make(server, ACME, GLOBEX)
    yield driver
    await driver.end_places()


def name_of(url: str, tenant: str = ACME) -> str:
    return f"{url.rpartition('/')[2]}~{tenant}"


def inside(url: str, tenant: str = ACME) -> str:
    return f"{url.rpartition('/')[0]}/{name_of(url, tenant)}"


async def connects(url: str) -> bool:
    try:
        await (await asyncpg.connect(url)).close()
    except asyncpg.PostgresError:
        return False
    return True


@pytest.mark.servers
class TestWhoseItIs:
    async def test_database_of_somebody_else_is_neither_used_nor_dropped(
        self, server: PostgresDriver, database_url: str, admin: asyncpg.Connection
    ) -> None:
        await admin.execute(f'CREATE DATABASE "{name_of(database_url)}"')
        await self.is_left_alone(server, database_url)

    async def test_closed_database_of_another_user_is_neither_used_nor_dropped(
        self, server: PostgresDriver, database_url: str, admin: asyncpg.Connection
    ) -> None:
        name, role = name_of(database_url), f"other_{next(_numbers)}"
        await admin.execute(f"CREATE ROLE {role}")
        await admin.execute(f'CREATE DATABASE "{name}" OWNER {role} ALLOW_CONNECTIONS false')
        assert server.places is not None
        with pytest.raises(PlaceTaken):
            await server.places.create(PLACE)
        await server.places.drop(PLACE)
        assert await admin.fetch("SELECT FROM pg_database WHERE datname = $1", name)

    async def test_database_of_another_installation_is_neither_used_nor_dropped(
        self, server: PostgresDriver, database_url: str, admin: asyncpg.Connection
    ) -> None:
        assert server.places is not None
        await server.places.create(PLACE)
        await admin.execute("UPDATE oql_installation SET id = 'another'")
        await self.is_left_alone(server, database_url)

    async def is_left_alone(self, server: PostgresDriver, database_url: str) -> None:
        own = await asyncpg.connect(inside(database_url))
        await own.execute("CREATE TABLE precious (id int)")
        assert server.places is not None
        with pytest.raises(PlaceTaken):
            await server.places.create(PLACE)
        await server.places.drop(PLACE)
        assert await own.fetch("SELECT * FROM precious") == []
        await own.close()

    async def test_other_users_of_the_server_cannot_connect(
        self, placed: PlacedDriver, database_url: str, admin: asyncpg.Connection
    ) -> None:
        role = f"stranger_{next(_numbers)}"
        await admin.execute(f"CREATE ROLE {role} LOGIN")
        assert placed.of(ACME) is not placed.shared
        as_stranger = inside(database_url).replace("postgres@", f"{role}@")
        assert not await connects(as_stranger)
        assert await connects(database_url.replace("postgres@", f"{role}@"))

    async def test_tables_of_others_are_not_there(self, placed: PlacedDriver) -> None:
        await write(placed, insert(CUSTOMERS, "c1"), tenant=GLOBEX)
        own = placed.of(ACME)
        assert isinstance(own, PostgresDriver)
        with pytest.raises(ObjectQLError):
            await own.read("SELECT 1 FROM oql_metadata")
        [[schemas]] = await own.read(
            "SELECT array_agg(nspname) FROM pg_namespace WHERE nspname LIKE 'tenant%'"
        )
        assert schemas is None
        assert await ids(own, CUSTOMERS, GLOBEX) == []


@pytest.mark.servers
class TestLeftHalfWay:
    async def test_database_that_was_made_and_not_opened_is_finished(
        self, server: PostgresDriver, database_url: str, admin: asyncpg.Connection
    ) -> None:
        name = name_of(database_url)
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0 ALLOW_CONNECTIONS false')
        placed = await make(server, ACME)
        await write(placed, insert(CUSTOMERS, "c1"), tenant=ACME)
        assert await ids(placed, CUSTOMERS, ACME) == ["c1"]
        await placed.end_places()

    async def test_database_that_was_made_and_not_opened_is_dropped(
        self, server: PostgresDriver, database_url: str, admin: asyncpg.Connection
    ) -> None:
        name = name_of(database_url)
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0 ALLOW_CONNECTIONS false')
        assert server.places is not None
        await server.places.drop(PLACE)
        assert not await admin.fetch("SELECT FROM pg_database WHERE datname = $1", name)

    async def test_database_without_its_tables_is_finished(
        self, server: PostgresDriver, database_url: str
    ) -> None:
        await (await make(server, ACME)).end_places()
        own = await asyncpg.connect(inside(database_url))
        await own.execute("DROP TABLE oql_outbox, customers CASCADE")
        await own.close()
        placed = await make(server, ACME)
        await write(placed, insert(CUSTOMERS, "c1"), tenant=ACME)
        assert len(await placed.of(ACME).outbox.pending(10)) == 1
        await placed.end_places()

    async def test_database_whose_drop_was_cut_short_is_made_anew_or_dropped(
        self, server: PostgresDriver, database_url: str, admin: asyncpg.Connection
    ) -> None:
        name = name_of(database_url)
        half_drop = f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{name}'"
        await (await make(server, ACME)).end_places()
        await admin.execute(half_drop)
        placed = await make(server, ACME)
        assert await ids(placed, CUSTOMERS, ACME) == []
        await placed.end_places()
        await admin.execute(half_drop)
        await placed.places.drop(PLACE)
        assert not await admin.fetch("SELECT FROM pg_database WHERE datname = $1", name)

    async def test_database_that_its_operator_has_closed_stays_closed(
        self, placed: PlacedDriver, database_url: str, admin: asyncpg.Connection
    ) -> None:
        await placed.end_places()
        name = name_of(database_url)
        await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        with pytest.raises(Unavailable):
            await placed.places.create(PLACE)
        assert not await connects(inside(database_url))

    async def test_database_in_use_is_dropped(
        self, placed: PlacedDriver, database_url: str, admin: asyncpg.Connection
    ) -> None:
        inspector = await asyncpg.connect(inside(database_url))
        await placed.of(ACME).check_health()
        await placed.places.drop(PLACE)
        name = name_of(database_url)
        assert not await admin.fetch("SELECT FROM pg_database WHERE datname = $1", name)
        with pytest.raises(ObjectQLError):
            await ids(placed, CUSTOMERS, ACME)
        inspector.terminate()


@pytest.mark.servers
async def test_user_without_the_right_is_told_so_and_needs_no_more_than_that(
    postgres_url: str,
) -> None:
    role = f"maker_{next(_numbers)}"
    root = await asyncpg.connect(postgres_url)
    await root.execute(f"CREATE ROLE {role} LOGIN")
    await root.execute(f"CREATE DATABASE {role} OWNER {role}")
    url = f"{postgres_url.replace('postgres@', f'{role}@').rpartition('/')[0]}/{role}"
    driver = PostgresDriver(PostgresSettings(url, PoolSettings(max_size=2)))
    await driver.connect()
    with pytest.raises(PlaceForbidden, match="CREATEDB"):
        await make(driver, ACME)
    await root.execute(f"ALTER ROLE {role} CREATEDB")
    placed = await make(driver, ACME)
    await write(placed, insert(CUSTOMERS, "c1"), tenant=ACME)
    assert await ids(placed, CUSTOMERS, ACME) == ["c1"]
    await placed.places.drop(PLACE)
    assert not await connects(inside(url))
    await placed.close()
    await root.close()


@pytest.mark.servers
async def test_write_that_takes_too_long_is_cancelled_where_it_runs(
    placed: PlacedDriver, database_url: str
) -> None:
    await write(placed, insert(CUSTOMERS, "c1"), tenant=ACME)
    blocker = await asyncpg.connect(inside(database_url))
    await blocker.execute("BEGIN; LOCK TABLE customers")
    deadline_ms = SystemClock().now_ms() + 300
    with pytest.raises(DeadlineExceeded):
        await placed.write(
            [update(CUSTOMERS, "c1", name="late")], scope(ACME), deadline_ms=deadline_ms
        )
    await blocker.close()


@pytest.mark.servers
class TestWaiting:
    PLACES = (PLACE, Place(GLOBEX, "database"))

    async def until(self, placed: PlacedDriver, *tenants: TenantId) -> None:
        """Return when these wait; the server may count what was inserted ten seconds later."""
        async with asyncio.timeout(60):
            while await placed.places.waiting(self.PLACES, placed.placed) != frozenset(tenants):
                await asyncio.sleep(0.1)

    async def test_inserts_are_counted_by_the_server(
        self, placed: PlacedDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = placed.of(GLOBEX)
        asked = 0
        pending = own.outbox.pending

        async def noting(limit: int) -> object:
            nonlocal asked
            asked += 1
            return await pending(limit)

        monkeypatch.setattr(own.outbox, "pending", noting)
        async with asyncio.timeout(60):
            before = -1
            while asked != before:  # a quiet database is not asked
                before = asked
                assert await placed.places.waiting(self.PLACES, placed.placed) == frozenset()
                await asyncio.sleep(0.1)
        await write(placed, insert(CUSTOMERS, "c1"), tenant=GLOBEX)
        await count_inserts(own)
        await self.until(placed, GLOBEX)

    async def test_outbox_that_does_not_answer_hides_no_other(
        self, placed: PlacedDriver, database_url: str
    ) -> None:
        await write(placed, insert(CUSTOMERS, "c1"), tenant=GLOBEX)
        blocker = await asyncpg.connect(inside(database_url))
        await blocker.execute("BEGIN; LOCK TABLE oql_outbox")
        await self.until(placed, GLOBEX)
        await blocker.close()

    async def test_server_that_is_gone_hides_no_schemas(self, database_url: str) -> None:
        settings = PostgresSettings(
            database_url, PoolSettings(max_size=2), place_server="postgresql://127.0.0.1:1/postgres"
        )
        driver = PostgresDriver(settings)
        await driver.connect()
        assert driver.places is not None
        placed = PlacedDriver(driver, driver.places)
        places = [PLACE, Place(GLOBEX, "schema")]
        placed.settle(places)
        await placed.places.create(places[1])
        await placed.of(GLOBEX).apply_schema(await placed.of(GLOBEX).plan_schema(OBJECTS))
        with pytest.raises(Unavailable):
            await placed.places.create(PLACE)
        await write(placed, insert(CUSTOMERS, "c1"), tenant=GLOBEX)
        assert await placed.places.waiting(places, placed.placed) == {GLOBEX}
        await placed.close()
