"""Serving a queue group's requests: one in a message, or several.

Every subject is an endpoint of a NATS micro service, so `$SRV.PING`, `INFO` and `STATS` tell of
each verb. Verbs of a service (`oql.v1.rpc.<service>.<verb>`) are also served together at
`...<service>.many`; there an answer leaves as soon as it is done, with those that are done in the
same turn of the loop. Handlers run as tasks, because nats-py awaits the callbacks of a
subscription one by one.
"""

# pyright: reportUnknownMemberType=false
# nats-py leaves the parameters of its futures and options open.

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import nats.errors  # noqa: TID251 - home of nats
from nats.aio.client import Client  # noqa: TID251
from nats.aio.msg import Msg  # noqa: TID251
from nats.aio.subscription import Subscription  # noqa: TID251
from nats.micro.request import Request  # noqa: TID251
from nats.micro.service import (  # noqa: TID251
    Endpoint,
    EndpointConfig,
    Service,
    ServiceConfig,
)

from objectql.bus.chunks import split
from objectql.bus.gather import Gather
from objectql.bus.nats.calls import NO_RESPONDERS, STATUS
from objectql.bus.port import Envelope, Handler
from objectql.wire import codec
from objectql.wire.frames import Answer, Answers, Ask, Cancel, Frame, packs
from objectql.wire.headers import ERROR
from objectql.wire.subjects import is_inbox, rpc_cancel, rpc_many, rpc_service

log = logging.getLogger(__name__)

_MAX_ANSWERS = 64
"""In one message: they all go to one process, so only their length matters."""

Tasks = set[asyncio.Task[None]]


@dataclass(frozen=True)
class _Host:
    """What the endpoints of one service on one connection share."""

    service: Service
    client: Client
    queue: str | None
    running: Tasks


