"""Opening and ending connections to Postgres, and cancelling what runs on them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import asyncpg  # noqa: TID251 - this package is the home of the database drivers

from objectql.drivers.sql.dialect import identifier
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


class Canceller:
    """Asks the server, over a connection kept for that, to end what another connection runs."""

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]]) -> None:
        self._connect = connect
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def cancel(self, pid: int) -> None:
        """End the statement of the server process `pid`."""
        async with self._turn:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
            await self._connection.execute("SELECT pg_cancel_backend($1)", pid)

    async def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None:
            await close_connection(self._connection)
            self._connection = None
