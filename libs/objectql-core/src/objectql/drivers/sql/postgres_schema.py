"""The tables of a Postgres source: made, brought in line with the objects, emptied of a tenant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from objectql.drivers.protocol import SchemaPlan
from objectql.drivers.sql.ddl import plan_tables
from objectql.drivers.sql.identity import identity_tables
from objectql.drivers.sql.introspect import INTROSPECT_POSTGRES, parse_introspection
from objectql.drivers.sql.postgres_session import PostgresSession
from objectql.drivers.sql.system import POSTGRES_WORDS, TAKE_SCHEMA_LOCK, system_tables
from objectql.drivers.sql.tenants import tenant_deletions
from objectql.ids import TenantId
from objectql.metadata.model import ObjectDef

_NO_LIMIT = "SET LOCAL statement_timeout = 0"
"""An index, or a whole tenant, takes its time."""


class PostgresSchema:
    """Changes of the schema, each in one transaction that `begin` opens, one kernel at a time."""

    def __init__(self, begin: Callable[[], AbstractAsyncContextManager[PostgresSession]]) -> None:
        self._begin = begin

    async def create_system_tables(self) -> None:
        """Create those that are missing. Two kernels that start at once wait for each other."""
        async with self._begin() as session:
            await session.run(TAKE_SCHEMA_LOCK)
            for statement in (*system_tables(POSTGRES_WORDS), *identity_tables(POSTGRES_WORDS)):
                await session.run(statement)

    async def plan(self, objects: Sequence[ObjectDef], *, allow_destructive: bool) -> SchemaPlan:
        """See `Driver.plan_schema`."""
        async with self._begin() as session:
            existing = parse_introspection(await session.run(INTROSPECT_POSTGRES))
        return plan_tables(existing, objects, "postgres", allow_destructive=allow_destructive)

    async def apply(self, plan: SchemaPlan) -> None:
        """See `Driver.apply_schema`: all or nothing."""
        async with self._begin() as session:
            await session.run(_NO_LIMIT)
            await session.run(TAKE_SCHEMA_LOCK)
            for step in plan.steps:
                await session.run(step.statement)

    async def delete_tenant(self, tenant: TenantId, objects: Sequence[ObjectDef]) -> None:
        """See `Driver.delete_tenant`."""
        async with self._begin() as session:
            await session.run(_NO_LIMIT)
            await session.run("SET CONSTRAINTS ALL DEFERRED")
            for statement in tenant_deletions(objects):
                await session.run(statement, tenant)
