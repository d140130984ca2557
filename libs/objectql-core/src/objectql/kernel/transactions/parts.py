"""Prepared parts, as coordinators see them: listed, and ended by what was decided."""

from __future__ import annotations

import logging

from objectql.context import Context
from objectql.drivers.placed import PlacedDriver
from objectql.drivers.protocol import Driver
from objectql.errors import InvalidRequest, Unavailable
from objectql.ids import DataSource, TenantId
from objectql.kernel.engine import Engine
from objectql.txn.names import parse_part_name
from objectql.wire.transactions import (
    FinishReply,
    FinishRequest,
    PreparedReply,
    PreparedRequest,
    SourcesReply,
    SourcesRequest,
)

log = logging.getLogger(__name__)


def tables_of(engine: Engine, source: DataSource, tenant: TenantId) -> Driver:
    """The driver of the tables that `tenant` has in `source`.

    Raises:
        Unavailable: this kernel has no such data source.

    """
    driver = engine.drivers.get(source)
    if driver is None:
        raise Unavailable(what=f'the data source "{source}"')
    return driver.of(tenant) if isinstance(driver, PlacedDriver) else driver


class Parts:
    """The verbs of `wire.subjects.parts_rpc`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def handle_sources(self, request: SourcesRequest, context: Context) -> SourcesReply:
        """The data sources of this kernel."""
        del request, context
        return SourcesReply(tuple(self._engine.drivers))

    async def handle_prepared(self, request: PreparedRequest, context: Context) -> PreparedReply:
        """What is prepared in a source, that of tenants with places of their own included."""
        del context
        driver = self._engine.shared.get(request.source)
        if driver is None:
            raise Unavailable(what=f'the data source "{request.source}"')
        return PreparedReply(await driver.transactions.prepared())

    async def handle_finish(self, request: FinishRequest, context: Context) -> FinishReply:
        """End a part as decided, and let nobody read what was kept from before it."""
        del context
        part = parse_part_name(request.name)
        if part is None:
            raise InvalidRequest(reason=f'"{request.name}" is no part of a transaction')
        store = tables_of(self._engine, part.source, part.tenant).transactions
        was_there = await store.finish(part.text, request.outcome)
        if request.outcome == "abort":
            return FinishReply(is_finished=True, was_there=was_there)
        mark = await store.find(part.txn)
        if mark is None:
            log.error("transaction_part_lost", extra={"part": part.text})
            return FinishReply(is_finished=False)
        # Also when somebody else has ended it: who did may have died before this line.
        if self._engine.cache is not None:
            await self._engine.cache.written(mark.tenant, mark.touched)
        return FinishReply(is_finished=True, was_there=was_there)
