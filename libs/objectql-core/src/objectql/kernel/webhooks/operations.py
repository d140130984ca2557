"""Everything about webhooks in one kernel: its parts, and the verbs in the structs of the bus."""

from __future__ import annotations

import random
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from objectql.context import Context
from objectql.errors import InvalidRequest, PermissionDenied, RecordNotFound
from objectql.fairness import FairPlaces, PlaceLimits
from objectql.ids import TenantId
from objectql.kernel.engine import Engine
from objectql.kernel.identity.identity import Identity
from objectql.kernel.json import encode_json
from objectql.kernel.pipeline import Pipeline
from objectql.kernel.read import Reader
from objectql.kernel.tenancy.directory import TenantDirectory
from objectql.kernel.webhooks.addresses import Allowed, networks_of
from objectql.kernel.webhooks.admin import WebhookAdmin
from objectql.kernel.webhooks.deliverer import Deliverer, DelivererLimits
from objectql.kernel.webhooks.directory import WebhookDirectory
from objectql.kernel.webhooks.endpoint import Tools
from objectql.kernel.webhooks.packages import adopt
from objectql.kernel.webhooks.policy import WebhookPolicy
from objectql.kernel.webhooks.queueing import Queueing
from objectql.kernel.webhooks.rules import Pauses
from objectql.kernel.webhooks.sealing import Sealing
from objectql.kernel.webhooks.sender import Sender
from objectql.wire import webhooks as m
from objectql.wire.messages import JsonReply

Q = TypeVar("Q")

_OPERATION = "webhooks"

_NO_BOUND = 2**31
"""Of what waits for a place: `endpoints` and `concurrency` bound it."""


