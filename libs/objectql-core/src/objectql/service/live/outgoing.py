"""What waits to be sent to one client: bounded, in order, taken as fast as the client reads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypeAlias

_AT_ONCE: Final = 64 * 1024
"""Bytes that are sent together: a call of the system costs more than making most messages."""


Message: TypeAlias = bytes | Callable[[], bytes]
"""Ready, or made when it is its turn: what waits for many clients who do not read is made for none."""


class _Waiting(NamedTuple):
    message: Message
    size: int
    cursor: str | None


class Overflow(Exception):
    """The client reads too slowly."""


class News(Protocol):
    """What has something to tell, whose message is made when the client can take it."""

    def take_news(self) -> tuple[bytes, str] | None:
        """The message and its cursor; None: nothing is new after all."""
        ...


class Outgoing:
    """A queue of messages with the cursors that they leave the client at, and behind it those with news.

    More than `limit_bytes` may not wait; a message alone may be longer. One that is not made yet
    counts with its size, though it may share what it is made of with others. News do not count: they
    are messages only when they are sent.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._messages: deque[_Waiting] = deque()
        self._later: dict[News, None] = {}
        self._bytes = 0
        self._taken_bytes = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._is_closed = False
        self.cursor: str | None = None
        """Where the client is who has read everything that was sent, or is being sent."""

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    def put(self, message: Message, cursor: str | None = None, size: int | None = None) -> None:
        """Have `message` sent after everything that waits; `size` says about how long one becomes
        that is not made yet.

        Raises:
            Overflow: there is too much that waits.

        """
        if self._bytes > self._limit:
            raise Overflow
        if size is None:
            assert isinstance(message, bytes)
            size = len(message)
        self._messages.append(_Waiting(message, size, cursor))
        self._bytes += size
        self._filled.set()

    def put_later(self, news: News) -> None:
        """Ask `news` for a message when nothing else waits."""
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

    def close(self) -> None:
        """Forget what waits; nothing more is given to be sent."""
        self._is_closed = True
        self._bytes = self._taken_bytes
        self._messages.clear()
        self._later.clear()
        self._emptied.set()
        self._filled.set()

    async def take(self) -> list[bytes]:
        """The next messages, when there are any; none after `close`.

        Whoever asks has sent what they were given before.
        """
        self._sent()
        while not self._is_closed:
            while self._messages or self._later:
                if self._messages:
                    return self._next()
                self._put_news()
            self._filled.clear()
            await self._filled.wait()
        return []

    def _sent(self) -> None:
        self._bytes -= self._taken_bytes
        self._taken_bytes = 0
        self._emptied.set()

    def _next(self) -> list[bytes]:
        """At least one."""
        messages: list[bytes] = []
        size = 0
        while self._messages and size < _AT_ONCE:
            waiting = self._messages.popleft()
            message = waiting.message
            self.cursor = waiting.cursor or self.cursor
            messages.append(message if isinstance(message, bytes) else message())
            size += waiting.size
        self._taken_bytes = size
        return messages

    def _put_news(self) -> None:
        news = next(iter(self._later))
        del self._later[news]
        found = news.take_news()
        if found is not None:
            message, cursor = found
            self._messages.append(_Waiting(message, len(message), cursor))
            self._bytes += len(message)
