"""Opening and ending connections to Postgres."""

from __future__ import annotations

import asyncpg  # noqa: TID251 - this package is the home of the database drivers

from objectql.drivers.sql.postgres_calls import is_lost
from objectql.errors import Unavailable


async def open_connection(
    url: str, *, name: str, timeout_s: float, statement_cache: int
) -> asyncpg.Connection:
    """A connection to the server at `url`, in UTC; `name` is the data source's, for errors.

    Raises:
        Unavailable: the server does not let us in, or not in time.

    """
    try:
        return await asyncpg.connect(
            url,
            timeout=timeout_s,
            statement_cache_size=statement_cache,
            max_cached_statement_lifetime=0,
            server_settings={"application_name": "objectql", "timezone": "UTC"},
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
        raise Unavailable(what=name) from exc


async def close_connection(connection: asyncpg.Connection) -> None:
    """End a connection; a cancellation on its way is waited for, briefly."""
    try:
        await connection.close(timeout=2.0)
    except Exception as exc:
        connection.terminate()
        if not (isinstance(exc, TimeoutError | asyncpg.PostgresError) or is_lost(exc)):
            raise
