"""One connection to NATS, kept for as long as the process lives.

A connection that breaks is thrown away, with whatever the client still had in its buffers, and a
new one is made: so no request is sent after its caller has been told that it failed, and start,
reconnect and a refused login are one path.
"""

# pyright: reportUnknownMemberType=false
# nats-py leaves the parameters of its futures and options open.

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import nats.errors  # noqa: TID251 - home of nats
import nats.js.errors  # noqa: TID251
from nats.aio.client import Client  # noqa: TID251
from nats.aio.msg import Msg  # noqa: TID251
from nats.aio.subscription import Subscription  # noqa: TID251
from nats.js.api import StreamConfig  # noqa: TID251
from nats.micro.service import ServiceConfig  # noqa: TID251

from objectql.bus.nats.calls import Calls
from objectql.bus.nats.login import Login, discard
from objectql.bus.nats.service import Served
from objectql.bus.port import Envelope, Handler, Listener, Unsubscribe
from objectql.errors import ObjectQLError, PayloadTooLarge, Unavailable
from objectql.wire.access import DEFAULT_INBOX
from objectql.wire.frames import Ask

log = logging.getLogger(__name__)

_LOOK_S = 0.5
"""How often a connection is looked at."""

_HEADER_ROOM_BYTES = 64 * 1024
"""The server counts headers into its limit, the client does not."""


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


class NatsBus:
    """One connection that is kept for as long as the process lives. See the `Bus` port.

    `login` says to which servers and as whom; a text is their addresses. Answers are heard below
    `inbox`.
    """

    def __init__(
        self,
        login: Login | str,
        *,
        name: str,
        inbox: str = DEFAULT_INBOX,
        reconnect_wait_s: float = 0.5,
        ping_interval_s: float = 2.0,
    ) -> None:
        self._login = Login(servers=login) if isinstance(login, str) else login
        self._options: dict[str, Any] = {
            "name": name,
            "inbox_prefix": inbox,
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
        self._calls: Calls | None = None
        self._kept: list[_Subscribed | Served] = []
        self._installing = asyncio.Lock()
        self._up = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self.on_connection: list[Callable[[bool], None]] = []

    @classmethod
    async def connect(cls, login: Login | str, *, name: str, wait_s: float = 5.0) -> NatsBus:
        """A bus that is connected, or that goes on trying after `wait_s`."""
        bus = cls(login, name=name)
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

    async def connected(self) -> Client:
        """The connection that there is, or the next one."""
        while (client := self._client) is None or not client.is_connected:
            await self.wait_connected()
        return client

    @property
    def is_connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    # --- the port ------------------------------------------------------------------------

    async def request(
        self, subject: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float
    ) -> Envelope:
        self._live_client(body, headers)
        if self._calls is None:
            raise Unavailable(what="the bus")
        return await self._calls.request(subject, body, headers, timeout_s)

    async def request_each(
        self, asks: Sequence[Ask], *, timeout_s: float
    ) -> list[Envelope | ObjectQLError]:
        """The answers to requests that are waited for together, errors among them.

        Raises:
            Unavailable: the bus is not connected; nothing was sent.
            PayloadTooLarge: one is; nothing was sent.

        """
        for ask in asks:
            self._live_client(ask.body, ask.headers)
        if self._calls is None:
            raise Unavailable(what="the bus")
        return await self._calls.request_each(asks, timeout_s)

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
        self,
        service: str,
        queue: str,
        handlers: Mapping[str, Handler],
        *,
        version: str,
        cancellable: Collection[str] = (),
    ) -> Unsubscribe:
        config = ServiceConfig(name=service, version=version, queue_group=queue)
        kept = Served(config, handlers, cancellable)
        await self._keep(kept)

        async def unsubscribe() -> None:
            async with self._installing:
                self._kept.remove(kept)
            await kept.stop(is_connected=self.is_connected)

        return unsubscribe

    async def flush(self) -> None:
        """Return when the server has taken everything sent so far.

        Raises:
            Unavailable: the bus is not connected, or the server does not answer.

        """
        client = self._live_client(b"", {})
        try:
            await _flush(client)
        except nats.errors.Error as exc:
            raise Unavailable(what="the bus") from exc

    async def close(self) -> None:
        client, self._client = self._client, None
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None
        self._lose_calls()
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
            client = self._login.client()
            try:
                await self._open(client, lost)
            except (OSError, TimeoutError, nats.errors.Error) as exc:
                if not was_told:
                    log.warning("bus_unreachable", extra={"reason": repr(exc)})
                was_told = True
                await discard(client)
            else:
                was_told = False
                self._tell(is_up=True)
                await _ended(client, lost)
                self._tell(is_up=False)
                self._client = None
                self._lose_calls()
            # Half to whole of the wait, so that a fleet does not come back as one.
            await asyncio.sleep(self._reconnect_wait_s * (0.5 + random.random() / 2))  # noqa: S311

    async def _open(self, client: Client, lost: asyncio.Event) -> None:
        async def closed() -> None:  # noqa: RUF029 - nats-py wants a coroutine
            lost.set()

        await client.connect(**self._login.options(), **self._options, closed_cb=closed)
        async with self._installing:
            calls = Calls(client)
            await calls.start()
            for kept in self._kept:
                await kept.install(client)
            await _flush(client)
            self._calls = calls
            self._client = client

    def _tell(self, *, is_up: bool) -> None:
        (self._up.set if is_up else self._up.clear)()
        log.info("bus_connected" if is_up else "bus_disconnected")
        for listener in self.on_connection:
            listener(is_up)

    async def _keep(self, kept: _Subscribed | Served) -> None:
        async with self._installing:
            self._kept.append(kept)
            client = self._client
            if client is not None and client.is_connected:
                # A connection that breaks just now: the next one installs it.
                with suppress(nats.errors.Error):
                    await kept.install(client)
                    await _flush(client)

    def _live_client(self, body: bytes, headers: Mapping[str, str]) -> Client:
        client = self._client
        if client is None or not client.is_connected:
            raise Unavailable(what="the bus")
        if len(body) + _HEADER_ROOM_BYTES > client.max_payload:
            size = len(body) + 16 + sum(len(k) + 4 * len(v) + 4 for k, v in headers.items())
            if size > client.max_payload:
                raise PayloadTooLarge(limit_bytes=client.max_payload - _HEADER_ROOM_BYTES)
        return client

    def _lose_calls(self) -> None:
        calls, self._calls = self._calls, None
        if calls is not None:
            calls.lose()


def _envelope(msg: Msg) -> Envelope:
    return Envelope(subject=msg.subject, body=msg.data, headers=msg.headers or {})


async def _ended(client: Client, lost: asyncio.Event) -> None:
    """Return when the connection has ended.

    nats-py calls back then, unless the server goes while something waits to be written: its
    `_close` writes that first, and ends with the error of the socket. So it is looked at too.
    """
    while not lost.is_set():
        was_connected = client.is_connected
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                await lost.wait()
        if not was_connected and not lost.is_set():
            transport = vars(client)["_transport"]  # nobody else closes it any more
            transport.close()
            return


async def _flush(client: Client) -> None:
    """Return when the server has taken everything that was sent.

    nats-py writes a ping past what waits to be written, so the first answer proves nothing.
    """
    await client.flush(timeout=2)
    await client.flush(timeout=2)


async def _note_error(error: Exception) -> None:  # noqa: RUF029 - nats-py wants a coroutine
    if "permissions violation" in str(error).lower():
        log.warning("bus_permission_refused", extra={"reason": str(error)})
    else:
        log.debug("bus_error", extra={"reason": repr(error)})
