"""How a subscription comes to be: bound by a kernel, installed, brought to one position with its client.

The order makes the promises. A subscription is installed first and holds back what it hears. Then
follows what the client asked for: a snapshot, which is brought forward to a position of the stream
(ADR 0024), or what has happened since a cursor. Only then the client is told that it is subscribed,
and what was held back goes out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from functools import partial
from typing import TypeVar

import msgspec

from objectql.bus.port import PositionLost
from objectql.clock import Clock
from objectql.context import Actor, Context, ReadPolicy
from objectql.errors import DeadlineExceeded, InvalidQuery, TooManyRecords, Unavailable
from objectql.ids import uuid7
from objectql.live.commits import Place
from objectql.live.images import EventImages
from objectql.live.matcher import Match, Matcher
from objectql.live.query import LiveQuery
from objectql.live.telling import Seen
from objectql.service.kernel import Kernel
from objectql.service.live.hub import Hub
from objectql.service.live.joining import TIMEOUT_S, Joining, Reader
from objectql.service.live.subscription import Subscription
from objectql.wire.live import LiveBindReply, LiveBindRequest
from objectql.wire.messages import FindRequest, PageReply

T = TypeVar("T")

_members = msgspec.json.Decoder(list[msgspec.Raw]).decode


class MeaningChanged(Exception):
    """What was asked for is not any more what it was when it was asked for."""


class _Identified(msgspec.Struct):
    id: str


_identified = msgspec.json.Decoder(_Identified).decode


class Subscribing:
    """Makes subscriptions, and binds them anew when the metadata change."""

    def __init__(self, kernel: Kernel, hub: Hub, clock: Clock, *, snapshot_records: int) -> None:
        self._kernel = kernel
        self._hub = hub
        self._clock = clock
        self._reader = Reader(kernel, hub, clock)
        self.version = 0
        """Of the newest metadata that were heard of; what was bound by older ones tells nothing."""
        self.own: dict[str, int] = {}
        """Likewise by tenant, of what tenants have of their own."""
        self._snapshot_records = snapshot_records

    async def begin(
        self,
        subscription: Subscription,
        *,
        snapshot: bool,
        since: str | None,
    ) -> None:
        """Let `subscription` live, and tell its client what it asked for.

        Raises:
            Whatever a read of the same would raise.
            NotSupported: events cannot tell what a read would answer.
            InvalidQuery: the cursor was given to nobody, or came with a wish for a snapshot.
            TooManyRecords: there are more than a snapshot may have.
            PositionLost: what followed the cursor is gone.
            MeaningChanged: permissions or metadata have changed meanwhile.
            Unavailable, DeadlineExceeded

        """
        if snapshot and since is not None:
            raise InvalidQuery(reason="a snapshot needs no cursor", path="from")
        await self.bind(subscription)
        if subscription.is_over:
            return
        place = None if since is None else await self._place(since, subscription.actor)
        self._join(subscription)
        self._hub.add(subscription)
        try:
            if place is None:
                if subscription.joining is not None:
                    subscription.joining.start()
                await self._tell_present(subscription, snapshot=snapshot)
            else:
                client = subscription.client
                client.tell(client.subscribed(subscription, since or "", None))
                await self._replay(subscription, place)
        except BaseException:
            self._hub.remove(subscription)
            raise
        subscription.is_live = True
        subscription.release(lambda place: self._cursor(subscription, place))

    async def _tell_present(self, subscription: Subscription, *, snapshot: bool) -> None:
        """Say that it is subscribed, with the records of now if they were asked for."""
        items = None
        if snapshot:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    items = await self._snapshot(subscription)
            except TimeoutError as exc:
                raise DeadlineExceeded from exc
        elif subscription.joining is not None:
            await subscription.joining.settled()
        await self._keep_meaning(subscription)
        if not subscription.is_over:
            cursor = self._cursor(subscription, self._hub.position.place)
            client = subscription.client
            client.tell(client.subscribed(subscription, cursor, items), cursor)

    async def bind(self, subscription: Subscription) -> None:
        """Ask a kernel what the subscription is to its client now."""
        request = LiveBindRequest(subscription.request)
        reply = await self._ask(subscription, "live_bind", request, LiveBindReply)
        subscription.query = reply.query
        subscription.version, subscription.own = reply.version, reply.own
        subscription.params()  # a literal that does not fit is told now

    def is_behind(self, subscription: Subscription) -> bool:
        """Whether newer metadata were heard of than those by which it was bound."""
        own = self.own.get(subscription.actor.tenant, 0)
        return subscription.version < self.version or subscription.own < own

    async def rebind(self, subscription: Subscription) -> bool:
        """Whether the subscription means what it meant; until it is known nothing is told.

        Raises:
            Unavailable: no kernel has the newest metadata yet.

        """
        subscription.hold()
        known = subscription.query
        await self.bind(subscription)
        if subscription.query != known:
            return False
        if self.is_behind(subscription):
            raise Unavailable(what="the metadata")
        subscription.release(lambda place: self._cursor(subscription, place))
        return True

    async def _keep_meaning(self, subscription: Subscription) -> None:
        """Return if the subscription, which is coming to be, means what it meant when it was bound.

        Raises:
            MeaningChanged: the metadata have changed meanwhile, and with them the subscription.
            Unavailable: no kernel has the newest metadata yet.

        """
        if not self.is_behind(subscription):
            return
        known = subscription.query
        await self.bind(subscription)
        if subscription.query != known:
            raise MeaningChanged
        if self.is_behind(subscription):
            raise Unavailable(what="the metadata")

    def _join(self, subscription: Subscription) -> None:
        """Have commits settled that concern it through lookups, if it follows any."""
        query = _bound(subscription)
        if query.joins():
            subscription.joining = Joining(
                query,
                self._reader,
                params=subscription.params,
                learn=subscription.learn,
                lose=partial(self._hub.lose, subscription),
                clock=self._clock,
            )

    # --- a snapshot --------------------------------------------------------------------------

    async def _snapshot(self, subscription: Subscription) -> list[bytes]:
        """The records at the place that the hub is at when this returns."""
        query = _bound(subscription)
        targets = () if subscription.joining is None else subscription.joining.targets
        asked = msgspec.structs.replace(subscription.request, limit=self._snapshot_records)
        page = await self._ask(subscription, "find", FindRequest(asked), PageReply)
        if page.has_next:
            raise TooManyRecords(requested=page.count + 1, max=self._snapshot_records)
        await self._reader.heard_all(query.tenant, [query.object, *targets])
        if subscription.joining is not None:
            await subscription.joining.settled()
        records = {_identified(bytes(raw)).id: bytes(raw) for raw in _members(page.items)}
        for _, seen in subscription.held or []:
            for each in seen:
                id_ = each.images.event.record_id
                if each.now:
                    records[id_] = each.images.data(query.outputs, query.masks)
                else:
                    records.pop(id_, None)
        subscription.held = []
        return [records[id_] for id_ in sorted(records)]

    # --- since a cursor ----------------------------------------------------------------------

    async def _place(self, cursor: str, actor: Actor) -> Place:
        place = self._hub.cursors.read(cursor, actor.tenant, epoch=self._hub.position.epoch)
        if place is None:
            raise PositionLost
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._hub.reached(place)  # or what the client knows would be told again
        except TimeoutError as exc:
            raise PositionLost from exc
        return place

    async def _replay(self, subscription: Subscription, place: Place) -> None:
        """Tell what happened between `place` and where the hub was when it took the subscription."""
        query, joining = _bound(subscription), subscription.joining
        matcher: Matcher[Subscription] = Matcher()
        matcher.add(subscription, query, subscription.params)
        async with aclosing(self._hub.since(place, query.tenant)) as since:
            async for commits in since:
                for told in commits:
                    all_images = [EventImages(event) for event in told.events]
                    cursor = self._cursor(subscription, told.place)
                    if joining is not None:
                        joining.take_earlier(told.place, cursor, all_images)
                        continue
                    seen = [
                        Seen(match.was, match.now, images)
                        for images in all_images
                        for match in _fitting(matcher, images)
                    ]
                    if seen:
                        await self._keep_meaning(subscription)
                        subscription.send(seen, cursor)
                await subscription.client.room()
        if joining is not None:
            joining.start()
            await joining.settled()
        await self._keep_meaning(subscription)

    # --- the kernel --------------------------------------------------------------------------

    def _cursor(self, subscription: Subscription, place: Place) -> str:
        return self._hub.cursor(place, subscription.actor.tenant)

    async def _ask(
        self, subscription: Subscription, verb: str, request: msgspec.Struct, reply_type: type[T]
    ) -> T:
        context = Context(
            actor=subscription.actor,
            deadline_ms=self._clock.now_ms() + int(TIMEOUT_S * 1000),
            request_id=uuid7(),
            read_policy=ReadPolicy.PRIMARY,
            trace=subscription.trace,
        )
        return await self._kernel.call(verb, request, context, reply_type)


def _fitting(matcher: Matcher[Subscription], images: EventImages) -> Iterator[Match[Subscription]]:
    for match in matcher.match(images):
        if match.misfit is not None:  # its records had another form then
            raise PositionLost
        yield match


def _bound(subscription: Subscription) -> LiveQuery:
    assert subscription.query is not None
    return subscription.query
