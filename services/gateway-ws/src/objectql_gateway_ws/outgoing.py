"""What waits to be sent to one client: bounded, in order, sent as fast as the client reads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

_AT_ONCE: Final = 64 * 1024
"""Bytes that are sent together: a call of the system costs more than making most frames."""


class Overflow(Exception):
    """The client reads too slowly."""


class News(Protocol):
    """What has something to tell, whose frame is made when the client can take it."""

    def take_news(self) -> tuple[bytes, str] | None:
        """The frame and its cursor; None: nothing is new after all."""
        ...


class Outgoing:
    """A queue of frames with the cursors that they leave the client at, and behind it those with news.

    More than `limit_bytes` may not wait; a frame alone may be longer. News do not count: they are
    frames only when they are sent.
    """

    def __init__(
        self, send: Callable[[Sequence[bytes]], Awaitable[None]], limit_bytes: int
    ) -> None:
        """`send` returns when the client has room for more."""
        self._send = send
        self._limit = limit_bytes
        self._frames: deque[tuple[bytes, str | None]] = deque()
        self._later: dict[News, None] = {}
        self._bytes = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self.cursor: str | None = None
        """Where the client is who has read everything that was sent, or is being sent."""

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

    def put_later(self, news: News) -> None:
        """Ask `news` for a frame when nothing else waits."""
        self._later[news] = None
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

    def drop(self) -> None:
        """Forget what waits."""
        self._bytes -= sum(len(frame) for frame, _ in self._frames)
        self._frames.clear()
        self._later.clear()
        self._emptied.set()

    async def run(self) -> None:
        """Send until cancelled, or until sending fails."""
        while True:
            while self._frames or self._later:
                if not self._frames:
                    self._put_news()
                    continue
                frames, size = self._take()
                await self._send(frames)
                self._bytes -= size
                self._emptied.set()
            self._filled.clear()
            await self._filled.wait()

    def _take(self) -> tuple[list[bytes], int]:
        """The next frames, at least one, and how long they are together."""
        frames: list[bytes] = []
        size = 0
        while self._frames and size < _AT_ONCE:
            frame, cursor = self._frames.popleft()
            self.cursor = cursor or self.cursor
            frames.append(frame)
            size += len(frame)
        return frames, size

    def _put_news(self) -> None:
        news = next(iter(self._later))
        del self._later[news]
        found = news.take_news()
        if found is not None:
            self._frames.append(found)
            self._bytes += len(found[0])
