"""One client: who it is, what it has subscribed to, what it is told."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

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
from objectql.query.ast import And, Compare, Op, Query
from objectql.query.parse import parse_query
from objectql.service.claims import Caller
from objectql.service.data.facts import trace_of
from objectql_gateway_ws.frames import (
    AnyFrame,
    AuthFrame,
    PingFrame,
    PongFrame,
    RequestFrame,
    SubscribeFrame,
    UnsubscribeFrame,
    error_frame,
    frame,
    read_frame,
    refusal,
    response_frame,
    resync_frame,
)
from objectql_gateway_ws.hub import Hub
from objectql_gateway_ws.outgoing import Outgoing, Overflow
from objectql_gateway_ws.requests import Requests
from objectql_gateway_ws.settings import SocketLimits
from objectql_gateway_ws.subscribing import MeaningChanged, Subscribing
from objectql_gateway_ws.subscription import TOO_MUCH, Subscription, TooMuchHeld

log = logging.getLogger(__name__)

UNAUTHENTICATED: Final = 4401
SILENT: Final = 4408
TOO_MANY: Final = 4429
RESTART: Final = 1012
LATER: Final = 1013

_OVERLOAD_RETRY_MS: Final = 1000
_UNREAD_S: Final = 10.0
"""How long answers wait for a client that reads nothing."""

_FLUSH_S: Final = 1.0


class Wire(Protocol):
    """The socket itself."""

    async def send(self, texts: Sequence[bytes]) -> None: ...
    async def close(self, code: int, reason: str) -> None: ...


class Admission(Protocol):
    """Who is counted: see `objectql_gateway_ws.gateway`."""

    def admit(self, session: Session, caller: Caller) -> None: ...
    def spend_subscription(self, actor: Actor) -> None: ...
    def count_subscriptions(self, tenant: str, change: int) -> None: ...
    def count_close(self, code: int) -> None: ...
    def count_resync(self) -> None: ...


class Services(Protocol):
    """What sessions share for the life of the process."""

    @property
    def hub(self) -> Hub: ...
    @property
    def subscribing(self) -> Subscribing: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def limits(self) -> SocketLimits: ...
    @property
    def admission(self) -> Admission: ...
    @property
    def requests(self) -> Requests: ...
    async def verify(self, token: str) -> Caller: ...


class Session:
    """One client, from its first frame to its last. `take` is given its frames in order."""

    def __init__(self, wire: Wire, services: Services, origin: str = "") -> None:
        """`origin` is where the client calls from, see `Context`."""
        self._wire = wire
        self._services = services
        self._origin = origin
        self._outgoing = Outgoing(wire.send, services.limits.queue_bytes)
        self._subscriptions: dict[str, Subscription] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self.caller: Caller | None = None
        self.token = ""

    @property
    def subscriptions(self) -> list[Subscription]:
        """Those that live or come to be."""
        return list(self._subscriptions.values())

    @property
    def waiting_bytes(self) -> int:
        """What it was told and was not sent yet."""
        return self._outgoing.waiting_bytes

    @property
    def actor(self) -> Actor:
        """Who the client is.

        Raises:
            Unauthenticated: it has not said yet.

        """
        if self.caller is None:
            raise Unauthenticated
        return self.caller.actor

    # --- life --------------------------------------------------------------------------------

    async def send_all(self) -> None:
        """Send what is told to the client, until cancelled."""
        await self._outgoing.run()

    def tell(self, frame: bytes, cursor: str | None = None) -> None:
        """Send `frame` soon; a client that does not read is closed, with its cursor."""
        if self._closing is not None:
            return
        try:
            self._outgoing.put(frame, cursor)
        except Overflow:
            self._cut_slow()

    def _cut_slow(self) -> None:
        cursor = self._outgoing.cursor
        self.close(TOO_MANY, json.dumps({"reason": "too slow", "cursor": cursor}))

    def tell_later(self, news: Subscription) -> None:
        """Ask `news` for a frame when the client has read what it was told."""
        if self._closing is None:
            self._outgoing.put_later(news)

    async def room(self) -> None:
        """Return when the client has read most of what it was told."""
        await self._outgoing.room()

    async def flush(self) -> None:
        """Return when the client was sent everything, or after a second."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await self._outgoing.empty()

    def close(self, code: int, reason: str) -> None:
        """Hang up, saying why; what waits to be sent is dropped."""
        if self._closing is None:
            self._services.admission.count_close(code)
            self._outgoing.drop()
            self._closing = asyncio.ensure_future(self._wire.close(code, reason))
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

    def drop_subscriptions(self) -> None:
        """End all subscriptions."""
        for subscription in self.subscriptions:
            self.drop(subscription)

    # --- who ---------------------------------------------------------------------------------

    async def authenticate(self, token: str) -> None:
        """Believe `token` from now on; the client stays who it was.

        Raises:
            Unauthenticated: it is not valid, or somebody else's than before.
            QuotaExceeded: there are too many sockets already.

        """
        caller = await self._services.verify(token)
        if self.caller is None:
            self._services.admission.admit(self, caller)
        elif (self.actor.id, self.actor.tenant) != (caller.actor.id, caller.actor.tenant):
            raise Unauthenticated
        self.token = token
        self.believe(caller)
        self.tell(frame("ready", user=caller.actor.id, tenant=caller.actor.tenant))

    def believe(self, caller: Caller) -> None:
        """Take over what is known of the client now; subscriptions of who it was end."""
        known, self.caller = self.caller, caller
        if known is not None and known.actor != caller.actor:
            for subscription in self.subscriptions:
                self.lose(subscription, "your permissions have changed")

    # --- frames ------------------------------------------------------------------------------

    async def take(self, text: bytes) -> None:
        """Do what a frame of the client says; whatever is wrong with it is told."""
        try:
            await self._do(read_frame(text))
        except Unauthenticated as exc:
            self.tell(refusal(text, exc))
            await self.flush()
            self.close(UNAUTHENTICATED, "unauthenticated")
        except ObjectQLError as exc:
            self.tell(refusal(text, exc))

    async def _do(self, said: AnyFrame) -> None:
        match said:
            case AuthFrame(token):
                await self.authenticate(token)
            case PingFrame(id):
                self.tell(frame("pong", id=id))
            case PongFrame():
                pass
            case SubscribeFrame():
                self._subscribe(said)
            case UnsubscribeFrame(sub):
                self._unsubscribe(sub)
            case RequestFrame():
                self._request(said)

    def _subscribe(self, said: SubscribeFrame) -> None:
        services, actor = self._services, self.actor
        services.admission.spend_subscription(actor)
        if said.id in self._subscriptions:
            raise InvalidRequest(reason=f'there is a subscription "{said.id}" already')
        if len(self._subscriptions) >= services.limits.subscriptions:
            raise QuotaExceeded(quota="subscriptions", limit=services.limits.subscriptions)
        self._check_load()
        request = _query(said)
        services.admission.count_subscriptions(actor.tenant, 1)
        subscription = Subscription(
            self, said.id, request, actor, services.clock.now_ms, mode=said.mode
        )
        subscription.trace = trace_of(said.trace)
        self._subscriptions[said.id] = subscription
        self._spawn(self._begin(subscription, said))

    def _check_load(self) -> None:
        """Return if one more frame of the client may be worked on."""
        if len(self._work) >= self._services.limits.waiting_frames:
            raise Overloaded(retry_after_ms=_OVERLOAD_RETRY_MS)

    def _request(self, said: RequestFrame) -> None:
        actor = self.actor
        self._check_load()
        self._spawn(self._respond(said, actor))

    async def _respond(self, said: RequestFrame, actor: Actor) -> None:
        """Answer as soon as the client has read most of what it was told before."""
        try:
            answer = await self._services.requests.answer(said, actor, self._origin)
        except Exception:  # noqa: BLE001 - as for subscriptions
            log.exception("request_crashed")
            answer = response_frame(said.id, error=Internal())
        try:
            async with asyncio.timeout(_UNREAD_S):
                await self.room()
        except TimeoutError:
            self._cut_slow()
        else:
            self.tell(answer)

    async def _begin(self, subscription: Subscription, said: SubscribeFrame) -> None:
        try:
            await self._services.requests.spend(subscription.actor)
            await self._services.subscribing.begin(
                subscription, snapshot=said.snapshot, since=said.since
            )
        except PositionLost:
            self.lose(subscription, "what happened since the cursor is no longer known")
        except MeaningChanged:
            self.lose(subscription, "its meaning has changed")
        except TooMuchHeld:
            self.lose(subscription, TOO_MUCH)
        except ObjectQLError as exc:
            self._refuse(subscription, exc)
        except Exception:  # noqa: BLE001 - a bug must be told, and must not take the socket with it
            log.exception("subscription_crashed")
            self._refuse(subscription, Internal())

    def _unsubscribe(self, name: str) -> None:
        subscription = self._subscriptions.get(name)
        if subscription is None:
            raise InvalidRequest(reason=f'there is no subscription "{name}"')
        self.drop(subscription)
        self.tell(frame("unsubscribed", sub=name))

    # --- the end of subscriptions --------------------------------------------------------------

    def drop(self, subscription: Subscription) -> bool:
        """End a subscription; whether it lived."""
        subscription.end()
        self._services.hub.remove(subscription)
        if self._subscriptions.get(subscription.name) is not subscription:
            return False
        del self._subscriptions[subscription.name]
        self._services.admission.count_subscriptions(subscription.actor.tenant, -1)
        return True

    def lose(self, subscription: Subscription, reason: str) -> None:
        """End a subscription that has missed something, and say so."""
        if self.drop(subscription):
            self._services.admission.count_resync()
            self.tell(resync_frame(subscription.name, reason))

    def _refuse(self, subscription: Subscription, error: ObjectQLError) -> None:
        if self.drop(subscription):
            self.tell(error_frame(error, sub=subscription.name))

    async def rebind(self, subscription: Subscription) -> None:
        """Bind by newer metadata; a subscription that means something else now ends."""
        try:
            if not await self._services.subscribing.rebind(subscription):
                self.lose(subscription, "its meaning has changed")
        except TooMuchHeld:
            self.lose(subscription, TOO_MUCH)
        except ObjectQLError as exc:
            if exc.retryable:
                raise
            self._refuse(subscription, exc)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)


def _query(said: SubscribeFrame) -> Query:
    """What the frame asks for, in the language of queries."""
    document = {"where": said.where, "fields": said.fields}
    query = parse_query(
        {key: value for key, value in document.items() if value is not None}, object=said.object
    )
    if said.record is None:
        return query
    one = Compare(("id",), Op.EQ, said.record, at="record")
    where = one if query.where is None else And((one, query.where))
    return Query(object=query.object, fields=query.fields, where=where)
