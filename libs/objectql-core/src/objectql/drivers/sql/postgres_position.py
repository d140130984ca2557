"""How far a Postgres server is in the write-ahead log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg  # noqa: TID251 - this package is the home of the database drivers

from objectql.clock import Clock
from objectql.drivers.sql.postgres_calls import is_server_failure
from objectql.drivers.sql.replicas import Measured
from objectql.errors import Unavailable

TIMEOUT_S: Final = 0.5
"""A server that takes longer to tell a number is not one to wait for."""

OF_PRIMARY: Final = (
    "SELECT (CASE WHEN current_setting('synchronous_commit') = 'off'"
    " THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END"
    " - '0/0'::pg_lsn)::bigint, pg_postmaster_start_time()::text, false"
)
"""Every commit answered before this is asked lies at or below: its record was flushed first.

Without synchronous commits it was only inserted. The flushed position is preferred, since the
inserted one includes what others have not committed yet, and no replica can have it.
"""

OF_REPLICA: Final = (
    "SELECT coalesce(pg_last_wal_replay_lsn() - '0/0'::pg_lsn, 0)::bigint,"
    " pg_postmaster_start_time()::text, pg_is_in_recovery()"
)
"""Every commit at or below is visible to whoever asks after this."""


async def measure(connection: asyncpg.Connection, text: str, clock: Clock) -> Measured:
    """What the server answers to `OF_PRIMARY` or `OF_REPLICA`, within `TIMEOUT_S`.

    Raises:
        Unavailable: it says nothing, or nothing of use; the connection may be unusable.

    """
    at_s = clock.monotonic_s()
    try:
        rows = await connection.fetch(text, timeout=TIMEOUT_S)
    except Exception as exc:
        if is_server_failure(exc):
            raise Unavailable(what="the position of the database") from exc
        raise
    position, life, is_standby = rows[0]
    return Measured(at_s, position, life, is_standby)


class Positions:
    """Measures one server over a connection of its own, one question at a time.

    Whoever asks while a question is under way shares the next one, since the answer to that under
    way may be from before the asker's commit.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[asyncpg.Connection]], text: str, clock: Clock
    ) -> None:
        self._connect = connect
        self._text = text
        self._clock = clock
        self._connection: asyncpg.Connection | None = None
        self._next: asyncio.Task[Measured] | None = None
        self._turn = asyncio.Lock()

    async def read(self) -> Measured:
        """A measurement that begins after this call.

        Raises:
            Unavailable: the server does not answer.

        """
        if self._next is None:
            self._next = asyncio.create_task(self._ask())
            self._next.add_done_callback(_retrieve)
        return await asyncio.shield(self._next)

    async def _ask(self) -> Measured:
        async with self._turn:
            self._next = None
            connection = self._connection
            if connection is None or connection.is_closed():
                connection = self._connection = await self._connect()
            try:
                return await measure(connection, self._text, self._clock)
            except BaseException:
                self._connection = None
                connection.terminate()
                raise

    async def close(self) -> None:
        """End the connection, and with it a question under way."""
        if self._next is not None:
            self._next.cancel()
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _retrieve(task: asyncio.Task[Measured]) -> None:
    """All who asked may be gone; then nobody wants to know of the failure."""
    if not task.cancelled():
        task.exception()
