"""The JetStream stream of change events."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, cast

from nats.js.api import RetentionPolicy, StorageType, StreamConfig  # noqa: TID251 - home of nats

from objectql.bus.nats.connection import NatsBus
from objectql.errors import DeadlineExceeded, OutcomeUnknown, Unavailable
from objectql.wire.headers import MESSAGE_ID
from objectql.wire.subjects import DATA_STREAM, DATA_SUBJECTS

log = logging.getLogger(__name__)


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

    async def publish(self, subject: str, body: bytes, message_id: str) -> None:
        headers = {MESSAGE_ID: message_id}
        try:
            try:
                reply = await self._bus.request(subject, body, headers, timeout_s=self._timeout_s)
            except Unavailable:
                if not self._bus.is_connected:
                    raise
                await self.ensure()  # connected, yet nobody stores: the stream is gone
                reply = await self._bus.request(subject, body, headers, timeout_s=self._timeout_s)
        except (DeadlineExceeded, OutcomeUnknown) as exc:
            raise Unavailable(what="the event stream") from exc
        try:
            ack = cast("dict[str, Any]", json.loads(reply.body))
        except ValueError as exc:
            raise Unavailable(what="the event stream") from exc
        if "error" in ack or "seq" not in ack:
            log.warning("event_not_stored", extra={"reason": str(ack.get("error"))})
            raise Unavailable(what="the event stream")
