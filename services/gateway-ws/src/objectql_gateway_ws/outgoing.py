"""What waits to be sent to one client: bounded, in order, sent as fast as the client reads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable


class Overflow(Exception):
    """The client reads too slowly."""


class Outgoing:
    """A queue of frames with the cursors that they leave the client at.

    More than `limit_bytes` may not wait; a frame alone may be longer.
    """

    def __init__(self, send: Callable[[bytes], Awaitable[None]], limit_bytes: int) -> None:
        self._send = send
        self._limit = limit_bytes
        self._frames: deque[tuple[bytes, str | None]] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self.cursor: str | None = None
        """Where the client is who has read everything that was sent."""

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    def put(self, frame: bytes, cursor: str | None = None) -> None:
        """Send `frame` after everything that waits.

        Raises:
            Overflow: there is too much that waits.

        """
        if self._bytes > self._limit:
            raise Overflow
        self._frames.append((frame, cursor))
        self._bytes += len(frame)
        self._filled.set()

    async def room(self) -> None:
        """Return when less than half of what may wait does."""
        while self._bytes > self._limit // 2:
            self._emptied.clear()
            await self._emptied.wait()

    async def empty(self) -> None:
        """Return when everything was sent."""
        while self._bytes:
            self._emptied.clear()
            await self._emptied.wait()

    async def run(self) -> None:
        """Send until cancelled, or until sending fails."""
        while True:
            while self._frames:
                frame, cursor = self._frames.popleft()
                await self._send(frame)
                self._bytes -= len(frame)
                self.cursor = cursor or self.cursor
                self._emptied.set()
            self._filled.clear()
            await self._filled.wait()
