"""What became of records: the events of tracked objects, kept beside the records themselves.

An object with `enable.track_history` has every change of a record kept as the event that it is,
written in the transaction of the change. Entries are never altered; those of a tenant go with it.
"""

from __future__ import annotations

from typing import Protocol

from objectql.events import ChangeEvent
from objectql.ids import TenantId


class HistoryStore(Protocol):
    """The kept events of one data source."""

    async def of_record(
        self,
        tenant: TenantId,
        object: str,
        record_id: str,
        *,
        limit: int,
        before: int | None = None,
    ) -> tuple[tuple[int, ChangeEvent], ...]:
        """Up to `limit` committed entries of a record with their positions, the latest first.

        `before`: only entries whose position is lower. Positions of one record are in the order of
        its commits.
        """
        ...
