"""What live queries ask of a kernel: the meaning of a subscription, and what is not published yet.

A subscription is planned like a read, so that it has the same errors and the same rules; what the
plan comes down to is told to the gateway that matches events. Whatever a read may do beyond
looking at one record is refused here, never left out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from objectql.errors import InvalidQuery, NotSupported, TenantRefused, Unavailable
from objectql.ids import TenantId
from objectql.kernel.engine import Engine
from objectql.kernel.planning import Planner, Scope
from objectql.live.query import LiveQuery, live_query
from objectql.query.ast import Query
from objectql.query.template import extract
from objectql.wire.live import (
    LiveBindReply,
    LiveBindRequest,
    StandingReply,
    StandingRequest,
    UnpublishedReply,
    UnpublishedRequest,
)

MAX_UNPUBLISHED: Final = 5000
"""More are waiting only where the event stream is away; nobody can follow it then."""

_READ_HOOKS: Final = ("beforeFind", "afterFind")


def bind_live(engine: Engine, planner: Planner, query: Query, scope: Scope) -> LiveQuery:
    """What `query` is to its caller when it is asked of events, for sockets and webhooks alike.

    Raises:
        ObjectUnknown, PermissionDenied, and whatever is wrong with the query.
        NotSupported: an event alone cannot tell what a read would answer.

    """
    run = planner.prepare(query, scope)
    # Code that looks at reads may change them, and never sees an event.
    has_hooks = any(engine.hooks.pipeline(query.object, event) for event in _READ_HOOKS)
    if has_hooks or engine.middleware.onion(query.object, "find") is not None:
        raise NotSupported(feature=f"listening to {query.object}, whose reads run hooks,")
    return live_query(
        run.prepared.plan.query,
        scope.context.tenant,
        extract(query).literals,
        timezone=engine.settings.timezone,
    )


class LiveQueries:
    """Answers the verbs `live_bind`, `live_unpublished` and `live_standing`."""

    def __init__(
        self, engine: Engine, planner: Planner, admit: Callable[[TenantId], Awaitable[None]]
    ) -> None:
        """`admit` raises `TenantRefused` for a tenant that may not act."""
        self._engine = engine
        self._planner = planner
        self._admit = admit

    def bind(self, request: LiveBindRequest, scope: Scope) -> LiveBindReply:
        """What the subscription is to the caller.

        Raises:
            ObjectUnknown, PermissionDenied, and whatever is wrong with the query.
            NotSupported: an event alone cannot tell what a read would answer.

        """
        query = request.query
        if query != Query(object=query.object, fields=query.fields, where=query.where):
            raise InvalidQuery(reason="a live query has an object, fields and a filter")
        return LiveBindReply(
            bind_live(self._engine, self._planner, query, scope),
            scope.model.version,
            self._own(scope.context.tenant),
        )

    async def unpublished(self, request: UnpublishedRequest, scope: Scope) -> UnpublishedReply:
        """The events of the caller's tenant that are committed and not known to be in the stream.

        Raises:
            ObjectUnknown, PermissionDenied
            Unavailable: they are too many.

        """
        object_ = scope.model.object(request.object)
        scope.policy.check_read(object_)
        tenant = scope.context.tenant
        placed = self._engine.placed.get(object_.datasource)
        driver = self._engine.driver(object_) if placed is None else placed.of(tenant)
        ids = await driver.outbox.unpublished(tenant, object_.name, MAX_UNPUBLISHED + 1)
        if len(ids) > MAX_UNPUBLISHED:
            raise Unavailable(what="the event stream")
        return UnpublishedReply(ids)

    async def standing(self, request: StandingRequest) -> StandingReply:
        """Which tenants may act no longer, and what they have of their own, as this kernel knows."""
        refused: list[str] = []
        for tenant in request.tenants:
            try:
                await self._admit(TenantId(tenant))
            except TenantRefused:
                refused.append(tenant)
        own = {tenant: self._own(TenantId(tenant)) for tenant in request.tenants}
        return StandingReply(tuple(refused), {id_: number for id_, number in own.items() if number})

    def _own(self, tenant: TenantId) -> int:
        metadata = self._engine.tenant_models.metadata.get(tenant)
        return 0 if metadata is None else metadata.number
