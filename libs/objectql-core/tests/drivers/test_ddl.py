"""Tables from objects: what is created, what a change costs, and that a plan is stable."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import asyncpg  # noqa: TID251 - the test runs statements itself
import pytest

from objectql.drivers.protocol import SchemaPlan
from objectql.drivers.sql.ddl import constraint_name, plan_tables
from objectql.drivers.sql.introspect import (
    INTROSPECT_POSTGRES,
    INTROSPECT_SQLITE,
    IntrospectedSchema,
    parse_introspection,
)
from objectql.errors import SchemaChangeRefused
from objectql.ids import FieldName, ObjectName
from objectql.metadata.model import FieldDef, IndexDef, ObjectDef
from objectql.testing.samples import field, object_def

TEAM = object_def("team", field("name", "text", unique=True), trash=True)


def member(*more: FieldDef) -> ObjectDef:
    return object_def(
        "member",
        field("team", "lookup", reference=ObjectName("team")),
        *more,
        indexes=(IndexDef("by_team", (FieldName("team"), FieldName("created_at"))),),
    )


class Sqlite:
    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("PRAGMA foreign_keys = ON")

    def schema(self) -> IntrospectedSchema:
        return parse_introspection(self.connection.execute(INTROSPECT_SQLITE).fetchall())

    def apply(self, *objects: ObjectDef, allow_destructive: bool = False) -> SchemaPlan:
        plan = plan_tables(self.schema(), objects, "sqlite", allow_destructive=allow_destructive)
        for step in plan.steps:
            self.connection.execute(step.statement)
        return plan


@pytest.fixture
def sqlite() -> Iterator[Sqlite]:
    database = Sqlite()
    yield database
    database.connection.close()


def insert_member(sqlite: Sqlite, column: str, value: object) -> None:
    sqlite.connection.execute(
        f"INSERT INTO member (tenant_id, id, created_at, updated_at, version, {column})"
        " VALUES ('t', 'm1', '', '', 1, ?)",
        (value,),
    )


def test_page_of_an_indexed_value_in_order_of_id_needs_no_sort(sqlite: Sqlite) -> None:
    sqlite.apply(member(field("town", "text", index=True)), TEAM)
    page = "SELECT id FROM member WHERE tenant_id = 't' AND town = 'x' ORDER BY id LIMIT 2"
    steps = [row[3] for row in sqlite.connection.execute(f"EXPLAIN QUERY PLAN {page}")]
    assert len(steps) == 1
    assert "ix_member__town" in steps[0]


def test_second_plan_over_the_same_objects_is_empty_on_sqlite(sqlite: Sqlite) -> None:
    objects = (member(field("born", "date"), field("pay", "currency")), TEAM)
    assert sqlite.apply(*objects).steps
    assert plan_tables(sqlite.schema(), objects, "sqlite") == SchemaPlan()


@pytest.mark.servers
async def test_second_plan_over_the_same_objects_is_empty_on_postgres(postgres_url: str) -> None:
    kinds = ("date", "datetime", "time", "currency", "boolean", "tags", "json", "number")
    objects = (member(*(field(f"a_{kind}", kind) for kind in kinds)), TEAM)
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute("CREATE SCHEMA ddl; SET search_path = ddl")
        before = parse_introspection(await connection.fetch(INTROSPECT_POSTGRES))
        for step in plan_tables(before, objects, "postgres").steps:
            await connection.execute(step.statement)
        after = parse_introspection(await connection.fetch(INTROSPECT_POSTGRES))
        assert plan_tables(after, objects, "postgres") == SchemaPlan()
        assert after["member"].foreign_keys == {"fk_member__team": ("team", "team")}
        # Widening keeps the values, losing a column must be allowed.
        await connection.execute(
            "INSERT INTO member (tenant_id, id, created_at, updated_at, version, a_currency)"
            " VALUES ('t', 'm', now(), now(), 1, 12.5)"
        )
        changed = (member(field("a_currency", "currency", precision=30, scale=4)), TEAM)
        plan = plan_tables(after, changed, "postgres")
        assert len(plan.refused) == len(kinds) - 1
        for step in plan.steps:
            await connection.execute(step.statement)
        assert str(await connection.fetchval("SELECT a_currency FROM member")) == "12.5000"
    finally:
        await connection.close()


def test_foreign_key_and_tenant_unique_hold_on_sqlite(sqlite: Sqlite) -> None:
    sqlite.apply(member(), TEAM)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        insert_member(sqlite, "team", "nobody")
    insert = (
        "INSERT INTO team (tenant_id, id, created_at, updated_at, version, name, deleted_at)"
        " VALUES (?, ?, '', '', 1, 'red', ?)"
    )
    sqlite.connection.execute(insert, ("t", "1", None))
    sqlite.connection.execute(insert, ("other", "1", None))
    sqlite.connection.execute(insert, ("t", "2", "2026-01-01T00:00:00.000Z"))
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        sqlite.connection.execute(insert, ("t", "3", None))


def test_dropping_a_column_is_refused_and_done_when_allowed(sqlite: Sqlite) -> None:
    sqlite.apply(member(field("note", "text", index=True)), TEAM)
    plan = sqlite.apply(member(), TEAM)
    assert [step.description for step in plan.refused][
        -1
    ] == "drop column member.note and its values"
    assert "note" in sqlite.schema()["member"].columns
    assert sqlite.apply(member(), TEAM, allow_destructive=True).refused == ()
    assert "note" not in sqlite.schema()["member"].columns


def test_more_decimal_places_keep_the_values_on_sqlite(sqlite: Sqlite) -> None:
    sqlite.apply(member(field("pay", "currency", index=True)), TEAM)
    insert_member(sqlite, "pay", 1250)
    wider = member(field("pay", "currency", precision=30, scale=4, index=True))
    assert sqlite.apply(wider, TEAM).refused == ()
    assert sqlite.connection.execute("SELECT pay FROM member").fetchone() == (125000,)
    assert plan_tables(sqlite.schema(), (wider, TEAM), "sqlite") == SchemaPlan()


def test_changing_a_lookups_type_on_sqlite_is_refused_by_name(sqlite: Sqlite) -> None:
    sqlite.apply(member(), TEAM)
    changed = object_def("member", field("team", "number"))
    with pytest.raises(SchemaChangeRefused) as refused:
        plan_tables(sqlite.schema(), (changed, TEAM), "sqlite", allow_destructive=True)
    assert [issue.path for issue in refused.value.issues] == ["member.team"]


def test_long_constraint_names_fit_and_stay_apart() -> None:
    columns = ("a" * 40, "b" * 40)
    names = {constraint_name("uq", "t" * 40, columns), constraint_name("uq", "t" * 40, columns[:1])}
    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)
