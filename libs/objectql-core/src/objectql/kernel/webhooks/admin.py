"""Administration of a tenant's webhooks. Its caller has checked who asks."""

from __future__ import annotations

import secrets as randomness
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Final, cast, get_args

import msgspec
from msgspec import UNSET, Meta

from objectql.context import DEFAULT_TENANT, Context
from objectql.drivers.webhooks import Delivery, DeliveryState, SealedSecret, Webhook
from objectql.errors import (
    InvalidRequest,
    Issue,
    ObjectQLError,
    PermissionDenied,
    RateLimited,
    RecordNotFound,
    UniqueViolation,
    ValidationFailed,
)
from objectql.ids import TenantId, uuid7
from objectql.kernel.identity.directory import check_may_grant
from objectql.kernel.tenancy.directory import TenantDirectory
from objectql.kernel.webhooks import trail
from objectql.kernel.webhooks.addresses import UrlRefused
from objectql.kernel.webhooks.declaration import (
    Change,
    Declaration,
    declared_fields,
    decode,
    described,
    problems_of,
    secret_problem,
)
from objectql.kernel.webhooks.endpoint import Tools, post
from objectql.kernel.webhooks.queueing import event_of
from objectql.values import canonical_instant, instant_of_ms
from objectql.wire.webhook_signatures import secret_text

MAX_PAGE: Final = 1000

NOT_DECLARED: Final = "its package does not declare it any more"

_SECRET_BYTES: Final = 32
_DAY_S: Final = 86_400
_encode = msgspec.json.Encoder().encode


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The new secret (one is made where none is given), and how long the old one signs as well."""

    secret: str | None = None
    overlap_s: Annotated[float, Meta(ge=0, le=30 * _DAY_S)] = _DAY_S


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which deliveries to repeat: one event's, all since an instant, or all that are dead."""

    event: str | None = None
    since: str | None = None
    dead: bool = False


