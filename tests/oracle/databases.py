"""The two databases of the proof, spoken to directly: nothing of the drivers but their SQL."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol

import asyncpg

from objectql.drivers.sql.ddl import plan_tables
from objectql.drivers.sql.dialect import Dialect
from objectql.drivers.sql.dialect_postgres import POSTGRES
from objectql.drivers.sql.dialect_sqlite import SQLITE
from objectql.drivers.sql.encode import column_encoder
from objectql.drivers.sql.fragment import identifier
from objectql.drivers.sql.postgres_types import use_our_types
from objectql.drivers.sql.sqlite_connection import add_functions
from objectql.metadata.model import ObjectDef
from objectql.values import Record


class TooDeep(Exception):
    """SQLite parses no deeper than a hundred levels; its driver says so with `NotSupported`."""


class Database(Protocol):
    """One database with the tables of one schema at a time."""

    dialect: Dialect

    async def make(self, objects: Sequence[ObjectDef]) -> None:
        """Have empty tables for `objects`, and no others."""
        ...

    async def load(
        self, objects: Sequence[ObjectDef], tenant: str, rows: Mapping[str, list[Record]]
    ) -> None:
        """Put in the records of a tenant."""
        ...

    async def remove(self, object_: ObjectDef, tenant: str, id_: str) -> None:
        """Take out a record."""
        ...

    async def execute(self, text: str, arguments: Sequence[object]) -> list[Any]:
        """The rows of a statement."""
        ...


class Sqlite:
    """See `Database`."""

    dialect: Dialect = SQLITE

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)

    async def make(self, objects: Sequence[ObjectDef]) -> None:
        self._connection.close()
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        add_functions(self._connection)
        for step in plan_tables({}, objects, "sqlite").steps:
            self._connection.execute(step.statement)

    async def load(
        self, objects: Sequence[ObjectDef], tenant: str, rows: Mapping[str, list[Record]]
    ) -> None:
        for object_ in objects:
            text, values = _insert(object_, self.dialect, tenant, rows[object_.name])
            self._connection.executemany(text, values)

    async def remove(self, object_: ObjectDef, tenant: str, id_: str) -> None:
        table = identifier(object_.name)
        await self.execute(f"DELETE FROM {table} WHERE tenant_id = ? AND id = ?", (tenant, id_))

    async def execute(self, text: str, arguments: Sequence[object]) -> list[Any]:
        try:
            return self._connection.execute(text, arguments).fetchall()  # type: ignore[arg-type]
        except sqlite3.OperationalError as exc:
            if "parser stack overflow" in str(exc):
                raise TooDeep from exc
            raise

    def close(self) -> None:
        self._connection.close()


class Postgres:
    """See `Database`; several statements at once, each on a connection of its own."""

    dialect: Dialect = POSTGRES

    def __init__(self, connections: Sequence[asyncpg.Connection], schema: str) -> None:
        self._connections = connections
        self._schema = schema
        self._free: asyncio.Queue[asyncpg.Connection] = asyncio.Queue()
        for connection in connections:
            self._free.put_nowait(connection)

    @classmethod
    async def connect(cls, url: str, schema: str, connections: int) -> Postgres:
        """`schema` is the namespace for the tables, so that several may run beside each other."""
        settings = {"search_path": schema, "timezone": "UTC", "synchronous_commit": "off"}
        opened = [
            await asyncpg.connect(url, statement_cache_size=0, server_settings=settings)
            for _ in range(connections)
        ]
        for connection in opened:
            await use_our_types(connection)
        return cls(opened, schema)

    async def make(self, objects: Sequence[ObjectDef]) -> None:
        steps = plan_tables({}, objects, "postgres").steps
        async with self._connection() as connection:
            await connection.execute(
                f"DROP SCHEMA IF EXISTS {self._schema} CASCADE; CREATE SCHEMA {self._schema};"
                + ";".join(step.statement for step in steps)
            )

    async def load(
        self, objects: Sequence[ObjectDef], tenant: str, rows: Mapping[str, list[Record]]
    ) -> None:
        async with self._connection() as connection, connection.transaction():
            await connection.execute("SET CONSTRAINTS ALL DEFERRED")  # lookups go in circles
            for object_ in objects:
                text, values = _insert(object_, self.dialect, tenant, rows[object_.name])
                await connection.executemany(text, values)

    async def remove(self, object_: ObjectDef, tenant: str, id_: str) -> None:
        table = identifier(object_.name)
        await self.execute(f"DELETE FROM {table} WHERE tenant_id = $1 AND id = $2", (tenant, id_))

    async def execute(self, text: str, arguments: Sequence[object]) -> list[Any]:
        async with self._connection() as connection:
            return await connection.fetch(text, *arguments)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncGenerator[asyncpg.Connection]:
        connection = await self._free.get()
        try:
            yield connection
        finally:
            self._free.put_nowait(connection)

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()


def _insert(
    object_: ObjectDef, dialect: Dialect, tenant: str, records: Sequence[Record]
) -> tuple[str, list[tuple[object, ...]]]:
    fields = object_.stored_fields
    names = ", ".join(identifier(name) for name in ["tenant_id", *(field.name for field in fields)])
    is_postgres = dialect is POSTGRES
    marks = ", ".join(f"${at + 1}" if is_postgres else "?" for at in range(len(fields) + 1))
    encoders = [column_encoder(field, dialect.name) for field in fields]
    values: list[tuple[object, ...]] = [
        (
            tenant,
            *[encode(record.get(f.name)) for f, encode in zip(fields, encoders, strict=True)],
        )
        for record in records
    ]
    return f"INSERT INTO {identifier(object_.name)} ({names}) VALUES ({marks})", values
