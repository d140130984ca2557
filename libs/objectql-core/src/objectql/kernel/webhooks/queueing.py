"""Puts what webhooks are to be told in the queue, as the relay publishes events.

It runs in the relay between reading events and marking them, so each is looked at once or more, in
order per record; the queue drops what it has. Nothing of this is on the path of a write.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec

from objectql.clock import Clock
from objectql.drivers.webhooks import NewDelivery
from objectql.events import ChangeEvent
from objectql.kernel.webhooks.directory import WebhookDirectory


class Queueing:
    """See the head of this module."""

    def __init__(self, directory: WebhookDirectory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self.on_queued: Callable[[Collection[str]], None] = _to_nobody
        """Told which webhooks have something to be told."""

    async def __call__(self, events: Sequence[ChangeEvent]) -> None:
        """Queue what there is to tell of `events`, which name each record once at most."""
        await self._directory.refresh()
        new: list[NewDelivery] = []
        for event in events:
            concerned = list(self._directory.concerned(event))
            if concerned:
                record, text = record_of(event), text_of(event)
                new += [NewDelivery(event.tenant, id_, event.id, record, text) for id_ in concerned]
        if new and await self._directory.store.enqueue(new, self._clock.now_ms()):
            self.on_queued({delivery.webhook for delivery in new})


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