class Webhooks:
    """One method per verb, `queueing` for the relay, `deliverer` for a worker."""

    def __init__(
        self,
        engine: Engine,
        pipeline: Pipeline,
        reader: Reader,
        tenants: TenantDirectory,
        identity: Identity,
        *,
        sender: Sender | None = None,
    ) -> None:
        """Without a `sender` one by the settings.

        Raises:
            InvalidRequest: the settings name no network, or no key, where they should.

        """
        policy = engine.settings.webhooks
        self._engine = engine
        self._pipeline = pipeline
        self._policy = policy

        async def roles_of(tenant: TenantId, user: str) -> tuple[str, ...]:
            known = await identity.directory.known_user(tenant, user)
            if not known.is_active:
                raise RecordNotFound(object="user", id=user)
            return known.roles

        self.directory = WebhookDirectory(engine, reader, roles_of, tenants.converge)
        self.queueing = Queueing(self.directory, engine.clock)
        self.observe: Callable[[str, float], None] = _to_nobody
        """Told of each attempt; see `Tools`."""

        def observed(outcome: str, took_s: float) -> None:
            self.observe(outcome, took_s)

        self._tools = Tools(
            directory=self.directory,
            sender=sender or _sender(policy),
            sealing=_sealing(policy),
            clock=engine.clock,
            random=random.random,
            pauses=Pauses(policy.first_pause_s, policy.longest_pause_s),
            places=FairPlaces(PlaceLimits(policy.connections, _NO_BOUND, policy.tenant_share)),
            concurrency=policy.concurrency,
            is_refused=tenants.is_suspended,
            observe=observed,
        )
        self.admin = WebhookAdmin(self._tools, tenants, policy.per_tenant)

    def deliverer(self, holder: str, **more: float) -> Deliverer:
        """Delivers in the name of `holder`, once it runs; `more` limits than are settings."""
        policy = self._policy
        limits = DelivererLimits(
            endpoints=policy.endpoints,
            tenant_share=policy.tenant_share,
            max_age_s=policy.max_age_s,
            kept_s=policy.kept_s,
            **more,
        )
        leases = lambda: self._engine.system_driver.leases  # noqa: E731 - known once connected
        return Deliverer(self._tools, leases, holder=holder, limits=limits)

    def on_publish(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever other metadata are in force."""
        self._engine.registry.on_publish(lambda _old, _new: listener())

    async def adopt(self) -> None:
        """See `packages.adopt`."""
        await adopt(self._engine, self.directory, self.admin)

    async def close(self) -> None:
        """Let go of connections."""
        await self._tools.sender.close()

    # --- verbs ---

    async def handle_list(self, request: m.WebhookListRequest, context: Context) -> JsonReply:
        """All webhooks of the tenant."""

        async def core(_request: m.WebhookListRequest, context: Context) -> Any:
            return await self.admin.list(context.tenant)

        return await self._run(request, context, core)

    async def handle_get(self, request: m.WebhookGetRequest, context: Context) -> JsonReply:
        """One webhook."""

        async def core(request: m.WebhookGetRequest, context: Context) -> Any:
            return await self.admin.get(context.tenant, request.name)

        return await self._run(request, context, core)

    async def handle_create(self, request: m.WebhookCreateRequest, context: Context) -> JsonReply:
        """The new webhook, with its secret."""

        async def core(request: m.WebhookCreateRequest, context: Context) -> Any:
            return await self.admin.create(request.document, context)

        return await self._run(request, context, core)

    async def handle_change(self, request: m.WebhookChangeRequest, context: Context) -> JsonReply:
        """The changed webhook."""

        async def core(request: m.WebhookChangeRequest, context: Context) -> Any:
            return await self.admin.change(request.name, request.document, context)

        return await self._run(request, context, core)

    async def handle_delete(self, request: m.WebhookDeleteRequest, context: Context) -> JsonReply:
        """Nothing."""

        async def core(request: m.WebhookDeleteRequest, context: Context) -> Any:
            await self.admin.delete(request.name, context)

        return await self._run(request, context, core)

    async def handle_rotate(self, request: m.WebhookRotateRequest, context: Context) -> JsonReply:
        """The webhook with its new secret."""

        async def core(request: m.WebhookRotateRequest, context: Context) -> Any:
            return await self.admin.rotate(request.name, request.document, context)

        return await self._run(request, context, core)

    async def handle_test(self, request: m.WebhookTestRequest, context: Context) -> JsonReply:
        """What the endpoint answered."""

        async def core(request: m.WebhookTestRequest, context: Context) -> Any:
            return await self.admin.test(context.tenant, request.name, context.deadline_ms)

        return await self._run(request, context, core)

    async def handle_deliveries(
        self, request: m.WebhookDeliveriesRequest, context: Context
    ) -> JsonReply:
        """A page of deliveries."""

        async def core(request: m.WebhookDeliveriesRequest, context: Context) -> Any:
            return await self.admin.deliveries(
                context.tenant,
                request.name,
                request.state,
                before=request.before,
                limit=request.limit,
            )

        return await self._run(request, context, core)

    async def handle_replay(self, request: m.WebhookReplayRequest, context: Context) -> JsonReply:
        """How many deliveries will be repeated."""

        async def core(request: m.WebhookReplayRequest, context: Context) -> Any:
            told = await self.admin.replay(request.name, request.document, context)
            webhook = await self.admin.find(context.tenant, request.name)
            self.queueing.on_queued((webhook.id,))
            return told

        return await self._run(request, context, core)

    async def _run(
        self, request: Q, context: Context, core: Callable[[Q, Context], Awaitable[Any]]
    ) -> JsonReply:
        async def checked(request: Q, context: Context) -> JsonReply:
            if not context.actor.is_admin or context.actor.scopes is not None:
                raise PermissionDenied(operation="administer", object="webhooks")
            return JsonReply(encode_json(await core(request, context)))

        return await self._pipeline.run(_OPERATION, "*", request, context, checked)


def _to_nobody(_outcome: str, _took_s: float) -> None:
    pass


def _sender(policy: WebhookPolicy) -> Sender:
    try:
        networks = networks_of(policy.allow)
    except ValueError as exc:
        raise InvalidRequest(reason=f"webhooks.allow: {exc}") from exc
    trust = None
    if policy.ca is not None:
        trust = ssl.create_default_context()
        trust.load_verify_locations(policy.ca)
    allowed = Allowed(networks, policy.insecure, policy.ports)
    return Sender(allowed, trust=trust, max_connections=policy.connections)


def _sealing(policy: WebhookPolicy) -> Sealing:
    try:
        return Sealing(policy.keys)
    except ValueError as exc:
        raise InvalidRequest(reason="webhooks.keys are not keys of Fernet") from exc
