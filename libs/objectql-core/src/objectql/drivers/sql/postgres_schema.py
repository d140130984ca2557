"""The tables of a Postgres source: made, brought in line with the objects, emptied of a tenant."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from objectql.drivers.protocol import SchemaPlan, SchemaStep
from objectql.drivers.sql.chains import create_audit_tables
from objectql.drivers.sql.ddl import plan_tables
from objectql.drivers.sql.fragment import identifier
from objectql.drivers.sql.identity import identity_tables
from objectql.drivers.sql.introspect import (
    INTROSPECT_POSTGRES,
    IntrospectedSchema,
    parse_introspection,
)
from objectql.drivers.sql.postgres_session import PostgresSession
from objectql.drivers.sql.postgres_walls import (
    AS_OWNER,
    POLICY,
    grants,
    lower_wall,
    raise_wall,
)
from objectql.drivers.sql.scope import table_name
from objectql.drivers.sql.system import (
    POSTGRES_WORDS,
    RECORD_TABLES,
    STREAM_PLACE,
    TAKE_SCHEMA_LOCK,
    TENANT_TABLES,
    SystemRunner,
    add_columns,
    record_tables,
    system_tables,
)
from objectql.drivers.sql.tenants import column_clearing, tenant_deletions
from objectql.drivers.sql.webhooks import webhook_tables
from objectql.ids import TenantId
from objectql.metadata.model import ObjectDef

_NO_LIMIT = "SET LOCAL statement_timeout = 0"
"""An index, or a whole tenant, takes its time."""

_RELATIONS = """SELECT relname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE nspname = current_schema() AND relkind IN ('r', 'i')"""

_CREATION = re.compile(r"CREATE (?:UNIQUE )?(?:TABLE|INDEX) IF NOT EXISTS (\w+)")


class _Missing:
    """A `SystemRunner` that creates only what is not there.

    Postgres locks the table against writers before it sees that an index is there. A worker that
    starts would wait for every open transaction, and be a deadlock with those that have written to
    another of the tables already.
    """

    def __init__(self, session: PostgresSession, relations: AbstractSet[str]) -> None:
        self._session = session
        self._relations = relations

    async def run(self, text: str, *params: object) -> Sequence[Sequence[Any]]:
        creation = _CREATION.match(text)
        if creation is not None and creation[1] in self._relations:
            return ()
        return await self._session.run(text, *params)

    async def read(self, text: str, *params: object) -> Sequence[Sequence[Any]]:
        return await self._session.read(text, *params)

    def transaction(self) -> AbstractAsyncContextManager[SystemRunner]:
        return self._session.transaction()


class PostgresSchema:
    """Changes of the schema, each in one transaction that `begin` opens, one kernel at a time.

    `role` tells what connections put on, see `postgres_walls`. A place of one tenant has only the
    system tables that stand beside its records.
    """

    def __init__(
        self,
        begin: Callable[[], AbstractAsyncContextManager[PostgresSession]],
        role: Callable[[], str | None],
        *,
        has_walls: bool,
        is_place: bool,
    ) -> None:
        self._begin = begin
        self._role = role
        self._has_walls = has_walls
        self._tenant_tables = RECORD_TABLES if is_place else TENANT_TABLES
        self._system_tables = (
            (record_tables,)
            if is_place
            else (record_tables, system_tables, identity_tables, webhook_tables)
        )

    async def create_system_tables(self) -> None:
        """Create those that are missing. Two kernels that start at once wait for each other."""
        async with self.changing() as session:
            missing = _Missing(session, {row[0] for row in await session.run(_RELATIONS)})
            for tables in self._system_tables:
                for statement in tables(POSTGRES_WORDS):
                    await missing.run(statement)
            await add_columns(missing, POSTGRES_WORDS, "oql_outbox", STREAM_PLACE)
            await create_audit_tables(missing, POSTGRES_WORDS)

    async def plan(self, objects: Sequence[ObjectDef], *, allow_destructive: bool) -> SchemaPlan:
        """See `Driver.plan_schema`."""
        async with self._begin() as session:
            existing = parse_introspection(await session.run(INTROSPECT_POSTGRES))
        plan = plan_tables(existing, objects, "postgres", allow_destructive=allow_destructive)
        walls = tuple(plan_walls(existing, objects, are_wanted=self._has_walls))
        return msgspec.structs.replace(plan, steps=(*plan.steps, *walls))

    async def apply(self, plan: SchemaPlan) -> None:
        """See `Driver.apply_schema`: all or nothing."""
        async with self.changing() as session:
            for step in plan.steps:
                await session.run(step.statement)

    async def drop(self, table: str) -> None:
        """Drop a table. References to it from others lose their constraint."""
        async with self.changing() as session:
            await session.run(f"DROP TABLE IF EXISTS {identifier(table)} CASCADE")

    @contextlib.asynccontextmanager
    async def changing(self) -> AsyncGenerator[PostgresSession]:
        """A transaction of the tables' owner; what it leaves is granted to the role."""
        async with self._begin() as session:
            await session.run(_NO_LIMIT)
            await session.run(TAKE_SCHEMA_LOCK)
            await session.run(AS_OWNER)
            yield session
            role = self._role()
            if role is not None:
                for statement in grants(role):
                    await session.run(statement)

    async def delete_tenant(self, tenant: TenantId, objects: Sequence[ObjectDef]) -> None:
        """See `Driver.delete_tenant`."""
        async with self._begin() as session:
            await session.run(_NO_LIMIT)
            await session.run("SET CONSTRAINTS ALL DEFERRED")
            await session.show(tenant)
            for statement in tenant_deletions(objects, self._tenant_tables):
                await session.run(statement, tenant)

    async def clear_columns(
        self, tenant: TenantId, object_: ObjectDef, columns: Sequence[str]
    ) -> None:
        """See `Driver.clear_columns`."""
        async with self._begin() as session:
            await session.run(_NO_LIMIT)
            await session.show(tenant)
            await session.run(column_clearing(object_, columns), tenant)


def plan_walls(
    existing: IntrospectedSchema, objects: Sequence[ObjectDef], *, are_wanted: bool
) -> Iterator[SchemaStep]:
    """The steps after which the tables of `objects` have walls between tenants, or none."""
    for object_ in objects:
        table = table_name(object_)
        known = existing.get(table)
        is_there = known is not None and POLICY in known.policies
        if are_wanted and not is_there:
            yield SchemaStep(f"raise the wall between tenants in {table}", raise_wall(table))
        elif is_there and not are_wanted:
            yield SchemaStep(f"lower the wall between tenants in {table}", lower_wall(table))
