"""One subscription of one client: what it is told of a commit, and what waits until it may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from objectql.context import Actor
from objectql.events import ChangeEvent
from objectql.ids import ObjectName
from objectql.live.commits import Place
from objectql.live.images import EventImages
from objectql.live.latest import Latest
from objectql.live.query import LiveQuery
from objectql.live.telling import Seen, Telling, telling
from objectql.query.ast import Query
from objectql.service.live.outgoing import Message
from objectql.values import Value

Mode: TypeAlias = Literal["changes", "live"]
"""Every change, or the latest of each record."""

MAX_HELD = 10_000
"""Events that wait while a subscription is made or bound anew."""


TOO_MUCH: Final = "too much happened meanwhile"
"""What a client is told then."""


class TooMuchHeld(Exception):
    """More events came than can wait; the subscription must begin anew."""


class Joining(Protocol):
    """See `objectql.service.live.joining`."""

    @property
    def targets(self) -> frozenset[ObjectName]: ...
    def take(self, place: Place, cursor: str, events: Sequence[EventImages]) -> None: ...
    def take_earlier(self, place: Place, cursor: str, events: Sequence[EventImages]) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    async def settled(self) -> None: ...


_ENVELOPE_BYTES: Final = 200
"""About what a change costs beside its record."""


class Change(NamedTuple):
    """What a subscription is told of one record: `data` is a JSON object of it, None where it is
    seen no more.
    """

    event: ChangeEvent
    telling: Telling
    data: bytes | None


class Client(Protocol):
    """To whom events go, and the words in which they are told there."""

    def subscribed(self, about: Subscription, cursor: str, items: list[bytes] | None) -> bytes:
        """That the subscription lives; `items` are the records of a snapshot."""
        ...

    def changed(self, about: Subscription, changes: Sequence[Change], cursor: str) -> bytes:
        """What has changed with one commit, or in the mode `live` since the last time."""
        ...

    def tell(
        self, message: Message, cursor: str | None = None, size: int | None = None
    ) -> None: ...
    def tell_later(self, news: Subscription) -> None: ...
    async def room(self) -> None: ...


class Subscription:
    """`query` says what it is about; while `held` is a list, events wait there."""

    def __init__(
        self,
        client: Client,
        name: str,
        request: Query,
        actor: Actor,
        now_ms: Callable[[], int],
        *,
        mode: Mode = "changes",
    ) -> None:
        self.client = client
        self.name = name
        self.request = request
        self.actor = actor
        self.query: LiveQuery | None = None
        self.version = 0
        """Of the metadata by which it was bound."""
        self.own = 0
        """Likewise of those that the tenant has of its own."""
        self.held: list[tuple[Place, Sequence[Seen]]] | None = []
        self.trace: dict[str, str] = {}
        """The W3C headers of what is asked of kernels for it."""
        self.is_live = False
        """Its client was told that it is subscribed."""
        self.is_over = False
        """Nobody wants it any more; whatever is still done for it is in vain."""
        self._held_count = 0
        self._now_ms = now_ms
        self.joining: Joining | None = None
        """Settles commits that concern it through lookups."""
        self._latest: Latest[EventImages] | None = Latest() if mode == "live" else None
        self._latest_cursor = ""

    def params(self) -> tuple[Value, ...]:
        """The parameters of the query at this time."""
        assert self.query is not None
        return self.query.params(self.actor, self._now_ms())

    def hold(self) -> None:
        """Let events wait from now on."""
        if self.held is None:
            self.held = []
            self._held_count = 0

    def end(self) -> None:
        """Hear nothing more."""
        self.is_over = True
        if self.joining is not None:
            self.joining.stop()

    def hear(self, place: Place, seen: Sequence[Seen], cursor: str) -> None:
        """Tell the client of one commit, now or when it is known what the commit means.

        Raises:
            TooMuchHeld: it cannot be kept.

        """
        if self.joining is None:
            self.learn(place, seen, cursor)
        else:
            self.joining.take(place, cursor, [each.images for each in seen])

    def learn(self, place: Place, seen: Sequence[Seen], cursor: str) -> None:
        """Tell the client of one commit, or keep it.

        Raises:
            TooMuchHeld: it cannot be kept.

        """
        if self.held is None:
            self.send(seen, cursor)
            return
        self._held_count += len(seen)
        if self._held_count > MAX_HELD:
            raise TooMuchHeld
        self.held.append((place, seen))

    def send(self, seen: Sequence[Seen], cursor: str) -> None:
        """Tell the client of one commit: now, or as soon as it has read what it was told before.

        Raises:
            TooMuchHeld: it does not read, and too many records have news for it.

        """
        if self.is_over:
            return
        if self._latest is None:
            changes = [self._change(each.images, _telling(each)) for each in seen]
            size = sum(_ENVELOPE_BYTES + len(change.data or b"") for change in changes)
            self.client.tell(partial(self.client.changed, self, changes, cursor), cursor, size)
            return
        for each in seen:
            self._latest.add(each.images.event.record_id, _telling(each), each.images)
        if len(self._latest) > MAX_HELD:
            raise TooMuchHeld
        self._latest_cursor = cursor
        self.client.tell_later(self)

    def take_news(self) -> tuple[bytes, str] | None:
        """A message with the latest of each record that there is news of, and its cursor."""
        assert self._latest is not None
        news = self._latest.take()
        if self.is_over or not news:
            return None
        changes = [self._change(each.event, each.telling) for each in news]
        return self.client.changed(self, changes, self._latest_cursor), self._latest_cursor

    def _change(self, images: EventImages, telling: Telling) -> Change:
        query = self.query
        assert query is not None
        is_gone = telling.kind == "deleted"
        data = None if is_gone else images.data(query.outputs, query.masks)
        return Change(images.event, telling, data)

    def release(self, cursor_of: Callable[[Place], str]) -> None:
        """Tell what waits, and wait no longer."""
        held, self.held = self.held or [], None
        for place, seen in held:
            self.send(seen, cursor_of(place))


def _telling(seen: Seen) -> Telling:
    found = telling(seen.images.event.kind, was=seen.was, now=seen.now)
    assert found is not None  # the matcher tells of nobody who saw it neither before nor after
    return found
