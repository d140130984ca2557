"""A Postgres server with places of tenants, and what the drivers of those places share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from objectql.clock import Clock
from objectql.drivers.budget import ConnectionBudget
from objectql.drivers.pool import PoolSettings
from objectql.drivers.sql.postgres_access import PostgresSettings, Shared
from objectql.drivers.sql.postgres_calls import Deadline, PostgresCalls
from objectql.drivers.sql.postgres_connect import (
    MAX_STATEMENT_S,
    Canceller,
    Home,
    open_connection,
)
from objectql.drivers.sql.postgres_walls import TenantConnection
from objectql.ids import DataSource

if TYPE_CHECKING:
    from objectql.drivers.sql.postgres import PostgresDriver

MAX_NAME: Final = 63
"""Of what Postgres calls a name, in bytes; longer ones are cut in silence."""


class PlaceServer:
    """See the head of this module. Its places have a bound on connections together."""

    def __init__(
        self,
        name: DataSource,
        settings: PostgresSettings,
        shared: Shared,
        make_driver: Callable[[PostgresSettings, Shared], PostgresDriver],
        *,
        clock: Clock,
        is_source: bool,
    ) -> None:
        """`settings` are those of the source, with the URL of this server.

        `shared` is that of the source's driver, whose canceller does for its own server.
        """
        limits = settings.places
        self._name = name
        self._clock = clock
        self._canceller = shared.canceller if is_source else Canceller(self.connect)
        self._is_source = is_source
        self._make_driver = make_driver
        self._calls = PostgresCalls(shared.names, clock, self._canceller.cancel)
        self._shared = shared._replace(
            canceller=self._canceller, budget=ConnectionBudget(limits.max_total)
        )
        pool = PoolSettings(
            min_size=0,
            max_size=min(limits.max_size, limits.max_total),
            acquire_timeout_s=settings.pool.acquire_timeout_s,
            idle_timeout_s=limits.idle_timeout_s,
        )
        self._settings = msgspec.structs.replace(settings, pool=pool)

    def open(self, home: Home) -> PostgresDriver:
        """A driver of the place at `home`, not yet connected."""
        settings = msgspec.structs.replace(self._settings, home=home)
        return self._make_driver(settings, self._shared)

    async def create_tables(self, home: Home) -> None:
        """Create the system tables of a place, those that are missing."""
        driver = self.open(home)
        try:
            await driver.connect()
        finally:
            await driver.close()

    async def connect(self, max_statement_s: float = MAX_STATEMENT_S) -> TenantConnection:
        """A connection of the user's own to the database that the server's URL names.

        Raises:
            Unavailable

        """
        return await open_connection(
            self._settings.url,
            name=self._name,
            timeout_s=self._settings.connect_timeout_s,
            statement_cache=0,
            max_statement_s=max_statement_s,
        )

    async def run(
        self,
        connection: TenantConnection,
        text: str,
        args: Sequence[object],
        within_s: float | None = None,
    ) -> Sequence[Sequence[Any]]:
        """The rows of a statement on such a connection; the errors are those of a driver."""
        at_ms = None if within_s is None else self._clock.now_ms() + round(within_s * 1000)
        return await self._calls.rows(connection, text, args, Deadline(self._clock, at_ms))

    async def close(self) -> None:
        """End what was opened here and belongs to no place."""
        if not self._is_source:
            await self._canceller.close()
