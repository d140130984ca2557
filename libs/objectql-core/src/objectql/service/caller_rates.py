"""How often a caller, a tenant and an address may ask, and how answers tell it.

Limits of callers are spent before those of their tenants, so that what one caller is refused costs
the others of the tenant nothing. Answers tell the limit of which the least is left: in the fields
`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10) and in the older
`X-RateLimit-*`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import isawaitable
from math import ceil
from types import CoroutineType
from typing import Any, Final

import msgspec

from objectql.context import Actor
from objectql.rates.bucket import OFF, Rate
from objectql.rates.limiter import Limiter
from objectql.service.addresses import site_of
from objectql.service.rates import CallerRateSettings

_IN_A_SECOND: Final = 0.001
"""So much beyond a whole second is none more."""


class Limit(msgspec.Struct, frozen=True, gc=False):
    """A rate, and how it is told."""

    kind: str
    """`principal`, `tenant` or `address`."""
    rate: Rate
    policy: tuple[bytes, bytes]
    """The field that tells the limit; it is the same for all answers."""
    begins: bytes
    """How the field begins that tells what is left."""


class Told(msgspec.Struct, frozen=True, gc=False):
    """How a limit stands after a request: `taken_s` is what `Bucket.take` answers."""

    limit: Limit
    taken_s: float

    def check(self) -> None:
        """Return if it was within the limit.

        Raises:
            RateLimited: it was not.

        """
        self.limit.rate.check(self.taken_s)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields of an answer; times are in seconds from now."""
        limit, rate, taken_s = self.limit, self.limit.rate, self.taken_s
        if taken_s <= rate.window_s:
            left = int((rate.window_s - taken_s) * rate.per_s)
            return [
                limit.policy,
                (b"ratelimit", b"%b%d;t=%d" % (limit.begins, left, ceil(taken_s - _IN_A_SECOND))),
            ]
        reset_s = ceil(rate.window_s - _IN_A_SECOND)
        return [
            limit.policy,
            (b"ratelimit", b"%b0;t=%d" % (limit.begins, reset_s)),
            (b"x-ratelimit-limit", b"%d" % rate.burst),
            (b"x-ratelimit-remaining", b"0"),
            (b"x-ratelimit-reset", b"%d" % reset_s),
        ]


class Rates:
    """Asks the limiter what the settings say. `refused` is told the kind of limit."""

    def __init__(
        self,
        settings: CallerRateSettings,
        limiter: Limiter,
        *,
        refused: Callable[[str], None],
        address: str = OFF,
    ) -> None:
        """`address` is the rate of those who have yet to prove who they are."""
        self._limiter = limiter
        self._refused = refused
        self._principal = _limit("principal", settings.principal)
        self._roles = _named("principal", settings.roles)
        self._tenant = _limit("tenant", settings.tenant)
        self._tenants = _named("tenant", settings.tenants)
        self._address = _limit("address", address)
        limits = (self._principal, self._tenant, *self._roles.values(), *self._tenants.values())
        self.limits_callers = any(limit is not None for limit in limits)
        """Whether `of_caller` ever limits anybody."""

    def of_caller(self, actor: Actor) -> Told | CoroutineType[Any, Any, Told] | None:
        """Count a request of `actor`; None where nothing limits it.

        A coroutine only where Redis must be asked: every request comes here, and hardly one waits.
        """
        own = self._of_roles(actor.roles) if self._roles else self._principal
        shared = self._tenants.get(actor.tenant, self._tenant)
        now_s = self._limiter.now_s()
        own_s = 0.0
        if own is not None:
            name = ("principal", actor.tenant, actor.id)
            spent_s = self._limiter.spend(name, own.rate, now_s)
            if spent_s is None:
                return self._ask_both(actor, own, shared)
            if spent_s > own.rate.window_s:
                return self._refuse(own, spent_s)
            if shared is None:
                return Told(own, spent_s)
            own_s = spent_s
        if shared is None:
            return None
        shared_s = self._limiter.spend(("tenant", actor.tenant), shared.rate, now_s)
        if shared_s is None:
            return self._ask_shared(actor, own, own_s, shared)
        return self._nearest(own, own_s, shared, shared_s)

    async def spend(self, actor: Actor) -> None:
        """Count a request of `actor`, where an answer has no place to tell what is left.

        Raises:
            RateLimited: it is beyond a limit.

        """
        told = self.of_caller(actor)
        told = await told if isawaitable(told) else told
        if told is not None:
            told.check()

    async def _ask_both(self, actor: Actor, own: Limit, shared: Limit | None) -> Told:
        own_s = await self._limiter.ask(("principal", actor.tenant, actor.id), own.rate)
        if own_s > own.rate.window_s:
            return self._refuse(own, own_s)
        if shared is None:
            return Told(own, own_s)
        return await self._ask_shared(actor, own, own_s, shared)

    async def _ask_shared(
        self, actor: Actor, own: Limit | None, own_s: float, shared: Limit
    ) -> Told:
        shared_s = await self._limiter.ask(("tenant", actor.tenant), shared.rate)
        return self._nearest(own, own_s, shared, shared_s)

    def _nearest(self, own: Limit | None, own_s: float, shared: Limit, shared_s: float) -> Told:
        """What is told of the two, after `own` has let the request pass."""
        rate = shared.rate
        left_s = rate.window_s - shared_s
        if left_s < 0:
            return self._refuse(shared, shared_s)
        if own is None or left_s * rate.per_s < (own.rate.window_s - own_s) * own.rate.per_s:
            return Told(shared, shared_s)
        return Told(own, own_s)

    async def of_address(self, address: str) -> Told | None:
        """Count a request from `address`, of somebody who has yet to prove who they are."""
        limit = self._address
        if limit is None:
            return None
        site = site_of(address)
        taken_s = await self._limiter.ask(("address", site), limit.rate)
        return Told(limit, taken_s) if limit.rate.admits(taken_s) else self._refuse(limit, taken_s)

    def _refuse(self, limit: Limit, taken_s: float) -> Told:
        self._refused(limit.kind)
        return Told(limit, taken_s)

    def _of_roles(self, roles: tuple[str, ...]) -> Limit | None:
        """The most generous limit that a role gives; the common one where none does."""
        given = [self._roles[role] for role in roles if role in self._roles]
        if not given:
            return self._principal
        limits = [limit for limit in given if limit is not None]
        if len(limits) < len(given):
            return None
        return max(limits, key=lambda limit: limit.rate.per_s)


def _limit(kind: str, text: str) -> Limit | None:
    rate = Rate.read(text)
    if rate is None:
        return None
    policy = f'"{kind}";q={rate.burst};w={max(1, round(rate.window_s))}'
    begins = f'"{kind}";r='
    return Limit(kind, rate, (b"ratelimit-policy", policy.encode()), begins.encode())


def _named(kind: str, settings: Iterable[str]) -> Mapping[str, Limit | None]:
    """Limits by what stands before the last `=`."""
    named = (text.rpartition("=") for text in settings)
    return {name.strip(): _limit(kind, rate.strip()) for name, _, rate in named}
