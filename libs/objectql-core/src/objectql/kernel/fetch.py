"""How a prepared read reaches its data.

Implementations wrap each other: whatever can answer without the database stands before what asks
it. None of them knows what a query means; they pass on bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from objectql.drivers.protocol import Driver, Freshness, Page, RecordImage
from objectql.kernel.consistency import Consistency
from objectql.kernel.planning import Runnable, Scope


class Fetch(Protocol):
    """Runs prepared reads."""

    async def page(self, run: Runnable, scope: Scope) -> Page:
        """A page of records or groups."""
        ...

    async def record(self, run: Runnable, scope: Scope) -> RecordImage | None:
        """The first record with its version."""
        ...


class PointFetch(Fetch, Protocol):
    """A fetch that can also run many point reads at once."""

    async def records(
        self, run: Runnable, ids: Sequence[str], scope: Scope
    ) -> Mapping[str, RecordImage]:
        """The point read `run` for each of `ids`, outside any transaction."""
        ...


class DriverFetch:
    """Asks the data source: inside the scope's transaction where there is one.

    Outside it a replica may answer, where the scope and the caller's policy and token allow it.
    """

    def __init__(self, consistency: Consistency) -> None:
        self._consistency = consistency

    def _freshness(self, driver: Driver, scope: Scope) -> Freshness | None:
        return self._consistency.freshness(scope.context, driver) if scope.may_lag else None

    async def page(self, run: Runnable, scope: Scope) -> Page:
        """See `Fetch`."""
        prepared, params = run
        driver, lowered = prepared.driver, prepared.lowered
        if scope.session is not None and scope.driver is driver:
            return await scope.session.fetch(lowered, params)
        return await driver.fetch(
            lowered,
            params,
            deadline_ms=scope.context.deadline_ms,
            freshness=self._freshness(driver, scope),
        )

    async def record(self, run: Runnable, scope: Scope) -> RecordImage | None:
        """See `Fetch`."""
        prepared, params = run
        driver, lowered = prepared.driver, prepared.lowered
        if scope.session is not None and scope.driver is driver:
            return await scope.session.fetch_one(lowered, params)
        return await driver.fetch_one(
            lowered,
            params,
            deadline_ms=scope.context.deadline_ms,
            freshness=self._freshness(driver, scope),
        )

    async def records(
        self, run: Runnable, ids: Sequence[str], scope: Scope
    ) -> Mapping[str, RecordImage]:
        """See `PointFetch`."""
        prepared, params = run
        return await prepared.driver.fetch_by_ids(
            prepared.lowered,
            params,
            ids,
            deadline_ms=scope.context.deadline_ms,
            freshness=self._freshness(prepared.driver, scope),
        )
