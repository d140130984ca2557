"""`HistoryStore` in `oql_history`, whose rows are those of the outbox that are kept."""

from __future__ import annotations

from typing import Final

import msgspec

from objectql.drivers.sql.system import EVENT_COLUMNS, SystemRunner, event_of
from objectql.events import ChangeEvent
from objectql.ids import TenantId

_END: Final = 2**63 - 1
"""No position is beyond."""


class SqlHistory:
    """See `HistoryStore`."""

    def __init__(self, runner: SystemRunner) -> None:
        self._runner = runner

    async def of_record(
        self,
        tenant: TenantId,
        object: str,
        record_id: str,
        *,
        limit: int,
        before: int | None = None,
    ) -> tuple[tuple[int, ChangeEvent], ...]:
        """See `HistoryStore`."""
        rows = await self._runner.read(
            f"""SELECT position, {EVENT_COLUMNS}, origin FROM oql_history
            WHERE tenant = $1 AND object = $2 AND record_id = $3
            AND position < CAST($5 AS bigint)
            ORDER BY position DESC LIMIT CAST($4 AS bigint)""",
            *(tenant, object, record_id, limit, _END if before is None else before),
        )
        return tuple(
            (row[0], msgspec.structs.replace(event_of(row), origin=row[15])) for row in rows
        )
