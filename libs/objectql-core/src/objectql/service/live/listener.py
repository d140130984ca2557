"""One client that is told of changes, whatever the protocol: who it is, and what it has subscribed to.

A gateway's own class says things in the words of its protocol, and hangs up.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

from objectql.bus.port import PositionLost
from objectql.clock import Clock
from objectql.context import Actor
from objectql.errors import (
    Internal,
    InvalidRequest,
    ObjectQLError,
    Overloaded,
    QuotaExceeded,
    Unauthenticated,
)
from objectql.query.ast import Query
from objectql.service.claims import Caller
from objectql.service.live.hub import Hub
from objectql.service.live.limits import LiveLimits
from objectql.service.live.outgoing import Message, Outgoing, Overflow
from objectql.service.live.subscribing import MeaningChanged, Subscribing
from objectql.service.live.subscription import TOO_MUCH, Change, Mode, Subscription, TooMuchHeld

log = logging.getLogger(__name__)

_OVERLOAD_RETRY_MS: Final = 1000
_FLUSH_S: Final = 1.0


class Ending(Enum):
    """Why a gateway hangs up."""

    UNAUTHENTICATED = "unauthenticated"
    REVOKED = "revoked"
    EXPIRED = "expired"
    SLOW = "too slow"
    SILENT = "nobody has said who they are"
    FULL = "too many sockets"
    LATER = "try again later"
    RESTART = "restart"


class Wish(NamedTuple):
    """What a client wants to hear of: `query` has an object, fields and a filter.

    `snapshot` asks for the records that match now, `since` for what has changed since a cursor.
    `trace` has the W3C headers.
    """

    name: str
    query: Query
    mode: Mode = "changes"
    snapshot: bool = False
    since: str | None = None
    trace: Mapping[str, str] = {}


class Services(Protocol):
    """What clients share for the life of the process, see `objectql.service.live.listeners`."""

    @property
    def hub(self) -> Hub: ...
    @property
    def subscribing(self) -> Subscribing: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def limits(self) -> LiveLimits: ...
    async def verify(self, token: str) -> Caller: ...
    async def spend(self, actor: Actor) -> None: ...
    def admit(self, listener: Listener, caller: Caller) -> None: ...
    def spend_subscription(self, actor: Actor) -> None: ...
    def count_subscriptions(self, tenant: str, change: int) -> None: ...
    def count_resync(self) -> None: ...


class Listener(ABC):
    """One client, until `end`."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.outgoing = Outgoing(services.limits.queue_bytes)
        """What it was told and has not read."""
        self.caller: Caller | None = None
        self.token = ""
        self._subscriptions: dict[str, Subscription] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None

    # --- the words of the protocol -------------------------------------------------------------

    @abstractmethod
    def subscribed(self, about: Subscription, cursor: str, items: list[bytes] | None) -> bytes:
        """See `objectql.service.live.subscription.Client`."""

    @abstractmethod
    def changed(self, about: Subscription, changes: Sequence[Change], cursor: str) -> bytes:
        """The same."""

    @abstractmethod
    def missed(self, about: Subscription, reason: str) -> None:
        """Say that the subscription has ended, and that changes of it were not told."""

    @abstractmethod
    def refused(self, about: Subscription, error: ObjectQLError) -> None:
        """Say that there is no such subscription, or that it is no more."""

    @abstractmethod
    async def hang_up(self, why: Ending) -> None:
        """End the connection; `outgoing.cursor` is where the client is."""

    # --- what it is told -------------------------------------------------------------------------

    @property
    def is_closing(self) -> bool:
        """Whether nothing more is told."""
        return self._closing is not None

    def tell(self, message: Message, cursor: str | None = None, size: int | None = None) -> None:
        """Send `message` soon, see `Outgoing.put`; a client that does not read is closed."""
        if self._closing is not None:
            return
        try:
            self.outgoing.put(message, cursor, size)
        except Overflow:
            self.close(Ending.SLOW)

    def tell_later(self, news: Subscription) -> None:
        """Ask `news` for a message when the client has read what it was told."""
        if self._closing is None:
            self.outgoing.put_later(news)

    async def room(self) -> None:
        """Return when the client has read most of what it was told."""
        await self.outgoing.room()

    async def flush(self) -> None:
        """Return when the client was sent everything, or after a second."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await self.outgoing.empty()

    def close(self, why: Ending) -> None:
        """Hang up; what waits to be sent is dropped."""
        if self._closing is None:
            self.outgoing.close()
            self._closing = asyncio.ensure_future(self.hang_up(why))
            self.drop_subscriptions()

    async def end(self) -> None:
        """Give back what the client had."""
        self.drop_subscriptions()
        for task in self._work:
            task.cancel()
        if self._work:
            await asyncio.wait(self._work)
        if self._closing is not None:
            await asyncio.wait({self._closing})

    # --- who ---------------------------------------------------------------------------------

    @property
    def actor(self) -> Actor:
        """Who the client is.

        Raises:
            Unauthenticated: it has not said yet.

        """
        if self.caller is None:
            raise Unauthenticated
        return self.caller.actor

    async def authenticate(self, token: str) -> Caller:
        """Believe `token` from now on; the client stays who it was.

        Raises:
            Unauthenticated: it is not valid, or somebody else's than before.
            QuotaExceeded: there are too many clients already.

        """
        caller = await self.services.verify(token)
        if self.caller is None:
            self.services.admit(self, caller)
        elif (self.actor.id, self.actor.tenant) != (caller.actor.id, caller.actor.tenant):
            raise Unauthenticated
        self.token = token
        self.believe(caller)
        return caller

    def believe(self, caller: Caller) -> None:
        """Take over what is known of the client now; subscriptions of who it was end."""
        known, self.caller = self.caller, caller
        if known is not None and known.actor != caller.actor:
            for subscription in self.subscriptions:
                self.lose(subscription, "your permissions have changed")

    # --- subscriptions -------------------------------------------------------------------------

    @property
    def subscriptions(self) -> list[Subscription]:
        """Those that live or come to be."""
        return list(self._subscriptions.values())

    def attempt(self) -> None:
        """Count that the client subscribes, before anything is done for that.

        Raises:
            Unauthenticated: it has not said who it is.
            RateLimited: it asks too often.

        """
        self.services.spend_subscription(self.actor)

    def subscribe(self, wish: Wish) -> None:
        """Begin to tell what `wish` asks for, after an `attempt`; what comes of it is told.

        Raises:
            InvalidRequest: the client has a subscription of this name.
            QuotaExceeded, Overloaded: it has too many, or begins too many at a time.

        """
        services, actor = self.services, self.actor
        if wish.name in self._subscriptions:
            raise InvalidRequest(reason=f'there is a subscription "{wish.name}" already')
        if len(self._subscriptions) >= services.limits.subscriptions:
            raise QuotaExceeded(quota="subscriptions", limit=services.limits.subscriptions)
        self.check_load()
        services.count_subscriptions(actor.tenant, 1)
        subscription = Subscription(
            self, wish.name, wish.query, actor, services.clock.now_ms, mode=wish.mode
        )
        subscription.trace = dict(wish.trace)
        self._subscriptions[wish.name] = subscription
        self.spawn(self._begin(subscription, wish))

    async def _begin(self, subscription: Subscription, wish: Wish) -> None:
        try:
            await self.services.spend(subscription.actor)
            await self.services.subscribing.begin(
                subscription, snapshot=wish.snapshot, since=wish.since
            )
        except PositionLost:
            self.lose(subscription, "what happened since the cursor is no longer known")
        except MeaningChanged:
            self.lose(subscription, "its meaning has changed")
        except TooMuchHeld:
            self.lose(subscription, TOO_MUCH)
        except ObjectQLError as exc:
            self._refuse(subscription, exc)
        except Exception:  # noqa: BLE001 - a bug must be told, and must not take the client with it
            log.exception("subscription_crashed")
            self._refuse(subscription, Internal())

    async def rebind(self, subscription: Subscription) -> None:
        """Bind by newer metadata; a subscription that means something else now ends."""
        try:
            if not await self.services.subscribing.rebind(subscription):
                self.lose(subscription, "its meaning has changed")
        except TooMuchHeld:
            self.lose(subscription, TOO_MUCH)
        except ObjectQLError as exc:
            if exc.retryable:
                raise
            self._refuse(subscription, exc)

    def unsubscribe(self, name: str) -> None:
        """End a subscription.

        Raises:
            InvalidRequest: there is none of this name.

        """
        subscription = self._subscriptions.get(name)
        if subscription is None:
            raise InvalidRequest(reason=f'there is no subscription "{name}"')
        self._drop(subscription)

    def lose(self, subscription: Subscription, reason: str) -> None:
        """End a subscription that has missed something, and say so."""
        if self._drop(subscription):
            self.services.count_resync()
            self.missed(subscription, reason)

    def drop_subscriptions(self) -> None:
        """End all subscriptions."""
        for subscription in self.subscriptions:
            self._drop(subscription)

    def _refuse(self, subscription: Subscription, error: ObjectQLError) -> None:
        if self._drop(subscription):
            self.refused(subscription, error)

    def _drop(self, subscription: Subscription) -> bool:
        """End a subscription; whether it lived."""
        subscription.end()
        self.services.hub.remove(subscription)
        if self._subscriptions.get(subscription.name) is not subscription:
            return False
        del self._subscriptions[subscription.name]
        self.services.count_subscriptions(subscription.actor.tenant, -1)
        return True

    # --- work ----------------------------------------------------------------------------------

    def check_load(self) -> None:
        """Return if one more thing may be done for the client.

        Raises:
            Overloaded: not before others are done.

        """
        if len(self._work) >= self.services.limits.waiting_frames:
            raise Overloaded(retry_after_ms=_OVERLOAD_RETRY_MS)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something for the client, at the latest until `end`."""
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
