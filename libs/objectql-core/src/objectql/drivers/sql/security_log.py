"""`SecurityLog` in `oql_security_log`, whose entries `drivers.sql.chains` seals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from objectql.drivers.security_log import EVERYTHING, SecurityEntry, SecurityFilter
from objectql.ids import TenantId

if TYPE_CHECKING:  # whose stores record too
    from objectql.drivers.sql.system import SystemRunner

_COLUMNS: Final = "id, tenant, kind, at, actor, origin, request_id, details"
_INSERT: Final = f"""INSERT INTO oql_security_log ({_COLUMNS})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"""

_CONDITIONS: Final = (
    ("kind", "kind = $"),
    ("actor", "actor = $"),
    ("since", "at >= $"),
    ("until", "at < $"),
)


async def insert_entries(runner: SystemRunner, entries: Sequence[SecurityEntry]) -> None:
    """Add entries in the transaction of `runner`, if it is one."""
    for entry in entries:
        await runner.run(
            _INSERT,
            *(entry.id, entry.tenant, entry.kind, entry.at, entry.actor, entry.origin),
            *(entry.request_id, msgspec.json.encode(entry.details).decode()),
        )


class SqlSecurityLog:
    """See `SecurityLog`."""

    def __init__(self, runner: SystemRunner) -> None:
        self._runner = runner

    async def record(self, entries: Sequence[SecurityEntry]) -> None:
        """See `SecurityLog`."""
        if len(entries) == 1:
            await insert_entries(self._runner, entries)
        elif entries:
            async with self._runner.transaction() as runner:
                await insert_entries(runner, entries)

    async def page(
        self,
        tenant: TenantId,
        which: SecurityFilter = EVERYTHING,
        *,
        limit: int,
        before: int | None = None,
    ) -> tuple[tuple[int, SecurityEntry], ...]:
        """See `SecurityLog`."""
        conditions = ["tenant = $1"]
        params: list[object] = [tenant, limit]
        if before is not None:
            params.append(before)
            conditions.append(f"position < CAST(${len(params)} AS bigint)")
        for name, condition in _CONDITIONS:
            value = getattr(which, name)
            if value is not None:
                params.append(value)
                conditions.append(f"{condition}{len(params)}")
        rows = await self._runner.read(
            f"""SELECT position, {_COLUMNS} FROM oql_security_log WHERE {" AND ".join(conditions)}
            ORDER BY position DESC LIMIT CAST($2 AS bigint)""",
            *params,
        )
        return tuple((row[0], _entry(row[1:])) for row in rows)


def _entry(row: Sequence[Any]) -> SecurityEntry:
    id_, tenant, kind, at, actor, origin, request_id, details = row
    return SecurityEntry(
        id=id_,
        tenant=tenant,
        kind=kind,
        at=at,
        actor=actor,
        origin=origin,
        request_id=request_id,
        details=msgspec.json.decode(details),
    )
