"""The same documents, asked of all three drivers, have the answers that the guide promises."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg  # noqa: TID251 - the test makes databases
import msgspec
import pytest

from objectql.drivers.memory import MemoryDriver
from objectql.drivers.pool import PoolSettings
from objectql.drivers.protocol import Driver, Page
from objectql.drivers.sql.answers import lowered_sql
from objectql.drivers.sql.lower import MAX_COUNTED
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.drivers.sql.sqlite import SqliteDriver, SqliteSettings
from objectql.metadata.model import ObjectDef
from objectql.query.ast import Compare, Op, Query, Search
from objectql.query.bind import bind
from objectql.query.bound import BoundQuery
from objectql.query.cursor import encode_cursor, page_digest
from objectql.query.optimize import optimize
from objectql.query.parse import parse_query
from objectql.query.policy import AccessPolicy, AllowAll
from objectql.query.search_words import has_word, terms_of
from objectql.query.template import extract
from objectql.query.values_in import resolve
from objectql.security.policy import OneRule
from objectql.testing.driver_samples import ACME, field, insert, make_object, write
from objectql.testing.samples import ACTOR, NOW_MS, SCHEMA, SampleSchema
from objectql.values import Value

pytestmark = pytest.mark.servers
ALL = AllowAll()

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
            writes = [
                insert(object_, row["id"], **_values(row)) for row in rows.get(object_.name, ())
            ]
            if writes:
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
        query, params = self.prepare(document, object)
        return await self.driver.fetch(self.driver.lower(query), params)

    def prepare(
        self, document: dict[str, Any], object: str, policy: AccessPolicy = ALL
    ) -> tuple[BoundQuery, tuple[Value, ...]]:
        extracted = extract(parse_query(document, object=object))
        query = optimize(bind(extracted.template, SCHEMA, policy, places=extracted.places))
        params = resolve(query.params, extracted.literals, tenant=ACME, actor=ACTOR, now_ms=NOW_MS)
        return query, params


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
async def serving(
    driver: MemoryDriver | SqliteDriver | PostgresDriver, objects: Sequence[ObjectDef] = OBJECTS
) -> AsyncGenerator[Engine]:
    await driver.connect()
    await driver.apply_schema(await driver.plan_schema(objects))
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


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize(
    "order", ["account", "-account", "account,lines desc", "-account,lines", "-account,-lines,-id"]
)
async def test_pages_over_an_indexed_key_with_nulls_and_ties_show_every_record_once(
    engine: Engine, order: str, limit: int
) -> None:
    every = await engine.ids({"fields": ["id"], "orderBy": order, "limit": 100})
    assert len(every) == len(ROWS["invoice"])
    assert await engine.walk({"fields": ["id"], "orderBy": order, "limit": limit}) == every


async def test_a_page_deep_in_an_index_reads_no_more_rows_than_it_shows(
    database_url: str,
) -> None:
    async with serving(postgres(database_url)) as engine:
        admin = await asyncpg.connect(database_url)
        await admin.execute(
            """
            INSERT INTO account (tenant_id, id, version, created_at, updated_at)
            SELECT 'acme', 'a' || n, 1, now(), now() FROM generate_series(1, 200) n;
            INSERT INTO invoice (tenant_id, id, account, version, created_at, updated_at)
            SELECT 'acme', 'i' || n, CASE WHEN n % 5 > 0 THEN 'a' || (n % 199 + 1) END,
                   1, now(), now()
            FROM generate_series(1, 6000) n;
            ANALYZE;
            """
        )
        for order in ("account", "-account,-id"):
            document = {"fields": ["id"], "orderBy": order, "limit": 5}
            digest = page_digest(extract(parse_query(document, object="invoice")).template)
            for key in ('["a50","i5"]', '[null,"i3"]'):
                cursor = encode_cursor(digest, key.encode())
                query, params = engine.prepare({**document, "after": cursor}, "invoice")
                lowered = lowered_sql(engine.driver.lower(query))
                text = f"EXPLAIN (ANALYZE, FORMAT JSON) {lowered.text}"
                [[plan]] = await admin.fetch(text, *lowered.arguments(params))
                assert rows_read(msgspec.json.decode(plan)[0]["Plan"]) <= 2 * 6, plan
        await admin.close()


async def test_lists_that_share_a_statement_read_by_index_whatever_their_values(
    database_url: str,
) -> None:
    async with serving(postgres(database_url)) as engine:
        admin = await asyncpg.connect(database_url)
        await admin.execute(
            """
            INSERT INTO account (tenant_id, id, version, created_at, updated_at)
            SELECT 'acme', 'a' || n, 1, now(), now() FROM generate_series(0, 999) n;
            INSERT INTO invoice (tenant_id, id, account, late, version, created_at, updated_at)
            SELECT 'acme', 'i' || n, CASE WHEN n % 2 = 0 THEN 'a0' ELSE 'a' || (n % 1000) END,
                   n % 3 = 0, 1, now(), now()
            FROM generate_series(1, 100000) n;
            ANALYZE;
            SET plan_cache_mode = force_generic_plan;
            """
        )
        accounts = ("a0", "a1", "a2", "none", "a999")  # half of all, few, and none
        page = {"where": {"account": "a0"}, "fields": ["id"], "limit": 5}
        most = {
            "a page": (page, 5 * 6),
            "a page from the end": ({**page, "orderBy": "-id"}, 5 * 6),
            "a page of a part": ({**page, "where": {"account": "a0", "late": True}}, 5 * 20),
        }
        for name, (document, rows) in most.items():
            query, params = engine.prepare(document, "invoice")
            lowered = lowered_sql(engine.driver.lower(query))
            text = f"EXPLAIN (ANALYZE, FORMAT JSON) {lowered.each.text}"
            every = [(params[0], account, *params[2:]) for account in accounts]
            [[plan]] = await admin.fetch(text, *lowered.arguments_of_each(every))
            assert rows_read(msgspec.json.decode(plan)[0]["Plan"]) <= rows, f"{name}: {plan}"
        await admin.close()


async def test_lists_under_a_row_rule_that_share_a_statement_share_its_plan(
    database_url: str,
) -> None:
    """A plan for the values of row rules looks cheaper, and would be made for every statement."""
    async with serving(postgres(database_url)) as engine:
        admin = await asyncpg.connect(database_url)
        await admin.execute(
            """
            INSERT INTO account (tenant_id, id, version, created_at, updated_at)
            SELECT 'acme', 'a' || n, 1, now(), now() FROM generate_series(0, 49) n;
            INSERT INTO invoice (tenant_id, id, account, number, version, created_at, updated_at)
            SELECT 'acme', 'i' || n, 'a' || (n % 50), 'n' || n, 1, now(), now()
            FROM generate_series(1, 10000) n;
            ANALYZE;
            """
        )
        rule = OneRule(Compare(("number",), Op.GTE, "n"), "numbered")
        page = {"where": {"account": "a1"}, "limit": 100}
        query, params = engine.prepare(page, "invoice", rule)
        lowered = lowered_sql(engine.driver.lower(query))
        text = lowered.each.text
        for _ in range(10):  # the first five plans are made for the values in any case
            await admin.fetch(text, *lowered.arguments_of_each([params]))
        kept = await admin.fetchval(
            "SELECT generic_plans FROM pg_prepared_statements WHERE statement = $1", text
        )
        assert kept == 5
        await admin.close()


def rows_read(node: dict[str, Any]) -> float:
    """How many rows the scans below `node` looked at."""
    below = sum(rows_read(child) for child in node.get("Plans", []))
    if "Relation Name" not in node:
        return below
    looked = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return below + looked * node["Actual Loops"]


async def test_an_estimated_total_is_exact_as_long_as_it_is_small(engine: Engine) -> None:
    page = await engine.page({"limit": 1, "count": "estimated"})
    assert page.total == len(ROWS["invoice"])


async def test_a_large_estimated_total_tells_nothing_of_other_tenants(database_url: str) -> None:
    """The database's own estimate would: another's rows change what it expects."""
    async with serving(postgres(database_url)) as engine:
        admin = await asyncpg.connect(database_url)

        async def estimated(like: int) -> int | None:
            asked = {"limit": 1, "where": {"name": f"n{like}"}, "count": "estimated"}
            return (await engine.page(asked, "owner")).total

        async def add(tenant: str, kinds: int, ids: range) -> None:
            await admin.execute(
                f"""
                INSERT INTO owner (tenant_id, id, name, version, created_at, updated_at)
                SELECT '{tenant}', 'o' || n, 'n' || n % {kinds}, 1, now(), now()
                FROM generate_series({ids.start}, {ids.stop - 1}) n;
                ANALYZE owner;
                """
            )

        await add("acme", 3, range(9_000))
        assert [await estimated(like) for like in range(3)] == [3_000] * 3
        await add("globex", 2, range(30_000))
        assert [await estimated(like) for like in range(3)] == [3_000] * 3
        await add("acme", 1, range(9_000, 20_000))
        assert await estimated(0) == MAX_COUNTED + 1
        await admin.close()


WORDY = [
    "Acme, Inc.",
    "ACME-Labs",
    "acmebolt",
    "Zürich Café\tÉTÉ",
    "tab\nand\rnew\x7fline",
    "it's {a|b} \\ back 'quoted'",
    "x" * 63 + "y" + "z" * 10,
    "_under_score% 100%",
    "",
    "日本 語",
]


@pytest.mark.parametrize(
    "text",
    [
        *("acme", "ACM*", "inc acme", "labs", "bolt", "zürich", "ZÜRICH", "caf*", "café", "ÉTÉ"),
        *("line new", "it s", "a b", "back*", "quoted", "x" * 63 + "y", "x" * 64, "x" * 9 + "*"),
        *("z" * 10, "100%", "under", "_under_*", "日本", "日*", "-acme-", "it's"),
    ],
)
async def test_a_search_by_words_finds_what_the_definition_says(engine: Engine, text: str) -> None:
    await engine.store({"owner": [{"id": f"w{n}", "name": name} for n, name in enumerate(WORDY)]})
    asked = {"fields": ["id"], "search": {"query": text, "mode": "words", "fields": ["name"]}}
    want = [
        f"w{n}"
        for n, name in enumerate(WORDY)
        if all(has_word(name, term) for term in terms_of(text))
    ]
    assert await engine.ids(asked, "owner") == want


async def test_a_search_by_words_looks_at_whole_words_and_labels(engine: Engine) -> None:
    by_words = {"fields": ["id"], "searchMode": "words"}
    assert await engine.ids({**by_words, "search": "ac"}, "account") == []
    assert await engine.ids({**by_words, "search": "gold acme"}, "account") == ["a1"]
    assert await engine.ids({**by_words, "search": "settled"}) == ["i1", "i3"]
    assert await engine.ids({**by_words, "search": "sett*"}) == ["i1", "i3"]
    assert await engine.ids({**by_words, "search": "ettled"}) == []


async def test_a_search_by_words_is_answered_from_the_index_of_a_searchable_field(
    database_url: str,
) -> None:
    note = make_object("note", field("text", "textarea", searchable=True))
    async with serving(postgres(database_url), [note]) as engine:
        long = "w" * 200_000 + " end"
        await write(
            engine.driver, insert(note, "n1", text="One, two"), insert(note, "n2", text=long)
        )
        extracted = extract(Query("note", search=Search("two", mode="words")))
        query = bind(extracted.template, SampleSchema(note), AllowAll())
        params = resolve(query.params, extracted.literals, tenant=ACME, actor=ACTOR, now_ms=NOW_MS)
        lowered = lowered_sql(engine.driver.lower(query))
        admin = await asyncpg.connect(database_url)
        await admin.execute(
            """
            INSERT INTO note (tenant_id, id, text, version, created_at, updated_at)
            SELECT 'acme', 'm' || n, 'word' || n, 1, now(), now() FROM generate_series(1, 4000) n;
            ANALYZE note;
            """
        )
        rows = await admin.fetch(f"EXPLAIN {lowered.text}", *lowered.arguments(params))
        await admin.close()
        assert "ix_note__text__words" in "\n".join(row[0] for row in rows)
        assert (await engine.driver.fetch(lowered, params)).count == 1
        numbered = make_object("note", field("text", "number"))
        plan = await engine.driver.plan_schema([numbered], allow_destructive=True)
        await engine.driver.apply_schema(plan)
