"""The identity store in system tables of a SQL source.

Rows map to columns of the same names; text lists are JSON, truth values 0 and 1. The version of
revocations is the value of one row that every revoking transaction updates first: the lock on it
puts versions in the order of commits, so a reader who has seen version n has seen all before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from objectql.drivers.identity import (
    NO_CONDITION,
    ApiKey,
    AttemptLimits,
    IdentityChange,
    IdentityRow,
    Insert,
    R,
    Replace,
    Revocation,
    Session,
    SigningKey,
    User,
)
from objectql.drivers.security_log import SecurityEntry
from objectql.drivers.sql.security_log import insert_entries
from objectql.drivers.sql.system import SystemRunner, SystemWords
from objectql.errors import UniqueViolation, WriteConflict

_TABLES: Final[Mapping[type[IdentityRow], str]] = MappingProxyType(
    {
        User: "oql_users",
        Session: "oql_sessions",
        ApiKey: "oql_api_keys",
        SigningKey: "oql_signing_keys",
    }
)


def identity_tables(words: SystemWords) -> tuple[str, ...]:
    """Statements that create what is missing; they may run any number of times."""
    head = "tenant text NOT NULL, id text NOT NULL, version bigint NOT NULL"
    return (
        f"""CREATE TABLE IF NOT EXISTS oql_users ({head},
            name text NOT NULL, email text, password text, roles text NOT NULL,
            is_active integer NOT NULL, must_change integer NOT NULL, is_service integer NOT NULL,
            created_ms bigint NOT NULL, updated_ms bigint NOT NULL, PRIMARY KEY (tenant, id))""",
        "CREATE UNIQUE INDEX IF NOT EXISTS oql_users_name ON oql_users (tenant, name)",
        "CREATE UNIQUE INDEX IF NOT EXISTS oql_users_email ON oql_users (tenant, email)",
        f"""CREATE TABLE IF NOT EXISTS oql_sessions ({head}, "user" text NOT NULL,
            family {words.binary} NOT NULL, refresh {words.binary} NOT NULL,
            created_ms bigint NOT NULL, expires_ms bigint NOT NULL, PRIMARY KEY (id))""",
        'CREATE INDEX IF NOT EXISTS oql_sessions_user ON oql_sessions (tenant, "user")',
        "CREATE INDEX IF NOT EXISTS oql_sessions_expiry ON oql_sessions (expires_ms)",
        f"""CREATE TABLE IF NOT EXISTS oql_api_keys ({head}, "user" text NOT NULL,
            name text NOT NULL, secret {words.binary} NOT NULL, roles text, scopes text,
            created_ms bigint NOT NULL, expires_ms bigint, used_ms bigint, PRIMARY KEY (id))""",
        'CREATE INDEX IF NOT EXISTS oql_api_keys_user ON oql_api_keys (tenant, "user")',
        f"""CREATE TABLE IF NOT EXISTS oql_signing_keys ({head}, private {words.binary} NOT NULL,
            created_ms bigint NOT NULL, signs_from_ms bigint NOT NULL, PRIMARY KEY (id))""",
        """CREATE TABLE IF NOT EXISTS oql_revocations (
            kind text NOT NULL, tenant text NOT NULL, id text NOT NULL, before_ms bigint NOT NULL,
            until_ms bigint NOT NULL, version bigint NOT NULL, PRIMARY KEY (kind, tenant, id))""",
        "CREATE INDEX IF NOT EXISTS oql_revocations_version ON oql_revocations (version)",
        """CREATE TABLE IF NOT EXISTS oql_revocation_state (
            one integer PRIMARY KEY CHECK (one = 1), version bigint NOT NULL)""",
        "INSERT INTO oql_revocation_state VALUES (1, 0) ON CONFLICT DO NOTHING",
        """CREATE TABLE IF NOT EXISTS oql_sign_in_attempts (
            tenant text NOT NULL, name text NOT NULL, failed integer NOT NULL,
            at_ms bigint NOT NULL, locked_ms bigint NOT NULL, PRIMARY KEY (tenant, name))""",
    )


_ATTEMPT: Final = """INSERT INTO oql_sign_in_attempts AS a (tenant, name, failed, at_ms, locked_ms)
VALUES ($1, $2, 1, CAST($3 AS bigint), CAST($3 AS bigint) + CASE WHEN CAST($4 AS bigint) > 1
    THEN 0 ELSE CAST($5 AS bigint) END)
