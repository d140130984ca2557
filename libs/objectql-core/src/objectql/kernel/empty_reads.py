"""Reads that can have no records are answered without asking for any."""

from __future__ import annotations

from objectql.drivers.protocol import Page, RecordImage
from objectql.kernel.fetch import Fetch
from objectql.kernel.json import encode_json
from objectql.kernel.planning import Runnable, Scope
from objectql.query.interpret import interpret


class EmptyReads:
    """Answers contradictory queries (`status = 'a' and status = 'b'`); passes on all others."""

    def __init__(self, inner: Fetch) -> None:
        self._inner = inner

    async def page(self, run: Runnable, scope: Scope) -> Page:
        """See `Fetch`. What a query over no records means, the interpreter says."""
        plan = run.prepared.plan
        if not plan.is_contradicted(run.params):
            return await self._inner.page(run, scope)
        answer = interpret(plan.query, run.params, lambda _object, _tenant: ())
        items = encode_json(answer.items)
        return Page(items, len(answer.items), answer.has_next, total=answer.total)

    async def record(self, run: Runnable, scope: Scope) -> RecordImage | None:
        """See `Fetch`."""
        if run.prepared.plan.is_contradicted(run.params):
            return None
        return await self._inner.record(run, scope)
