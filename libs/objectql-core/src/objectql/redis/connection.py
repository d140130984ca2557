"""One connection to Redis: commands out in one write per turn of the event loop, answers in order.

A client of our own, because a cache must cost less than what it saves: with the parser in C and
nothing between it and the future that waits, a look-up costs a quarter of what it costs through
the official client, and a tenth when several share a write (docs/adr/0012).

A connection that answers late is closed. It is not asked again until a new one has shown itself
quick: the handshake is the probe, and being disconnected is the open circuit.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Any, TypeAlias, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import hiredis  # noqa: TID251 - this package is the home of Redis
import msgspec

Command: TypeAlias = tuple[str | bytes | int, ...]


_MORE = object()


class RedisFailed(Exception):
    """Redis is away, late, or does not do what it is told."""


class RedisAddress(msgspec.Struct, frozen=True):
    """Where a server is and how to log in."""

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    database: int = 0
    is_encrypted: bool = False
    ca: str | None = None
    """The file of the authority that signs the server's certificate; None: the system's."""

    @staticmethod
    def of(url: str) -> RedisAddress:
        """`redis[s]://[user[:password]@]host[:port][/database][?ssl_ca_certs=/path]`.

        Raises:
            ValueError: it is no such URL.

        """
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss") or parts.hostname is None:
            raise ValueError("Redis has a URL like redis://host:6379/0")
        return RedisAddress(
            parts.hostname,
            parts.port or 6379,
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            int(parts.path.strip("/") or 0),
            parts.scheme == "rediss",
            dict(parse_qsl(parts.query)).get("ssl_ca_certs"),
        )


class RedisConnection(asyncio.Protocol):
    """Commands of many callers on one socket."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, asyncio.Future[Any] | None]] = deque()
        self._unsent: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None
        self.closed = asyncio.Event()
        self.reason = ""
        """Why it was closed."""
        self.run_id = ""
        """What the server is called from one of its starts to the next."""

    @staticmethod
    async def open(address: RedisAddress, timeout_s: float) -> RedisConnection:
        """A connection whose server answers in time and takes writes.

        Raises:
            RedisFailed: there is none.

        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(max(timeout_s, 1.0)):  # names and TLS take their time
                _, connection = await loop.create_connection(
                    lambda: RedisConnection(timeout_s),
                    address.host,
                    address.port,
                    ssl=ssl.create_default_context(cafile=address.ca)
                    if address.is_encrypted
                    else None,
                )
        except (OSError, TimeoutError) as exc:
            raise RedisFailed(str(exc) or "no connection in time") from exc
        try:
            await connection._greet(address)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _greet(self, address: RedisAddress) -> None:
        commands: list[Command] = []
        if address.password is not None:
            name = () if address.user is None else (address.user,)
            commands.append(("AUTH", *name, address.password))
        if address.database:
            commands.append(("SELECT", address.database))
        answers = await self.ask(*commands, ("INFO", "server"), ("INFO", "replication"))
        facts: dict[str, str] = {}
        for answer in answers[-2:]:
            lines = cast("bytes", answer).decode(errors="replace").splitlines()
            facts |= dict(line.split(":", 1) for line in lines if ":" in line)
        if facts.get("role") not in (None, "master"):
            raise RedisFailed("this server is a replica")
        self.run_id = facts.get("run_id", "")[:16]
        if not self.run_id:
            raise RedisFailed("the server does not tell its run_id")

    async def ask(self, *commands: Command) -> list[Any]:
        """The answers, in order.

        Raises:
            RedisFailed: one of them is an error, or they are not there in time.

        """
        waiting = [self.send(*command) for command in commands]
        return [await future for future in waiting]

    def send(self, *command: str | bytes | int) -> asyncio.Future[Any]:
        """The answer to come; it fails with `RedisFailed`."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._send(command, future)
        return future

    def tell(self, *command: str | bytes | int) -> None:
        """Send a command whose answer nobody waits for."""
        self._send(command, None)

    def _send(self, command: Command, future: asyncio.Future[Any] | None) -> None:
        if self.closed.is_set():
            if future is not None:
                future.set_exception(RedisFailed("not connected"))
            return
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(hiredis.pack_command(command))
        self._waiting.append((self._loop.time(), future))
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_s, self._look_at_the_oldest)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and unsent:
            self._transport.write(b"".join(unsent))

    def _look_at_the_oldest(self, *, is_second_look: bool = False) -> None:
        self._watch = None
        if not self._waiting:
            return
        left_s = self._waiting[0][0] + self._timeout_s - self._loop.time()
        if left_s > 0:
            self._watch = self._loop.call_later(left_s, self._look_at_the_oldest)
        elif not is_second_look:
            # It may be this process that is late: let the loop read what has come meanwhile.
            again = lambda: self._look_at_the_oldest(is_second_look=True)  # noqa: E731
            self._watch = self._loop.call_later(0.001, again)
        else:
            self._fail(RedisFailed(f"no answer within {self._timeout_s * 1000:.0f} ms"))

    def close(self) -> None:
        """Disconnect; whoever waits is told."""
        self._fail(RedisFailed("closed"))

    def _fail(self, reason: RedisFailed) -> None:
        if self.closed.is_set():
            return
        self.closed.set()
        self.reason = str(reason)
        if self._transport is not None:
            self._transport.abort()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        while self._waiting:
            _, future = self._waiting.popleft()
            if future is not None and not future.done():
                future.set_exception(reason)
                future.exception()  # a caller that has been cancelled does not look

    # --- the protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._fail(RedisFailed(str(exc) if exc else "the server hung up"))

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._reader.feed(data)
        while True:
            try:
                answer = self._reader.gets()
            except hiredis.ProtocolError as exc:
                self._fail(RedisFailed(str(exc)))
                return
            if answer is _MORE or not self._waiting:
                return
            _, future = self._waiting.popleft()
            if isinstance(answer, hiredis.ReplyError):
                self._refused(answer, future)
            elif future is not None and not future.done():
                future.set_result(answer)

    def _refused(self, error: Exception, future: asyncio.Future[Any] | None) -> None:
        """A server that has no room goes on answering; any other refusal means it is no use now."""
        failure = RedisFailed(str(error))
        if future is not None and not future.done():
            future.set_exception(failure)
            future.exception()
        if not str(error).startswith("OOM"):
            self._fail(failure)
