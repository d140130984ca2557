"""Databases of single tenants, on the server of the shared tables or on another.

`CREATE DATABASE` and `DROP DATABASE` are no part of transactions, so a kernel that dies leaves what
it had begun, which each step can tell from what is whole. A database is made so that nobody can
connect; one more step, which is a transaction, says in its comment whose it is and lets its owner
in. Without a comment and closed it is therefore empty, and is taken over. Whose it is, is told by
the tenant and by the installation, since other clusters may use the same server. A database that
somebody else has made is neither used nor dropped.

Outboxes in other databases cannot be asked in one statement. The server's statistics tell where
rows were inserted since an outbox was last found empty, and only those are asked. Statistics are
never ahead of commits, and seconds behind at most: what is counted later is found later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from objectql.drivers.places import Place, place_name
from objectql.drivers.protocol import Driver
from objectql.drivers.sql.fragment import identifier, string_literal
from objectql.drivers.sql.postgres_calls import is_forbidden, is_server_failure
from objectql.drivers.sql.postgres_connect import Home, KeptConnection, close_connection
from objectql.drivers.sql.postgres_place_server import MAX_NAME, PlaceServer
from objectql.errors import DatabaseFailed, ObjectQLError, PlaceForbidden, PlaceTaken
from objectql.ids import TenantId

log = logging.getLogger(__name__)

_LOOK_S: Final = 5.0
"""For a look into the server's catalogue, which answers at once if at all."""

_ADMIN_STATEMENT_S: Final = 600.0
"""To drop a database the server first writes out what it has of all of them in memory."""

_COUNT_S: Final = 2.0
"""For the statistics of all databases."""

_ASK_S: Final = 1.0
"""For one outbox, with the connection to it."""

_ASK_ALL_S: Final = 3.0
"""For all that are asked together; the rest comes next time."""

_ASK_AT_ONCE: Final = 8

_SCHEMA: Final = "public"
"""Where tables are in a database of one tenant, whatever the URL says of other databases."""

_INSTALLATION: Final = "SELECT id FROM oql_installation"

_LOOK: Final = """SELECT shobj_description(oid, 'pg_database'), datallowconn, datconnlimit = -2,
datdba = (SELECT oid FROM pg_roles WHERE rolname = current_user)
FROM pg_database WHERE datname = $1"""

_INSERTED: Final = """SELECT datname, CASE WHEN CAST(current_setting('track_counts') AS boolean)
THEN concat_ws(' ', datid, tup_inserted, stats_reset) END
FROM pg_stat_database WHERE datname = ANY (CAST($1 AS text[]))"""
"""None where the server does not count."""


class _Run(Protocol):
    """Runs a statement, within some seconds if they are given."""

    async def __call__(
        self, text: str, *args: object, within_s: float | None = None
    ) -> Sequence[Sequence[Any]]: ...


class _Found(NamedTuple):
    """A database as the server's catalogue has it."""

    note: str | None
    is_open: bool
    is_half_dropped: bool
    is_own: bool
    """Of the user that we are."""

    @property
    def is_half_made(self) -> bool:
        """Nobody can have connected yet."""
        return self.note is None and not self.is_open and self.is_own


def database_in(url: str) -> str | None:
    """The database that a Postgres URL names; None: the server is to find one by the user."""
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    named = (*options.get("dbname", ()), *options.get("database", ()))
    return unquote(parts.path.removeprefix("/")) or next(iter(named), None)


