"""What one connection may take: time to send a head and a body, and how long a head may be.

A request that is there when its bytes are read, as nearly all are, costs one comparison. Only one
that is not gets a timer, so a client that sends a byte now and then is answered 408 and hung up on
(the attack is called Slowloris).
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from objectql_gateway_rest.corked import CorkedProtocol

MAX_HEADERS: Final = 100
MAX_HEAD_BYTES: Final = 64 * 1024

HEAD_TIMEOUT_S = 15.0
BODY_TIMEOUT_S = 60.0

_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
}


class GuardedProtocol(CorkedProtocol):
    """`CorkedProtocol` within these bounds."""

    head_timeout_s: float = HEAD_TIMEOUT_S
    body_timeout_s: float = BODY_TIMEOUT_S

    _timer: asyncio.TimerHandle | None = None
    _awaited: object = None
    _head_bytes: int = 0
    _refusal: int = 400

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._wait_for("head", self.head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        super().connection_lost(exc)
        self._wait_for(None, 0)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        cycle = self._cycle
        if cycle is None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(431)
                return
            self._wait_for("head", self.head_timeout_s)
        elif cycle.more_body:
            self._wait_for(cycle, self.body_timeout_s)
        elif self._awaited is not None:
            self._wait_for(None, 0)

    @property
    def _cycle(self) -> RequestResponseCycle | None:
        """The request that was last begun, once its head is there."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle if cycle is not None and cycle.scope is self.scope else None

    def on_headers_complete(self) -> None:
        """See `httptools.HttpRequestParser`."""
        self._head_bytes = 0
        if len(self.headers) > MAX_HEADERS:
            self._refusal = 431
            raise ValueError("too many headers")
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, and hang up."""
        del msg
        if not self.transport.is_closing():
            self._refuse(self._refusal)

    def _wait_for(self, what: object, seconds: float) -> None:
        """Allow `seconds` until `what` is there; goes on where that is already waited for."""
        if what == self._awaited:
            return
        self._awaited = what
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if what is not None:
            self._timer = self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if self.transport.is_closing():
            return
        cycle = self._cycle
        if cycle is not None and cycle.response_started:
            self.transport.close()
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        lines = [b"HTTP/1.1 %d %s" % (status, _REASONS[status])]
        lines += [name + b": " + value for name, value in self.server_state.default_headers]
        lines += [b"content-length: 0", b"connection: close", b"", b""]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()
