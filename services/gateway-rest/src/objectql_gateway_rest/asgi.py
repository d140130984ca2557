"""HTTP as the gateway sees it: a request with checked limits, a response that is finished bytes.

Plain ASGI, because the hot routes pay for every layer. What a framework would validate is
validated here: the encoding of path and query, the size of the body, before all of it is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, MutableMapping
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote

from objectql.errors import InvalidRequest, PayloadTooLarge
from objectql.service.addresses import Proxies

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

JSON = b"application/json"
_MAX_PARAMETERS = 256
_WATCH_AFTER_S = 0.02


class ClientGone(Exception):
    """The client hung up before it had its answer; nobody waits for one."""


class Request:
    """One HTTP request. Header names are lower case; a repeated header is joined with commas."""

    __slots__ = ("_body", "_receive", "_scope", "headers", "method", "path", "query_string")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        self.path: str = raw.decode("latin-1")
        self.query_string: bytes = scope["query_string"]
        headers: dict[str, str] = {}
        pairs: Iterable[tuple[bytes, bytes]] = scope["headers"]
        for name_bytes, value_bytes in pairs:
            name, value = name_bytes.decode("latin-1"), value_bytes.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.headers = headers
        self._scope = scope
        self._receive = receive
        self._body: bytes | None = None

    @property
    def peer(self) -> str:
        """The address at the other end of the connection; empty where it has none."""
        client: tuple[str, int] | None = self._scope.get("client")
        return "" if client is None else client[0]

    def client(self, proxies: Proxies) -> str:
        """The address of who sent it, see `Proxies`."""
        return proxies.client(self.peer, self.headers.get("x-forwarded-for", ""))

    def segments(self) -> list[str]:
        """The decoded parts of the path; an encoded slash stays inside its part.

        Raises:
            InvalidRequest: a part is not UTF-8, or holds a NUL.

        """
        try:
            parts = self.path.encode("latin-1").decode().split("/")[1:]
            if "%" in self.path:
                parts = [unquote(part, errors="strict") for part in parts]
        except UnicodeDecodeError as exc:
            raise InvalidRequest(reason="the path is not UTF-8") from exc
        if "\0" in "".join(parts):
            raise InvalidRequest(reason="the path holds a NUL character")
        return parts

    def pairs(self, limit_bytes: int) -> list[tuple[str, str]]:
        """The query parameters in order.

        Raises:
            InvalidRequest: not UTF-8, too long, or too many.

        """
        if not self.query_string:
            return []
        if len(self.query_string) > limit_bytes:
            raise InvalidRequest(reason=f"the query string is longer than {limit_bytes} bytes")
        try:
            return parse_qsl(
                self.query_string.decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=_MAX_PARAMETERS,
            )
        except UnicodeDecodeError as exc:
            raise InvalidRequest(reason="the query string is not percent-encoded UTF-8") from exc
        except ValueError as exc:
            reason = f"there are more than {_MAX_PARAMETERS} query parameters"
            raise InvalidRequest(reason=reason) from exc

    async def body(self, limit_bytes: int) -> bytes:
        """The whole body; a second call returns the same bytes.

        Raises:
            PayloadTooLarge: announced or found longer than `limit_bytes`; the rest is not read.
            ClientGone: the connection ended first.

        """
        if self._body is not None:
            return self._body
        announced = self.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit_bytes:
            raise PayloadTooLarge(limit_bytes=limit_bytes)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > limit_bytes:
                raise PayloadTooLarge(limit_bytes=limit_bytes)
            chunks.append(chunk)
            if not message.get("more_body", False):
                break
        self._body = b"".join(chunks)
        return self._body

    async def hung_up(self) -> None:
        """Return when the client is gone. What is left of the body is lost."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class WhileClientWaits:
    """Work for a client that is cancelled, in the middle of an `await`, when the client hangs up.

    It leaves as `ClientGone`. To be used when the body is read, and only around what may be cut.
    Watching takes a task, so it begins after 20 ms, which few requests reach.
    """

    __slots__ = ("_is_gone", "_request", "_timer", "_watching", "_working")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._watching: asyncio.Task[None] | None = None
        self._is_gone = False

    def __enter__(self) -> None:
        self._working = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_S, self._begin)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if self._is_gone and isinstance(error, asyncio.CancelledError):
            if self._working is not None:
                self._working.uncancel()
            raise ClientGone from error

    def _begin(self) -> None:
        self._watching = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        await self._request.hung_up()
        if self._working is not None:
            self._is_gone = True
            self._working.cancel()


class Response:
    """A finished answer: status, headers beside type and length, body."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        content_type: bytes = JSON,
        headers: RawHeaders | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers: RawHeaders = [] if headers is None else headers

    async def send(self, send: Send, *, with_body: bool = True) -> None:
        """Write it; `with_body` is false for HEAD, which keeps the length."""
        headers = self.headers
        if self.status not in {204, 304}:
            headers = [
                (b"content-type", self.content_type),
                (b"content-length", b"%d" % len(self.body)),
                *headers,
            ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        body = self.body if with_body and self.status not in {204, 304} else b""
        await send({"type": "http.response.body", "body": body})


class StreamedResponse(Response):
    """An answer whose body is made while it is sent; the client learns its length at the end.

    What is raised by `parts` cuts the connection, which tells the client that the body is not
    complete.
    """

    __slots__ = ("_parts",)

    def __init__(self, parts: AsyncIterable[bytes], *, content_type: bytes) -> None:
        super().__init__(content_type=content_type)
        self._parts = parts

    async def send(self, send: Send, *, with_body: bool = True) -> None:
        """Write each part as soon as it is there."""
        headers = [(b"content-type", self.content_type), *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if with_body:
            try:
                async for part in self._parts:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            except ClientGone:
                return
        await send({"type": "http.response.body", "body": b""})