class DatabasePlaces:
    """See `TenantPlaces`, for places that are databases."""

    def __init__(
        self,
        server: PlaceServer,
        source: str,
        read: Callable[[str], Awaitable[Sequence[Sequence[Any]]]],
    ) -> None:
        """`source` is the database of the shared tables, and `read` reads there."""
        self._server = server
        self._source = source
        self._read = read
        self._watch = KeptConnection(server.connect)
        self._quiet: dict[str, str] = {}
        """What had been inserted into databases when their outboxes were last found empty."""
        self._silent: set[str] = set()
        """Databases that did not answer when they were last asked."""

    def home_of(self, place: Place) -> Home:
        """Where its tables are."""
        return Home(self._name_of(place), _SCHEMA)

    def _name_of(self, place: Place) -> str:
        return place_name(f"{self._source}~", place.tenant, MAX_NAME)

    async def create(self, place: Place) -> None:
        """See `TenantPlaces`."""
        name, note = self._name_of(place), await self._note(place)
        database = identifier(name)
        async with self._administer() as run:
            found = await _look(run, name)
            if found is not None and found.is_half_dropped and found.note == note:
                await run(f"DROP DATABASE {database}")
                found = None
            if found is None:
                await _create(run, database)
            if found is None or found.is_half_made:
                await run("BEGIN")
                await run(f"COMMENT ON DATABASE {database} IS {string_literal(note)}")
                await run(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
                await run(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
                await run("COMMIT")
            elif found.note != note:
                raise PlaceTaken(kind=place.kind, name=name)
        await self._server.create_tables(self.home_of(place))

    async def drop(self, place: Place) -> None:
        """See `TenantPlaces`."""
        name, note = self._name_of(place), await self._note(place)
        async with self._administer() as run:
            found = await _look(run, name)
            if found is None:
                return
            if found.note != note and not found.is_half_made:
                log.error("place_not_ours", extra={"kind": place.kind, "place": name})
                return
            await run(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")

    async def waiting(
        self, places: Sequence[Place], drivers: Mapping[TenantId, Driver]
    ) -> frozenset[TenantId]:
        """See `TenantPlaces`."""
        named = {self._name_of(place): place.tenant for place in places}
        for gone in self._quiet.keys() - named.keys():
            del self._quiet[gone]
        self._silent &= named.keys()
        inserted = await self._inserted(named)
        moved = [
            name
            for name, count in inserted.items()
            if count is None or self._quiet.get(name) != count
        ]
        moved.sort(key=self._silent.__contains__)  # those that keep us waiting come last
        turns = asyncio.Semaphore(_ASK_AT_ONCE)
        found: set[TenantId] = set()

        async def ask(name: str) -> None:
            tenant = named[name]
            async with turns:
                if tenant in drivers and await self._is_waiting(
                    name, drivers[tenant], inserted[name]
                ):
                    found.add(tenant)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ASK_ALL_S):
                await asyncio.gather(*map(ask, moved))
        return frozenset(found)

    async def close(self) -> None:
        """End the connection that this keeps."""
        await self._watch.close()

    async def _inserted(self, names: Iterable[str]) -> dict[str, str | None]:
        """How much was inserted into each of these databases, of those that are there."""
        try:
            async with asyncio.timeout(_COUNT_S):
                rows = await self._watch.rows(_INSERTED, list(names))
        except Exception as exc:
            if not isinstance(exc, ObjectQLError) and not is_server_failure(exc):
                raise
            log.warning("databases_not_counted", extra={"reason": str(exc)})
            return {}
        return {str(name): count for name, count in rows}

    async def _is_waiting(self, name: str, driver: Driver, inserted: str | None) -> bool:
        """Whether there are events; if there are none, the database is quiet until more is inserted."""
        self._silent.add(name)
        try:
            async with asyncio.timeout(_ASK_S):
                is_waiting = bool(await driver.outbox.pending(1))
        except (ObjectQLError, TimeoutError):
            return False
        self._silent.discard(name)
        if not is_waiting and inserted is not None:
            self._quiet[name] = inserted
        return is_waiting

    async def _note(self, place: Place) -> str:
        """What the comment on a place says."""
        [[installation]] = await self._read(_INSTALLATION)
        return f"ObjectQL: the tenant {place.tenant} of {installation}"

    @contextlib.asynccontextmanager
    async def _administer(self) -> AsyncGenerator[_Run]:
        """Runs statements on a connection that ends with the block, and with it what it had begun."""
        connection = await self._server.connect(_ADMIN_STATEMENT_S)

        async def run(
            text: str, *args: object, within_s: float | None = None
        ) -> Sequence[Sequence[Any]]:
            return await self._server.run(connection, text, args, within_s)

        try:
            yield run
        finally:
            await close_connection(connection)


async def _look(run: _Run, name: str) -> _Found | None:
    rows = await run(_LOOK, name, within_s=_LOOK_S)
    return _Found(*rows[0]) if rows else None


async def _create(run: _Run, database: str) -> None:
    """Make it empty whatever the server's own template holds, and closed."""
    try:
        await run(
            f"CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8' ALLOW_CONNECTIONS false"
        )
    except DatabaseFailed as exc:
        if is_forbidden(exc.__cause__):
            raise PlaceForbidden(kind="database", right="CREATEDB") from exc
        raise
