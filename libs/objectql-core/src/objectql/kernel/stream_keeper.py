"""Makes the event stream, and fills it again from the outboxes when it was lost.

Outboxes remember at which position of the stream each event lies. A stream that is gone is made
again with the same events at the same positions, so that readers, and cursors that clients hold,
go on as if nothing had happened. Publishers are kept out until it is whole. What was in the lost
stream and nobody had written down yet is published anew, behind a gap of positions that were never
anybody's: a reader may hear it a second time, by its id, and never misses it.

How far back it is filled is bounded; readers from before hear that their position is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from objectql.clock import Clock
from objectql.drivers.stores import Outbox
from objectql.errors import ObjectQLError
from objectql.ids import uuid7
from objectql.kernel.relay import message_of
from objectql.wire.stream import StreamCondition, StreamMessage

log = logging.getLogger(__name__)


class FillableStream(Protocol):
    """What is needed of `objectql.bus.port.EventStream`."""

    async def ensure(self) -> None: ...
    async def condition(self) -> StreamCondition: ...
    async def begin(self, epoch: str, first: int) -> None: ...
    async def fill(self, start: int, messages: Sequence[StreamMessage | None]) -> None: ...
    async def open(self) -> None: ...


class KeeperLimits(msgspec.Struct, frozen=True):
    """How much of a lost stream is filled again, and how often it is looked after."""

    every_s: float = 0.5
    kept: int = 50_000
    """Positions. They are a quarter of an hour at fifty writes a second, and are sent in some
    seconds, in which nothing is published."""
    gap: int = 2_560
    """Positions behind the last one that is known: what ten relays have on their way at most."""
    window: int = 1000


class _Kept(NamedTuple):
    """What there is to fill a stream with: for each position whose event, and where in its outbox."""

    epoch: str
    places: dict[int, tuple[Outbox, int]]
    first: int


Outboxes: TypeAlias = Callable[[], Iterable[Outbox]]


class StreamKeeper:
    """Looks after the stream in the worker that leads."""

    def __init__(
        self,
        stream: FillableStream,
        outboxes: Outboxes,
        leads: Callable[[], bool],
        *,
        clock: Clock,
        limits: KeeperLimits | None = None,
    ) -> None:
        """`outboxes` are all that publish to the stream. Where two workers believe that they lead,
        what both do is the same.
        """
        self._stream = stream
        self._outboxes = outboxes
        self._leads = leads
        self._clock = clock
        self._limits = limits or KeeperLimits()
        self._is_configured = False
        self._is_missed = False

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            if self._leads():
                try:
                    await self.tend()
                except ObjectQLError as exc:
                    log.warning("event_stream_unavailable", extra={"reason": str(exc)})
            await self._clock.sleep(self._limits.every_s)

    async def tend(self) -> None:
        """Make the stream whole if it is not; one that is missing when it is missing the next time.

        Raises:
            ObjectQLError: a server is away; try again.

        """
        condition = await self._stream.condition()
        if condition.is_ == "open":
            if not self._is_configured:
                await self._stream.ensure()
                self._is_configured = True
            return
        if condition.is_ == "missing" and not self._is_missed:
            self._is_missed = True  # relays may still be writing down what was stored before
            return
        self._is_missed = False
        kept = await self._kept()
        last = condition.last
        if condition.is_ == "missing":
            log.warning("event_stream_missing", extra={"events": len(kept.places)})
            await self._stream.begin(kept.epoch, kept.first)
            last = kept.first - 1
        await self._fill(kept, last + 1)
        await self._stream.open()
        log.info("event_stream_filled", extra={"events": len(kept.places)})

    async def _kept(self) -> _Kept:
        found = [(outbox, await outbox.published(self._limits.kept)) for outbox in self._outboxes()]
        epoch = next((entries[0].epoch for _, entries in found if entries), uuid7())
        places = {
            entry.at: (outbox, entry.position)
            for outbox, entries in found
            for entry in entries
            if entry.epoch == epoch
        }
        oldest = max(places, default=0) - self._limits.kept + 1
        first = max(oldest, min(places, default=1))
        return _Kept(epoch, {at: place for at, place in places.items() if at >= first}, first)

    async def _fill(self, kept: _Kept, start: int) -> None:
        end = max(kept.places) + self._limits.gap if kept.places else 0
        window = self._limits.window
        for first in range(start, end + 1, window):
            numbers = range(first, min(first + window, end + 1))
            here = [(number, *kept.places[number]) for number in numbers if number in kept.places]
            events = {
                (id(outbox), position): event
                for outbox in {outbox for _, outbox, _ in here}
                for position, event in await outbox.events(
                    [position for _, box, position in here if box is outbox]
                )
            }
            by_number = {n: events.get((id(box), position)) for n, box, position in here}
            found = [by_number.get(number) for number in numbers]
            await self._stream.fill(first, [event and message_of(event) for event in found])
