"""The one reader of the event stream in this process, and everybody whom its events concern.

Commits are read in order, matched once, and told to each subscription. Whoever is added hears of
everything behind `position`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from contextlib import aclosing
from typing import Final

import msgspec

from objectql.bus.port import EventStream, PositionLost, StreamEntry
from objectql.clock import Clock
from objectql.errors import Unavailable
from objectql.events import ChangeEvent
from objectql.ids import ObjectName, TenantId
from objectql.live.commits import Commits, Place, Told
from objectql.live.cursor import Cursors, Position
from objectql.live.images import EventImages
from objectql.live.matcher import Matcher
from objectql.live.recent import Entry, Recent
from objectql.live.telling import Seen
from objectql.service.live.subscription import TOO_MUCH, Subscription, TooMuchHeld
from objectql.wire.codec import decode
from objectql.wire.subjects import STREAM_SUBJECTS, data_events

log = logging.getLogger(__name__)

WARM_UP: Final = 2000
"""Positions before the end at which reading begins, so that commits lie across none later."""

TORN_S: Final = 10.0
"""How long a commit may stay incomplete; a relay stores a commit's events one after another."""

CUT_S: Final = 2.0
"""How long a commit may stay incomplete that had begun before reading did: most likely its first
events lie before that, and never come. Snapshots wait for it."""

_PAUSE_S: Final = 0.5


