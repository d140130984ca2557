"""What is sent together because it came up together.

Nothing waits: the first item put in starts a task, which runs in the loop's next turn, and until
then others may join. Alone, an item leaves as soon as it would have by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class Gather(Generic[T]):
    """Calls `send(subject, items)` for what was added since it last did; one call at a time."""

    def __init__(self, send: Callable[[str, list[T]], Awaitable[None]]) -> None:
        self._send = send
        self._items: dict[str, list[T]] = {}
        self._sending: asyncio.Task[None] | None = None
        self._is_closed = False

    def add(self, subject: str, item: T) -> bool:
        """Send `item` to `subject` soon; false when closed, and it never will be."""
        if self._is_closed:
            return False
        items = self._items.get(subject)
        if items is None:
            self._items[subject] = [item]
            if self._sending is None:
                self._sending = asyncio.ensure_future(self._send_all())
        else:
            items.append(item)
        return True

    async def emptied(self) -> None:
        """Return when everything added so far is sent."""
        while self._sending is not None:
            await asyncio.wait({self._sending})

    def close(self) -> None:
        """Send nothing more; what was not sent is lost."""
        self._is_closed = True
        self._items.clear()
        if self._sending is not None:
            self._sending.cancel()

    async def _send_all(self) -> None:
        try:
            while self._items:
                subject = next(iter(self._items))
                try:
                    await self._send(subject, self._items.pop(subject))
                except Exception:  # a bug; what waits for other places must still leave
                    log.exception("send_failed", extra={"subject": subject})
        finally:
            self._sending = None
