"""Opening and ending connections to Postgres, and cancelling what runs on them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

import asyncpg  # noqa: TID251 - this package is the home of the database drivers

from objectql.drivers.sql.fragment import identifier
from objectql.drivers.sql.postgres_calls import is_server_failure
from objectql.drivers.sql.postgres_types import use_our_types
from objectql.drivers.sql.postgres_walls import TenantConnection
from objectql.errors import Unavailable

MAX_STATEMENT_S: Final = 120.0
"""Twice the longest deadline that a gateway grants by default."""


class Home(NamedTuple):
    """Where tables are, beside what the URL says; None leaves it at that."""

    database: str | None = None
    schema: str | None = None


USUAL: Final = Home()


async def open_connection(
    url: str,
    *,
    name: str,
    timeout_s: float,
    statement_cache: int,
    max_statement_s: float = MAX_STATEMENT_S,
    role: str | None = None,
    home: Home = USUAL,
) -> TenantConnection:
    """A connection to the server at `url`, in UTC; `name` is the data source's, for errors.

    It puts on `role`, see `postgres_walls`, and knows no tables outside the schema of `home`.

    A statement is cancelled at its request's deadline. Should the one who cancels have died, the
    server itself ends it after `max_statement_s`.

    Raises:
        Unavailable: the server does not let us in, or not in `timeout_s`, or goes away meanwhile.

    """
    try:
        async with asyncio.timeout(timeout_s):
            connection = await asyncpg.connect(
                url,
                database=home.database,
                connection_class=TenantConnection,
                statement_cache_size=statement_cache,
                max_cached_statement_lifetime=0,
                server_settings={
                    "application_name": "objectql",
                    "timezone": "UTC",
                    "statement_timeout": str(round(max_statement_s * 1000)),
                    **({} if role is None else {"role": role}),
                    **({} if home.schema is None else {"search_path": identifier(home.schema)}),
                },
            )
            try:
                await use_our_types(connection)
            except BaseException:
                connection.terminate()
                raise
    except Exception as exc:
        if is_server_failure(exc):
            raise Unavailable(what=name) from exc
        raise
    return connection


async def close_connection(connection: asyncpg.Connection) -> None:
    """End a connection; a cancellation on its way is waited for, briefly."""
    try:
        await connection.close(timeout=2.0)
    except Exception as exc:
        connection.terminate()
        if not is_server_failure(exc):
            raise


class KeptConnection:
    """A connection beside those of a pool, for one statement at a time; made when first needed."""

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]]) -> None:
        self._connect = connect
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def rows(self, text: str, *args: object) -> Sequence[Sequence[Any]]:
        """The rows of a statement. Where it fails or is given up, the connection is dropped."""
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is None or connection.is_closed():
                connection = await self._connect()
            try:
                rows = await connection.fetch(text, *args)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
            return rows

    async def close(self) -> None:
        """End the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await close_connection(connection)


class Canceller(KeptConnection):
    """Asks the server to end what another connection runs."""

    async def cancel(self, pid: int) -> None:
        """End the statement of the server process `pid`."""
        await self.rows("SELECT pg_cancel_backend($1)", pid)
