"""The JetStream stream of change events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from nats.js.api import RetentionPolicy, StorageType, StreamConfig  # noqa: TID251 - home of nats

from objectql.bus.nats.connection import NatsBus
from objectql.bus.nats.reading import read, state_of
from objectql.bus.port import Envelope, StreamEntry, StreamState
from objectql.errors import ObjectQLError, Unavailable
from objectql.wire.frames import Ask
from objectql.wire.headers import MESSAGE_ID
from objectql.wire.stream import StreamMessage
from objectql.wire.subjects import DATA_STREAM, DATA_SUBJECTS

log = logging.getLogger(__name__)


class _Ack(msgspec.Struct):
    """What JetStream answers to a message."""

    seq: int | None = None
    error: Any = None


_decode_ack = msgspec.json.Decoder(_Ack).decode


class NatsEventStream:
    """The JetStream stream of change events. See the `EventStream` port.

    Messages are kept for `max_age_s`; one whose id came within `repeat_window_s` is dropped.
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
        self._mending = asyncio.Lock()
        self._config = StreamConfig(
            name=name,
            subjects=list(subjects),
            storage=StorageType.FILE,
            retention=RetentionPolicy.LIMITS,
            max_age=max_age_s,
            duplicate_window=repeat_window_s,
            num_replicas=replicas,
        )

    async def ensure(self) -> None:
        async with self._mending:
            await self._bus.ensure_stream(self._config)

    async def publish(self, messages: Sequence[StreamMessage]) -> None:
        asks = [Ask(m.subject, {MESSAGE_ID: m.id}, m.body) for m in messages]
        missed = await self._store(asks)
        if missed:
            await self.ensure()  # connected, yet nobody stores: the stream is gone
            if await self._store(missed):
                raise Unavailable(what="the event stream")

    async def state(self) -> StreamState:
        return await state_of(await self._bus.connected(), self._config.name or DATA_STREAM)

    async def read(
        self, after: int, *, epoch: str, subject: str, until: int | None = None
    ) -> AsyncGenerator[Sequence[StreamEntry]]:
        stream = self._config.name or DATA_STREAM
        reading = read(
            self._bus.connected, stream, after, epoch=epoch, subject=subject, until=until
        )
        async with aclosing(reading):
            async for entries in reading:
                yield entries

    async def _store(self, asks: Sequence[Ask]) -> list[Ask]:
        """Those that nobody took, though the bus is connected."""
        missed: list[Ask] = []
        answers = await self._bus.request_each(asks, timeout_s=self._timeout_s)
        for ask, answer in zip(asks, answers, strict=True):
            if isinstance(answer, Unavailable) and self._bus.is_connected:
                missed.append(ask)
            elif isinstance(answer, ObjectQLError):
                raise Unavailable(what="the event stream") from answer
            else:
                _check_stored(answer)
        return missed


def _check_stored(answer: Envelope) -> None:
    try:
        ack = _decode_ack(answer.body)
    except msgspec.MsgspecError as exc:
        raise Unavailable(what="the event stream") from exc
    if ack.error is not None or ack.seq is None:
        log.warning("event_not_stored", extra={"reason": str(ack.error)})
        raise Unavailable(what="the event stream")
