"""How often a caller, a tenant and an address may ask, and how answers tell it.

Limits of callers are spent before those of their tenants, so that what one caller is refused costs
the others of the tenant nothing. Answers tell the limit of which the least is left: in the fields
`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10) and in the older
`X-RateLimit-*`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import ceil
from typing import NamedTuple

from objectql.context import Actor
from objectql.rates.bucket import Rate
from objectql.rates.limiter import Limiter
from objectql_gateway_rest.addresses import Proxies, site_of
from objectql_gateway_rest.asgi import RawHeaders, Request
from objectql_gateway_rest.settings import RateSettings


class Limit(NamedTuple):
    """A rate, and how it is told."""

    kind: bytes
    """`principal`, `tenant` or `address`."""
    rate: Rate
    policy: bytes


class Told(NamedTuple):
    """How a limit stands after a request: `taken_s` is what `Bucket.take` answers."""

    limit: Limit
    taken_s: float

    @property
    def is_refused(self) -> bool:
        """Whether it was beyond the limit."""
        return self.taken_s > self.limit.rate.window_s

    def headers(self) -> RawHeaders:
        """The fields of an answer; times are in seconds from now."""
        limit, rate = self.limit, self.limit.rate
        left, reset_s = rate.left(self.taken_s), ceil(min(self.taken_s, rate.window_s) - 0.001)
        fields = [
            (b"ratelimit-policy", limit.policy),
            (b"ratelimit", b'"%b";r=%d;t=%d' % (limit.kind, left, reset_s)),
        ]
        if self.is_refused:
            fields += [
                (b"x-ratelimit-limit", b"%d" % rate.burst),
                (b"x-ratelimit-remaining", b"0"),
                (b"x-ratelimit-reset", b"%d" % reset_s),
            ]
        return fields


class Rates:
    """Asks the limiter what the settings say. `refused` is told the kind of limit."""

    def __init__(
        self,
        settings: RateSettings,
        limiter: Limiter,
        proxies: Proxies,
        *,
        refused: Callable[[str], None],
    ) -> None:
        self._limiter = limiter
        self._proxies = proxies
        self._refused = refused
        self._principal = _limit("principal", settings.principal)
        self._roles = _named("principal", settings.roles)
        self._tenant = _limit("tenant", settings.tenant)
        self._tenants = _named("tenant", settings.tenants)
        self._address = _limit("address", settings.address)
        limits = (self._principal, self._tenant, *self._roles.values(), *self._tenants.values())
        self.limits_callers = any(limit is not None for limit in limits)
        """Whether `of_caller` ever limits anybody."""

    async def of_caller(self, actor: Actor) -> Told | None:
        """Count a request of `actor`; None where nothing limits it."""
        own = self._of_roles(actor.roles) if self._roles else self._principal
        shared = self._tenants.get(actor.tenant, self._tenant)
        own_s = 0.0
        if own is not None:
            name = ("principal", actor.tenant, actor.id)
            spent_s = self._limiter.spend(name, own.rate)
            own_s = await self._limiter.ask(name, own.rate) if spent_s is None else spent_s
            if shared is None or own_s > own.rate.window_s:
                return self._told(own, own_s)
        if shared is None:
            return None
        name = ("tenant", actor.tenant)
        spent_s = self._limiter.spend(name, shared.rate)
        shared_s = await self._limiter.ask(name, shared.rate) if spent_s is None else spent_s
        is_refused = shared_s > shared.rate.window_s
        if is_refused or own is None or shared.rate.left(shared_s) < own.rate.left(own_s):
            return self._told(shared, shared_s)
        return Told(own, own_s)

    async def of_address(self, request: Request) -> Told | None:
        """Count a request of somebody who has yet to prove who they are."""
        limit = self._address
        if limit is None:
            return None
        site = site_of(self._proxies.client(request))
        return self._told(limit, await self._limiter.ask(("address", site), limit.rate))

    def _told(self, limit: Limit, taken_s: float) -> Told:
        if taken_s > limit.rate.window_s:
            self._refused(limit.kind.decode())
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
    return Limit(kind.encode(), rate, policy.encode())


def _named(kind: str, settings: Iterable[str]) -> Mapping[str, Limit | None]:
    """Limits by what stands before the last `=`."""
    named = (text.rpartition("=") for text in settings)
    return {name.strip(): _limit(kind, rate.strip()) for name, _, rate in named}
