"""One system call per response: what is written to a client in one turn of the loop leaves together.

uvicorn writes the head and the body of a response one after the other, and uvloop hands each to the
system at once. A write costs more than most of what the gateway does for a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HELD: Final = 64 * 1024
"""Bytes. Beyond that nothing is saved, and whoever streams must feel that the client is slow."""


class CorkedTransport(asyncio.Transport):
    """`transport`, except that what is written leaves at the end of this turn of the loop."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._call_soon = asyncio.get_running_loop().call_soon
        self._held: list[bytes] = []
        self._held_bytes = 0
        # Called for each request, so they go straight to the transport.
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data` soon, together with what else is written until then."""
        if not self._held:
            self._call_soon(self._flush)
        self._held.append(bytes(data))
        self._held_bytes += len(data)
        if self._held_bytes > MAX_HELD:
            self._flush()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """See `write`."""
        for data in list_of_data:
            self.write(data)

    def close(self) -> None:
        """Close when everything written has been sent."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._held = []
        self._transport.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `asyncio.BaseTransport`."""
        return self._transport.get_extra_info(name, default)

    def _flush(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        if held and not self._transport.is_closing():
            self._transport.write(b"".join(held))


class CorkedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 on a `CorkedTransport`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(CorkedTransport(transport))
