"""The webhooks as this kernel knows them, and whom an event concerns.

Whoever puts deliveries in the queue asks `refresh` after it has read the events and before it marks
them: so a webhook hears every change that was committed after its declaration was answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

from objectql.context import DEFAULT_TENANT, Actor, Context
from objectql.drivers.webhooks import Webhook, WebhookStore
from objectql.errors import ObjectQLError, RecordNotFound
from objectql.events import ChangeEvent
from objectql.ids import TenantId
from objectql.kernel.engine import Engine
from objectql.kernel.read import Reader
from objectql.kernel.webhooks.subscription import Binder, Subscription
from objectql.live.images import EventImages
from objectql.live.matcher import Matcher
from objectql.live.telling import telling
from objectql.values import Value
from objectql.wire.messages import GetRequest

log = logging.getLogger(__name__)

RolesOf: TypeAlias = Callable[[TenantId, str], Awaitable[tuple[str, ...]]]
"""The roles of an active user; raises `RecordNotFound` where there is none."""

_Listeners: TypeAlias = Matcher[tuple[str, str]]
"""Webhooks by id and object."""

USERS_FRESH_S: Final = 1.0
"""How old the roles may be of users whom webhooks stand for."""

_READ_MS: Final = 5000
_AT_ONCE: Final = 50
"""So many are bound before others have a turn."""


class _Bound(NamedTuple):
    """What a webhook hears by object, and by what of it, of metadata and of roles."""

    by: tuple[int, int, int | None, Actor | None]
    subscriptions: dict[str, Subscription]


_NEVER: Final = _Bound((0, 0, None, Actor("", DEFAULT_TENANT)), {})


class WebhookDirectory:
    """See the head of this module."""

    def __init__(
        self,
        engine: Engine,
        reader: Reader,
        roles_of: RolesOf,
        converge: Callable[[], Awaitable[object]],
    ) -> None:
        """`converge` learns what tenants have of their own now."""
        self._engine = engine
        self._reader = reader
        self._converge = converge
        self._binder = Binder(engine, reader.planner)
        self._roles_of = roles_of
        self._turn = asyncio.Lock()
        self._versions: tuple[int, int, dict[TenantId, int]] = (-1, -1, {})
        self._looked_s = float("-inf")
        self._users_s = float("-inf")
        self._webhooks: Mapping[str, Webhook] = {}
        self._bound: dict[str, _Bound] = {}
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
        bound = self._bound.get(id_)
        return None if bound is None else bound.subscriptions.get(object_name)

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
            if versions != self._versions or looked_s - self._users_s >= USERS_FRESH_S:
                await self._bind_changed(versions[1], versions[2])
                self._users_s = looked_s
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

    async def is_seen_now(self, subscription: Subscription, event: ChangeEvent) -> bool:
        """Whether whom the webhook stands for may see the event's record as it is stored now.

        The images in an event say who could see it when it was committed; a share may have been
        taken back since, or the record given to somebody else. One that is deleted is seen by
        nobody, except by those who may see all.

        Raises:
            ObjectQLError: nobody can say now.

        """
        deadline_ms = self._engine.clock.now_ms() + _READ_MS
        scope = self._reader.scope(Context(subscription.actor, deadline_ms, request_id=""))
        if scope.policy.reads_all(event.object):
            return True
        asked = GetRequest(event.object, event.record_id, fields=(("id",),))
        try:
            await self._reader.get_image(asked, scope)
        except RecordNotFound:
            return False
        return True

    def concerned(self, event: ChangeEvent) -> Iterator[str]:
        """The active webhooks that are to be told of an event."""
        for match in self._matcher.match(EventImages(event)):
            if match.misfit is not None:
                facts = {"event": event.id, "reason": match.misfit}
                log.error("event_misfit", extra=facts)
            found = telling(event.kind, was=match.was, now=match.now)
            for id_, _ in match.subscribers:
                webhook = self._webhooks.get(id_)  # None: removed, and about to be unbound
                if found is not None and webhook is not None and found.kind in webhook.events:
                    yield id_

    async def _bind_changed(self, version: int, own: Mapping[TenantId, int]) -> None:
        """Bind those anew of which anything has changed: one in thousands is soon done."""
        actors = await self._actors()
        for id_ in self._bound.keys() - self._webhooks.keys():
            self._forget(id_)
        for number, webhook in enumerate(self._webhooks.values(), 1):
            actor = actors[webhook.id]
            by = (webhook.version, version, own.get(webhook.tenant), actor)
            known = self._bound.get(webhook.id)
            if known is None or known.by != by:
                found = {} if actor is None else self._bind(webhook, actor)
                self._forget(webhook.id)
                self._bound[webhook.id] = _Bound(by, found)
                for name, subscription in found.items() if webhook.active else ():
                    params = self._params_of(subscription)
                    self._matcher.add((webhook.id, name), subscription.query, params)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)

    def _bind(self, webhook: Webhook, actor: Actor) -> dict[str, Subscription]:
        try:
            return self._binder.bind(webhook, actor)
        except ObjectQLError as exc:
            if exc.retryable:  # nobody can say now, and what nobody hears of is lost
                raise
            _log_unbound(webhook, exc)
            return {}

    def _forget(self, id_: str) -> None:
        bound = self._bound.pop(id_, None)
        for name in () if bound is None else bound.subscriptions:
            self._matcher.remove((id_, name))

    def _params_of(self, subscription: Subscription) -> Callable[[], tuple[Value, ...]]:
        return lambda: subscription.params(self._engine.clock.now_ms())

    async def _actor(self, webhook: Webhook) -> Actor:
        if webhook.user is None:
            return Actor(f"webhook:{webhook.name}", webhook.tenant, webhook.roles)
        roles = await self._roles_of(webhook.tenant, webhook.user)
        return Actor(webhook.user, webhook.tenant, roles)

    async def _actors(self) -> dict[str, Actor | None]:
        """As whom each webhook sees now; None for users who are nobody any more."""
        found: dict[str, Actor | None] = {}
        users: dict[tuple[TenantId, str], Actor | None] = {}
        for webhook in self._webhooks.values():
            if webhook.user is None:
                found[webhook.id] = await self._actor(webhook)
                continue
            key = (webhook.tenant, webhook.user)
            if key not in users:
                try:
                    users[key] = await self._actor(webhook)
                except RecordNotFound as exc:
                    users[key] = None
                    if self._bound.get(webhook.id, _NEVER).by[-1] is not None:
                        _log_unbound(webhook, exc)
            found[webhook.id] = users[key]
        return found


def _log_unbound(webhook: Webhook, why: ObjectQLError) -> None:
    facts = {"webhook": webhook.id, "tenant": webhook.tenant, "reason": str(why)}
    log.warning("webhook_not_bound", extra=facts)
