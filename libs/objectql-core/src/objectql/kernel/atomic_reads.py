"""Reads that see all of a transaction over several data sources of which anything was visible before.

All its parts are prepared before the first of them commits. So whatever a caller may have seen
elsewhere is, when an atomic read begins, either committed in this source too or prepared here: it is
enough to wait for the parts that are prepared now and have written to what is read.
"""

from __future__ import annotations

from types import CoroutineType
from typing import Any, Final

from objectql.context import ReadPolicy
from objectql.drivers.protocol import Page, RecordImage
from objectql.errors import RecordsInDoubt
from objectql.kernel.engine import Engine
from objectql.kernel.fetch import Fetch
from objectql.kernel.planning import Runnable, Scope
from objectql.kernel.transactions.parts import tables_of
from objectql.txn.names import PartName, parse_part_name

_FIRST_PAUSE_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.1
_ANSWER_MS: Final = 150
"""So long before the deadline whoever asked is answered, or would not wait for the answer."""


class AtomicReads:
    """Lets reads under the policy `atomic` wait; passes on all others, and those in transactions."""

    def __init__(self, engine: Engine, inner: Fetch) -> None:
        self._engine = engine
        self._inner = inner

    def page(self, run: Runnable, scope: Scope) -> CoroutineType[Any, Any, Page]:
        """See `Fetch`; what is passed on costs no coroutine of its own."""
        if scope.context.read_policy is not ReadPolicy.ATOMIC or scope.session is not None:
            return self._inner.page(run, scope)
        return self._page(run, scope)

    def record(self, run: Runnable, scope: Scope) -> CoroutineType[Any, Any, RecordImage | None]:
        """See `Fetch`."""
        if scope.context.read_policy is not ReadPolicy.ATOMIC or scope.session is not None:
            return self._inner.record(run, scope)
        return self._record(run, scope)

    async def _page(self, run: Runnable, scope: Scope) -> Page:
        await self._settled(run, scope)
        return await self._inner.page(run, scope)

    async def _record(self, run: Runnable, scope: Scope) -> RecordImage | None:
        await self._settled(run, scope)
        return await self._inner.record(run, scope)

    async def _settled(self, run: Runnable, scope: Scope) -> None:
        """Return when the parts that are prepared now where `run` reads have ended.

        Raises:
            RecordsInDoubt: they have not before the deadline.

        """
        clock, pause_s = self._engine.clock, _FIRST_PAUSE_S
        awaited = await self._prepared(run, scope)
        while awaited:
            left_ms = scope.context.deadline_ms - _ANSWER_MS - clock.now_ms()
            if left_ms <= 0:
                raise RecordsInDoubt(
                    object=run.prepared.reads.objects[0].name,
                    transaction=min(part.txn for part in awaited),
                )
            await clock.sleep(min(pause_s, left_ms / 1000))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            awaited &= await self._prepared(run, scope)

    async def _prepared(self, run: Runnable, scope: Scope) -> set[PartName]:
        """The parts of the caller's tenant that have written to what `run` reads."""
        tenant = scope.context.tenant
        store = tables_of(self._engine, run.prepared.driver.name, tenant).transactions
        parts = map(parse_part_name, await store.writing(run.prepared.reads.objects))
        return {part for part in parts if part is not None and part.tenant == tenant}
