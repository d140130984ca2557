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
from typing import Any, Final

from objectql.drivers.places import Place, place_name
from objectql.drivers.sql.fragment import identifier, string_literal
from objectql.drivers.sql.postgres_calls import is_forbidden
from objectql.drivers.sql.postgres_connect import Home
from objectql.drivers.sql.postgres_place_server import MAX_NAME, PlaceServer
from objectql.drivers.sql.postgres_session import PostgresSession
from objectql.errors import DatabaseFailed, PlaceForbidden, PlaceTaken
from objectql.ids import TenantId

log = logging.getLogger(__name__)

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


class SchemaPlaces:
    """See `TenantPlaces`, for places that are schemas."""

    def __init__(
        self,
        server: PlaceServer,
        read: Callable[[str], Awaitable[Sequence[Sequence[Any]]]],
        changing: Callable[[], AbstractAsyncContextManager[PostgresSession]],
    ) -> None:
        """`read` and `changing` are the shared tables', the latter a transaction of their owner."""
        self._server = server
        self._read = read
        self._changing = changing

    def home_of(self, place: Place) -> Home:
        """Where its tables are."""
        return Home(schema=_schema_of(place))

    async def create(self, place: Place) -> None:
        """See `TenantPlaces`."""
        schema = _schema_of(place)
        async with self._changing() as session:
            note = await _note(place, session)
            comments = await session.run(_COMMENT_ON_SCHEMA, schema)
            if not comments:
                try:
                    await session.run(f"CREATE SCHEMA {identifier(schema)}")
                except DatabaseFailed as exc:
                    if is_forbidden(exc.__cause__):
                        raise PlaceForbidden(kind=place.kind, right="CREATE") from exc
                    raise
                await session.run(
                    f"COMMENT ON SCHEMA {identifier(schema)} IS {string_literal(note)}"
                )
            elif comments[0][0] != note:
                raise PlaceTaken(kind=place.kind, name=schema)
        await self._server.create_tables(self.home_of(place))

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
    return place_name("tenant_", place.tenant, MAX_NAME)


async def _note(place: Place, session: PostgresSession) -> str:
    """What the comment on a place says; another cluster of the database has another schema."""
    [[schema]] = await session.run("SELECT current_schema()")
    return f"ObjectQL: the tenant {place.tenant} of {schema}"
