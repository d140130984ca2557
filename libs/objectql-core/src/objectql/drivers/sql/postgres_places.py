"""Schemas of single tenants, beside the shared tables in one Postgres database.

The connections of a place know no other schema (`search_path`), so the statements are those of the
shared tables to the letter: they are lowered, named and learnt once. A connection never changes its
place, hence neither do the server's plans for what was prepared on it.

What was made here says so in its comment: a schema of the same name that somebody else has made is
neither used nor dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from objectql.drivers.budget import ConnectionBudget
from objectql.drivers.places import Place, PlaceKind, place_name
from objectql.drivers.pool import PoolSettings
from objectql.drivers.sql.dialect import identifier, string_literal
from objectql.drivers.sql.postgres_access import PostgresSettings
from objectql.drivers.sql.postgres_connect import Home
from objectql.drivers.sql.postgres_session import PostgresSession
from objectql.errors import DatabaseFailed, PlaceTaken
from objectql.ids import TenantId

if TYPE_CHECKING:
    from objectql.drivers.sql.postgres import PostgresDriver

log = logging.getLogger(__name__)

_MAX_NAME: Final = 63
"""Of what Postgres calls a name, in bytes; longer ones are cut in silence."""

_DROP_AT_ONCE: Final = 50
"""Tables in one transaction: each takes a lock, and so does each of its indexes, of which the
server has some thousands for everybody."""

_ASK_AT_ONCE: Final = 100
"""Schemas in one statement."""

_IS_WAITING: Final = """SELECT {} WHERE EXISTS (
SELECT FROM {}.oql_outbox WHERE published_at IS NULL)"""

_COMMENT_ON_SCHEMA: Final = """SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace
WHERE nspname = $1"""

_TABLES_IN_SCHEMA: Final = """SELECT relname FROM pg_class
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND relkind IN ('r', 'p')
LIMIT CAST($2 AS bigint)"""


class PostgresPlaces:
    """See `TenantPlaces`."""

    def __init__(
        self,
        settings: PostgresSettings,
        read: Callable[[str], Awaitable[Sequence[Sequence[Any]]]],
        changing: Callable[[], AbstractAsyncContextManager[PostgresSession]],
        open_driver: Callable[[PostgresSettings, ConnectionBudget], PostgresDriver],
    ) -> None:
        """`read` and `changing` are the shared tables', the latter a transaction of their owner."""
        self._settings = settings
        self._read = read
        self._changing = changing
        self._open_driver = open_driver
        self._budget = ConnectionBudget(settings.places.max_total)

    @property
    def kinds(self) -> frozenset[PlaceKind]:
        """See `TenantPlaces`."""
        return frozenset(("schema",))

    def open(self, place: Place) -> PostgresDriver:
        """See `TenantPlaces`."""
        limits = self._settings.places
        pool = PoolSettings(
            min_size=0,
            max_size=min(limits.max_size, limits.max_total),
            acquire_timeout_s=self._settings.pool.acquire_timeout_s,
            idle_timeout_s=limits.idle_timeout_s,
        )
        settings = msgspec.structs.replace(
            self._settings, pool=pool, home=Home(schema=_schema_of(place))
        )
        return self._open_driver(settings, self._budget)

    async def create(self, place: Place) -> None:
        """See `TenantPlaces`."""
        schema = _schema_of(place)
        async with self._changing() as session:
            note = await _note(place, session)
            comments = await session.run(_COMMENT_ON_SCHEMA, schema)
            if not comments:
                await session.run(f"CREATE SCHEMA {identifier(schema)}")
                await session.run(
                    f"COMMENT ON SCHEMA {identifier(schema)} IS {string_literal(note)}"
                )
            elif comments[0][0] != note:
                raise PlaceTaken(kind=place.kind, name=schema)
        driver = self.open(place)
        try:
            await driver.connect()
        finally:
            await driver.close()

    async def waiting(self, places: Sequence[Place]) -> frozenset[TenantId]:
        """See `TenantPlaces`: one statement for many schemas, on a connection of the shared tables."""
        found: list[TenantId] = []
        for start in range(0, len(places), _ASK_AT_ONCE):
            found += await self._waiting(places[start : start + _ASK_AT_ONCE])
        return frozenset(found)

    async def _waiting(self, places: Sequence[Place]) -> list[TenantId]:
        text = " UNION ALL ".join(
            _IS_WAITING.format(at, identifier(_schema_of(place))) for at, place in enumerate(places)
        )
        try:
            return [places[int(row[0])].tenant for row in await self._read(text)]
        except DatabaseFailed:  # one of the schemas is not there, or not whole
            if len(places) == 1:
                return []
            half = len(places) // 2
            return await self._waiting(places[:half]) + await self._waiting(places[half:])

    async def drop(self, place: Place) -> None:
        """See `TenantPlaces`."""
        schema = _schema_of(place)
        is_left = True
        while is_left:
            async with self._changing() as session:
                comments = await session.run(_COMMENT_ON_SCHEMA, schema)
                if not comments:
                    return
                if comments[0][0] != await _note(place, session):
                    log.error("place_not_ours", extra={"kind": place.kind, "place": schema})
                    return
                tables = await session.run(_TABLES_IN_SCHEMA, schema, _DROP_AT_ONCE)
                is_left = len(tables) == _DROP_AT_ONCE
                for [table] in tables:
                    name = f"{identifier(schema)}.{identifier(str(table))}"
                    await session.run(f"DROP TABLE {name} CASCADE")
                if not is_left:
                    await session.run(f"DROP SCHEMA {identifier(schema)} CASCADE")


def _schema_of(place: Place) -> str:
    return place_name("tenant_", place.tenant, _MAX_NAME)


async def _note(place: Place, session: PostgresSession) -> str:
    """What the comment on a place says; another cluster of the database has another schema."""
    [[schema]] = await session.run("SELECT current_schema()")
    return f"ObjectQL: the tenant {place.tenant} of {schema}"
