"""The webhooks as this kernel knows them, and whom an event concerns.

Whoever puts deliveries in the queue asks `refresh` after it has read the events and before it marks
them: so a webhook hears every change that was committed after its declaration was answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final, TypeAlias

from objectql.context import Actor
from objectql.drivers.webhooks import Webhook, WebhookStore
from objectql.errors import ObjectQLError, RecordNotFound
from objectql.events import ChangeEvent
from objectql.ids import TenantId
from objectql.kernel.engine import Engine
from objectql.kernel.planning import Planner
from objectql.kernel.webhooks.subscription import Binder, Subscription
from objectql.live.images import EventImages
from objectql.live.matcher import Matcher
from objectql.live.telling import telling
from objectql.values import Value

log = logging.getLogger(__name__)

RolesOf: TypeAlias = Callable[[TenantId, str], Awaitable[tuple[str, ...]]]
"""The roles of an active user; raises `RecordNotFound` where there is none."""

_Listeners: TypeAlias = Matcher[tuple[str, str]]
"""Webhooks by id and object."""

USERS_FRESH_S: Final = 1.0
"""How old the roles may be of users whom webhooks stand for."""


class WebhookDirectory:
    """See the head of this module."""

    def __init__(
        self,
        engine: Engine,
        planner: Planner,
        roles_of: RolesOf,
        converge: Callable[[], Awaitable[object]],
    ) -> None:
        """`converge` learns what tenants have of their own now."""
        self._engine = engine
        self._converge = converge
        self._binder = Binder(engine, planner)
        self._roles_of = roles_of
        self._turn = asyncio.Lock()
        self._versions: tuple[int, int, dict[TenantId, int]] = (-1, -1, {})
        self._looked_s = float("-inf")
        self._users_s = float("-inf")
        self._webhooks: Mapping[str, Webhook] = {}
        self._actors: dict[str, Actor] = {}
        self._bound: dict[tuple[str, str], Subscription] = {}
        self._matcher: _Listeners = Matcher()

    @property
    def store(self) -> WebhookStore:
        """The truth."""
        return self._engine.system_driver.webhooks

    def get(self, id_: str) -> Webhook | None:
        """The webhook as it is known."""
        return self._webhooks.get(id_)

    def subscription(self, id_: str, object_name: str) -> Subscription | None:
        """How a webhook hears of an object; None where it does not, or cannot."""
        return self._bound.get((id_, object_name))

    def of_tenant(self, tenant: TenantId) -> list[Webhook]:
        """The webhooks of a tenant by name."""
        return [webhook for webhook in self._webhooks.values() if webhook.tenant == tenant]

    async def refresh(self, max_age_s: float = 0.0) -> None:
        """Know what is declared now, or was `max_age_s` ago, by the metadata and roles in force."""
        asked_s = self._engine.clock.monotonic_s() - max_age_s
        async with self._turn:
            if asked_s < self._looked_s:
                return  # another has looked since, or lately enough
            looked_s = self._engine.clock.monotonic_s()
            version = await self.store.current_version()
            if version != self._versions[0]:
                version, found = await self.store.load()
                self._webhooks = {webhook.id: webhook for webhook in found}
            if self._webhooks:  # after their declarations, so that all that those name is known
                await self._converge()
            versions = (version, self._engine.model.version, self._own())
            if versions != self._versions or await self._have_users_changed():
                await self._bind_all()
            self._versions = versions
            self._looked_s = looked_s

    def _own(self) -> dict[TenantId, int]:
        """The numbers of what the tenants of webhooks have of their own."""
        known = self._engine.tenant_models.metadata
        tenants = {webhook.tenant for webhook in self._webhooks.values()}
        return {tenant: known[tenant].number for tenant in tenants if tenant in known}

    async def bind(self, webhook: Webhook) -> dict[str, Subscription]:
        """How `webhook`, which may be none yet, would hear.

        Raises:
            See `Binder.bind`; `RecordNotFound`: there is no such user.

        """
        return self._binder.bind(webhook, await self._actor(webhook))

    def concerned(self, event: ChangeEvent) -> Iterator[str]:
        """The active webhooks that are to be told of an event."""
        for match in self._matcher.match(EventImages(event)):
            if match.misfit is not None:
                facts = {"event": event.id, "reason": match.misfit}
                log.error("event_misfit", extra=facts)
            found = telling(event.kind, was=match.was, now=match.now)
            for id_, _ in match.subscribers:
                if found is not None and found.kind in self._webhooks[id_].events:
                    yield id_

    async def _bind_all(self) -> None:
        bound: dict[tuple[str, str], Subscription] = {}
        actors: dict[str, Actor] = {}
        listeners: _Listeners = Matcher()
        users_s = self._engine.clock.monotonic_s()
        for webhook in self._webhooks.values():
            try:
                actors[webhook.id] = actor = await self._actor(webhook)
                found = self._binder.bind(webhook, actor)
            except ObjectQLError as exc:
                if exc.retryable:  # nobody can say now, and what nobody hears of is lost
                    raise
                facts = {"webhook": webhook.id, "tenant": webhook.tenant, "reason": str(exc)}
                log.warning("webhook_not_bound", extra=facts)
                continue
            for name, subscription in found.items():
                bound[webhook.id, name] = subscription
                if webhook.active:
                    listeners.add(
                        (webhook.id, name), subscription.query, self._params_of(subscription)
                    )
        self._bound, self._actors, self._matcher = bound, actors, listeners
        self._users_s = users_s

    def _params_of(self, subscription: Subscription) -> Callable[[], tuple[Value, ...]]:
        return lambda: subscription.params(self._engine.clock.now_ms())

    async def _actor(self, webhook: Webhook) -> Actor:
        if webhook.user is None:
            return Actor(f"webhook:{webhook.name}", webhook.tenant, webhook.roles)
        roles = await self._roles_of(webhook.tenant, webhook.user)
        return Actor(webhook.user, webhook.tenant, roles)

    async def _have_users_changed(self) -> bool:
        now_s = self._engine.clock.monotonic_s()
        if now_s - self._users_s < USERS_FRESH_S:
            return False
        self._users_s = now_s
        for webhook in self._webhooks.values():
            if webhook.user is None:
                continue
            try:
                actor = await self._actor(webhook)
            except RecordNotFound:
                actor = None
            if actor != self._actors.get(webhook.id):
                return True
        return False