class Hub:
    """Reads the stream for all subscriptions of the process."""

    def __init__(
        self,
        stream: EventStream,
        cursors: Cursors,
        clock: Clock,
        *,
        lost: Callable[[Subscription, str], None],
        told: Callable[[int, str], None] = lambda _count, _at: None,
    ) -> None:
        """`lost` ends a subscription that has missed something.

        `told` counts the deliveries of a commit, with when it was made.
        """
        self.stream = stream
        self.cursors = cursors
        self._clock = clock
        self._lost = lost
        self._told = told
        self._matcher: Matcher[Subscription] = Matcher()
        self._through: defaultdict[tuple[TenantId, ObjectName], dict[Subscription, None]] = (
            defaultdict(dict)
        )
        """Whom changes of an object may concern through a lookup to its records."""
        self._commits = Commits(Place(0, 0))
        self._recent = Recent(0)
        self._begun_at = 0
        """The end of the stream when reading began."""
        self._epoch: str | None = None
        self._moved = asyncio.Event()

    @property
    def is_reading(self) -> bool:
        """Whether the stream was found; before that nobody can subscribe."""
        return self._epoch is not None

    @property
    def subscriptions(self) -> int:
        return len(self._matcher)

    @property
    def position(self) -> Position:
        """Behind what new subscriptions hear.

        Raises:
            Unavailable: the stream was not found yet.

        """
        if self._epoch is None:
            raise Unavailable(what="the event stream")
        return Position(self._epoch, self._commits.place)

    def cursor(self, place: Place, tenant: str) -> str:
        """The cursor of a place in the stream that is read."""
        return self.cursors.write(Position(self.position.epoch, place), tenant)

    # --- subscriptions -----------------------------------------------------------------------

    def add(self, subscription: Subscription) -> None:
        """Let `subscription`, which is bound, hear what concerns it from now on."""
        assert subscription.query is not None
        self._matcher.add(subscription, subscription.query, subscription.params)
        if subscription.joining is not None:
            for target in subscription.joining.targets:
                self._through[subscription.query.tenant, target][subscription] = None

    def remove(self, subscription: Subscription) -> None:
        """Let it hear nothing more."""
        self._matcher.remove(subscription)
        if subscription.joining is not None:
            for target in subscription.joining.targets:
                place = subscription.actor.tenant, target
                self._through[place].pop(subscription, None)
                if not self._through[place]:
                    del self._through[place]

    async def caught_up(self, last: int, ids: Collection[str]) -> None:
        """Return when everything up to the position `last`, and the events `ids`, have been told."""
        while self._commits.settled < last or not all(map(self._commits.has_seen, ids)):
            moved = self._moved
            await moved.wait()

    async def reached(self, place: Place) -> None:
        """Return when reading is as far as `place`, to which a client came at another gateway."""
        while self._commits.place.at < place.at:
            moved = self._moved
            await moved.wait()

    # --- reading -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Read until cancelled."""
        watching = asyncio.ensure_future(self._watch_torn())
        try:
            await self._read_on()
        finally:
            watching.cancel()

    async def _watch_torn(self) -> None:
        """Give up torn commits also while nothing comes."""
        while True:
            await self._clock.sleep(_PAUSE_S)
            self._give_up_torn(self._clock.monotonic_s())

    async def _read_on(self) -> None:
        while True:
            try:
                state = await self.stream.state()
            except Unavailable:
                await self._clock.sleep(_PAUSE_S)
                continue
            start = max(state.first - 1, state.last - WARM_UP, 0)
            self._commits = Commits(Place(start, start))
            self._recent = Recent(start)
            self._begun_at = state.last
            self._epoch = state.epoch
            try:
                await self._read(start, state.epoch)
            except PositionLost:
                log.warning("event_stream_lost", extra={"position": self._commits.place.at})
                self._epoch = None
                self._lose(self._matcher.subscribers(), "the event stream was made anew")

    async def since(self, place: Place, tenant: TenantId) -> AsyncGenerator[list[Told]]:
        """The commits of `tenant` between `place` and where the hub is now.

        Raises:
            PositionLost: they are not kept any more.

        """
        commits = Commits(place)
        epoch, (_, until) = self.position
        recent = self._recent.since(place.cut)
        if recent is not None:
            yield [
                told
                for entry in recent
                if entry.event is not None and entry.event.tenant == tenant
                if (told := _told(commits, entry, 0.0))
            ]
            return
        reading = self.stream.read(place.cut, epoch=epoch, subject=data_events(tenant), until=until)
        async with aclosing(reading):
            async for entries in reading:
                found = (_told(commits, _entry(message), 0.0) for message in entries)
                yield [told for told in found if told]

    async def _read(self, start: int, epoch: str) -> None:
        reading = self.stream.read(start, epoch=epoch, subject=STREAM_SUBJECTS)
        async with aclosing(reading):
            async for entries in reading:
                self._take(entries)

    def _take(self, entries: Iterable[StreamEntry]) -> None:
        now_s = self._clock.monotonic_s()
        for entry in entries:
            read = _entry(entry)
            self._recent.add(read)
            is_old = entry.position <= self._begun_at
            since_s = now_s - TORN_S + CUT_S if is_old else now_s
            if told := _told(self._commits, read, since_s):
                self._tell(told)
        self._give_up_torn(now_s)

    def _give_up_torn(self, now_s: float) -> None:
        torn = self._commits.give_up(now_s - TORN_S)
        if torn:
            log.error("commit_torn", extra={"events": [event.id for event in torn]})
            places = {(event.tenant, event.object) for event in torn}
            through = [each for place in places for each in self._through.get(place, ())]
            self._lose([*self._matcher.subscribers(places), *through], "events were lost")
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _tell(self, told: Told) -> None:
        heard: dict[Subscription, list[Seen]] = {}
        for event in told.events:
            through = self._through.get((event.tenant, event.object), ())
            if not through and not self._matcher.listens(event.tenant, event.object):
                continue
            images = EventImages(event)
            for subscription in through:
                heard.setdefault(subscription, []).append(Seen(was=False, now=False, images=images))
            for match in self._matcher.match(images):
                if match.misfit is not None:
                    log.error("event_misfit", extra={"event": event.id, "reason": match.misfit})
                    self._lose(match.subscribers, "the form of its records has changed")
                    continue
                seen = Seen(match.was, match.now, images)
                for subscription in match.subscribers:
                    if subscription not in through:
                        heard.setdefault(subscription, []).append(seen)
        if not heard:
            return
        cursors: dict[str, str] = {}
        for subscription, seen_all in heard.items():
            tenant = subscription.actor.tenant
            cursor = cursors.get(tenant)
            if cursor is None:
                cursor = cursors[tenant] = self.cursor(told.place, tenant)
            try:
                subscription.hear(told.place, seen_all, cursor)
            except TooMuchHeld:
                self._lose([subscription], TOO_MUCH)
        self._told(len(heard), told.events[-1].at)

    def lose(self, subscription: Subscription, reason: str) -> None:
        """End a subscription that has missed something."""
        self._lose([subscription], reason)

    def _lose(self, subscriptions: Iterable[Subscription], reason: str) -> None:
        for subscription in list(subscriptions):
            self.remove(subscription)
            self._lost(subscription, reason)


def _entry(message: StreamEntry) -> Entry:
    """The event in a message; one that is none is logged."""
    event = None
    if message.body:  # else it is a hole: what lay here is not kept any more
        try:
            event = decode(ChangeEvent, message.body)
        except msgspec.MsgspecError:
            log.error("event_unreadable", extra={"position": message.position})  # noqa: TRY400 - no stack
    return Entry(message.position, event, len(message.body))


def _told(commits: Commits, entry: Entry, now_s: float) -> Told | None:
    """What `commits` tells after an entry."""
    if entry.event is None:
        commits.skip(entry.position)
        return None
    return commits.add(entry.position, entry.event, now_s)
