"""What requests to a kernel cost on Postgres: one statement each, one row, nothing decoded.

All statements are recorded and shown to hold nothing of a caller: every value of a request here is
a canary, and every string in a statement's parse tree is one of a closed list.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import msgspec
import pytest
from pglast.parser import parse_sql_json

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.drivers.pool import PoolSettings
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.drivers.sql.postgres_calls import PostgresCalls
from objectql.drivers.sql.postgres_walls import TenantConnection
from objectql.kernel import json as kernel_json
from objectql.kernel.kernel import Kernel
from objectql.query.parse import parse_query
from objectql.wire.messages import (
    AggregateRequest,
    BatchOperation,
    BatchRequest,
    FindRequest,
    GetRequest,
    PageReply,
)
from tests.oracle.statements import FORMATS, nodes_of

pytestmark = pytest.mark.servers

CANARY = "qzcanary"
NUMBER = 7_654_321
OBJECTS: dict[str, Any] = {
    "author": {
        "fields": {
            "name": {"type": "text", "searchable": True},
            "born": {"type": "date"},
            "x": {"type": "datetime"},
            "mentor": {"type": "lookup", "reference": "author"},
        },
    },
    "book": {
        "fields": {
            "title": {"type": "text", "searchable": True},
            "pages": {"type": "number", "scale": 0},
            "price": {"type": "currency", "scale": 2},
            "author": {"type": "lookup", "reference": "author"},
            "tags": {"type": "tags"},
            "code": {"type": "text", "unique": True},
        },
    },
    "review": {
        "fields": {
            "text": {"type": "text"},
            "book": {"type": "lookup", "reference": "book"},
            "critic": {"type": "lookup", "reference": "author"},
        },
    },
}
TEXTS = FORMATS | {
    "created",
    "updated",
    "deleted",
    "hex",
    "24 hours",
    "1 day",
    "book",
    "read committed",
    "oql.tenant",
}
"""Strings of our own in statements of all kinds, and the object whose changes are announced."""


class RecordingDriver(PostgresDriver):
    """Keeps the text of every statement."""

    def __init__(self, settings: PostgresSettings) -> None:
        super().__init__(settings)
        self.statements: list[str] = []

    async def _connect(self) -> TenantConnection:
        connection = await super()._connect()
        connection.add_query_logger(lambda logged: self.statements.append(logged.query))
        return connection


@pytest.fixture
async def driver(postgres_url: str) -> RecordingDriver:
    head = postgres_url.rpartition("/")[0]
    admin = await asyncpg.connect(postgres_url)
    await admin.execute("DROP DATABASE IF EXISTS requests")
    await admin.execute("CREATE DATABASE requests")
    await admin.close()
    pool = PoolSettings(min_size=1, max_size=2)
    return RecordingDriver(PostgresSettings(f"{head}/requests", pool=pool))


@pytest.fixture
async def kernel(driver: RecordingDriver) -> AsyncGenerator[Kernel]:
    kernel = Kernel([driver, {"name": "library", "objects": OBJECTS}])
    await kernel.start()
    await kernel.create("author", {"id": "a0", "name": f"{CANARY} senior"})
    await kernel.create("author", {"id": "a1", "name": CANARY, "mentor": "a0"})
    for number in range(3):
        await kernel.create(
            "book",
            {"id": f"b{number}", "title": f"{CANARY} {number}", "pages": NUMBER, "author": "a1"},
        )
    await kernel.create("review", {"id": "r0", "book": "b0", "critic": "a0", "text": CANARY})
    yield kernel
    await kernel.stop()


def caller(key: str | None = None) -> Context:
    return Context(
        actor=Actor(id=CANARY, roles=("admin",)),
        deadline_ms=SystemClock().now_ms() + 30_000,
        request_id=CANARY,
        idempotency_key=key,
    )


async def statements_of(driver: RecordingDriver, request: Awaitable[object]) -> Sequence[str]:
    """The statements that a request took."""
    await asyncio.sleep(0)  # the logger is called soon, not at once
    before = len(driver.statements)
    await request
    await asyncio.sleep(0)
    return driver.statements[before:]


WHERE: dict[str, Any] = {
    "title": {"$contains": CANARY},
    "pages": {"$gte": 1, "$in": [NUMBER, NUMBER + 1]},
    "author.name": {"$ne": f"{CANARY}'; --"},
    "$or": [{"code": None}, {"code": {"$like": f"{CANARY}%"}}],
}
DEEP: dict[str, Any] = {
    "author": {"fields": ["name"], "expand": {"mentor": {"where": {"name": {"$ne": CANARY}}}}},
    "review": {"orderBy": ["-text"], "limit": 5, "expand": {"critic": {}}},
}

LISTS: dict[str, dict[str, Any]] = {
    "a list": {"where": WHERE, "orderBy": ["-pages", "author.name"]},
    "a list with expands of two levels": {"where": WHERE, "expand": DEEP},
    "a page with a total": {"where": WHERE, "limit": 1, "offset": 1, "count": True},
    "a search": {"search": CANARY},
    "distinct values": {"fields": ["author.name"], "distinct": True},
}
GROUPS: dict[str, dict[str, Any]] = {
    "groups": {
        "where": WHERE,
        "groupBy": ["author.name"],
        "aggregations": [
            {"function": "sum", "field": "pages", "alias": "n", "filter": {"code": None}},
        ],
        "having": {"n": {"$gt": 3}},
    },
}


@pytest.mark.parametrize("document", LISTS.values(), ids=LISTS)
async def test_a_list_is_one_statement(
    kernel: Kernel, driver: RecordingDriver, document: dict[str, Any]
) -> None:
    request = FindRequest(parse_query(document, object="book"))
    assert len(await statements_of(driver, kernel.handle_find(request, caller()))) == 1


async def test_groups_a_count_and_a_record_are_one_statement_each(
    kernel: Kernel, driver: RecordingDriver
) -> None:
    groups = AggregateRequest(parse_query(GROUPS["groups"], object="book"))
    assert len(await statements_of(driver, kernel.handle_aggregate(groups, caller()))) == 1
    assert len(await statements_of(driver, kernel.count("book", {"where": WHERE}))) == 1
    expand = parse_query({"expand": DEEP}, object="book").expand
    for get in (GetRequest("book", "b0"), GetRequest("book", "b0", expand=expand)):
        assert len(await statements_of(driver, kernel.handle_get(get, caller()))) == 1


SHARED: dict[str, Callable[[str], FindRequest | AggregateRequest]] = {
    "lists": lambda author: FindRequest(
        parse_query({"where": {"author": author}, "limit": 2, "count": True}, object="book")
    ),
    "lists with relations": lambda author: FindRequest(
        parse_query({"where": {"author": author}, "limit": 2, "expand": DEEP}, object="book")
    ),
    "groups": lambda author: AggregateRequest(
        parse_query({**GROUPS["groups"], "where": {"author": author}}, object="book")
    ),
}


@pytest.mark.parametrize("made", SHARED.values(), ids=SHARED)
async def test_requests_that_differ_in_a_literal_share_statements_and_have_their_own_answers(
    kernel: Kernel,
    driver: RecordingDriver,
    made: Callable[[str], FindRequest | AggregateRequest],
) -> None:
    for number in range(12):
        book = {"author": f"a{number % 4}", "title": f"{CANARY} {number}"}
        await kernel.create("author", {"id": f"a{number + 2}", "name": CANARY})
        await kernel.create("book", book)

    async def answer(author: str) -> PageReply:
        request = made(author)
        if isinstance(request, FindRequest):
            reply = await kernel.handle_find(request, caller())
        else:
            reply = await kernel.handle_aggregate(request, caller())
        return msgspec.structs.replace(reply, timing=None)  # how long it took may differ

    authors = [f"a{number % 7}" for number in range(40)]
    alone = [await answer(author) for author in authors]

    async def ask_all() -> None:
        assert await asyncio.gather(*map(answer, authors)) == alone

    statements = await statements_of(driver, ask_all())
    for _ in range(20):  # on a machine so busy that a statement takes long, each is sent alone
        if len(statements) < len(set(authors)):
            break
        statements = await statements_of(driver, ask_all())
    assert len(statements) < len(set(authors))
    assert any("unnest" in text for text in statements)
    for text in statements:
        assert CANARY not in text
        assert strings_of(text) <= TEXTS | names_of_metadata(), text


async def test_create_update_and_delete_are_one_statement_each(
    kernel: Kernel, driver: RecordingDriver
) -> None:
    data = {"id": "new", "title": CANARY, "tags": [CANARY], "price": NUMBER}
    create = kernel.create("book", data, context=caller("k1"))
    assert len(await statements_of(driver, create)) == 1
    change = {"title": f"{CANARY} again"}
    assert (
        len(await statements_of(driver, kernel.update("review", "r0", {"text": CANARY * 2}))) == 1
    )
    assert len(await statements_of(driver, kernel.update("book", "new", change))) == 1


@pytest.mark.parametrize(
    ("born", "x"),
    [("9999-12-31", "9999-12-31T23:59:59.999Z"), ("0001-01-01", "0001-01-01T00:00:00.000Z")],
)
async def test_the_first_and_the_last_day_are_days_and_x_is_a_name(
    kernel: Kernel, born: str, x: str
) -> None:
    await kernel.create("author", {"id": "ever", "born": born, "x": x})
    where = {"born": {"$in": [born]}, "x": x, "id": {"$ne": "a0"}}
    [found] = (await kernel.find("author", {"where": where})).value
    assert (found["id"], found["born"], found["x"]) == ("ever", born, x)
    assert await kernel.count("author", {"where": {"born": {"$gt": born}}}) == 0


async def test_a_page_of_a_hundred_is_one_row_of_bytes_and_nothing_is_decoded(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        await kernel.create("book", {"title": f"{CANARY} {number}", "author": "a1"})
    fetched: list[int] = []
    decoded: list[bytes] = []
    rows_of: Callable[..., Awaitable[Sequence[Sequence[Any]]]] = PostgresCalls.rows

    async def counting_rows(*args: Any, **more: Any) -> Sequence[Sequence[Any]]:
        rows = await rows_of(*args, **more)
        fetched.append(len(rows))
        return rows

    class CountingDecoder:
        def decode(self, body: bytes) -> Any:
            decoded.append(body)
            return msgspec.json.decode(body)

    monkeypatch.setattr(PostgresCalls, "rows", counting_rows)
    monkeypatch.setattr(kernel_json, "_decoder", CountingDecoder())
    request = FindRequest(parse_query({"limit": 100, "expand": DEEP}, object="book"))
    reply = await kernel.handle_find(request, caller())
    assert reply.count == 100
    assert isinstance(reply.items, bytes)
    assert fetched == [1]
    assert decoded == []


async def test_no_statement_holds_anything_of_a_caller(
    kernel: Kernel, driver: RecordingDriver
) -> None:
    await statements_of(driver, asyncio.sleep(0))
    driver.statements.clear()  # what started the kernel holds metadata, and no caller's values
    for document in LISTS.values():
        await kernel.handle_find(FindRequest(parse_query(document, object="book")), caller())
    for document in GROUPS.values():
        request = AggregateRequest(parse_query(document, object="book"))
        await kernel.handle_aggregate(request, caller())
    await kernel.create(
        "book", {"id": "c", "title": CANARY, "code": CANARY}, context=caller(CANARY)
    )
    await kernel.update("book", "c", {"title": f"{CANARY}'s", "pages": {"$inc": NUMBER}})
    operations = (
        BatchOperation(object="book", action="create", data=b'{"title": "qzcanary"}'),
        BatchOperation(object="book", action="delete", id="c"),
    )
    await kernel.batch(BatchRequest(operations), context=caller(f"{CANARY}2"))
    await kernel.delete("book", "b2")
    await asyncio.sleep(0)
    assert len(driver.statements) > len(LISTS)
    for text in set(driver.statements):
        assert CANARY not in text
        assert str(NUMBER) not in text
        assert strings_of(text) <= TEXTS | names_of_metadata(), text


def names_of_metadata() -> set[str]:
    names = {name for object_ in OBJECTS.values() for name in object_["fields"]}
    return names | set(OBJECTS) | {"author.name", "n", "id", "version"}


def strings_of(text: str) -> set[str]:
    """Every string constant of a statement."""
    tree = msgspec.json.decode(parse_sql_json(text))
    constants = (node for kind, node in nodes_of(tree) if kind == "A_Const")
    return {node["sval"].get("sval", "") for node in constants if "sval" in node}
