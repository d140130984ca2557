"""The reads of the driver port, each as one statement; where it runs is another's business."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from objectql.drivers.protocol import Freshness, Lowered, Page, RecordImage
from objectql.drivers.sql.answers import (
    Source,
    fetch_page,
    fetch_pages,
    fetch_record,
    fetch_records,
    lowered_sql,
)
from objectql.values import Value

T = TypeVar("T")


class PostgresReads(ABC):
    """See `Driver`."""

    @abstractmethod
    async def _answer(
        self,
        read: Callable[[Source], Awaitable[T]],
        tenant: str,
        deadline_ms: int | None,
        freshness: Freshness | None,
    ) -> T:
        """What `read` of rows of `tenant` makes of a server that is fresh enough."""

    async def fetch(
        self,
        query: Lowered,
        params: Sequence[Value],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> Page:
        """See `Driver`."""
        lowered = lowered_sql(query)
        return await self._answer(
            lambda source: fetch_page(lowered, params, source),
            lowered.tenant_of(params),
            deadline_ms,
            freshness,
        )

    async def fetch_one(
        self,
        query: Lowered,
        params: Sequence[Value],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> RecordImage | None:
        """See `Driver`."""
        lowered = lowered_sql(query).record
        return await self._answer(
            lambda source: fetch_record(lowered, params, source),
            lowered.tenant_of(params),
            deadline_ms,
            freshness,
        )

    async def fetch_each(
        self,
        query: Lowered,
        params: Sequence[Sequence[Value]],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> Sequence[Page]:
        """See `Driver`."""
        lowered = lowered_sql(query)
        return await self._answer(
            lambda source: fetch_pages(lowered, params, source),
            lowered.tenant_of(params[0]),
            deadline_ms,
            freshness,
        )

    async def fetch_one_each(
        self,
        query: Lowered,
        params: Sequence[Sequence[Value]],
        *,
        deadline_ms: int | None = None,
        freshness: Freshness | None = None,
    ) -> Sequence[RecordImage | None]:
        """See `Driver`."""
        lowered = lowered_sql(query).record
        return await self._answer(
            lambda source: fetch_records(lowered, params, source),
            lowered.tenant_of(params[0]),
            deadline_ms,
            freshness,
        )
