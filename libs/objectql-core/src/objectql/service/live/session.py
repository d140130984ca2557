"""One client that speaks in frames, over whatever carries them: what it says, and what it is answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Protocol

from objectql.context import Actor
from objectql.errors import Internal, ObjectQLError, Unauthenticated
from objectql.query.ast import And, Compare, Op, Query
from objectql.query.parse import parse_query
from objectql.service.claims import Caller
from objectql.service.data.facts import trace_of
from objectql.service.live.frames import (
    AnyFrame,
    AuthFrame,
    PingFrame,
    PongFrame,
    RequestFrame,
    SubscribeFrame,
    UnsubscribeFrame,
    changes_frame,
    error_frame,
    frame,
    read_frame,
    refusal,
    response_frame,
    resync_frame,
    subscribed_frame,
)
from objectql.service.live.listener import Ending, Listener, Services, Wish
from objectql.service.live.requests import Requests
from objectql.service.live.subscription import Change, Subscription

log = logging.getLogger(__name__)

_UNREAD_S: Final = 10.0
"""How long answers wait for a client that reads nothing."""


class Wire(Protocol):
    """What carries the frames."""

    async def send(self, frames: Sequence[bytes]) -> None:
        """Return when the client has room for more."""
        ...

    async def close(self, why: Ending, cursor: str | None) -> None:
        """Hang up; `cursor` is where the client is."""
        ...


class Session(Listener):
    """One client, from its first frame to its last. `take` is given its frames in order."""

    def __init__(
        self, wire: Wire, services: Services, requests: Requests, origin: str = ""
    ) -> None:
        """`origin` is where the client calls from, see `Context`."""
        super().__init__(services)
        self._wire = wire
        self._requests = requests
        self._origin = origin

    async def send_all(self) -> None:
        """Send what is told to the client, until cancelled or closed."""
        while frames := await self.outgoing.take():
            await self._wire.send(frames)

    async def hang_up(self, why: Ending) -> None:
        """End the connection."""
        await self._wire.close(why, self.outgoing.cursor)

    async def authenticate(self, token: str) -> Caller:
        """Believe `token` from now on, and say so; see `Listener.authenticate`."""
        caller = await super().authenticate(token)
        self.tell(frame("ready", user=caller.actor.id, tenant=caller.actor.tenant))
        return caller

    # --- what it is told -----------------------------------------------------------------------

    def subscribed(self, about: Subscription, cursor: str, items: list[bytes] | None) -> bytes:
        """The frame `subscribed`."""
        return subscribed_frame(about.name, cursor, items)

    def changed(self, about: Subscription, changes: Sequence[Change], cursor: str) -> bytes:
        """An event, or a batch of events."""
        return changes_frame(about, changes, cursor)

    def missed(self, about: Subscription, reason: str) -> None:
        """Tell `resync`."""
        self.tell(resync_frame(about.name, reason))

    def refused(self, about: Subscription, error: ObjectQLError) -> None:
        """Tell the error, and of which subscription."""
        self.tell(error_frame(error, sub=about.name))

    # --- what it says --------------------------------------------------------------------------

    async def take(self, text: bytes) -> None:
        """Do what a frame of the client says; whatever is wrong with it is told."""
        try:
            await self._do(read_frame(text))
        except Unauthenticated as exc:
            self.tell(refusal(text, exc))
            await self.flush()
            self.close(Ending.UNAUTHENTICATED)
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
                self.attempt()
                self.subscribe(_wish(said))
            case UnsubscribeFrame(sub):
                self.unsubscribe(sub)
                self.tell(frame("unsubscribed", sub=sub))
            case RequestFrame():
                actor = self.actor
                self.check_load()
                self.spawn(self._respond(said, actor))

    async def _respond(self, said: RequestFrame, actor: Actor) -> None:
        """Answer as soon as the client has read most of what it was told before."""
        try:
            answer = await self._requests.answer(said, actor, self._origin)
        except Exception:  # noqa: BLE001 - as for subscriptions
            log.exception("request_crashed")
            answer = response_frame(said.id, error=Internal())
        try:
            async with asyncio.timeout(_UNREAD_S):
                await self.room()
        except TimeoutError:
            self.close(Ending.SLOW)
        else:
            self.tell(answer)


def _wish(said: SubscribeFrame) -> Wish:
    return Wish(said.id, _query(said), said.mode, said.snapshot, said.since, trace_of(said.trace))


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
