"""The identity store of the memory driver. Nothing awaits in here, so every call is atomic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from objectql.drivers.identity import (
    NO_CONDITION,
    AttemptLimits,
    IdentityChange,
    IdentityRow,
    Insert,
    R,
    Replace,
    Revocation,
    Session,
    User,
)
from objectql.drivers.memory_security_log import MemorySecurityLog
from objectql.drivers.security_log import SecurityEntry
from objectql.errors import UniqueViolation, WriteConflict

_UNIQUE_OF_USERS = ("name", "email")


class MemoryIdentityStore:
    """See `IdentityStore`."""

    def __init__(self, log: MemorySecurityLog) -> None:
        self._log = log
        self._rows: dict[tuple[type[IdentityRow], str, str], IdentityRow] = {}
        self._revoked: dict[tuple[str, str, str], Revocation] = {}
        self._version = 0
        self._attempts: dict[tuple[str, str], tuple[int, int, int]] = {}
        """By tenant and name: how many, when the last was, until when it is locked."""

    async def apply(
        self,
        changes: Sequence[IdentityChange],
        revoke: Sequence[Revocation] = (),
        *,
        record: Sequence[SecurityEntry] = (),
    ) -> int:
        """See `IdentityStore`."""
        rows = dict(self._rows)
        for change in changes:
            _change(rows, change)
        self._rows = rows
        self._log.append(record)
        if not revoke:
            return 0
        self._version += 1
        for one in revoke:
            stored = msgspec.structs.replace(one, version=self._version)
            self._revoked[one.kind, one.tenant, one.id] = stored
        return self._version

    async def find(
        self,
        type_: type[R],
        equal: Mapping[str, str] = NO_CONDITION,
        *,
        limit: int = 1000,
        after: str = "",
    ) -> tuple[R, ...]:
        """See `IdentityStore`."""
        found = [
            row
            for row in self._rows.values()
            if isinstance(row, type_)
            and row.id > after
            and all(getattr(row, name) == value for name, value in equal.items())
        ]
        return tuple(sorted(found, key=lambda row: row.id)[:limit])

    async def revocations(self, after: int) -> tuple[int, tuple[Revocation, ...]]:
        """See `IdentityStore`."""
        news = (one for one in self._revoked.values() if one.version > after)
        return self._version, tuple(sorted(news, key=lambda one: one.version))

    async def attempt(self, tenant: str, name: str, now_ms: int, limits: AttemptLimits) -> int:
        """See `IdentityStore`."""
        failed, _, locked_ms = self._attempts.get((tenant, name), (0, 0, 0))
        if locked_ms > now_ms:
            return locked_ms
        failed += 1
        over = failed - limits.free
        wait_ms = 0 if over < 0 else min(limits.first_ms << min(over, 20), limits.longest_ms)
        self._attempts[tenant, name] = (failed, now_ms, now_ms + wait_ms)
        return 0

    async def forget_attempts(self, tenant: str, name: str) -> None:
        """See `IdentityStore`."""
        self._attempts.pop((tenant, name), None)

    def forget(self, tenant: str) -> None:
        """Everything of a deleted tenant but what is void."""
        self._rows = {key: row for key, row in self._rows.items() if row.tenant != tenant}
        self._attempts = {key: entry for key, entry in self._attempts.items() if key[0] != tenant}

    async def purge(self, now_ms: int, oldest_attempt_ms: int) -> None:
        """See `IdentityStore`."""
        self._rows = {
            key: row
            for key, row in self._rows.items()
            if not (isinstance(row, Session) and row.expires_ms <= now_ms)
        }
        self._revoked = {k: one for k, one in self._revoked.items() if one.until_ms > now_ms}
        self._attempts = {
            key: entry for key, entry in self._attempts.items() if entry[1] >= oldest_attempt_ms
        }


def _change(
    rows: dict[tuple[type[IdentityRow], str, str], IdentityRow], change: IdentityChange
) -> None:
    row = change.row
    key = (type(row), row.tenant, row.id)
    stored = rows.get(key)
    if isinstance(change, Insert):
        if stored is not None:
            raise UniqueViolation(object=type(row).__name__.lower(), fields=("id",))
        _check_names(rows, row)
        rows[key] = msgspec.structs.replace(row, version=1)
    elif isinstance(change, Replace):
        if stored is None or stored.version != row.version:
            raise WriteConflict
        _check_names(rows, row)
        rows[key] = msgspec.structs.replace(row, version=row.version + 1)
    else:
        rows.pop(key, None)


def _check_names(
    rows: dict[tuple[type[IdentityRow], str, str], IdentityRow], row: IdentityRow
) -> None:
    if not isinstance(row, User):
        return
    for other in rows.values():
        if not isinstance(other, User) or other.tenant != row.tenant or other.id == row.id:
            continue
        for name in _UNIQUE_OF_USERS:
            value = getattr(row, name)
            if value is not None and value == getattr(other, name):
                raise UniqueViolation(object="user", fields=(name,))
