"""Reads: template → prepared plan → parameters → driver → the reply, its bytes untouched.

Rows are decoded only where an after-hook wants to see them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from objectql.context import Context
from objectql.drivers.protocol import Page, RecordImage
from objectql.errors import (
    InvalidQuery,
    PermissionDenied,
    RecordNotFound,
    TooManyRecords,
)
from objectql.kernel.atomic_reads import AtomicReads
from objectql.kernel.cached_reads import CachedReads
from objectql.kernel.consistency import Consistency
from objectql.kernel.empty_reads import EmptyReads
from objectql.kernel.engine import Engine
from objectql.kernel.fair_reads import FairReads
from objectql.kernel.fetch import DriverFetch, Fetch
from objectql.kernel.json import decode_json, encode_json
from objectql.kernel.planning import Planner, Scope, query_of
from objectql.kernel.query_document import query_document
from objectql.kernel.shared_reads import SharedReads
from objectql.plugins.context import Api, HookContext
from objectql.plugins.hooks import HookPipeline
from objectql.query.ast import Query
from objectql.query.cursor import encode_cursor
from objectql.query.parse import parse_query
from objectql.values import instant_of_ms
from objectql.wire.messages import AggregateRequest, FindRequest, GetRequest, PageReply, RecordReply


class Reader:
    """Answers find, get, count and aggregate."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.planner = Planner(engine)
        fair = FairReads(engine, DriverFetch(Consistency(engine), engine.clock))
        shares = engine.settings.features.shared_reads
        fetch: Fetch = SharedReads(fair, engine.clock) if shares else fair
        if engine.cache is not None:
            fetch = CachedReads(fetch, engine.cache)
        self._fetch = AtomicReads(engine, EmptyReads(fetch))

    def scope(self, context: Context, *, may_lag: bool = False) -> Scope:
        """Reads for `context` by the metadata now in force."""
        return self.planner.scope(context, may_lag=may_lag)

    # --- operations ---

    async def find(
        self,
        request: FindRequest | AggregateRequest,
        scope: Scope,
        api: Api | None = None,
        *,
        is_internal: bool = False,
    ) -> PageReply:
        """One page of records or groups.

        `is_internal` is for code inside the process: no limit means none, and none is too large.

        Raises:
            ObjectUnknown, PermissionDenied, and whatever is wrong with the query.

        """
        query = request.query
        operation = "aggregate" if query.is_aggregate else "find"
        before = self._engine.hooks.pipeline(query.object, "beforeFind")
        after = self._engine.hooks.pipeline(query.object, "afterFind")
        if before is None and after is None:
            return await self.page(query, scope, is_internal=is_internal)
        scope.policy.check_read(scope.model.object(query.object))
        ctx = self._hook_context(query.object, operation, scope, api)
        query = await self._run_before(before, ctx, query)
        reply = await self.page(query, scope, is_internal=is_internal)
        if after is None:
            return reply
        ctx.result = decode_json(reply.items)
        await after.run(ctx)
        rows = cast("Sequence[Any]", ctx.result)
        return msgspec.structs.replace(reply, items=encode_json(rows), count=len(rows))

    async def get(self, request: GetRequest, scope: Scope, api: Api | None = None) -> RecordReply:
        """One record.

        Raises:
            RecordNotFound: there is none that the caller may see.

        """
        image = await self.get_image(request, scope, api)
        return RecordReply(
            record=image.json,
            id=request.id,
            version=image.version,
            timing=None if scope.spent is None else scope.spent.timing(),
        )

    async def get_image(
        self, request: GetRequest, scope: Scope, api: Api | None = None
    ) -> RecordImage:
        """`get`, as the driver answers it."""
        before = self._engine.hooks.pipeline(request.object, "beforeFind")
        after = self._engine.hooks.pipeline(request.object, "afterFind")
        if before is None and after is None:
            run = self.planner.prepare_get(request, scope)
            spent = scope.spent
            if spent is not None:
                spent.planned()
            image = await self._fetch.record(run, scope)
            if spent is not None:
                spent.fetched()
            if image is None:
                raise RecordNotFound(object=request.object, id=request.id)
            return image
        scope.policy.check_read(scope.model.object(request.object))
        ctx = self._hook_context(request.object, "find", scope, api)
        ctx.id = request.id
        query = await self._run_before(before, ctx, query_of(request))
        image = await self.first(query, scope)
        if image is None:
            raise RecordNotFound(object=request.object, id=request.id)
        if after is not None:
            ctx.result = decode_json(image.json)
            await after.run(ctx)
            if ctx.result is None:
                raise RecordNotFound(object=request.object, id=request.id)
            image = RecordImage(encode_json(ctx.result), image.version)
        return image

    async def count(self, query: Query, scope: Scope, api: Api | None = None) -> int:
        """How many records match, whatever limit and offset the query names."""
        before = self._engine.hooks.pipeline(query.object, "beforeCount")
        after = self._engine.hooks.pipeline(query.object, "afterCount")
        ctx = self._hook_context(query.object, "count", scope, api)
        if before is not None:
            query = await self._run_before(before, ctx, query)
        counting = Query(
            object=query.object,
            fields=(("id",),),
            where=query.where,
            search=query.search,
            limit=0,
            count="exact",
            include_deleted=query.include_deleted,
        )
        page = await self.fetch(counting, scope)
        if after is None:
            return page.total or 0
        ctx.result = page.total or 0
        await after.run(ctx)
        return cast("int", ctx.result)

    # --- the way of a query, without hooks ---

    async def fetch(self, query: Query, scope: Scope) -> Page:
        """A page as the driver answers it; no default limit is put in."""
        return await self._fetch.page(self.planner.prepare(query, scope), scope)

    async def first(self, query: Query, scope: Scope) -> RecordImage | None:
        """The first record with its version."""
        return await self._fetch.record(self.planner.prepare(query, scope), scope)

    async def rows(self, query: Query, scope: Scope) -> list[dict[str, Any]]:
        """The records of a query as mappings."""
        page = await self.fetch(query, scope)
        return cast("list[dict[str, Any]]", decode_json(page.items))

    async def page(self, query: Query, scope: Scope, *, is_internal: bool = False) -> PageReply:
        """`find` without hooks."""
        settings = self._engine.settings
        limit = query.limit
        if is_internal:
            pass
        elif limit is None:
            limit = settings.default_limit
            query = msgspec.structs.replace(query, limit=limit)
        elif limit > settings.max_limit:
            raise TooManyRecords(requested=limit, max=settings.max_limit)
        if query.include_deleted and not scope.context.actor.is_admin:
            raise PermissionDenied(operation="read deleted records of", object=query.object)
        run = self.planner.prepare(query, scope)
        spent = scope.spent
        if spent is not None:
            spent.planned()
        page = await self._fetch.page(run, scope)
        if spent is not None:
            spent.fetched()
        cursor = None
        if page.has_next and page.last_key is not None:
            cursor = encode_cursor(run.prepared.plan.digest, page.last_key)
        return PageReply(
            items=page.items,
            count=page.count,
            limit=page.count if limit is None else limit,
            offset=query.offset or 0,
            has_next=page.has_next,
            next=cursor,
            total=page.total,
            timing=None if spent is None else spent.timing(),
        )

    # --- hooks ---

    def _hook_context(
        self, object_name: str, operation: str, scope: Scope, api: Api | None
    ) -> HookContext:
        context = scope.context
        return HookContext(
            object_name,
            operation,
            context.actor,
            api=api,
            request_id=context.request_id,
            now=instant_of_ms(self._engine.clock.now_ms()),
            trace=context.trace,
            transaction=scope.session,
        )

    async def _run_before(
        self, pipeline: HookPipeline | None, ctx: HookContext, query: Query
    ) -> Query:
        """The query as the before-hooks leave it."""
        ctx.query = query_document(query)
        if pipeline is None:
            return query
        await pipeline.run(ctx)
        if not isinstance(cast("object", ctx.query), dict):
            raise InvalidQuery(reason="a hook left no query")
        return parse_query(ctx.query, object=query.object)
