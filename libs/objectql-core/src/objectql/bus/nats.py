"""The bus on NATS; the only importer of nats.

A connection that breaks is thrown away, with whatever the client still had in its buffers, and a
new one is made: so no request is sent after its caller has been told that it failed, and start,
reconnect and a refused login are one path. Requests share one inbox subscription. Handlers run as
tasks, because nats-py awaits the callbacks of a subscription one by one.
"""

# pyright: reportUnknownMemberType=false
# nats-py leaves the parameters of its futures and options open.

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import nats.errors  # noqa: TID251 - home of nats
import nats.js.errors  # noqa: TID251
from nats.aio.client import Client  # noqa: TID251
from nats.aio.msg import Msg  # noqa: TID251
from nats.aio.subscription import Subscription  # noqa: TID251
from nats.js.api import RetentionPolicy, StorageType, StreamConfig  # noqa: TID251
from nats.micro.request import Request  # noqa: TID251
from nats.micro.service import (  # noqa: TID251
    Endpoint,
    EndpointConfig,
    Service,
    ServiceConfig,
)

from objectql.bus.chunks import Joiner, split
from objectql.bus.port import Envelope, Handler, Listener, Unsubscribe
from objectql.errors import (
    DeadlineExceeded,
    ObjectQLError,
    OutcomeUnknown,
    PayloadTooLarge,
    Unavailable,
)
from objectql.wire.headers import ERROR, MESSAGE_ID
from objectql.wire.subjects import DATA_STREAM, DATA_SUBJECTS

log = logging.getLogger(__name__)

_NO_RESPONDERS = "503"
_HEADER_ROOM_BYTES = 64 * 1024
"""The server counts headers into its limit, the client does not."""


