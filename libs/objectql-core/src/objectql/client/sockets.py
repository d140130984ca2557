"""The socket of a client: one for all its live queries, made again whenever it breaks.

Every subscription has a name of its own each time it is made, so that what an earlier one of the
same live query still tells is known to be old.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import suppress
from http import HTTPStatus
from itertools import count
from math import inf
from typing import Any, Final

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from objectql.client.backoff import Backoff, Patience
from objectql.client.credentials import Credentials, Post
from objectql.client.live import Live
from objectql.client.problems import frame_error
from objectql.errors import NotSupported, ObjectQLError, Unauthenticated

log = logging.getLogger(__name__)

UNAUTHENTICATED: Final = 4401
OPEN_WITHIN_S: Final = 10.0
STEADY_S: Final = 1.0
"""What a socket must last that the next pause is short again."""

FRAME_BYTES: Final = 64 * 1024 * 1024
"""Longest frame that is taken: a snapshot of a thousand records, and far more."""

_REFUSED: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
_HEARD: Final = frozenset({"subscribed", "created", "updated", "deleted", "batch"})


class LiveConnection:
    """Keeps its live queries told, over as many sockets as it takes."""

    def __init__(
        self, url: str, credentials: Credentials, post: Post, *, patience: Patience
    ) -> None:
        self._url = url
        self._credentials = credentials
        self._post = post
        self._patience = patience
        self._backoff = Backoff(patience)
        self._numbers = count(1)
        self._lives: dict[Live, str | None] = {}
        """With the name of the subscription that tells it now; None where none does."""
        self._by_name: dict[str, Live] = {}
        self._pauses: dict[Live, Backoff] = {}
        """Of those that the server could not take lately."""
        self._socket: ClientConnection | None = None
        self._told_to_wait_s = 0.0
        self._refusals = 0
        """In a row, of tokens."""
        self._running: asyncio.Task[None] | None = None
        self._is_closed = False
        self._work: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Hang up; live queries that are still open fail."""
        self._is_closed = True
        running, self._running = self._running, None
        for live in self._lives:
            live.fail(_closed())
        self._lives.clear()
        tasks = [*self._work, *([running] if running else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- live queries --------------------------------------------------------------------------

    def add(self, live: Live) -> None:
        """Tell `live` from now on, until it is removed."""
        if self._is_closed:
            live.fail(_closed())
            return
        self._lives[live] = None
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._run())
            self._running.add_done_callback(self._ended)
        self._subscribe(live)

    def remove(self, live: Live) -> None:
        """Tell `live` no more."""
        if live in self._lives:
            self._unsubscribe(live)
            del self._lives[live]
            self._pauses.pop(live, None)

    def ask_again(self, live: Live) -> None:
        """Go on telling `live` if that was stopped because too much waited."""
        if self._lives.get(live, "") is None and live not in self._pauses:
            self._subscribe(live)

    def _subscribe(self, live: Live) -> None:
        if self._socket is None or self._lives.get(live, "") is not None or live.is_full:
            return
        name = str(next(self._numbers))
        self._lives[live] = name
        self._by_name[name] = live
        self._send({"type": "subscribe", "id": name, **live.request()})

    def _unsubscribe(self, live: Live) -> None:
        name = self._forget(live)
        if name is not None and self._socket is not None:
            self._send({"type": "unsubscribe", "sub": name})

    def _forget(self, live: Live) -> str | None:
        name = self._lives[live]
        if name is not None:
            self._lives[live] = None
            del self._by_name[name]
        return name

    # --- the socket ----------------------------------------------------------------------------

    async def _run(self) -> None:
        while self._lives:
            self._told_to_wait_s = 0.0
            try:
                await self._serve_once()
            except ObjectQLError as exc:
                if not exc.retryable:
                    raise
                self._told_to_wait_s = (exc.retry_after_ms or 0) / 1000
            except InvalidStatus as exc:
                if exc.response.status_code in _REFUSED:
                    raise NotSupported(feature=f"a socket to {self._url}") from exc
            except (WebSocketException, OSError, TimeoutError) as exc:
                log.debug("socket_lost", extra={"reason": str(exc)})
            finally:
                self._socket = None
                for live in self._lives:
                    self._forget(live)
            await asyncio.sleep(self._backoff.failed(at_least_s=self._told_to_wait_s))

    async def _serve_once(self) -> None:
        """Tell over one socket until it breaks.

        Raises:
            ObjectQLError: the server says why it does not serve.

        """
        ready_s = inf
        token = await self._credentials.token(self._post)
        async with connect(
            self._url,
            additional_headers={"Authorization": f"Bearer {token}"},
            max_size=FRAME_BYTES,
            open_timeout=OPEN_WITHIN_S,
            logger=_quiet,
        ) as socket:
            with suppress(ConnectionClosed):
                async with asyncio.timeout(OPEN_WITHIN_S):
                    first: dict[str, Any] = msgspec.json.decode(await socket.recv())
                if first["type"] == "ready":
                    self._refusals = 0
                    ready_s = time.monotonic()
                    self._socket = socket
                    for live in list(self._lives):
                        self._subscribe(live)
                    async for text in socket:
                        self._take(msgspec.json.decode(text))
                elif first.get("code") != Unauthenticated.code:
                    raise frame_error(first)
                else:
                    await socket.wait_closed()
        if time.monotonic() - ready_s >= STEADY_S:
            self._backoff.succeeded()
        if socket.close_code == UNAUTHENTICATED:
            self._refusals += 1
            if self._refusals > 1 or not await self._credentials.renew(token):
                raise Unauthenticated

    def _ended(self, running: asyncio.Task[None]) -> None:
        error = None if running.cancelled() else running.exception()
        if error is not None:
            for live in self._lives:
                live.fail(error)
            self._lives.clear()

    # --- frames --------------------------------------------------------------------------------

    def _take(self, frame: dict[str, Any]) -> None:
        kind, live = frame["type"], self._by_name.get(frame.get("sub", ""))
        if kind == "closing":
            self._told_to_wait_s = frame["reconnect_after_ms"] / 1000
        elif kind == "ping":
            self._send({"type": "pong"})
        elif live is None:
            if kind == "error" and "sub" not in frame:
                log.warning("live_error", extra={"reason": frame.get("message", "")})
        elif kind in _HEARD:
            live.take(frame)
            if kind == "subscribed":
                self._pauses.pop(live, None)
            if live.is_full:
                self._unsubscribe(live)
        elif kind == "resync":
            self._forget(live)
            live.lose(frame["reason"])
            self._subscribe_later(live, 0.0)
        elif kind == "error":
            self._forget(live)
            error = frame_error(frame)
            if error.retryable:
                self._subscribe_later(live, (error.retry_after_ms or 0) / 1000)
            else:
                live.fail(error)

    def _subscribe_later(self, live: Live, at_least_s: float) -> None:
        pauses = self._pauses.setdefault(live, Backoff(self._patience))

        async def wait(pause_s: float) -> None:
            await asyncio.sleep(pause_s)
            if live in self._lives:
                self._subscribe(live)

        self._spawn(wait(pauses.failed(at_least_s=at_least_s)))

    def _send(self, frame: dict[str, Any]) -> None:
        socket = self._socket
        assert socket is not None

        async def send() -> None:
            with suppress(ConnectionClosed):  # whoever reads sees it too
                await socket.send(msgspec.json.encode(frame), text=True)

        self._spawn(send())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)


def _closed() -> RuntimeError:
    return RuntimeError("the client is closed")


_quiet = logging.getLogger("websockets.client.objectql")
_quiet.setLevel(logging.WARNING)  # never tells what is in a handshake
