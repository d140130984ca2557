"""The same documents, asked of all three drivers, have the answers that the guide promises."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg  # noqa: TID251 - the test makes databases
import msgspec
import pytest

from objectql.drivers.memory import MemoryDriver
from objectql.drivers.pool import PoolSettings
from objectql.drivers.protocol import Driver, Page
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.drivers.sql.sqlite import SqliteDriver, SqliteSettings
from objectql.query.bind import bind
from objectql.query.cursor import encode_cursor, page_digest
from objectql.query.optimize import optimize
from objectql.query.parse import parse_query
from objectql.query.policy import AllowAll
from objectql.query.template import extract
from objectql.query.values_in import resolve
from objectql.testing.driver_samples import ACME, insert, write
from objectql.testing.samples import ACTOR, NOW_MS, SCHEMA
from objectql.values import Value

pytestmark = pytest.mark.servers

_numbers = itertools.count()

OBJECTS = [SCHEMA.object(name) for name in ("owner", "account", "invoice")]

ROWS: dict[str, list[dict[str, Any]]] = {
    "owner": [{"id": "o1", "name": "Ann"}, {"id": "o2", "name": "Bob"}],
    "account": [
        {"id": "a1", "name": "Acme, Inc.", "tier": "gold", "owner": "o1"},
        {"id": "a2", "name": "ACME Labs", "tier": "silver", "owner": "o2"},
        {"id": "a3", "name": "Zürich Café", "tier": "gold", "owner": None},
        {"id": "a4", "name": "", "tier": None, "owner": "o1"},
    ],
    "invoice": [
        {"id": "i1", "account": "a1", "status": "paid", "total": 10, "lines": 1},
        {"id": "i2", "account": "a1", "status": "sent", "total": 20, "lines": None},
        {"id": "i3", "account": "a2", "status": "paid", "total": None, "lines": 3},
        {"id": "i4", "account": None, "status": "draft", "total": 5, "lines": None},
        {"id": "i5", "account": "a1", "status": None, "total": 20, "lines": 2},
    ],
}
DAYS = {"i1": "2026-01-05", "i2": "2026-01-20", "i3": "2026-02-01", "i5": "2025-12-31"}


class Engine:
    """A driver with the rows in it, asked in documents."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    async def store(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        for object_ in OBJECTS:
            writes = [insert(object_, row["id"], **_values(row)) for row in rows[object_.name]]
            await write(self.driver, *writes)

    async def page(self, document: dict[str, Any], object: str = "invoice") -> Page:
        return await self._ask(document, object)

    async def items(self, document: dict[str, Any], object: str = "invoice") -> list[Any]:
        return msgspec.json.decode((await self._ask(document, object)).items)

    async def ids(self, document: dict[str, Any], object: str = "invoice") -> list[str]:
        return [item["id"] for item in await self.items(document, object)]

    async def walk(self, document: dict[str, Any]) -> list[str]:
        """The ids of all pages, each begun with the cursor of the one before."""
        found: list[str] = []
        digest = page_digest(extract(parse_query(document, object="invoice")).template)
        while True:
            page = await self._ask(document, "invoice")
            found += [item["id"] for item in msgspec.json.decode(page.items)]
            if page.last_key is None:
                return found
            document = {**document, "after": encode_cursor(digest, page.last_key)}

    async def _ask(self, document: dict[str, Any], object: str) -> Page:
        extracted = extract(parse_query(document, object=object))
        query = optimize(bind(extracted.template, SCHEMA, AllowAll(), places=extracted.places))
        params: tuple[Value, ...] = resolve(
            query.params, extracted.literals, tenant=ACME, actor=ACTOR, now_ms=NOW_MS
        )
        return await self.driver.fetch(self.driver.lower(query), params)


def _values(row: dict[str, Any]) -> dict[str, Any]:
    day = DAYS.get(row["id"])
    moment = {} if day is None else {"issued": day, "sent_at": f"{day}T23:30:00.000Z"}
    return {name: value for name, value in row.items() if name != "id"} | moment


@pytest.fixture
async def database_url(postgres_url: str) -> str:
    """A fresh, empty database."""
    name = f"language_{next(_numbers)}"
    admin = await asyncpg.connect(postgres_url)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    return f"{postgres_url.rpartition('/')[0]}/{name}"


def postgres(url: str) -> PostgresDriver:
    return PostgresDriver(PostgresSettings(url, pool=PoolSettings(min_size=1, max_size=2)))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def engine(
    request: pytest.FixtureRequest, tmp_path: Path, database_url: str
) -> AsyncIterator[Engine]:
    driver: MemoryDriver | SqliteDriver | PostgresDriver
    match request.param:
        case "memory":
            driver = MemoryDriver()
        case "sqlite":
            driver = SqliteDriver(SqliteSettings(str(tmp_path / "records.db")))
        case _:
            driver = postgres(database_url)
    async with serving(driver) as engine:
        await engine.store(ROWS)
        yield engine


@contextlib.asynccontextmanager
async def serving(driver: MemoryDriver | SqliteDriver | PostgresDriver) -> AsyncGenerator[Engine]:
    await driver.connect()
    await driver.apply_schema(await driver.plan_schema(OBJECTS))
    yield Engine(driver)
    await driver.close()


async def test_related_records_are_counted_whatever_their_page(engine: Engine) -> None:
    asked = {"fields": ["id"], "expand": {"invoice": {"count": True, "limit": 0}}}
    found = await engine.items(asked, "account")
    assert [item["invoice"] for item in found] == [[], [], [], []]
    assert [item["invoice@count"] for item in found] == [3, 1, 0, 0]


async def test_a_count_of_related_records_heeds_the_relations_filter(engine: Engine) -> None:
    narrowed = {"fields": ["id"], "where": {"total": 20}, "limit": 1, "count": "exact"}
    [item, *_] = await engine.items({"fields": ["id"], "expand": {"invoice": narrowed}}, "account")
    assert item == {"id": "a1", "invoice": [{"id": "i2"}], "invoice@count": 2}


async def test_counts_nest(engine: Engine) -> None:
    deep = {"fields": ["name"], "expand": {"invoice": {"fields": ["id"], "count": True}}}
    asked = {"fields": ["id"], "expand": {"account": {**deep, "count": True}}}
    [ann, bob] = await engine.items(asked, "owner")
    assert (ann["account@count"], bob["account@count"]) == (2, 1)
    assert [account["invoice@count"] for account in ann["account"]] == [3, 0]


async def test_groups_and_aggregates_follow_lookups(engine: Engine) -> None:
    asked = {
        "groupBy": "account.owner.name as owner, issued:month",
        "aggregations": "count() as n, sum(total) as sum, count_distinct(account.tier) as tiers",
        "having": {"n": {"$gte": 1}},
        "orderBy": "n desc, owner, issued",
    }
    assert await engine.items(asked) == [
        {"owner": "Ann", "issued": "2026-01", "n": 2, "sum": 30, "tiers": 1},
        {"owner": "Ann", "issued": "2025-12", "n": 1, "sum": 20, "tiers": 1},
        {"owner": "Bob", "issued": "2026-02", "n": 1, "sum": None, "tiers": 1},
        {"owner": None, "issued": None, "n": 1, "sum": 5, "tiers": 0},
    ]
