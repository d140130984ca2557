"""Reads that can have no records are answered without asking for any."""

from __future__ import annotations

from types import CoroutineType
from typing import Any

from objectql.drivers.protocol import Page, RecordImage
from objectql.kernel.fetch import Fetch
from objectql.kernel.json import encode_json
from objectql.kernel.planning import Runnable, Scope
from objectql.query.interpret import interpret


class EmptyReads:
    """Answers contradictory queries (`status = 'a' and status = 'b'`); passes on all others."""

    def __init__(self, inner: Fetch) -> None:
        self._inner = inner

    def page(self, run: Runnable, scope: Scope) -> CoroutineType[Any, Any, Page]:
        """See `Fetch`; what is passed on costs no coroutine of its own."""
        if run.prepared.plan.is_contradicted(run.params):
            return self._empty(run)
        return self._inner.page(run, scope)

    def record(self, run: Runnable, scope: Scope) -> CoroutineType[Any, Any, RecordImage | None]:
        """See `Fetch`."""
        if run.prepared.plan.is_contradicted(run.params):
            return self._none()
        return self._inner.record(run, scope)

    async def _empty(self, run: Runnable) -> Page:
        """What a query over no records means, the interpreter says."""
        answer = interpret(run.prepared.plan.query, run.params, lambda _object, _tenant: ())
        items = encode_json(answer.items)
        return Page(items, len(answer.items), answer.has_next, total=answer.total)

    async def _none(self) -> None:
        return None