ON CONFLICT (tenant, name) DO UPDATE SET failed = a.failed + 1, at_ms = excluded.at_ms,
locked_ms = excluded.at_ms + CASE
    WHEN a.failed + 1 < CAST($4 AS bigint) THEN 0
    WHEN a.failed + 1 - CAST($4 AS bigint) > 20 THEN CAST($6 AS bigint)
    WHEN CAST($5 AS bigint) << CAST(a.failed + 1 - CAST($4 AS bigint) AS integer)
        > CAST($6 AS bigint) THEN CAST($6 AS bigint)
    ELSE CAST($5 AS bigint) << CAST(a.failed + 1 - CAST($4 AS bigint) AS integer) END
WHERE a.locked_ms <= excluded.at_ms RETURNING 1"""

_REVOKE: Final = """INSERT INTO oql_revocations (kind, tenant, id, before_ms, until_ms, version)
VALUES ($1, $2, $3, CAST($4 AS bigint), CAST($5 AS bigint), CAST($6 AS bigint))
ON CONFLICT (kind, tenant, id) DO UPDATE SET before_ms = excluded.before_ms,
until_ms = excluded.until_ms, version = excluded.version"""


class SqlIdentityStore:
    """See `IdentityStore`."""

    def __init__(self, runner: SystemRunner) -> None:
        self._runner = runner

    async def apply(
        self,
        changes: Sequence[IdentityChange],
        revoke: Sequence[Revocation] = (),
        *,
        record: Sequence[SecurityEntry] = (),
    ) -> int:
        """See `IdentityStore`."""
        try:
            if len(changes) == 1 and not revoke and not record:
                await _change(self._runner, changes[0])
                return 0
            async with self._runner.transaction() as runner:
                for change in changes:
                    await _change(runner, change)
                await insert_entries(runner, record)
                return await _revoke(runner, revoke) if revoke else 0
        except UniqueViolation as exc:
            raise await self._taken(changes) from exc

    async def _taken(self, changes: Sequence[IdentityChange]) -> UniqueViolation:
        """What is taken; the databases name an index, or columns, or neither."""
        row = changes[0].row
        for change in changes:
            row = change.row
            if not isinstance(row, User):
                continue
            for field in ("name", "email"):
                value = getattr(row, field)
                if value is None:
                    continue
                others = await self.find(User, {"tenant": row.tenant, field: value})
                if any(other.id != row.id for other in others):
                    return UniqueViolation(object="user", fields=(field,))
        return UniqueViolation(object=type(row).__name__.lower(), fields=("id",))

    async def find(
        self,
        type_: type[R],
        equal: Mapping[str, str] = NO_CONDITION,
        *,
        limit: int = 1000,
        after: str = "",
    ) -> tuple[R, ...]:
        """See `IdentityStore`."""
        conditions = [f'"{name}" = ${number}' for number, name in enumerate(equal, 3)]
        rows = await self._runner.read(
            f"""SELECT {_columns(type_)} FROM {_TABLES[type_]}
            WHERE {" AND ".join(["id > $1", *conditions])}
            ORDER BY id LIMIT CAST($2 AS bigint)""",
            *(after, limit, *equal.values()),
        )
        return tuple(_row(type_, row) for row in rows)

    async def revocations(self, after: int) -> tuple[int, tuple[Revocation, ...]]:
        """See `IdentityStore`; one statement, so version and news belong together."""
        rows = await self._runner.read(
            """SELECT s.version, r.kind, r.tenant, r.id, r.before_ms, r.until_ms, r.version
            FROM oql_revocation_state s
            LEFT JOIN oql_revocations r ON r.version > CAST($1 AS bigint) ORDER BY r.version""",
            after,
        )
        news = tuple(Revocation(*row[1:]) for row in rows if row[1] is not None)
        return int(rows[0][0]), news

    async def attempt(self, tenant: str, name: str, now_ms: int, limits: AttemptLimits) -> int:
        """See `IdentityStore`."""
        counted = await self._runner.run(
            _ATTEMPT, tenant, name, now_ms, limits.free, limits.first_ms, limits.longest_ms
        )
        if counted:
            return 0
        rows = await self._runner.read(
            "SELECT locked_ms FROM oql_sign_in_attempts WHERE tenant = $1 AND name = $2",
            *(tenant, name),
        )
        return int(rows[0][0]) if rows else now_ms

    async def forget_attempts(self, tenant: str, name: str) -> None:
        """See `IdentityStore`."""
        await self._runner.run(
            "DELETE FROM oql_sign_in_attempts WHERE tenant = $1 AND name = $2", tenant, name
        )

    async def purge(self, now_ms: int, oldest_attempt_ms: int) -> None:
        """See `IdentityStore`."""
        past = "<= CAST($1 AS bigint)"
        await self._runner.run(f"DELETE FROM oql_sessions WHERE expires_ms {past}", now_ms)
        await self._runner.run(f"DELETE FROM oql_revocations WHERE until_ms {past}", now_ms)
        await self._runner.run(
            "DELETE FROM oql_sign_in_attempts WHERE at_ms < CAST($1 AS bigint)", oldest_attempt_ms
        )


async def _change(runner: SystemRunner, change: IdentityChange) -> None:
    row = change.row
    table = _TABLES[type(row)]
    if isinstance(change, Insert):
        values = _values(msgspec.structs.replace(row, version=1))
        marks = ", ".join(f"${number}" for number, _ in enumerate(values, 1))
        text = f"INSERT INTO {table} ({_columns(type(row))}) VALUES ({marks})"
        await runner.run(text, *values)
    elif isinstance(change, Replace):
        values = _values(msgspec.structs.replace(row, version=row.version + 1))
        names = row.__struct_fields__
        sets = ", ".join(f'"{name}" = ${number}' for number, name in enumerate(names, 1))
        which = f"tenant = ${len(names) + 1} AND id = ${len(names) + 2}"
        text = f"""UPDATE {table} SET {sets} WHERE {which}
        AND version = CAST(${len(names) + 3} AS bigint) RETURNING 1"""
        if not await runner.run(text, *values, row.tenant, row.id, row.version):
            raise WriteConflict
    else:
        await runner.run(f"DELETE FROM {table} WHERE tenant = $1 AND id = $2", row.tenant, row.id)


async def _revoke(runner: SystemRunner, revoke: Sequence[Revocation]) -> int:
    rows = await runner.run(
        "UPDATE oql_revocation_state SET version = version + 1 RETURNING version"
    )
    version = int(rows[0][0])
    for one in revoke:
        await runner.run(
            _REVOKE, one.kind, one.tenant, one.id, one.before_ms, one.until_ms, version
        )
    return version


def _columns(type_: type[IdentityRow]) -> str:
    return ", ".join(f'"{name}"' for name in type_.__struct_fields__)


def _values(row: IdentityRow) -> list[object]:
    return [_stored(getattr(row, name)) for name in row.__struct_fields__]


def _stored(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    return msgspec.json.encode(value).decode() if isinstance(value, tuple) else value


def _row(type_: type[R], values: Sequence[Any]) -> R:
    given = dict(zip(type_.__struct_fields__, values, strict=True))
    for name in ("roles", "scopes"):
        if given.get(name) is not None:
            given[name] = msgspec.json.decode(given[name])
    return msgspec.convert(given, type_, strict=False)
