"""Puts what webhooks are to be told in the queue, as the relay publishes events.

It runs in the relay between reading events and marking them, so each is looked at once or more, in
order per record; the queue drops what it has. Nothing of this is on the path of a write. However
many webhooks hear of however many events, one turn is short: it takes no more of the events than
make so many deliveries, and the relay publishes those before it comes with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

import msgspec

from objectql.clock import Clock
from objectql.drivers.webhooks import NewEvent
from objectql.events import ChangeEvent
from objectql.kernel.webhooks.directory import WebhookDirectory

MAX_DELIVERIES: Final = 2000


class Queueing:
    """See the head of this module."""

    def __init__(
        self, directory: WebhookDirectory, clock: Clock, *, most: int = MAX_DELIVERIES
    ) -> None:
        """`most` deliveries are put in before the relay goes on, and those of one event beyond."""
        self._directory = directory
        self._clock = clock
        self._most = most
        self.on_queued: Callable[[Collection[str]], None] = _to_nobody
        """Told which webhooks have something to be told."""

    async def __call__(self, events: Sequence[ChangeEvent]) -> int:
        """Queue what there is to tell of the first of `events`; how many of them those are.

        No record occurs twice in `events`.
        """
        await self._directory.refresh()
        new: list[NewEvent] = []
        deliveries = taken = 0
        while taken < len(events) and deliveries < self._most:
            event = events[taken]
            taken += 1
            concerned = tuple(self._directory.concerned(event))
            if concerned:
                deliveries += len(concerned)
                record, text = record_of(event), text_of(event)
                new.append(NewEvent(event.tenant, event.id, record, text, concerned))
        if new and await self._directory.store.enqueue(new, self._clock.now_ms()):
            self.on_queued({webhook for event in new for webhook in event.webhooks})
        return taken


def _to_nobody(_webhooks: Collection[str]) -> None:
    """Without a worker there is nobody to tell."""


def record_of(event: ChangeEvent) -> str:
    """What is told in order."""
    return f"{event.object}/{event.record_id}"


def text_of(event: ChangeEvent) -> str:
    """An event as the queue keeps it."""
    return msgspec.json.encode(event).decode()


event_of = msgspec.json.Decoder(ChangeEvent).decode
"""The event in a queue's text."""