class _Endpoint(Endpoint):
    """One subject, whose end loses none of its requests."""

    def __init__(self, host: _Host, subject: str) -> None:
        name = subject.rsplit(".", 1)[-1]
        config = EndpointConfig(
            name=name, subject=subject, queue_group=host.queue, handler=_never_called
        )
        super().__init__(host.service, config)
        self._client = host.client
        self._running = host.running

    async def start(self) -> None:
        await super()._start()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def count(self, started_ns: int, error: str | None) -> None:
        """What `$SRV.STATS` tells."""
        self._num_requests += 1
        self._processing_time += time.perf_counter_ns() - started_ns
        self._average_processing_time = self._processing_time // self._num_requests
        if error is not None:
            self._num_errors += 1
            self._last_error = error

    async def _stop(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.drain()  # `unsubscribe` would discard what has arrived


class _Verb(_Endpoint):
    """Requests that come alone; also keeps count of those that come with others."""

    def __init__(self, host: _Host, subject: str, handler: Handler) -> None:
        super().__init__(host, subject)
        self._answer_with = handler

    async def answer(self, envelope: Envelope) -> Envelope:
        started_ns = time.perf_counter_ns()
        reply = await self._answer_with(envelope)
        self.count(started_ns, reply.headers.get(ERROR))
        return reply

    async def _handle_request(self, msg: Msg) -> None:  # noqa: RUF029 - nats-py wants a coroutine
        self.spawn(self._answer_alone(msg))

    async def _answer_alone(self, msg: Msg) -> None:
        if not is_inbox(msg.reply):
            log.warning("reply_refused", extra={"subject": msg.reply})
            return
        reply = await self.answer(
            Envelope(subject=msg.subject, body=msg.data, headers=msg.headers or {})
        )
        try:
            for piece in split(reply):
                await self._client.publish(
                    msg.reply, piece.body, headers=dict(piece.headers) or None
                )
        except nats.errors.Error as exc:
            _lost(exc)


class _Many(_Endpoint):
    """Requests that come together: each runs, fails, is cancelled and answered by itself."""

    def __init__(
        self, host: _Host, prefix: str, verbs: Mapping[str, _Verb], cancellable: Collection[str]
    ) -> None:
        super().__init__(host, rpc_many(prefix))
        self._cancel_subject = rpc_cancel(prefix)
        self._verbs = verbs
        self._cancellable = cancellable
        self._cancels: Subscription | None = None
        self._stoppable: dict[tuple[str, int], asyncio.Task[None]] = {}
        self.answers = Gather(self._send)

    async def start(self) -> None:
        await super().start()
        self._cancels = await self._client.subscribe(self._cancel_subject, cb=self._on_cancel)

    async def stop_cancels(self) -> None:
        """Hear of cancellations no more; called when nothing runs."""
        if self._cancels is not None:
            await self._cancels.unsubscribe()

    async def _handle_request(self, msg: Msg) -> None:  # noqa: RUF029 - nats-py wants a coroutine
        started_ns = time.perf_counter_ns()
        try:
            frame = codec.decode(Frame, msg.data)
        except msgspec.MsgspecError as exc:  # whoever sent it hears its deadline pass
            log.warning("frame_malformed", extra={"reason": str(exc)})
            self.count(started_ns, "malformed")
            return
        if not is_inbox(frame.answers):  # else whoever may call could publish what we may
            log.warning("reply_refused", extra={"subject": frame.answers})
            self.count(started_ns, "malformed")
            return
        for number, ask in enumerate(frame.asks, frame.first):
            verb = self._verbs.get(ask.subject)
            if verb is None:
                refusal = Answer(number, {STATUS: NO_RESPONDERS}, b"")
                self.answers.add(frame.answers, refusal)
                continue
            task = self.spawn(self._answer(verb, ask, frame.answers, number))
            if ask.subject in self._cancellable:
                self._stoppable[frame.answers, number] = task
        self.count(started_ns, None)

    async def _answer(self, verb: _Verb, ask: Ask, to: str, number: int) -> None:
        try:
            reply = await verb.answer(
                Envelope(subject=ask.subject, body=ask.body, headers=ask.headers)
            )
        finally:
            self._stoppable.pop((to, number), None)
        for piece in split(reply):
            if not self.answers.add(to, Answer(number, dict(piece.headers), piece.body)):
                _lost("the connection is gone")

    async def _on_cancel(self, msg: Msg) -> None:  # noqa: RUF029 - nats-py wants a coroutine
        try:
            note = codec.decode(Cancel, msg.data)
        except msgspec.MsgspecError as exc:
            log.warning("cancel_malformed", extra={"reason": str(exc)})
            return
        for number in note.numbers:
            task = self._stoppable.pop((note.answers, number), None)
            if task is not None:
                task.cancel()

    async def _send(self, to: str, answers: list[Answer]) -> None:
        try:
            for pack in packs(answers, _length, max_items=_MAX_ANSWERS):
                await self._client.publish(to, codec.encode(Answers(tuple(pack))))
        except nats.errors.Error as exc:
            _lost(exc)


@dataclass(eq=False)
class Served:
    """A micro service that is made anew on every connection."""

    config: ServiceConfig
    handlers: Mapping[str, Handler]
    cancellable: Collection[str] = ()
    running: Tasks = field(default_factory=set[asyncio.Task[None]])
    _live: Service | None = None
    _many: list[_Many] = field(default_factory=list[_Many])

    async def install(self, client: Client) -> None:
        """Serve on this connection."""
        service = Service(client, self.config)
        host = _Host(service, client, self.config.queue_group, self.running)
        verbs = {
            subject: _Verb(host, subject, handler) for subject, handler in self.handlers.items()
        }
        prefixes = {prefix for subject in verbs if (prefix := rpc_service(subject)) is not None}
        self._many = [_Many(host, prefix, verbs, self.cancellable) for prefix in sorted(prefixes)]
        for endpoint in (*verbs.values(), *self._many):
            await endpoint.start()
            service._endpoints.append(endpoint)  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType] - add_endpoint makes its own kind
        await service.start()
        self._live = service

    async def stop(self, *, is_connected: bool) -> None:
        """Take nothing more and return when what was taken is answered."""
        if self._live is not None and is_connected:
            try:
                await self._live.stop()
            except nats.errors.Error as exc:
                log.debug("bus_error", extra={"reason": repr(exc)})
        while self.running:
            await asyncio.wait(self.running)
        for many in self._many:
            await many.answers.emptied()
            try:
                await many.stop_cancels()
            except nats.errors.Error as exc:
                log.debug("bus_error", extra={"reason": repr(exc)})


def _length(answer: Answer) -> int:
    return len(answer.body)


def _lost(reason: object) -> None:
    """The connection broke; the caller has been told so."""
    log.info("reply_lost", extra={"reason": repr(reason)})


async def _never_called(_: Request) -> None:
    """Endpoints take their messages themselves."""
