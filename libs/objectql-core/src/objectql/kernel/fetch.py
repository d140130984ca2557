"""How a prepared read reaches its data.

Implementations wrap each other: whatever can answer without the database stands before what asks
it. None of them knows what a query means; they pass on bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeVar

from objectql.clock import Clock
from objectql.drivers.protocol import Driver, Freshness, Page, RecordImage
from objectql.kernel.consistency import Consistency
from objectql.kernel.planning import Runnable, Scope, Uses
from objectql.values import Value

T = TypeVar("T")


class Fetch(Protocol):
    """Runs prepared reads."""

    async def page(self, run: Runnable, scope: Scope) -> Page:
        """A page of records or groups."""
        ...

    async def record(self, run: Runnable, scope: Scope) -> RecordImage | None:
        """The first record with its version."""
        ...


class SharingFetch(Fetch, Protocol):
    """A fetch that can also run many reads at once, outside any transaction.

    `run.prepared` is run for each of `params`, which differ where its plan lets them (`varying`).
    """

    async def pages(
        self, run: Runnable, params: Sequence[Sequence[Value]], scope: Scope
    ) -> Sequence[Page]:
        """`page` for each of `params`."""
        ...

    async def records(
        self, run: Runnable, params: Sequence[Sequence[Value]], scope: Scope
    ) -> Sequence[RecordImage | None]:
        """`record` for each of `params`."""
        ...


class DriverFetch:
    """Asks the data source: inside the scope's transaction where there is one.

    Outside it a replica may answer, where the scope and the caller's policy and token allow it;
    and what the source took is noted with the prepared query.
    """

    def __init__(self, consistency: Consistency, clock: Clock) -> None:
        self._consistency = consistency
        self._clock = clock

    def _freshness(self, driver: Driver, scope: Scope) -> Freshness | None:
        return self._consistency.freshness(scope.context, driver) if scope.may_lag else None

    async def page(self, run: Runnable, scope: Scope) -> Page:
        """See `Fetch`."""
        prepared, params = run
        driver, lowered = prepared.driver, prepared.lowered
        if scope.session is not None and scope.driver is driver:
            return await scope.session.fetch(lowered, params)
        answer = driver.fetch(
            lowered,
            params,
            deadline_ms=scope.context.deadline_ms,
            freshness=self._freshness(driver, scope),
        )
        return await self._timed(prepared.uses, 1, answer)

    async def record(self, run: Runnable, scope: Scope) -> RecordImage | None:
        """See `Fetch`."""
        prepared, params = run
        driver, lowered = prepared.driver, prepared.lowered
        if scope.session is not None and scope.driver is driver:
            return await scope.session.fetch_one(lowered, params)
        answer = driver.fetch_one(
            lowered,
            params,
            deadline_ms=scope.context.deadline_ms,
            freshness=self._freshness(driver, scope),
        )
        return await self._timed(prepared.uses, 1, answer)

    async def pages(
        self, run: Runnable, params: Sequence[Sequence[Value]], scope: Scope
    ) -> Sequence[Page]:
        """See `SharingFetch`."""
        prepared = run.prepared
        answer = prepared.driver.fetch_each(
            prepared.lowered,
            params,
            deadline_ms=scope.context.deadline_ms,
            freshness=self._freshness(prepared.driver, scope),
        )
        return await self._timed(prepared.uses, len(params), answer)

    async def records(
        self, run: Runnable, params: Sequence[Sequence[Value]], scope: Scope
    ) -> Sequence[RecordImage | None]:
        """See `SharingFetch`."""
        prepared = run.prepared
        answer = prepared.driver.fetch_one_each(
            prepared.lowered,
            params,
            deadline_ms=scope.context.deadline_ms,
            freshness=self._freshness(prepared.driver, scope),
        )
        return await self._timed(prepared.uses, len(params), answer)

    async def _timed(self, uses: Uses, reads: int, answer: Awaitable[T]) -> T:
        """`answer`, after noting with the query how long its statement took."""
        started_s = self._clock.monotonic_s()
        uses.under_way += 1
        beside = uses.under_way
        try:
            found = await answer
        finally:
            beside += uses.under_way
            uses.under_way -= 1
        uses.took(self._clock.monotonic_s() - started_s, reads * beside / 2)
        return found
