"""How a prepared read reaches its data.

Implementations wrap each other: whatever can answer without the database stands before what asks
it. None of them knows what a query means; they pass on bytes.
"""

from __future__ import annotations

from typing import Protocol

from objectql.drivers.protocol import Page, RecordImage
from objectql.kernel.planning import Runnable, Scope


class Fetch(Protocol):
    """Runs prepared reads."""

    async def page(self, run: Runnable, scope: Scope) -> Page:
        """A page of records or groups."""
        ...

    async def record(self, run: Runnable, scope: Scope) -> RecordImage | None:
        """The first record with its version."""
        ...


class DriverFetch:
    """Asks the data source: inside the scope's transaction where there is one."""

    async def page(self, run: Runnable, scope: Scope) -> Page:
        """See `Fetch`."""
        prepared, params = run
        driver, lowered = prepared.driver, prepared.lowered
        if scope.session is not None and scope.driver is driver:
            return await scope.session.fetch(lowered, params)
        return await driver.fetch(lowered, params, deadline_ms=scope.context.deadline_ms)

    async def record(self, run: Runnable, scope: Scope) -> RecordImage | None:
        """See `Fetch`."""
        prepared, params = run
        driver, lowered = prepared.driver, prepared.lowered
        if scope.session is not None and scope.driver is driver:
            return await scope.session.fetch_one(lowered, params)
        return await driver.fetch_one(lowered, params, deadline_ms=scope.context.deadline_ms)
