"""The hooks of one transaction's writes: their contexts, their order, and what waits for the commit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from objectql.drivers.protocol import Session
from objectql.errors import ObjectQLError
from objectql.kernel.change import Change
from objectql.kernel.json import decode_json, encode_json
from objectql.kernel.planning import Scope
from objectql.metadata.model import ObjectDef
from objectql.plugins.context import Api, HookContext
from objectql.plugins.hooks import HookPipeline, HookRegistry

_log = logging.getLogger(__name__)


class HookCalls:
    """Runs hooks inside a transaction. `make_api` gives `ctx.api` for a depth of nesting."""

    def __init__(
        self,
        registry: HookRegistry,
        scope: Scope,
        session: Session,
        *,
        now: str,
        make_api: Callable[[int], Api],
    ) -> None:
        self._registry = registry
        self._scope = scope
        self._session = session
        self._now = now
        self._make_api = make_api
        self._after_commit: list[tuple[HookPipeline, HookContext]] = []

    def is_hooked(self, object_name: str, operation: str) -> bool:
        """Whether any hook runs for the operation (`Create`, `Update`, `Delete`)."""
        pipeline = self._registry.pipeline
        return (
            pipeline(object_name, f"before{operation}") is not None
            or pipeline(object_name, f"after{operation}") is not None
            or pipeline(object_name, "afterCommit") is not None
        )

    def context(
        self,
        object_: ObjectDef,
        operation: str,
        depth: int,
        id_: str | None = None,
        previous: dict[str, Any] | None = None,
    ) -> HookContext:
        """The context that all hooks of one write share."""
        request = self._scope.context
        return HookContext(
            object_.name,
            operation,
            request.actor,
            api=self._make_api(depth + 1),
            id=id_,
            previous_data=previous,
            request_id=request.request_id,
            now=self._now,
            trace=request.trace,
            transaction=self._session,
        )

    async def run(self, object_name: str, event: str, ctx: HookContext) -> None:
        """Run the hooks of one event."""
        pipeline = self._registry.pipeline(object_name, event)
        ctx.stop_propagation = False
        if pipeline is not None:
            await pipeline.run(ctx)

    async def finish(self, ctx: HookContext | None, change: Change, operation: str) -> Change:
        """Run the after-hooks; the change with the record that they leave."""
        if ctx is None:
            return change
        ctx.id = change.id
        ctx.result = decode_json(change.record)
        after = self._registry.pipeline(ctx.object_name, f"after{operation}")
        if after is not None:
            ctx.stop_propagation = False
            await after.run(ctx)
            image = encode_json(ctx.result)
            change = Change(
                change.action, change.id, change.version, image, change.dropped, change.warnings
            )
        committed = self._registry.pipeline(ctx.object_name, "afterCommit")
        if committed is not None:
            self._after_commit.append((committed, ctx))
        return change

    def mark(self) -> int:
        """A point to which `forget_since` goes back."""
        return len(self._after_commit)

    def forget_since(self, mark: int) -> None:
        """What was written since `mark` is rolled back: it will never be committed."""
        del self._after_commit[mark:]

    async def run_after_commit(self) -> None:
        """Run the `afterCommit` hooks of what was written; their failures are only logged."""
        for pipeline, ctx in self._after_commit:
            ctx.transaction = None
            ctx.end_api()
            ctx.stop_propagation = False
            try:
                await pipeline.run(ctx)
            except ObjectQLError as exc:
                _log.error("hook after commit failed", exc_info=exc)
