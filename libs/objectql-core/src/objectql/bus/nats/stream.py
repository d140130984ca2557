"""The JetStream stream of change events."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final

import msgspec

from objectql.bus.nats.connection import NatsBus
from objectql.bus.nats.reading import EPOCH, FILLING, ask, condition_of, read, state_of
from objectql.bus.port import Envelope, StreamEntry, StreamState
from objectql.errors import ObjectQLError, Unavailable
from objectql.ids import uuid7
from objectql.wire.frames import Ask
from objectql.wire.headers import MESSAGE_ID
from objectql.wire.stream import Stored, StreamCondition, StreamMessage
from objectql.wire.subjects import DATA_STREAM, DATA_SUBJECTS, FILL_PREFIX, HOLE

log = logging.getLogger(__name__)

_EXPECTED: Final = "Nats-Expected-Last-Sequence"
"""A message with it is stored right behind that position, or not at all."""

_NS: Final = 10**9


class _Ack(msgspec.Struct):
    """What JetStream answers to a message."""

    seq: int | None = None
    error: Any = None


_decode_ack = msgspec.json.Decoder(_Ack).decode


class NatsEventStream:
    """The JetStream stream of change events. See the `EventStream` port.

    Messages are kept for `max_age_s`; one whose id came within `repeat_window_s` is dropped.

    A stream that is filled listens to other subjects than publishers use, and stores what comes
    there as if it had come on theirs: so nobody can get in between, and it is opened in one step.
    """

    def __init__(
        self,
        bus: NatsBus,
        *,
        name: str = DATA_STREAM,
        subjects: tuple[str, ...] = (DATA_SUBJECTS,),
        max_age_s: float = 24 * 3600,
        repeat_window_s: float = 120,
        replicas: int = 1,
        timeout_s: float = 2.0,
    ) -> None:
        self._bus = bus
        self._timeout_s = timeout_s
        self._name = name
        self._epoch: str | None = None
        """Of the stream that is published to, until a message is not stored."""
        self._config: dict[str, Any] = {
            "name": name,
            "subjects": list(subjects),
            "storage": "file",
            "retention": "limits",
            "max_age": int(max_age_s * _NS),
            "duplicate_window": int(repeat_window_s * _NS),
            "num_replicas": replicas,
        }

    async def ensure(self) -> None:
        condition = await self.condition()
        verb = "CREATE" if condition.is_ == "missing" else "UPDATE"
        await self._configure(verb, {EPOCH: condition.epoch or uuid7()})

    async def publish(self, messages: Sequence[StreamMessage]) -> Stored:
        if not self._bus.is_connected:
            raise Unavailable(what="the event stream")
        epoch = self._epoch = self._epoch or (await self.state()).epoch
        asks = [Ask(m.subject, {MESSAGE_ID: m.id}, m.body) for m in messages]
        positions = await self._store(asks)
        if None in positions:
            self._epoch = None
        return Stored(epoch, positions)

    async def condition(self) -> StreamCondition:
        return await condition_of(await self._bus.connected(), self._name)

    async def begin(self, epoch: str, first: int) -> None:
        await self._configure(
            "CREATE",
            {EPOCH: epoch, FILLING: "yes"},
            first_seq=first,
            subjects=[f"{FILL_PREFIX}>"],
            subject_transform={"src": f"{FILL_PREFIX}>", "dest": ">"},
        )

    async def fill(self, start: int, messages: Sequence[StreamMessage | None]) -> None:
        asks = [
            Ask(FILL_PREFIX + HOLE, {_EXPECTED: str(last)}, b"")
            if message is None
            else Ask(
                FILL_PREFIX + message.subject,
                {_EXPECTED: str(last), MESSAGE_ID: message.id},
                message.body,
            )
            for last, message in enumerate(messages, start - 1)
        ]
        if await self._store(asks) != list(range(start, start + len(asks))):
            raise Unavailable(what="the event stream")

    async def open(self) -> None:
        await self._configure("UPDATE", {EPOCH: (await self.condition()).epoch})

    async def state(self) -> StreamState:
        return await state_of(await self._bus.connected(), self._name)

    async def read(
        self, after: int, *, epoch: str, subject: str, until: int | None = None
    ) -> AsyncGenerator[Sequence[StreamEntry]]:
        reading = read(
            self._bus.connected, self._name, after, epoch=epoch, subject=subject, until=until
        )
        async with aclosing(reading):
            async for entries in reading:
                yield entries

    async def _configure(self, verb: str, notes: dict[str, str], **more: Any) -> None:
        config = self._config | {"metadata": notes} | more
        await ask(await self._bus.connected(), f"STREAM.{verb}.{self._name}", config)

    async def _store(self, asks: Sequence[Ask]) -> list[int | None]:
        """The position of each, None where it is not known to be stored."""
        answers = await self._bus.request_each(asks, timeout_s=self._timeout_s)
        return [_position(answer) for answer in answers]


def _position(answer: Envelope | ObjectQLError) -> int | None:
    if isinstance(answer, ObjectQLError):
        return None
    try:
        ack = _decode_ack(answer.body)
    except msgspec.MsgspecError:
        return None
    if ack.error is not None:
        log.warning("event_not_stored", extra={"reason": str(ack.error)})
        return None
    return ack.seq
