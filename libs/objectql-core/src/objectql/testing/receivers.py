"""An endpoint for webhooks on this machine, which answers as the test says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeAlias

import msgspec


class Received(NamedTuple):
    """One request; headers by their names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The event's."""
        return self.headers["webhook-id"]

    @property
    def message(self) -> Any:
        """The body as a value."""
        return msgspec.json.decode(self.body)


class Reply(NamedTuple):
    """What is answered; `is_cut` ends the connection without an answer."""

    status: int = 204
    headers: dict[str, str] = {}
    body: bytes = b""
    is_cut: bool = False


Answering: TypeAlias = Callable[[Received], Awaitable[Reply]]


async def accept(_request: Received) -> Reply:  # noqa: RUF029 - an answer may take its time
    """204 to everything."""
    return Reply()


class Receiver:
    """What has come, and how it is answered from now on."""

    def __init__(self, address: str, port: int, scheme: str) -> None:
        self.url = f"{scheme}://{address}:{port}/hook"
        self.port = port
        self.received: list[Received] = []
        self.connections = 0
        self.answer: Answering = accept
        self._news = asyncio.Event()

    async def until(self, enough: Callable[[list[Received]], bool], within_s: float = 30) -> None:
        """Return when what has come is enough.

        Raises:
            AssertionError: it is not within the time.

        """
        try:
            async with asyncio.timeout(within_s):
                while not enough(self.received):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"only {len(self.received)} requests came") from None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which ends with its answer."""
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            pairs = (line.split(":", 1) for line in lines if line)
            headers = {name.lower(): value.strip() for name, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            request = Received(first.split(" ")[1], headers, body)
            reply = await self.answer(request)
            self.received.append(request)
            self._news.set()
            if not reply.is_cut:
                given = {"Content-Length": str(len(reply.body)), "Connection": "close"}
                told = "".join(f"{n}: {v}\r\n" for n, v in (given | reply.headers).items())
                writer.write(f"HTTP/1.1 {reply.status} X\r\n{told}\r\n".encode() + reply.body)
                await writer.drain()
        except (OSError, EOFError):
            pass  # the sender has gone
        finally:
            writer.close()


@asynccontextmanager
async def receiving(
    address: str = "127.0.0.1", *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Receiver]:
    """A receiver that listens on `address`, on a free port unless one is given."""
    made: list[Receiver] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await made[0].serve(reader, writer)

    server = await asyncio.start_server(serve, address, port, ssl=tls)
    number = server.sockets[0].getsockname()[1]
    made.append(Receiver(address, number, "http" if tls is None else "https"))
    try:
        yield made[0]
    finally:
        server.close()
