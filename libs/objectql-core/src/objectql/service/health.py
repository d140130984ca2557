"""A small HTTP server for `/live`, `/ready`, `/metrics`, and the few JSON pages of a service.

It answers GET, and commands that have parameters and no body; one request per connection, and needs
no framework. Not for clients' traffic.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple, TypeAlias
from urllib.parse import parse_qsl

import msgspec

MAX_HEAD_BYTES = 16 * 1024
READ_TIMEOUT_S = 5.0


class Page(NamedTuple):
    """What a route answers."""

    status: int
    body: bytes
    content_type: str = "application/json"


Route: TypeAlias = Callable[[], Awaitable[Page]]


class Asked(NamedTuple):
    """Who asks for what: the bearer token, empty where there is none, and the address's parameters."""

    token: str
    parameters: Mapping[str, str]


Command: TypeAlias = Callable[[Asked], Awaitable[Page]]
"""Answers whoever the token is of."""

Check: TypeAlias = Callable[[], str | None]
"""Why the process is not ready, or None. Must be quick: it looks at what is known, it asks nobody."""


def json_page(document: object, status: int = 200) -> Page:
    """`document` as a JSON page."""
    return Page(status, msgspec.json.encode(document))


class Health:
    """The readiness checks of one process."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def add_check(self, name: str, check: Check) -> None:
        """Make readiness depend on `check`."""
        self._checks[name] = check

    def problems(self) -> dict[str, str]:
        """Failing checks with their reasons."""
        found = {name: check() for name, check in self._checks.items()}
        return {name: reason for name, reason in found.items() if reason is not None}

    @property
    def is_ready(self) -> bool:
        return not self.problems()

    async def live_page(self) -> Page:  # noqa: RUF029 - a route is a coroutine
        """200 as long as the event loop turns."""
        return json_page({"status": "live"})

    async def ready_page(self) -> Page:  # noqa: RUF029 - a route is a coroutine
        """200 when every check passes, else 503 with the reasons."""
        problems = self.problems()
        checks = {name: problems.get(name, "ok") for name in self._checks}
        status = "not_ready" if problems else "ready"
        return json_page({"status": status, "checks": checks}, 503 if problems else 200)


class PageServer:
    """Serves `routes` (path to page) and `commands` (as `POST /path`) on one address."""

    def __init__(
        self, routes: dict[str, Route], commands: Mapping[str, Command] = MappingProxyType({})
    ) -> None:
        self._routes = routes
        self._commands = commands
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; with port 0 on any free one, which `port` then tells."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=MAX_HEAD_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and end open connections."""
        if self._server is not None:
            self._server.close()
            for task in self._connections:
                task.cancel()
            if self._connections:
                await asyncio.wait(self._connections)
            await self._server.wait_closed()
            self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(READ_TIMEOUT_S):
                    page = await self._page(reader)
                    writer.write(_head(page) + page.body)
                    await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _page(self, reader: asyncio.StreamReader) -> Page:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return json_page({"error": "bad request"}, 400)
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3:
            return json_page({"error": "bad request"}, 400)
        path, _, parameters = words[1].decode("latin-1").partition("?")
        command = self._commands.get(f"{words[0].decode('latin-1')} {path}")
        if command is not None:
            return await command(Asked(_bearer(head), dict(parse_qsl(parameters))))
        if words[0] not in (b"GET", b"HEAD"):
            return json_page({"error": "method not allowed"}, 405)
        route = self._routes.get(path)
        if route is None:
            return json_page({"error": "not found", "paths": sorted(self._routes)}, 404)
        return await route()


def _bearer(head: bytes) -> str:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        kind, _, token = value.strip().partition(b" ")
        if name.strip().lower() == b"authorization" and kind.lower() == b"bearer":
            return token.strip().decode("latin-1")
    return ""


def _head(page: Page) -> bytes:
    reason = HTTPStatus(page.status).phrase
    return (
        f"HTTP/1.1 {page.status} {reason}\r\n"
        f"content-type: {page.content_type}\r\n"
        f"content-length: {len(page.body)}\r\n"
        "cache-control: no-store\r\n"
        "connection: close\r\n\r\n"
    ).encode("latin-1")
