"""Pages that are walked by cursor while records come and go."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from objectql.drivers.sql.lower import lower
from objectql.query.ast import Query
from objectql.query.cursor import encode_cursor, page_digest
from objectql.query.policy import AllowAll
from objectql.query.template import extract
from objectql.testing.oracle.comparing import parse_exactly
from objectql.testing.oracle.contents import random_record, random_rows
from objectql.testing.oracle.filters import World, random_filter
from objectql.testing.oracle.queries import random_sorts
from objectql.testing.oracle.schemas import fixed_schema
from objectql.values import Record
from tests.oracle.checking import Setting, prepare
from tests.oracle.databases import Database, Postgres, Sqlite

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

SCHEMA = fixed_schema()
ITEM, BOX = SCHEMA.object("item"), SCHEMA.object("box")
WALKS = 120
MAX_RECORDS = 24
CHANGES_PER_PAGE = 3


@pytest.fixture
async def databases(postgres_url: str) -> AsyncGenerator[Sequence[Database]]:
    sqlite, postgres = Sqlite(), await Postgres.connect(postgres_url, "cursors", 1)
    for database in (sqlite, postgres):
        await database.make(SCHEMA.objects)
    yield (sqlite, postgres)
    sqlite.close()
    await postgres.close()


def _ignore(_text: str) -> None:
    """Statements are looked at elsewhere."""


class Walk:
    """One walk through the items of a tenant, among which others come and go."""

    def __init__(self, seed: int, databases: Sequence[Database]) -> None:
        self.rng = Random(seed)
        self.rows = random_rows(self.rng, SCHEMA, ["box", "item"], max_size=MAX_RECORDS)
        self.world = World(SCHEMA, self.rows)
        self.query = Query(
            object="item",
            fields=(("id",),),
            where=random_filter(self.rng, self.world, ITEM) if seed % 3 else None,
            order_by=random_sorts(self.rng, self.world, ITEM),
            limit=self.rng.randint(1, 4),
            include_deleted=True,
        )
        self.databases = databases
        self.tenant = f"walk{seed}"
        self.stayed = {str(row["id"]) for row in self.rows["item"]}
        self.ids = (f"new{number}" for number in itertools.count())

    async def start(self) -> None:
        for database in self.databases:
            await database.load(SCHEMA.objects, self.tenant, self.rows)

    async def answer(self, database: Database, query: Query) -> tuple[list[str], bytes | None]:
        """The ids of a page, and its last key where more follow."""
        setting = Setting(
            SCHEMA, self.tenant, self.rows, AllowAll(), self.databases, _ignore, {}, {}
        )
        prepared, params = prepare(query, setting)
        lowered = lower(prepared.plan.query, database.dialect)
        [row] = await database.execute(lowered.text, lowered.arguments(params))
        items: list[dict[str, Any]] = parse_exactly(row[0])
        last = row[3]
        return [item["id"] for item in items], last.encode() if isinstance(last, str) else last

    async def whole(self, database: Database) -> list[str]:
        """The ids of all items that match now, in order."""
        found, _ = await self.answer(database, msgspec.structs.replace(self.query, limit=None))
        return found

    async def change(self) -> None:
        """Some items come, at any place of the order, and some go."""
        known = {"box": [str(row["id"]) for row in self.rows["box"]]}
        for _ in range(self.rng.randint(0, CHANGES_PER_PAGE)):
            items = self.rows["item"]
            if items and self.rng.random() < 0.5:
                gone: Record = items.pop(self.rng.randrange(len(items)))
                self.stayed.discard(str(gone["id"]))
                for database in self.databases:
                    await database.remove(ITEM, self.tenant, str(gone["id"]))
            else:
                come = random_record(self.rng, ITEM, next(self.ids), known)
                items.append(come)
                for database in self.databases:
                    await database.load([ITEM], self.tenant, {"item": [come]})


@pytest.mark.parametrize("number", [0, 1], ids=["sqlite", "postgres"])
async def test_nothing_that_stays_is_missed_and_nothing_is_seen_twice(
    databases: Sequence[Database], number: int
) -> None:
    pages = 0
    for seed in range(WALKS):
        database = databases[number]
        walk = Walk(seed, [database])
        await walk.start()
        expected = set(await walk.whole(database))
        query, seen = walk.query, list[str]()
        while True:
            ids, last_key = await walk.answer(database, query)
            seen += ids
            pages += 1
            if last_key is None:
                break
            digest = page_digest(extract(query).template)
            query = msgspec.structs.replace(query, after=encode_cursor(digest, last_key))
            await walk.change()
        context = f"seed {seed}: {walk.query}\nsaw {seen}"
        assert len(seen) == len(set(seen)), context
        assert expected & walk.stayed <= set(seen), context
    assert pages > WALKS
