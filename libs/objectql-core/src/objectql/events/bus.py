"""The in-process event bus: patterns, concurrent handlers and a bounded replay.

An event states what has happened, so a handler cannot veto: its failure is logged and neither the
emitter nor the other handlers notice. Patterns match event names segment by segment, segments
being divided by `:` and `.`: `*` is one segment, `**` is any number of them. An event gets a
sequence number when it is emitted; the last `capacity` events stay replayable.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

import msgspec

from objectql.errors import InvalidRequest
from objectql.events.model import Event

EventHandler: TypeAlias = Callable[[Event], Awaitable[None] | None]
EventFilter: TypeAlias = Callable[[Event], bool]

_log = logging.getLogger(__name__)
_SEGMENTS = re.compile(r"[:.]")


class Recorded(msgspec.Struct, frozen=True):
    """An emitted event with its place in the sequence (from 1, without gaps)."""

    sequence: int
    event: Event


class _Subscription:
    """A handler with what it wants to hear. Events at or below `seen` are not delivered again."""

    __slots__ = ("accepts", "handler", "is_once", "pattern", "seen")

    def __init__(
        self, pattern: str, handler: EventHandler, accepts: EventFilter | None, *, is_once: bool
    ) -> None:
        self.pattern = compile_pattern(pattern)
        self.handler = handler
        self.accepts = accepts
        self.is_once = is_once
        self.seen = 0

    def wants(self, recorded: Recorded) -> bool:
        return (
            recorded.sequence > self.seen
            and self.pattern.fullmatch(recorded.event.name) is not None
            and (self.accepts is None or self.accepts(recorded.event))
        )


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The names that `pattern` stands for, as an expression to `fullmatch`.

    Raises:
        InvalidRequest: the pattern is empty or mixes a star with other text in one segment.

    """
    if pattern == "**":
        return re.compile(r".+")
    parts: list[str] = []
    for segment in _SEGMENTS.split(pattern):
        if segment == "**":
            parts.append(r".+")
        elif segment == "*":
            parts.append(r"[^:.]+")
        elif not segment or "*" in segment:
            raise InvalidRequest(reason=f'"{pattern}" is not an event pattern')
        else:
            parts.append(re.escape(segment))
    return re.compile("[:.]".join(parts))


class EventBus:
    """Delivers events to handlers of this process. Not thread-safe: one bus per event loop."""

    def __init__(self, *, capacity: int = 1024) -> None:
        self._ring: deque[Recorded] = deque(maxlen=capacity)
        self._sequence = 0
        self._subscriptions: dict[int, _Subscription] = {}
        self._next_id = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def sequence(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._sequence

    def on(
        self,
        pattern: str,
        handler: EventHandler,
        filter: EventFilter | None = None,
        replay_from: int | Literal["all"] | None = None,
    ) -> Callable[[], None]:
        """Subscribe; the answer unsubscribes and may be called twice.

        `replay_from` delivers what is still kept from that sequence number on before anything
        newer, in order, without a gap and without a repetition. It needs a running event loop.
        """
        return self._subscribe(pattern, handler, filter, replay_from, is_once=False)

    def once(
        self, pattern: str, handler: EventHandler, filter: EventFilter | None = None
    ) -> Callable[[], None]:
        """Subscribe to the next matching event only."""
        return self._subscribe(pattern, handler, filter, None, is_once=True)

    def replay(
        self, pattern: str = "**", *, since: int = 1, until: int | None = None
    ) -> tuple[Recorded, ...]:
        """The kept events that match, with sequence numbers in `[since, until]`, in order."""
        matcher = compile_pattern(pattern)
        return tuple(
            recorded
            for recorded in self._ring
            if recorded.sequence >= since
            and (until is None or recorded.sequence <= until)
            and matcher.fullmatch(recorded.event.name) is not None
        )

    async def emit(self, event: Event) -> int:
        """Record `event`, run its handlers concurrently and return its sequence number.

        Returns when every handler has ended, however it ended.
        """
        self._sequence += 1
        recorded = Recorded(self._sequence, event)
        self._ring.append(recorded)
        due: list[_Subscription] = []
        for key, subscription in tuple(self._subscriptions.items()):
            if subscription.wants(recorded):
                due.append(subscription)
                if subscription.is_once:
                    del self._subscriptions[key]
        if due:
            await asyncio.gather(*(_deliver(subscription, recorded) for subscription in due))
        return recorded.sequence

    async def drain(self) -> None:
        """Return when every replay that is under way has been delivered."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def _subscribe(
        self,
        pattern: str,
        handler: EventHandler,
        accepts: EventFilter | None,
        replay_from: int | Literal["all"] | None,
        *,
        is_once: bool,
    ) -> Callable[[], None]:
        subscription = _Subscription(pattern, handler, accepts, is_once=is_once)
        key = self._next_id
        self._next_id += 1

        def unsubscribe() -> None:
            self._subscriptions.pop(key, None)

        self._subscriptions[key] = subscription
        if replay_from is not None:
            start = 1 if replay_from == "all" else replay_from
            task = asyncio.get_running_loop().create_task(self._replay_to(key, subscription, start))
            # Until the task has caught up, live events reach the handler through it.
            subscription.seen = _REPLAYING
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return unsubscribe

    async def _replay_to(self, key: int, subscription: _Subscription, start: int) -> None:
        position = start - 1
        while key in self._subscriptions:
            pending = [r for r in self._ring if r.sequence > position]
            if not pending:
                break
            for recorded in pending:
                position = recorded.sequence
                subscription.seen = position - 1
                wanted = subscription.wants(recorded)
                subscription.seen = _REPLAYING
                if wanted and key in self._subscriptions:
                    await _deliver(subscription, recorded)
        subscription.seen = position


_REPLAYING = 2**62
"""No sequence number gets so far: live delivery is off while a replay is under way."""


async def _deliver(subscription: _Subscription, recorded: Recorded) -> None:
    try:
        answer = subscription.handler(recorded.event)
        if answer is not None:
            await answer
    except Exception:  # noqa: BLE001 - see below
        # The event has happened; a subscriber that cannot cope must not undo or hide it.
        _log.exception(
            "event handler failed",
            extra={"event_name": recorded.event.name, "sequence": recorded.sequence},
        )
