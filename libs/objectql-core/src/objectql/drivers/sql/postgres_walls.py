"""Row-level security on Postgres: the second wall between tenants (ADR 0018).

Every table of objects has the policy that a row is there only for the tenant in the connection's
setting `oql.tenant`. A statement that lost its own condition finds nothing of others, and where no
tenant is set, nothing at all. A read says by itself whose rows it is shown (`shown_to`). What
writes cannot: their connection remembers whose rows it shows, and is told when that changes
(`PostgresCalls.show`).

Superusers and roles with BYPASSRLS see through every policy. Where the cluster connects as one of
them, its connections put on the role `objectql_rows`, which owns nothing and sees through nothing,
and take it off to change the schema. Every other user is held by FORCE, though it owns the tables.

Postgres lets a condition into an index scan behind a policy only if what it calls is marked as
leak-proof, lest an error message tell of hidden rows. Comparisons of most types are; those of
`numeric` and the search by words are not. Nobody writes SQL here but the engine, so they are marked
where the user may do that, and missed with a warning where it may not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import asyncpg  # noqa: TID251 - this package is the home of the database drivers

from objectql.drivers.sql.fragment import identifier, string_literal
from objectql.drivers.sql.system import TAKE_SCHEMA_LOCK

log = logging.getLogger(__name__)

ROLE: Final = "objectql_rows"
POLICY: Final = "oql_tenant"

SHOW: Final = "SELECT set_config('oql.tenant', $1, false)"
"""Whose rows the connection shows from now on."""

SHOW_LOCAL: Final = "SELECT set_config('oql.tenant', $1, true)"
"""The same until the end of the transaction, or of the savepoint if that is undone."""


@lru_cache(maxsize=4096)
def shown_to(text: str, place: int) -> str:
    """The read `text` that shows the rows of the tenant which is its argument `place`, from 1.

    The read looks at the tenant that has been set, so the planner cannot have it run before; and
    `set_config` is volatile behind `OFFSET 0`, so it runs once, and is not moved. The setting ends
    with the statement, which is a transaction of its own.
    """
    tenant = f"(SELECT set_config('oql.tenant', ${place}, true) AS tenant OFFSET 0) AS wall"
    rows = f"(SELECT * FROM ({text}) AS rows WHERE wall.tenant IS NOT NULL OFFSET 0) AS answer"  # noqa: S608 - both are ours
    return f"SELECT answer.* FROM {tenant} CROSS JOIN LATERAL {rows}"  # noqa: S608 - likewise


AS_OWNER: Final = "SET LOCAL ROLE NONE"
"""In a transaction that changes the schema; without effect where no role was put on."""

_SEES_THROUGH: Final = """SELECT rolsuper, rolsuper OR rolbypassrls FROM pg_roles
WHERE rolname = session_user"""

_CREATE_ROLE: Final = f"""DO $$ BEGIN
    CREATE ROLE {ROLE} NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$"""

_NEEDED: Final = (
    *(f"numeric_{op}(numeric,numeric)" for op in ("eq", "ne", "lt", "le", "gt", "ge")),
    "translate(text,text,text)",
    "left(text,integer)",
    "regexp_replace(text,text,text,text)",
    "string_to_array(text,text)",
    "array_remove(anycompatiblearray,anycompatible)",
    "array_to_tsvector(text[])",
    "ts_match_vq(tsvector,tsquery)",
)
"""What conditions call that an index can answer, beside what is leak-proof from the beginning."""

_LEAKY: Final = """SELECT oid::regprocedure::text FROM pg_proc
WHERE NOT proleakproof AND oid = ANY (CAST(CAST($1 AS text[]) AS regprocedure[]))"""


class TenantConnection(asyncpg.Connection):
    """A connection that knows whose rows it shows; an empty text is nobody."""

    __slots__ = ("tenant",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tenant = ""


async def role_of_user(connection: asyncpg.Connection) -> str | None:
    """The role that connections must put on so that policies hold; None: none.

    `connection` is the session user's own.
    """
    [[_, sees_through]] = await connection.fetch(_SEES_THROUGH)
    return ROLE if sees_through else None


async def prepare_walls(connection: asyncpg.Connection) -> str | None:
    """`role_of_user`, after making the role and the database's functions fit for policies.

    Where the user may not do that, a warning tells what is missing.
    """
    [[is_super, sees_through]] = await connection.fetch(_SEES_THROUGH)
    names = [f"pg_catalog.{name}" for name in _NEEDED]
    async with connection.transaction():
        await connection.execute(TAKE_SCHEMA_LOCK)
        leaky = [str(row[0]) for row in await connection.fetch(_LEAKY, names)]
        if is_super:
            for function in leaky:
                await connection.execute(f"ALTER FUNCTION {function} LEAKPROOF")
        elif leaky:
            log.warning("row_security_slows_indexes", extra={"not_leakproof": leaky})
        if sees_through:
            await connection.execute(_CREATE_ROLE)
    return ROLE if sees_through else None


def grants(role: str) -> Iterator[str]:
    """What lets `role` work on all tables of the current schema. Run by their owner."""
    for statement in (
        "GRANT USAGE ON SCHEMA %I TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO {role}",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO {role}",
    ):
        text = string_literal(statement.format(role=role))
        yield f"DO $$ BEGIN EXECUTE format({text}, current_schema()); END $$"


def raise_wall(table: str) -> str:
    """The statement after which the rows of `table` are shown to their tenant alone.

    The sub-select keeps the planner from counting the rows of the tenant that is set while it plans:
    nobody, before a read has set its own.
    """
    name = identifier(table)
    return f"""DO $wall$ BEGIN
    CREATE POLICY {POLICY} ON {name}
        USING (tenant_id = (SELECT current_setting('oql.tenant', true)));
    ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
END $wall$"""


def lower_wall(table: str) -> str:
    """The statement that undoes `raise_wall`."""
    name = identifier(table)
    return f"""DO $wall$ BEGIN
    ALTER TABLE {name} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
    DROP POLICY {POLICY} ON {name};
END $wall$"""
