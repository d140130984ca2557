"""All clients that this process tells of changes: how many there may be, and what ends their right.

A right ends when a token expires, when something that it depends on is revoked, and when the
metadata change. After the first two the gateway hangs up; after the third every subscription is
bound anew, and holds back what it hears until that is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeVar

from objectql.clock import Clock
from objectql.context import Actor
from objectql.errors import ObjectQLError, QuotaExceeded, Unauthenticated
from objectql.rates.bucket import Bucket, Rate
from objectql.service.caller_rates import Rates
from objectql.service.claims import Caller
from objectql.service.live.hub import Hub
from objectql.service.live.limits import LiveLimits, Seats
from objectql.service.live.listener import Ending, Listener
from objectql.service.live.subscribing import Subscribing
from objectql.service.live.subscription import Subscription
from objectql.service.revocations import Revocations, Subject
from objectql.wire.live import StandingReply

T = TypeVar("T")

log = logging.getLogger(__name__)

EXPIRY_EVERY_S: Final = 0.25
_REBINDS: Final = 32
"""Subscriptions that are bound anew at a time."""

_REBIND_PAUSE_S: Final = 0.25

_BUCKETS: Final = 10_000
"""Callers of whom it is known how often they subscribe, before those are forgotten who are full."""


class Verifier(Protocol):
    """What is needed of `objectql.service.auth.TokenVerifier`."""

    async def caller(self, token: str) -> Caller: ...


class Listeners:
    """Those who have said who they are, and what they share."""

    def __init__(
        self,
        *,
        hub: Callable[[Callable[[Subscription, str], None]], Hub],
        subscribing: Callable[[Hub], Subscribing],
        verifier: Verifier,
        revocations: Revocations,
        rates: Rates,
        clock: Clock,
        limits: LiveLimits,
        seats: Seats,
        missed: Callable[[], None],
    ) -> None:
        """`hub` is made with what ends a subscription that has missed something.

        `missed` counts those.
        """
        self.hub = hub(_lose)
        self.subscribing = subscribing(self.hub)
        self.clock = clock
        self.limits = limits
        self.count_resync = missed
        self.verify = verifier.caller
        self.spend = rates.spend
        self._seats = seats
        self._revocations = revocations
        self._listeners: dict[Listener, Actor] = {}
        self._of_tenant: Counter[str] = Counter()
        self._of_principal: Counter[tuple[str, str]] = Counter()
        self._subscriptions_of: Counter[str] = Counter()
        self._subscribing = Rate.read(limits.subscribing)
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._is_stale = asyncio.Event()
        self._asked: dict[Listener, asyncio.Future[None]] = {}
        """Whose right is being asked for again."""
        revocations.on_change(self._on_revoked)

    # --- counting ----------------------------------------------------------------------------

    def admit(self, listener: Listener, caller: Caller) -> None:
        """Count a client as one of `caller`.

        Raises:
            QuotaExceeded: the caller or the tenant has too many.
            Unauthenticated: what the caller's right depends on was revoked just now.

        """
        actor, seats = caller.actor, self._seats
        principal = (actor.tenant, actor.id)
        for count, limit, whose in (
            (self._of_principal[principal], seats.of_principal, "principal"),
            (self._of_tenant[actor.tenant], seats.of_tenant, "tenant"),
        ):
            if count >= limit:
                raise QuotaExceeded(quota=f"{whose}_{seats.what}", limit=limit)
        if not self._revocations.allow(caller.right):
            raise Unauthenticated
        self._listeners[listener] = actor
        self._of_principal[principal] += 1
        self._of_tenant[actor.tenant] += 1

    def leave(self, listener: Listener) -> None:
        """A client has gone; one that was never admitted is no mistake."""
        actor = self._listeners.pop(listener, None)
        if actor is not None:
            _discount(self._of_principal, (actor.tenant, actor.id))
            _discount(self._of_tenant, actor.tenant)

    def spend_subscription(self, actor: Actor) -> None:
        """Count that a caller subscribes, however soon that is over.

        Raises:
            RateLimited: it is too often.

        """
        rate = self._subscribing
        if rate is None:
            return
        now_s = self.clock.monotonic_s()
        if len(self._buckets) > _BUCKETS:
            full = [key for key, bucket in self._buckets.items() if not bucket.full_in_s(now_s)]
            for key in full:
                del self._buckets[key]
        bucket = self._buckets.setdefault((actor.tenant, actor.id), Bucket())
        rate.check(bucket.take(rate, now_s))

    def count_subscriptions(self, tenant: str, change: int) -> None:
        """Count subscriptions of a tenant.

        Raises:
            QuotaExceeded: they are too many.

        """
        count = self._subscriptions_of[tenant] + change
        limit = self.limits.tenant_subscriptions
        if change > 0 and count > limit:
            raise QuotaExceeded(quota="tenant_subscriptions", limit=limit)
        self._subscriptions_of[tenant] = count
        if not count:
            del self._subscriptions_of[tenant]

    # --- the end of a right --------------------------------------------------------------------

    def _on_revoked(self, subjects: frozenset[Subject]) -> None:
        for listener in list(self._listeners):
            caller = listener.caller
            if caller is None or subjects.isdisjoint(caller.right.subjects):
                continue
            if not self._revocations.allow(caller.right):
                listener.close(Ending.REVOKED)
            else:  # an API key, which may stand for less now, or a token that is newer
                self._ask_again(listener)

    def tenants(self) -> list[str]:
        """Those of whom somebody listens."""
        return list(self._of_tenant)

    def tenants_stand(self, standing: StandingReply) -> None:
        """Hang up on those whose tenants may act no longer, and bind anew where metadata changed."""
        for listener, actor in list(self._listeners.items()):
            if actor.tenant in standing.refused:
                listener.close(Ending.REVOKED)
        self._own_metadata_changed(standing.own)

    async def watch_expiry(self) -> None:
        """Hang up on those whose tokens have expired, until cancelled."""
        while True:
            await self.clock.sleep(EXPIRY_EVERY_S)
            now_s = self.clock.now_ms() / 1000
            for listener in list(self._listeners):
                if listener.caller is None or listener.caller.until_s > now_s:
                    continue
                self._ask_again(listener)

    def _ask_again(self, listener: Listener) -> None:
        if listener not in self._asked:
            self._asked[listener] = asyncio.ensure_future(self._verify_again(listener))

    async def _verify_again(self, listener: Listener) -> None:
        """What an API key stands for is asked for again and again; a token simply ends."""
        token = listener.token
        try:
            caller = await self._caller_now(token)
        except ObjectQLError as exc:  # also where nobody can say: not believed until somebody can
            if not isinstance(exc, Unauthenticated):
                log.warning("caller_not_verified", extra={"reason": str(exc)})
            if listener.token == token:
                listener.close(Ending.EXPIRED)
        else:
            if listener.token == token:  # else it has shown a newer one meanwhile
                listener.believe(caller)
        finally:
            del self._asked[listener]

    async def _caller_now(self, token: str) -> Caller:
        """Whom `token` names after all that is known to be void when this returns."""
        while True:
            known = self._revocations.changes
            caller = await self.verify(token)
            if self._revocations.changes == known:
                return caller

    # --- metadata ----------------------------------------------------------------------------

    @property
    def metadata_version(self) -> int:
        """Of the newest metadata that were heard of; 0: of none."""
        return self.subscribing.version

    def metadata_changed(self, version: int) -> None:
        """Metadata of `version` are in force."""
        if version > self.subscribing.version:
            self.subscribing.version = version
            self._hold_stale()

    def _own_metadata_changed(self, numbers: Mapping[str, int]) -> None:
        """What tenants have of their own is in force by these numbers."""
        known = self.subscribing.own
        newer = {id_: number for id_, number in numbers.items() if number > known.get(id_, 0)}
        if newer:
            known.update(newer)
            self._hold_stale()

    def _hold_stale(self) -> None:
        for _, subscription in self._stale():
            subscription.hold()
        self._is_stale.set()

    async def rebind(self) -> None:
        """Bind anew what was bound by older metadata, until cancelled."""
        places = asyncio.Semaphore(_REBINDS)

        async def one(listener: Listener, subscription: Subscription) -> None:
            async with places:
                try:
                    await listener.rebind(subscription)
                except ObjectQLError:  # nobody can say yet: what it hears is held back
                    self._is_stale.set()

        while True:
            await self._is_stale.wait()
            self._is_stale.clear()
            await asyncio.gather(*(one(*pair) for pair in self._stale()))
            if self._is_stale.is_set():
                await self.clock.sleep(_REBIND_PAUSE_S)

    def _stale(self) -> list[tuple[Listener, Subscription]]:
        return [
            (listener, each)
            for listener in self._listeners
            for each in listener.subscriptions
            if each.is_live and self.subscribing.is_behind(each)
        ]


def _lose(subscription: Subscription, reason: str) -> None:
    client = subscription.client
    assert isinstance(client, Listener)
    client.lose(subscription, reason)


def _discount(counter: Counter[T], key: T) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
