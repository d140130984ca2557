"""Random queries: both databases answer what the oracle answers."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Protocol

import asyncpg  # noqa: TID251 - the test runs statements itself
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from objectql.drivers.sql.ddl import plan_tables
from objectql.drivers.sql.dialect import Dialect
from objectql.drivers.sql.dialect_postgres import POSTGRES
from objectql.drivers.sql.dialect_sqlite import SQLITE
from objectql.drivers.sql.encode import column_encoder
from objectql.drivers.sql.lower import LoweredSql, lower
from objectql.metadata.model import ObjectDef
from objectql.query.ast import Compare, Filter, Not, Op, Query
from objectql.query.bind import bind
from objectql.query.bound import BoundQuery, Predicate
from objectql.query.cursor import encode_cursor, page_digest
from objectql.query.interpret import Answer, interpret
from objectql.query.optimize import optimize
from objectql.query.policy import AllowAll, RuleBinder
from objectql.query.template import extract
from objectql.query.values_in import resolve
from objectql.testing.samples import ACTOR, NOW_MS
from objectql.testing.strategies import fixed_schema, queries, rows
from objectql.values import Record, Value

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

SCHEMA = fixed_schema()
OBJECTS = (SCHEMA.object("box"), SCHEMA.object("item"))
QUERIES_PER_EXAMPLE = 10
EXAMPLES = 210
TENANTS = (f"t{number}" for number in itertools.count())


class BoxRule(AllowAll):
    """Callers see boxes that satisfy a rule, which may itself follow a lookup."""

    def __init__(self, rule: Filter | None) -> None:
        self._rule = rule

    def row_rule(self, object: ObjectDef, binder: RuleBinder) -> Predicate | None:
        if self._rule is None or object.name != "box":
            return None
        return binder.filter(self._rule)


POLICIES = tuple(
    BoxRule(rule)
    for rule in (
        None,
        Compare(("size",), Op.GTE, 0),
        Not(Compare(("parent", "flag"), Op.EQ, value=True)),
    )
)


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
            await connection.execute("CREATE SCHEMA random; SET search_path = random")
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


def store(database: Database, tenant: str, data: dict[str, list[Record]]) -> None:
    # Boxes may point to later boxes, so the parent is set when all are there.
    insert(database, OBJECTS[0], tenant, [box | {"parent": None} for box in data["box"]])
    mark = "$1, $2, $3" if database.dialect is POSTGRES else "?, ?, ?"
    parent, own, other = mark.split(", ")
    for box in data["box"]:
        text = f"UPDATE box SET parent = {parent} WHERE tenant_id = {own} AND id = {other}"
        database.execute(text, box["parent"], tenant, box["id"])
    insert(database, OBJECTS[1], tenant, data["item"])


def bound_of(query: Query, tenant: str, policy: BoxRule) -> tuple[BoundQuery, tuple[Value, ...]]:
    extracted = extract(query)
    bound = optimize(bind(extracted.template, SCHEMA, policy, places=extracted.places))
    params = resolve(
        bound.params, extracted.literals, tenant=tenant, actor=ACTOR, now_ms=NOW_MS, places=()
    )
    return bound, params


def same(ours: Any, theirs: Any) -> bool:
    """Whether two JSON values mean the same; doubles may differ in the last bits."""
    mine: type[Any] = ours.__class__
    other: type[Any] = theirs.__class__
    if mine is other is dict:
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in ours)
    if mine is other is list:
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if other is float and mine in {int, float, Decimal}:
        return math.isclose(ours, theirs, rel_tol=1e-12)
    if other in {int, Decimal} and mine in {int, float, Decimal}:
        return Decimal(str(ours)) == theirs
    return mine is other and bool(ours == theirs)


def parse(text: bytes | str) -> Any:
    return json.loads(text, parse_float=Decimal)


def check(database: Database, lowered: LoweredSql, params: tuple[Value, ...], want: Answer) -> None:
    [row] = database.execute(lowered.text, *lowered.arguments(params))
    items, count, has_next, last_key, total = row
    context = f"{database.dialect.name}: {lowered.text}\n{params}\n{items}\nwant {want}"
    assert same(parse(items), list(want.items)), context
    assert (count, bool(has_next), total) == (len(want.items), want.has_next, want.total), context
    if want.last_key is None:
        assert last_key is None, context
    else:
        assert same(parse(last_key), list(want.last_key)), context


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
        HealthCheck.filter_too_much,
    ],
)
@given(
    data=rows(SCHEMA),
    asked=st.lists(
        st.sampled_from(["item", "box"]).flatmap(lambda name: queries(SCHEMA, name)),
        min_size=QUERIES_PER_EXAMPLE,
        max_size=QUERIES_PER_EXAMPLE,
    ),
    policy=st.sampled_from(POLICIES),
)
def test_databases_answer_random_queries_as_the_oracle_does(
    databases: tuple[Database, ...],
    data: dict[str, list[Record]],
    asked: list[Query],
    policy: BoxRule,
) -> None:
    tenant = next(TENANTS)
    for database in databases:
        store(database, tenant, data)
    for query in asked:
        bound, params = bound_of(query, tenant, policy)
        want = interpret(bound, params, lambda of, _tenant: data[of.name])
        for database in databases:
            lowered = lower(bound, database.dialect)
            check(database, lowered, params, want)
            if bound.grouping is None and not bound.distinct and bound.limit != 0:
                record = lowered.record
                found = database.execute(record.text, *record.arguments(params))
                assert same([parse(row[0]) for row in found], list(want.items[:1])), record.text
            if want.last_key is not None and not bound.after:
                check_next_page(database, query, tenant, policy, data, want)


def check_next_page(
    database: Database,
    query: Query,
    tenant: str,
    policy: BoxRule,
    data: dict[str, list[Record]],
    page: Answer,
) -> None:
    """The page after the cursor, in whose key there may be nulls and ties."""
    digest = page_digest(extract(query).template)
    key = msgspec.json.Encoder(decimal_format="number").encode(page.last_key)
    following = msgspec.structs.replace(query, after=encode_cursor(digest, key), offset=0)
    bound, params = bound_of(following, tenant, policy)
    want = interpret(bound, params, lambda of, _tenant: data[of.name])
    check(database, lower(bound, database.dialect), params, want)


@pytest.mark.parametrize("policy", POLICIES[1:])
def test_value_behind_a_hidden_record_reads_as_null(
    databases: tuple[Database, ...], policy: BoxRule
) -> None:
    tenant = next(TENANTS)
    shared = {"created_at": f"{NOW}Z", "updated_at": f"{NOW}Z", "version": 1}
    data: dict[str, list[Record]] = {
        "box": [
            {"id": "b0", "parent": None, "flag": True, "size": 1, "word": "seen", **shared},
            {"id": "b1", "parent": "b0", "flag": None, "size": -1, "word": "hidden", **shared},
        ],
        "item": [{"id": "i0", "box": "b0", **shared}, {"id": "i1", "box": "b1", **shared}],
    }
    for database in databases:
        store(database, tenant, data)
        lowered_from, params = bound_of(
            Query(object="item", fields=(("box", "word"),)), tenant, policy
        )
        lowered = lower(lowered_from, database.dialect)
        [row] = database.execute(lowered.text, *lowered.arguments(params))
        assert [item["box.word"] for item in parse(row[0])] == ["seen", None]


def test_a_rule_follows_lookups_to_records_that_its_caller_cannot_see(
    databases: tuple[Database, ...],
) -> None:
    tenant = next(TENANTS)
    shared = {"created_at": f"{NOW}Z", "updated_at": f"{NOW}Z", "version": 1, "flag": True}
    data: dict[str, list[Record]] = {
        "box": [
            {"id": "b0", "parent": None, **shared},
            {"id": "b1", "parent": "b0", **shared},  # hidden: its parent has the flag
            {"id": "b2", "parent": "b1", **shared},  # hidden likewise, though b1 is not in sight
        ],
        "item": [],
    }
    query = Query(object="box", fields=(("id",), ("parent", "word")))
    bound, params = bound_of(query, tenant, POLICIES[2])
    for database in databases:
        store(database, tenant, data)
        lowered = lower(bound, database.dialect)
        [row] = database.execute(lowered.text, *lowered.arguments(params))
        assert [item["id"] for item in parse(row[0])] == ["b0"]


NOW = "2026-07-28T12:00:00.000"