class WebhookAdmin:
    """What the administration API asks, in the tenant of the context."""

    def __init__(self, tools: Tools, tenants: TenantDirectory, per_tenant: int) -> None:
        self._tools = tools
        self._directory = tools.directory
        self._tenants = tenants
        self._per_tenant = per_tenant

    async def list(self, tenant: TenantId) -> list[dict[str, Any]]:
        """The tenant's webhooks by name."""
        await self._directory.refresh()
        found = sorted(self._directory.of_tenant(tenant), key=lambda webhook: webhook.name)
        return [await self._described(webhook) for webhook in found]

    async def get(self, tenant: TenantId, name: str) -> dict[str, Any]:
        """One webhook.

        Raises:
            RecordNotFound: there is none of that name.

        """
        return await self._described(await self.find(tenant, name))

    async def find(self, tenant: TenantId, name: str) -> Webhook:
        """The webhook as it is stored now; see `get`."""
        await self._directory.refresh()
        for webhook in self._directory.of_tenant(tenant):
            if webhook.name == name:
                return webhook
        raise RecordNotFound(object="webhook", id=name[:100])

    async def create(self, document: bytes, context: Context) -> dict[str, Any]:
        """The new webhook with its secret, which nobody is told again.

        Raises:
            InvalidRequest, ValidationFailed: it cannot be, with every problem.
            ObjectUnknown, FieldUnknown, InvalidFilter: what it hears of cannot be.
            UniqueViolation: there is one of that name.
            QuotaExceeded: the tenant has as many as it may.

        """
        given = decode(document, Declaration)
        check_may_grant(context, given.run_as.roles)
        secret = given.secret or _new_secret()
        now = self._now()
        webhook = Webhook(
            id=uuid7(),
            tenant=context.tenant,
            secrets=(self._sealed(secret),),
            headers=self._sealed_headers(given.headers),
            created_at=now,
            updated_at=now,
            **declared_fields(given),
        )
        await self._check(webhook, given.headers, secret)
        record = [trail.created(context, webhook, self._tools.clock)]
        most = self._most(context.tenant)
        saved = await self._directory.store.save(webhook, most=most, record=record)
        return described(saved) | {"secret": secret}

    async def declare(self, given: Declaration, package: str) -> None:
        """Have the webhook of the default tenant that a package declares, switched on.

        Its secret is made here and told by `rotate`. Who has switched it off keeps it off.

        Raises:
            As `create`; UniqueViolation: one of its name was not declared by a package.

        """
        known = None
        with suppress(RecordNotFound):
            known = await self.find(DEFAULT_TENANT, given.name)
        if known is not None and not known.package:
            raise UniqueViolation(object="webhook", fields=("name",))
        said: dict[str, Any] = declared_fields(given)
        said["package"] = package
        now = self._now()
        if known is None:
            secrets = (self._sealed(_new_secret()),)
            webhook = Webhook(
                id=uuid7(), tenant=DEFAULT_TENANT, secrets=secrets, created_at=now, **said
            )
        else:
            if known.disabled_because == NOT_DECLARED:
                known = msgspec.structs.replace(known, active=given.active, disabled_because="")
            webhook = msgspec.structs.replace(known, **(said | {"active": known.active}))
            if webhook == await self.find(DEFAULT_TENANT, given.name):
                return
        await self._check(webhook, {}, None)
        clock = self._tools.clock
        record = (
            trail.created(None, webhook, clock)
            if known is None
            else trail.changed(None, known, webhook, clock)
        )
        webhook = msgspec.structs.replace(webhook, updated_at=now)
        await self._directory.store.save(webhook, record=[record])

    async def withdraw(self, webhook: Webhook) -> None:
        """Switch off what its package does not declare any more; what was queued waits."""
        if webhook.disabled_because != NOT_DECLARED:
            off = msgspec.structs.replace(
                webhook, active=False, disabled_because=NOT_DECLARED, updated_at=self._now()
            )
            record = [trail.changed(None, webhook, off, self._tools.clock)]
            await self._directory.store.save(off, record=record)

    async def change(self, name: str, document: bytes, context: Context) -> dict[str, Any]:
        """The changed webhook; switching it on forgets why it was off.

        Raises:
            As `create`; RecordNotFound; WriteConflict: somebody else has changed it meanwhile.

        """
        given = decode(document, Change)
        known = await self.find(context.tenant, name)
        changes = declared_fields(given)
        if given.run_as is not UNSET:
            check_may_grant(context, given.run_as.roles)
        headers: dict[str, str] = {}
        if given.headers is not UNSET:
            headers = given.headers
            changes["headers"] = self._sealed_headers(headers)
        if given.active is not UNSET:
            changes["disabled_because"] = ""
        webhook = msgspec.structs.replace(known, updated_at=self._now(), **changes)
        await self._check(webhook, headers, None)
        record = [trail.changed(context, known, webhook, self._tools.clock)]
        saved = await self._directory.store.save(webhook, record=record)
        return await self._described(saved)

    async def delete(self, name: str, context: Context) -> None:
        """Forget it with its deliveries; see `get`."""
        webhook = await self.find(context.tenant, name)
        record = [trail.entry("webhook_deleted", context, webhook, self._tools.clock)]
        await self._directory.store.remove(webhook, record=record)

    async def rotate(self, name: str, document: bytes, context: Context) -> dict[str, Any]:
        """The webhook with its new secret; the newest old one signs beside it for a while.

        Raises:
            RecordNotFound, InvalidRequest, ValidationFailed, WriteConflict

        """
        given = decode(document, Rotation)
        known = await self.find(context.tenant, name)
        secret = given.secret or _new_secret()
        issue = secret_problem(secret)
        if issue is not None:
            raise ValidationFailed(object="webhook", issues=(issue,))
        until_ms = self._tools.clock.now_ms() + round(given.overlap_s * 1000)
        old = [msgspec.structs.replace(one, until_ms=until_ms) for one in known.secrets[:1]]
        changed = msgspec.structs.replace(
            known, secrets=(self._sealed(secret), *old), updated_at=self._now()
        )
        clock = self._tools.clock
        kind, overlap_s = "webhook_secret_replaced", given.overlap_s
        record = [trail.entry(kind, context, changed, clock, overlap_s=overlap_s)]
        saved = await self._directory.store.save(changed, record=record)
        return described(saved) | {"secret": secret}

    async def test(self, tenant: TenantId, name: str, deadline_ms: int) -> dict[str, Any]:
        """What the endpoint answers to a message that tells nothing, active or not.

        Raises:
            RecordNotFound
            RateLimited: the tenant has as many requests under way as it may.

        """
        webhook = await self.find(tenant, name)
        tools = self._tools
        left_s = (deadline_ms - tools.clock.now_ms()) / 1000 - 0.5
        webhook = msgspec.structs.replace(
            webhook, timeout_s=max(0.1, min(webhook.timeout_s, left_s))
        )
        now = self._now()
        body = _encode({"type": "webhook.test", "timestamp": now, "data": {"webhook": name}})
        started_s = tools.clock.monotonic_s()
        if not tools.places.enter_now(tenant):
            raise RateLimited(retry_after_ms=1000)
        try:
            answer = await post(webhook, uuid7(), body, tools)
        finally:
            tools.places.leave(tenant)
        took_ms = round((tools.clock.monotonic_s() - started_s) * 1000)
        is_done = answer.status is not None and 200 <= answer.status < 300  # noqa: PLR2004
        told = {"ok": is_done, "status": answer.status, "duration_ms": took_ms}
        return told | ({} if is_done else {"reason": answer.error or answer.excerpt})

    async def deliveries(
        self, tenant: TenantId, name: str, state: str | None, *, before: int | None, limit: int
    ) -> dict[str, Any]:
        """A page of what was and is to be delivered, the latest first.

        Raises:
            RecordNotFound, InvalidRequest

        """
        if state is not None and state not in get_args(DeliveryState):
            raise InvalidRequest(reason="a delivery is pending, done or dead")
        if not 0 < limit <= MAX_PAGE:
            raise InvalidRequest(reason=f"a page holds 1 to {MAX_PAGE} deliveries")
        webhook = await self.find(tenant, name)
        found = await self._directory.store.deliveries(
            webhook.id, cast("DeliveryState | None", state), before=before, limit=limit + 1
        )
        page = found[:limit]
        meta: dict[str, Any] = {"size": len(page), "has_next": len(found) > limit}
        if meta["has_next"]:
            meta["next"] = str(page[-1].position)
        return {"items": [_told(delivery) for delivery in page], "meta": meta}

    async def replay(self, name: str, document: bytes, context: Context) -> dict[str, Any]:
        """How many deliveries will be repeated.

        Raises:
            RecordNotFound, InvalidRequest

        """
        given = decode(document, Replay)
        if [given.event is not None, given.since is not None, given.dead].count(True) != 1:
            raise InvalidRequest(reason='name one of "event", "since" and "dead": true')
        since_ms = None
        if given.since is not None:
            try:
                instant = datetime.fromisoformat(canonical_instant(given.since))
            except ValueError as exc:
                raise InvalidRequest(reason=f"since: {exc}") from exc
            since_ms = round(instant.timestamp() * 1000)
        webhook = await self.find(context.tenant, name)
        clock = self._tools.clock
        which = msgspec.to_builtins(given)
        record = [trail.entry("webhook_replayed", context, webhook, clock, which=which)]
        replayed = await self._directory.store.replay(
            webhook.id, clock.now_ms(), event_id=given.event, since_ms=since_ms, record=record
        )
        return {"replayed": replayed}

    # --- what is checked ---

    async def _check(self, webhook: Webhook, headers: dict[str, str], secret: str | None) -> None:
        issues = problems_of(webhook, headers)
        if secret is not None and (issue := secret_problem(secret)) is not None:
            issues.append(issue)
        try:
            await self._tools.sender.check(webhook.url, tenant=webhook.tenant)
        except UrlRefused as exc:
            issues.append(Issue(path="url", code="url_refused", message=str(exc)))
        if issues:
            raise ValidationFailed(object="webhook", issues=tuple(issues))
        try:
            await self._directory.bind(webhook)
        except PermissionDenied as exc:
            message = f"it may not {exc.operation} {exc.object}"
            issue = Issue(path="run_as", code="not_readable", message=message)
            raise ValidationFailed(object="webhook", issues=(issue,)) from exc

    def _most(self, tenant: TenantId) -> int:
        """How many webhooks the tenant may have."""
        registered = self._tenants.tenants.get(tenant)
        quota = None if registered is None else registered.quotas.webhooks
        return self._per_tenant if quota is None else quota

    async def _described(self, webhook: Webhook) -> dict[str, Any]:
        """With what keeps it from hearing, as metadata and users are now."""
        try:
            await self._directory.bind(webhook)
        except ObjectQLError as exc:
            return described(webhook, str(exc))
        return described(webhook)

    def _sealed(self, secret: str) -> SealedSecret:
        return SealedSecret(self._tools.sealing.seal(secret))

    def _sealed_headers(self, headers: dict[str, str]) -> dict[str, str]:
        return {name: self._tools.sealing.seal(value) for name, value in headers.items()}

    def _now(self) -> str:
        return instant_of_ms(self._tools.clock.now_ms())


def _new_secret() -> str:
    return secret_text(randomness.token_bytes(_SECRET_BYTES))


def _told(delivery: Delivery) -> dict[str, Any]:
    """A delivery without the record: who administers webhooks need not be able to read it."""
    event = event_of(delivery.event)
    finished_ms = delivery.finished_ms
    return {
        "event": delivery.event_id,
        "object": event.object,
        "record": event.record_id,
        "operation": event.kind,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "status": delivery.status,
        "reason": delivery.reason,
        "queued_at": instant_of_ms(delivery.created_ms),
        "due_at": instant_of_ms(delivery.due_ms) if delivery.state == "pending" else None,
        "finished_at": None if finished_ms is None else instant_of_ms(finished_ms),
    }
