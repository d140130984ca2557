"""The connections of one Postgres source: opened, lent, and statements run on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from objectql.clock import Clock, SystemClock
from objectql.drivers.budget import ConnectionBudget
from objectql.drivers.pool import ConnectionPool, Connector, PoolSettings
from objectql.drivers.sql.dialect_postgres import POSTGRES
from objectql.drivers.sql.errors import ConstraintNames
from objectql.drivers.sql.postgres_calls import (
    Deadline,
    PostgresCalls,
    Target,
    is_server_failure,
)
from objectql.drivers.sql.postgres_connect import (
    MAX_STATEMENT_S,
    USUAL,
    Canceller,
    Home,
    close_connection,
    open_connection,
)
from objectql.drivers.sql.postgres_session import PostgresSession
from objectql.drivers.sql.postgres_walls import TenantConnection, prepare_walls, role_of_user
from objectql.drivers.sql.record import image_text
from objectql.drivers.sql.writes import WriteStatements
from objectql.errors import DeadlineExceeded, ObjectQLError, Unavailable
from objectql.ids import DataSource
from objectql.metadata.model import ObjectDef


class PlaceLimits(msgspec.Struct, frozen=True):
    """Connections to the places of tenants on one server."""

    max_size: int = 4
    """To one place."""
    max_total: int = 32
    """To all places of the data source that are there together."""
    idle_timeout_s: float = 60.0


class PostgresSettings(msgspec.Struct, frozen=True):
    """How to reach one database. `url` is a `postgresql://` URL."""

    url: str
    pool: PoolSettings = PoolSettings()
    connect_timeout_s: float = 5.0
    statement_cache: int = 1024
    max_statement_s: float = MAX_STATEMENT_S
    group_writes: bool = True
    """Let single-row writes that arrive together share a transaction."""
    row_security: bool = True
    """Raise the second wall between tenants, see `postgres_walls`."""
    home: Home = USUAL
    """Of one tenant's tables, see `postgres_places`."""
    places: PlaceLimits = PlaceLimits()
    """Of the tenants that have places of their own."""
    place_server: str | None = None
    """URL of the server on which tenants have databases, which names one to connect to for making
    others; None: that of `url`."""


class Shared(NamedTuple):
    """What a driver shares with those of the places on its server."""

    names: ConstraintNames
    statements: WriteStatements
    canceller: Canceller
    """A server process can be told to stop from any database."""
    budget: ConnectionBudget | None = None


class PostgresAccess:
    """What `PostgresDriver` is made of, below the port."""

    def __init__(
        self,
        settings: PostgresSettings,
        *,
        name: DataSource,
        clock: Clock | None,
        shared: Shared | None = None,
    ) -> None:
        self._settings = settings
        self._name = name
        self._clock = clock or SystemClock()
        self._role: str | None = None
        """What connections put on, see `postgres_walls`."""
        self._knows_role = not settings.row_security
        self._is_owner = shared is None
        self._shared = shared or Shared(
            ConstraintNames(), WriteStatements(_image), Canceller(self._connect_as_user)
        )
        self._names, self._statements, self._canceller = self._shared[:3]
        self._calls = PostgresCalls(self._names, self._clock, self._canceller.cancel)
        connector = Connector[TenantConnection](
            connect=self._connect,
            close=close_connection,
            ping=self._ping,
            is_open=lambda connection: not connection.is_closed(),
            trait=lambda connection: connection.tenant,
        )
        self._pool = ConnectionPool(
            name, connector, settings.pool, self._clock, self._shared.budget
        )
        self._reads = self._writes = 0

    async def _open(self) -> None:
        """Find out as whom to connect, and open the pool."""
        if self._settings.row_security:
            await self._find_role(prepare_walls)
        await self._pool.open()

    async def _find_role(self, find: Callable[[TenantConnection], Awaitable[str | None]]) -> None:
        connection = await self._connect_as_user()
        try:
            self._role = await find(connection)
            self._knows_role = True
        finally:
            await close_connection(connection)

    async def _close(self) -> None:
        await self._pool.close()
        if self._is_owner:
            await self._canceller.close()

    async def _connect(self) -> TenantConnection:
        if not self._knows_role:
            await self._find_role(role_of_user)
        return await self._connect_as(self._role)

    async def _connect_as_user(self) -> TenantConnection:
        return await self._connect_as(None)

    async def _connect_as(self, role: str | None) -> TenantConnection:
        return await open_connection(
            self._settings.url,
            name=self._name,
            timeout_s=self._settings.connect_timeout_s,
            statement_cache=self._settings.statement_cache,
            max_statement_s=self._settings.max_statement_s,
            role=role,
            home=self._settings.home,
        )

    async def _ping(self, connection: TenantConnection) -> None:
        deadline = Deadline(self._clock, self._clock.now_ms() + 2000)
        await self._calls.rows(connection, "SELECT 1", (), deadline)

    async def _acquire(self, deadline: Deadline, tenant: str | None = None) -> TenantConnection:
        connection = self._pool.acquire_now(tenant)
        if connection is not None:
            return connection
        return await self._pool.acquire(deadline.left_s())

    def _shown(self, tenant: str) -> str | None:
        """Whose rows a connection must show for a statement of `tenant`; None: it need not."""
        return tenant if self._settings.row_security else None

    def _deadline(self, at_ms: int | None) -> Deadline:
        deadline = Deadline(self._clock, at_ms)
        deadline.left_s()
        return deadline

    async def _read(
        self,
        tenant: str | None,
        deadline_ms: int | None,
        text: str,
        args: Sequence[object],
    ) -> Sequence[Sequence[Any]]:
        self._reads += 1
        deadline = self._deadline(deadline_ms)
        connection = await self._acquire(deadline)
        is_sound = False
        try:
            rows = await self._calls.rows_of(connection, tenant, text, args, deadline)
            is_sound = True
            return rows
        except DeadlineExceeded:
            raise  # the cancellation may still be on its way
        except ObjectQLError:
            is_sound = True
            raise
        finally:
            self._pool.release(connection, discard=not is_sound)

    async def _commit(
        self,
        text: str,
        args: Sequence[object],
        deadline: Deadline,
        target: Target,
        tenant: str | None = None,
    ) -> Sequence[Sequence[Any]]:
        """The rows of a statement that is a transaction of its own, on records of `tenant`."""
        self._writes += 1
        shown = None if tenant is None else self._shown(tenant)
        connection = await self._acquire(deadline, shown)
        is_sound = False
        try:
            await self._calls.show(connection, shown, deadline)
            rows = await self._calls.commit_rows(connection, text, args, deadline, target)
            is_sound = True
            return rows
        except ObjectQLError:
            is_sound = True  # a lost connection is closed, which the pool sees for itself
            raise
        finally:
            self._pool.release(connection, discard=not is_sound)

    async def _roll_back(self, connection: TenantConnection, session: PostgresSession) -> bool:
        """Whether the connection may be used again; if not, closing it undoes the transaction."""
        if isinstance(session.failure, DeadlineExceeded | Unavailable) or connection.is_closed():
            return False
        try:
            await connection.execute("ROLLBACK", timeout=2.0)
        except Exception as exc:
            if is_server_failure(exc):
                return False
            raise
        return True


def _image(object_: ObjectDef, alias: str) -> str:
    return image_text(object_, alias, POSTGRES)
