"""What row rules hide stays hidden behind lookups, and rules themselves see everything.

`tests/oracle` compares databases at random; these are the two cases to read first.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from collections.abc import Iterator
from typing import Any, Protocol

import asyncpg  # noqa: TID251 - the test runs statements itself
import pytest

from objectql.drivers.sql.ddl import plan_tables
from objectql.drivers.sql.dialect import Dialect
from objectql.drivers.sql.dialect_postgres import POSTGRES
from objectql.drivers.sql.dialect_sqlite import SQLITE
from objectql.drivers.sql.encode import column_encoder
from objectql.drivers.sql.lower import lower
from objectql.drivers.sql.postgres_types import use_our_types
from objectql.metadata.model import ObjectDef
from objectql.query.ast import Compare, Not, Op, Query
from objectql.query.bind import bind
from objectql.query.bound import BoundQuery
from objectql.query.optimize import optimize
from objectql.query.template import extract
from objectql.query.values_in import resolve
from objectql.testing.oracle.policies import RowRules
from objectql.testing.oracle.schemas import fixed_schema
from objectql.testing.samples import ACTOR, NOW_MS
from objectql.values import Record, Value

pytestmark = pytest.mark.servers

SCHEMA = fixed_schema()
OBJECTS = (SCHEMA.object("box"), SCHEMA.object("item"))
TENANTS = (f"t{number}" for number in itertools.count())
OWN_FIELD = RowRules({"box": Compare(("size",), Op.GTE, 0)})
BEHIND_A_LOOKUP = RowRules({"box": Not(Compare(("parent", "flag"), Op.EQ, value=True))})
NOW = "2026-07-28T12:00:00.000Z"
SHARED: Record = {"created_at": NOW, "updated_at": NOW, "version": 1}


class Database(Protocol):
    dialect: Dialect

    def execute(self, text: str, *arguments: object) -> list[Any]: ...


class Sqlite:
    dialect: Dialect = SQLITE

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)

    def execute(self, text: str, *arguments: object) -> list[Any]:
        return self.connection.execute(text, arguments).fetchall()  # type: ignore[arg-type]


class Postgres:
    dialect: Dialect = POSTGRES

    def __init__(self, runner: asyncio.Runner, connection: Any) -> None:
        self.runner = runner
        self.connection = connection

    def execute(self, text: str, *arguments: object) -> list[Any]:
        return self.runner.run(self.connection.fetch(text, *arguments))


@pytest.fixture(scope="module")
def databases(postgres_url: str) -> Iterator[tuple[Database, ...]]:
    sqlite = Sqlite()
    with asyncio.Runner() as runner:

        async def connect() -> Any:
            connection = await asyncpg.connect(postgres_url)
            await use_our_types(connection)
            await connection.execute("CREATE SCHEMA rules; SET search_path = rules")
            return connection

        connection = runner.run(connect())
        found: tuple[Database, ...] = (Postgres(runner, connection), sqlite)
        for database in found:
            for step in plan_tables({}, OBJECTS, database.dialect.name).steps:
                database.execute(step.statement)
        yield found
        runner.run(connection.close())
    sqlite.connection.close()


def insert(database: Database, object_: ObjectDef, tenant: str, records: list[Record]) -> None:
    fields = object_.stored_fields
    names = ", ".join(f'"{name}"' for name in ["tenant_id", *(field.name for field in fields)])
    is_postgres = database.dialect is POSTGRES
    marks = ", ".join(f"${n + 1}" if is_postgres else "?" for n in range(len(fields) + 1))
    encoders = [column_encoder(field, database.dialect.name) for field in fields]
    for record in records:
        values = [
            encode(record.get(field.name)) for field, encode in zip(fields, encoders, strict=True)
        ]
        text = f'INSERT INTO "{object_.name}" ({names}) VALUES ({marks})'
        database.execute(text, tenant, *values)


def bound_of(query: Query, tenant: str, policy: RowRules) -> tuple[BoundQuery, tuple[Value, ...]]:
    extracted = extract(query)
    bound = optimize(bind(extracted.template, SCHEMA, policy, places=extracted.places))
    params = resolve(
        bound.params, extracted.literals, tenant=tenant, actor=ACTOR, now_ms=NOW_MS, places=()
    )
    return bound, params


def items_of(database: Database, query: Query, tenant: str, policy: RowRules) -> list[Any]:
    bound, params = bound_of(query, tenant, policy)
    lowered = lower(bound, database.dialect)
    [row] = database.execute(lowered.text, *lowered.arguments(params))
    return json.loads(row[0])


@pytest.mark.parametrize("policy", [OWN_FIELD, BEHIND_A_LOOKUP])
def test_value_behind_a_hidden_record_reads_as_null(
    databases: tuple[Database, ...], policy: RowRules
) -> None:
    tenant = next(TENANTS)
    boxes: list[Record] = [
        {"id": "b0", "parent": None, "flag": True, "size": 1, "word": "seen", **SHARED},
        {"id": "b1", "parent": "b0", "flag": None, "size": -1, "word": "hidden", **SHARED},
    ]
    items: list[Record] = [
        {"id": "i0", "box": "b0", **SHARED},
        {"id": "i1", "box": "b1", **SHARED},
    ]
    for database in databases:
        insert(database, OBJECTS[0], tenant, boxes)
        insert(database, OBJECTS[1], tenant, items)
        query = Query(object="item", fields=(("box", "word"),))
        found = items_of(database, query, tenant, policy)
        assert [item["box.word"] for item in found] == ["seen", None]


def test_a_rule_follows_lookups_to_records_that_its_caller_cannot_see(
    databases: tuple[Database, ...],
) -> None:
    tenant = next(TENANTS)
    boxes: list[Record] = [
        {"id": "b0", "parent": None, "flag": True, **SHARED},
        {"id": "b1", "parent": "b0", "flag": True, **SHARED},  # hidden: its parent has the flag
        {"id": "b2", "parent": "b1", "flag": True, **SHARED},  # likewise, though b1 is out of sight
    ]
    query = Query(object="box", fields=(("id",), ("parent", "word")))
    for database in databases:
        insert(database, OBJECTS[0], tenant, boxes)
        found = items_of(database, query, tenant, BEHIND_A_LOOKUP)
        assert [item["id"] for item in found] == ["b0"]