class _ConcurrentEndpoint(Endpoint):
    """An endpoint whose requests run at the same time, and whose end loses none of them."""

    def __init__(
        self,
        service: Service,
        *,
        subject: str,
        queue: str | None,
        handler: Handler,
        client: Client,
        running: set[asyncio.Task[None]],
    ) -> None:
        name = subject.rsplit(".", 1)[-1]
        config = EndpointConfig(name=name, subject=subject, queue_group=queue, handler=self._answer)
        super().__init__(service, config)
        self._answer_with = handler
        self._client = client
        self._running = running

    async def start(self) -> None:
        await super()._start()

    async def _handle_request(self, msg: Msg) -> None:
        task = asyncio.ensure_future(super()._handle_request(msg))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, request: Request) -> None:
        headers = request.headers or {}
        reply = await self._answer_with(
            Envelope(subject=request.subject, body=request.data, headers=headers)
        )
        if ERROR in reply.headers:
            self._num_errors += 1
            self._last_error = reply.headers[ERROR]
        reply_to = request._msg.reply  # pyright: ignore[reportPrivateUsage] - has no other way
        try:
            for piece in split(reply):
                await self._client.publish(
                    reply_to, piece.body, headers=dict(piece.headers) or None
                )
        except nats.errors.Error as exc:  # the connection broke; the caller has been told so
            log.info("reply_lost", extra={"reason": repr(exc), "subject": request.subject})

    async def _stop(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.drain()  # `unsubscribe` would discard what has arrived


@dataclass(eq=False)
class _Waiting:
    """A request without its answer yet."""

    answer: asyncio.Future[Envelope]
    joiner: Joiner = field(default_factory=Joiner)

    def fail(self, error: ObjectQLError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(eq=False)
class _Subscribed:
    """A subscription that is made anew on every connection."""

    subject: str
    listener: Listener
    live: Subscription | None = None

    async def install(self, client: Client) -> None:
        async def deliver(msg: Msg) -> None:
            await self.listener(_envelope(msg))

        self.live = await client.subscribe(self.subject, cb=deliver)


@dataclass(eq=False)
class _Served:
    """A micro service that is made anew on every connection."""

    config: ServiceConfig
    handlers: Mapping[str, Handler]
    running: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    live: Service | None = None

    async def install(self, client: Client) -> None:
        service = Service(client, self.config)
        for subject, handler in self.handlers.items():
            endpoint = _ConcurrentEndpoint(
                service,
                subject=subject,
                queue=self.config.queue_group,
                handler=handler,
                client=client,
                running=self.running,
            )
            await endpoint.start()
            service._endpoints.append(endpoint)  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType] - add_endpoint makes its own kind
        await service.start()
        self.live = service


class NatsBus:
    """One connection that is kept for as long as the process lives. See the `Bus` port.

    `url` may name several servers, separated by commas, with user and password or a token.
    `credentials` is the path of a NATS credentials file.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        credentials: str | None = None,
        reconnect_wait_s: float = 0.5,
        ping_interval_s: float = 2.0,
    ) -> None:
        self._options: dict[str, Any] = {
            "servers": [server.strip() for server in url.split(",")],
            "name": name,
            "user_credentials": credentials,
            "allow_reconnect": False,
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0.05,
            "connect_timeout": 2,
            "ping_interval": ping_interval_s,
            "max_outstanding_pings": 2,
            "error_cb": _note_error,
        }
        self._reconnect_wait_s = reconnect_wait_s
        self._client: Client | None = None
        self._inbox = ""
        self._tokens = itertools.count()
        self._waiting: dict[str, _Waiting] = {}
        self._kept: list[_Subscribed | _Served] = []
        self._installing = asyncio.Lock()
        self._up = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self.on_connection: list[Callable[[bool], None]] = []

    @classmethod
    async def connect(
        cls, url: str, *, name: str, credentials: str | None = None, wait_s: float = 5.0
    ) -> NatsBus:
        """A bus that is connected, or that goes on trying after `wait_s`."""
        bus = cls(url, name=name, credentials=credentials)
        await bus.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await bus.wait_connected()
        return bus

    async def start(self) -> None:
        """Begin to connect, and to reconnect forever, in the background."""
        if self._keeper is None:
            self._keeper = asyncio.ensure_future(self._keep_connected())

    async def wait_connected(self) -> None:
        """Return once there is a connection."""
        while not self.is_connected:
            self._up.clear()  # what was set told of a connection that has broken since
            await self._up.wait()

    @property
    def is_connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    # --- the port ------------------------------------------------------------------------

    async def request(
        self, subject: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float
    ) -> Envelope:
        client = self._live_client(body, headers)
        loop = asyncio.get_running_loop()
        token = str(next(self._tokens))
        waiting = _Waiting(loop.create_future())
        self._waiting[token] = waiting
        timer = loop.call_later(timeout_s, _expire, waiting)
        try:
            try:
                await client.publish(
                    subject, body, reply=self._inbox + token, headers=dict(headers) or None
                )
            except nats.errors.Error as exc:
                raise Unavailable(what="the bus") from exc
            return await waiting.answer
        finally:
            timer.cancel()
            del self._waiting[token]
            waiting.answer.cancel()

    async def publish(
        self, subject: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        client = self._live_client(body, headers or {})
        try:
            await client.publish(subject, body, headers=dict(headers) if headers else None)
        except nats.errors.Error as exc:
            raise Unavailable(what="the bus") from exc

    async def subscribe(self, subject: str, listener: Listener) -> Unsubscribe:
        kept = _Subscribed(subject, listener)
        await self._keep(kept)

        async def unsubscribe() -> None:
            async with self._installing:
                self._kept.remove(kept)
            if kept.live is not None:
                with suppress(nats.errors.Error):
                    await kept.live.unsubscribe()

        return unsubscribe

    async def serve(
        self, service: str, queue: str, handlers: Mapping[str, Handler], *, version: str
    ) -> Unsubscribe:
        kept = _Served(ServiceConfig(name=service, version=version, queue_group=queue), handlers)
        await self._keep(kept)

        async def unsubscribe() -> None:
            async with self._installing:
                self._kept.remove(kept)
            if kept.live is not None and self.is_connected:
                with suppress(nats.errors.Error):
                    await kept.live.stop()
            while kept.running:
                await asyncio.wait(kept.running)

        return unsubscribe

    async def flush(self) -> None:
        """Return when the server has taken everything sent so far.

        Raises:
            Unavailable: the bus is not connected, or the server does not answer.

        """
        client = self._live_client(b"", {})
        try:
            await client.flush(timeout=2)
        except nats.errors.Error as exc:
            raise Unavailable(what="the bus") from exc

    async def close(self) -> None:
        client, self._client = self._client, None
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None
        self._lose_waiting()
        if client is not None and client.is_connected:
            with suppress(nats.errors.Error, OSError):
                await client.flush(timeout=1)
            await client.close()

    async def ensure_stream(self, config: StreamConfig) -> None:
        """Create or update a JetStream stream.

        Raises:
            Unavailable: JetStream does not answer.

        """
        jetstream = self._live_client(b"", {}).jetstream(timeout=2)
        try:
            try:
                await jetstream.add_stream(config)
            except nats.js.errors.BadRequestError:  # it exists with another configuration
                await jetstream.update_stream(config)
        except (nats.errors.Error, OSError) as exc:
            raise Unavailable(what="the event stream") from exc

    # --- the connection ------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        was_told = False
        while True:
            lost = asyncio.Event()
            client = Client()
            try:
                await self._open(client, lost)
            except (OSError, TimeoutError, nats.errors.Error) as exc:
                if not was_told:
                    log.warning("bus_unreachable", extra={"reason": repr(exc)})
                was_told = True
                await _discard(client)
            else:
                was_told = False
                self._tell(is_up=True)
                await lost.wait()
                self._tell(is_up=False)
                self._client = None
                self._lose_waiting()
            # Half to whole of the wait, so that a fleet does not come back as one.
            await asyncio.sleep(self._reconnect_wait_s * (0.5 + random.random() / 2))  # noqa: S311

    async def _open(self, client: Client, lost: asyncio.Event) -> None:
        async def closed() -> None:  # noqa: RUF029 - nats-py wants a coroutine
            lost.set()

        await client.connect(**self._options, closed_cb=closed)
        async with self._installing:
            inbox = client.new_inbox() + "."
            await client.subscribe(inbox + "*", cb=self._on_reply)
            for kept in self._kept:
                await kept.install(client)
            await client.flush(timeout=2)
            self._inbox = inbox
            self._client = client

    def _tell(self, *, is_up: bool) -> None:
        (self._up.set if is_up else self._up.clear)()
        log.info("bus_connected" if is_up else "bus_disconnected")
        for listener in self.on_connection:
            listener(is_up)

    async def _keep(self, kept: _Subscribed | _Served) -> None:
        async with self._installing:
            self._kept.append(kept)
            client = self._client
            if client is not None and client.is_connected:
                # A connection that breaks just now: the next one installs it.
                with suppress(nats.errors.Error):
                    await kept.install(client)
                    await client.flush(timeout=2)

    def _live_client(self, body: bytes, headers: Mapping[str, str]) -> Client:
        client = self._client
        if client is None or not client.is_connected:
            raise Unavailable(what="the bus")
        if len(body) + _HEADER_ROOM_BYTES > client.max_payload:
            size = len(body) + 16 + sum(len(k) + 4 * len(v) + 4 for k, v in headers.items())
            if size > client.max_payload:
                raise PayloadTooLarge(limit_bytes=client.max_payload - _HEADER_ROOM_BYTES)
        return client

    def _lose_waiting(self) -> None:
        for waiting in list(self._waiting.values()):
            waiting.fail(OutcomeUnknown())

    async def _on_reply(self, msg: Msg) -> None:  # noqa: RUF029 - nats-py wants a coroutine
        waiting = self._waiting.get(msg.subject.rsplit(".", 1)[-1])
        if waiting is None or waiting.answer.done():
            return
        headers = msg.headers or {}
        if not msg.data and headers.get("Status") == _NO_RESPONDERS:
            waiting.fail(Unavailable(what="the service"))
            return
        try:
            whole = waiting.joiner.add(msg.subject, msg.data, headers)
        except ValueError as exc:
            log.warning("reply_malformed", extra={"reason": str(exc)})
            waiting.fail(OutcomeUnknown())
            return
        if whole is not None:
            waiting.answer.set_result(whole)


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


def _envelope(msg: Msg) -> Envelope:
    return Envelope(subject=msg.subject, body=msg.data, headers=msg.headers or {})


def _expire(waiting: _Waiting) -> None:
    waiting.fail(DeadlineExceeded())


async def _discard(client: Client) -> None:
    with suppress(OSError, nats.errors.Error):
        await client.close()


async def _note_error(error: Exception) -> None:  # noqa: RUF029 - nats-py wants a coroutine
    log.debug("bus_error", extra={"reason": repr(error)})
