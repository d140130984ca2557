"""All clients of this process: how many there may be, and what ends their right to listen.

A right ends when a token expires, when something that it depends on is revoked, and when the
metadata change. The first two close the socket; after the third every subscription is bound anew,
and holds back what it hears until that is done.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol, TypeVar

from objectql.clock import Clock
from objectql.context import Actor
from objectql.errors import ObjectQLError, QuotaExceeded, Unauthenticated
from objectql.rates.bucket import Bucket, Rate
from objectql.service.claims import Caller
from objectql.service.revocations import Revocations, Subject
from objectql_gateway_ws.frames import frame
from objectql_gateway_ws.hub import Hub
from objectql_gateway_ws.requests import Requests
from objectql_gateway_ws.session import RESTART, UNAUTHENTICATED, Session
from objectql_gateway_ws.settings import SocketLimits
from objectql_gateway_ws.strangers import Strangers
from objectql_gateway_ws.subscribing import Subscribing
from objectql_gateway_ws.subscription import Subscription

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


class Gateway:
    """The sessions, and what they share."""

    def __init__(
        self,
        *,
        hub: Callable[[Callable[[Subscription, str], None]], Hub],
        subscribing: Callable[[Hub], Subscribing],
        verifier: Verifier,
        revocations: Revocations,
        clock: Clock,
        limits: SocketLimits,
        strangers: Strangers,
        requests: Requests,
        count: Callable[..., None],
    ) -> None:
        """`hub` is made with what ends a subscription that has missed something.

        `count` is `Metrics.count`.
        """
        self.hub = hub(_lose)
        self.subscribing = subscribing(self.hub)
        self.clock = clock
        self.limits = limits
        self.requests = requests
        self._count = count
        self._verifier = verifier
        self._revocations = revocations
        self._sessions: dict[Session, Caller | None] = {}
        self._of_tenant: Counter[str] = Counter()
        self._of_principal: Counter[tuple[str, str]] = Counter()
        self._subscriptions_of: Counter[str] = Counter()
        self.strangers = strangers
        self._sites: dict[Session, str] = {}
        """From where those come who have not said who they are."""
        self._subscribing = Rate.read(limits.subscribing)
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._is_stale = asyncio.Event()
        self._asked: dict[Session, asyncio.Future[None]] = {}
        """Whose right is being asked for again."""
        revocations.on_change(self._on_revoked)

    @property
    def admission(self) -> Gateway:
        """Who counts."""
        return self

    @property
    def sockets(self) -> int:
        return len(self._sessions)

    @property
    def waiting_bytes(self) -> int:
        """What waits for clients to read it."""
        return sum(session.waiting_bytes for session in self._sessions)

    def count_close(self, code: int) -> None:
        """A socket is closed by this gateway."""
        self._count("oql_live_closes_total", str(code))

    def count_resync(self) -> None:
        """A subscription has missed something."""
        self._count("oql_live_resyncs_total")

    async def verify(self, token: str) -> Caller:
        """Who the token names, see `TokenVerifier.caller`."""
        return await self._verifier.caller(token)

    # --- counting ----------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether no more sockets are taken."""
        return len(self._sessions) >= self.limits.sockets

    def enter(self, session: Session, site: str) -> None:
        """A socket has opened, from `site`, see `Strangers`."""
        self._sessions[session] = None
        if self.strangers.enter(site):
            self._sites[session] = site

    def admit(self, session: Session, caller: Caller) -> None:
        """Count a session as one of `caller`.

        Raises:
            QuotaExceeded: the caller or the tenant has too many.
            Unauthenticated: what the caller's right depends on was revoked just now.

        """
        actor = caller.actor
        principal = (actor.tenant, actor.id)
        for count, limit, quota in (
            (self._of_principal[principal], self.limits.principal_sockets, "principal_sockets"),
            (self._of_tenant[actor.tenant], self.limits.tenant_sockets, "tenant_sockets"),
        ):
            if count >= limit:
                raise QuotaExceeded(quota=quota, limit=limit)
        if not self._revocations.allow(caller.right):
            raise Unauthenticated
        self._sessions[session] = caller
        self._is_no_stranger(session)
        self._of_principal[principal] += 1
        self._of_tenant[actor.tenant] += 1

    def leave(self, session: Session) -> None:
        """A socket has closed."""
        caller = self._sessions.pop(session)
        self._is_no_stranger(session)
        if caller is not None:
            _discount(self._of_principal, (caller.actor.tenant, caller.actor.id))
            _discount(self._of_tenant, caller.actor.tenant)

    def _is_no_stranger(self, session: Session) -> None:
        site = self._sites.pop(session, None)
        if site is not None:
            self.strangers.leave(site)

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
        for session in list(self._sessions):
            caller = session.caller
            if caller is None or subjects.isdisjoint(caller.right.subjects):
                continue
            if not self._revocations.allow(caller.right):
                session.close(UNAUTHENTICATED, "revoked")
            else:  # an API key, which may stand for less now, or a token that is newer
                self._ask_again(session)

    def tenants(self) -> list[str]:
        """Those of whom somebody listens."""
        return list(self._of_tenant)

    def tenants_refused(self, tenants: Collection[str]) -> None:
        """Hang up on those who listen for `tenants`, which may act no longer."""
        for session, caller in list(self._sessions.items()):
            if caller is not None and caller.actor.tenant in tenants:
                session.close(UNAUTHENTICATED, "revoked")

    async def watch_expiry(self) -> None:
        """Close sockets whose tokens have expired, until cancelled."""
        while True:
            await self.clock.sleep(EXPIRY_EVERY_S)
            now_s = self.clock.now_ms() / 1000
            for session in list(self._sessions):
                if session.caller is None or session.caller.until_s > now_s:
                    continue
                self._ask_again(session)

    def _ask_again(self, session: Session) -> None:
        if session not in self._asked:
            self._asked[session] = asyncio.ensure_future(self._verify_again(session))

    async def _verify_again(self, session: Session) -> None:
        """What an API key stands for is asked for again and again; a token simply ends."""
        token = session.token
        try:
            caller = await self._caller_now(token)
        except ObjectQLError as exc:  # also where nobody can say: not believed until somebody can
            if not isinstance(exc, Unauthenticated):
                log.warning("caller_not_verified", extra={"reason": str(exc)})
            if session.token == token:
                session.close(UNAUTHENTICATED, "expired")
        else:
            if session.token == token:  # else it has shown a newer one meanwhile
                session.believe(caller)
        finally:
            del self._asked[session]

    async def _caller_now(self, token: str) -> Caller:
        """Whom `token` names after all that is known to be void when this returns."""
        while True:
            known = self._revocations.changes
            caller = await self._verifier.caller(token)
            if self._revocations.changes == known:
                return caller

    # --- metadata ----------------------------------------------------------------------------

    def metadata_changed(self, version: int) -> None:
        """Metadata of `version` are in force."""
        if version <= self.subscribing.version:
            return
        self.subscribing.version = version
        self._hold_stale()

    def own_metadata_changed(self, numbers: Mapping[str, int]) -> None:
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

        async def one(session: Session, subscription: Subscription) -> None:
            async with places:
                try:
                    await session.rebind(subscription)
                except ObjectQLError:  # nobody can say yet: what it hears is held back
                    self._is_stale.set()

        while True:
            await self._is_stale.wait()
            self._is_stale.clear()
            await asyncio.gather(*(one(*pair) for pair in self._stale()))
            if self._is_stale.is_set():
                await self.clock.sleep(_REBIND_PAUSE_S)

    def _stale(self) -> list[tuple[Session, Subscription]]:
        return [
            (session, each)
            for session in self._sessions
            for each in session.subscriptions
            if each.is_live and self.subscribing.is_behind(each)
        ]

    # --- the end -----------------------------------------------------------------------------

    async def drain(self, within_s: float) -> None:
        """Tell every client to come back, spread over `within_s`, and close."""
        sessions = list(self._sessions)
        for session in sessions:
            wait_ms = int(random.uniform(0, within_s) * 1000)  # noqa: S311 - jitter, not a secret
            session.tell(frame("closing", reason="restart", reconnect_after_ms=wait_ms))
        await asyncio.gather(*(session.flush() for session in sessions))
        for session in sessions:
            session.close(RESTART, "restart")


def _lose(subscription: Subscription, reason: str) -> None:
    client = subscription.client
    assert isinstance(client, Session)
    client.lose(subscription, reason)


def _discount(counter: Counter[T], key: T) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
