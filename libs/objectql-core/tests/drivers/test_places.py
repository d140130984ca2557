"""Tenants with tables of their own: one cannot see another's, and making them may fail anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet

import asyncpg  # noqa: TID251 - looks behind the driver
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.drivers.memory import MemoryDriver
from objectql.drivers.placed import PlacedDriver
from objectql.drivers.places import Place, PlaceKind, place_name
from objectql.drivers.pool import PoolSettings
from objectql.drivers.protocol import Driver
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.drivers.sql.postgres_access import PlaceLimits
from objectql.errors import ObjectQLError, PlaceTaken
from objectql.ids import TenantId
from objectql.metadata.model import Features
from objectql.testing.driver_samples import (
    ACME,
    CUSTOMERS,
    OBJECTS,
    count_inserts,
    field,
    ids,
    insert,
    make_object,
    scope,
    write,
)
from objectql.testing.drivers import PlaceSuite

from .conftest import copy_place_of_acme

GLOBEX = TenantId("Globex-2")
"""A name that would have to be quoted."""

SHARING = TenantId("sharing")

LIMITS = PlaceLimits(max_size=8)


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.servers)])
def unconnected(request: pytest.FixtureRequest) -> Driver:
    if request.param == "memory":
        return MemoryDriver()
    return on_server(request.getfixturevalue("database_url"))


def on_server(url: str, limits: PlaceLimits = LIMITS) -> PostgresDriver:
    return PostgresDriver(PostgresSettings(url, PoolSettings(max_size=4), places=limits))


@pytest.fixture
async def shared(unconnected: Driver) -> AsyncIterator[Driver]:
    """A source with shared tables."""
    await unconnected.connect()
    await unconnected.apply_schema(await unconnected.plan_schema(OBJECTS))
    yield unconnected
    await unconnected.close()


@pytest.fixture(params=["schema", "database"])
def place_kind(request: pytest.FixtureRequest) -> PlaceKind:
    return request.param


async def make(driver: Driver, *tenants: TenantId, kind: PlaceKind = "schema") -> PlacedDriver:
    """The driver with a place and tables for each of the tenants."""
    assert driver.places is not None
    placed = PlacedDriver(driver, driver.places)
    places = [Place(tenant, kind) for tenant in tenants]
    placed.settle(places)
    for place in places:
        await placed.places.create(place)
        own = placed.of(place.tenant)
        await own.apply_schema(await own.plan_schema(OBJECTS))
    return placed


@pytest.mark.servers
class TestPlace(PlaceSuite):
    @pytest.fixture
    async def driver(self, database_url: str, place_kind: PlaceKind) -> AsyncIterator[Driver]:
        """Of a place of `ACME`; the driver of the shared tables was never connected."""
        if place_kind == "database":
            await copy_place_of_acme(database_url)
        shared = on_server(database_url)
        assert shared.places is not None
        own = shared.places.open(Place(ACME, place_kind))
        yield own
        await own.close()
        await shared.close()


async def until_waiting(
    placed: PlacedDriver, places: Sequence[Place], tenants: AbstractSet[TenantId]
) -> None:
    """Return when these wait; a server counts what was inserted a little later."""
    async with asyncio.timeout(30):
        while await placed.places.waiting(places, placed.placed) != tenants:
            await asyncio.sleep(0.1)


@pytest.fixture
async def placed(shared: Driver, place_kind: PlaceKind) -> AsyncIterator[PlacedDriver]:
    """Two tenants with places, and all others in the shared tables."""
    driver = await make(shared, ACME, GLOBEX, kind=place_kind)
    yield driver
    await driver.close()


class TestPlaced:
    async def test_each_tenant_has_its_own_records_events_and_numbers(
        self, placed: PlacedDriver
    ) -> None:
        for tenant in (ACME, GLOBEX, SHARING):
            await write(placed, insert(CUSTOMERS, "c1", name=tenant), tenant=tenant)
            await placed.write([insert(CUSTOMERS, f"only-{tenant}")], scope(tenant))
            async with placed.begin(tenant=tenant) as session:
                assert await session.next_sequence(tenant, "invoice", 2) == 1
        for tenant in (ACME, GLOBEX, SHARING):
            assert await ids(placed, CUSTOMERS, tenant) == ["c1", f"only-{tenant}"]
            pending = await placed.of(tenant).outbox.pending(10)
            assert [event.tenant for _, event in pending] == [tenant, tenant]

    async def test_nothing_of_a_placed_tenant_is_in_the_shared_tables_nor_in_anothers(
        self, placed: PlacedDriver
    ) -> None:
        await write(placed, insert(CUSTOMERS, "c1"), tenant=ACME)
        assert await ids(placed.shared, CUSTOMERS, ACME) == []
        assert await ids(placed.of(GLOBEX), CUSTOMERS, ACME) == []
        assert await placed.outbox.pending(10) == ()

    async def test_dropped_place_is_gone_and_can_be_made_again(
        self, placed: PlacedDriver, place_kind: PlaceKind
    ) -> None:
        for tenant in (ACME, GLOBEX):
            await write(placed, insert(CUSTOMERS, "c1"), tenant=tenant)
        place = Place(ACME, place_kind)
        await placed.places.drop(place)
        await placed.places.drop(place)
        with pytest.raises(ObjectQLError):
            await ids(placed, CUSTOMERS, ACME)
        assert await ids(placed, CUSTOMERS, GLOBEX) == ["c1"]
        again = await make(placed.shared, ACME, kind=place_kind)
        assert await ids(again, CUSTOMERS, ACME) == []
        await again.end_places()

    async def test_place_made_again_keeps_what_is_in_it(
        self, placed: PlacedDriver, place_kind: PlaceKind
    ) -> None:
        await write(placed, insert(CUSTOMERS, "c1"), tenant=ACME)
        await placed.places.create(Place(ACME, place_kind))
        assert await ids(placed, CUSTOMERS, ACME) == ["c1"]

    async def test_driver_of_a_place_that_stays_is_kept(
        self, placed: PlacedDriver, place_kind: PlaceKind
    ) -> None:
        before = placed.of(GLOBEX)
        placed.settle([Place(GLOBEX, place_kind), Place(SHARING, place_kind)])
        assert placed.of(GLOBEX) is before
        assert placed.of(ACME) is placed.shared

    async def test_places_with_waiting_events_are_told_together(
        self, placed: PlacedDriver, place_kind: PlaceKind
    ) -> None:
        places = [Place(tenant, place_kind) for tenant in (ACME, SHARING, GLOBEX)]
        placed.settle(places)
        for id in ("c1", "c2"):
            await until_waiting(placed, places, set())
            await write(placed, insert(CUSTOMERS, id), tenant=GLOBEX)
            await count_inserts(placed.of(GLOBEX))
            # One of the three was never made, which hides nothing of the others.
            await until_waiting(placed, places, {GLOBEX})
            [(position, _)] = await placed.of(GLOBEX).outbox.pending(10)
            await placed.of(GLOBEX).outbox.mark_published("s", {position: 1})

    async def test_history_is_that_of_the_tenants_own_tables(self, placed: PlacedDriver) -> None:
        tracked = make_object("tracked", field("text", "text"), enable=Features(track_history=True))
        for tenant in (ACME, SHARING):
            own = placed.of(tenant)
            await own.apply_schema(await own.plan_schema([*OBJECTS, tracked]))
            await write(placed, insert(tracked, "t1", text=tenant), tenant=tenant)
        for tenant in (ACME, SHARING):
            entries = await placed.history.of_record(tenant, "tracked", "t1", limit=5)
            assert [event.tenant for _, event in entries] == [tenant]


# --- what only a server can do -------------------------------------------------------------------


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[PostgresDriver]:
    """A Postgres source whose places may have two connections together."""
    driver = on_server(database_url, PlaceLimits(max_size=2, max_total=2))
    await driver.connect()
    yield driver
    await driver.close()


@pytest.mark.servers
class TestSchemas:
    async def test_schema_of_somebody_else_is_neither_used_nor_dropped(
        self, server: PostgresDriver, database_url: str
    ) -> None:
        admin = await asyncpg.connect(database_url)
        await admin.execute("CREATE SCHEMA tenant_other CREATE TABLE precious (id int)")
        place = Place(TenantId("other"), "schema")
        assert server.places is not None
        with pytest.raises(PlaceTaken):
            await server.places.create(place)
        await server.places.drop(place)
        assert await admin.fetch("SELECT * FROM tenant_other.precious") == []
        await admin.close()

    async def test_schema_without_its_tables_is_finished(
        self, server: PostgresDriver, database_url: str
    ) -> None:
        admin = await asyncpg.connect(database_url)
        await admin.execute("DROP TABLE tenant_acme.oql_outbox, tenant_acme.customers CASCADE")
        await admin.close()
        placed = await make(server, ACME)
        await write(placed, insert(CUSTOMERS, "c1"), tenant=ACME)
        assert len(await placed.of(ACME).outbox.pending(10)) == 1
        await placed.end_places()

    async def test_schema_of_many_tables_is_dropped(self, server: PostgresDriver) -> None:
        placed = await make(server, ACME)
        many = [make_object(f"many_{n}", field("text", "text", unique=True)) for n in range(120)]
        own = placed.of(ACME)
        await own.apply_schema(await own.plan_schema(many))
        await placed.places.drop(Place(ACME, "schema"))
        assert await server.read("SELECT 1 FROM pg_namespace WHERE nspname = 'tenant_acme'") == []
        await placed.end_places()

    async def test_statement_without_a_schema_finds_the_tenants_tables_alone(
        self, server: PostgresDriver
    ) -> None:
        placed = await make(server, ACME)
        own = placed.of(ACME)
        assert isinstance(own, PostgresDriver)
        assert await own.read("SELECT current_schemas(false)") == [(["tenant_acme"],)]
        with pytest.raises(ObjectQLError):
            await own.read("SELECT 1 FROM oql_metadata")
        await placed.end_places()

    async def test_connections_of_all_places_stay_within_their_bound(
        self, server: PostgresDriver
    ) -> None:
        tenants = [TenantId(f"t{n}") for n in range(5)]
        placed = await make(server, *tenants)
        for tenant in (*tenants, *tenants):
            await placed.of(tenant).check_health()
        [[count]] = await server.read(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        )
        assert count <= 4 + 2  # those of the shared tables, and of all places
        await placed.end_places()


# --- names ---------------------------------------------------------------------------------------

tenant_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True).map(TenantId)


@given(st.lists(tenant_ids, unique=True, min_size=2, max_size=8), st.sampled_from([30, 59, 63]))
def test_no_two_tenants_have_a_place_of_one_name(tenants: list[TenantId], most: int) -> None:
    names = {place_name("tenant_", tenant, most) for tenant in tenants}
    assert len(names) == len(tenants)
    assert all(len(name) <= most for name in names)


def test_long_id_cannot_be_chosen_to_have_the_name_of_another() -> None:
    long = TenantId("x" * 63)
    name = place_name("tenant_", long, 63)
    assert name.startswith("tenant_xxx")
    assert "~" in name  # which no id has
