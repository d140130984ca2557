"""The turn to write, where a source has one writer at a time; and the check of a deadline."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Final

from objectql.clock import Clock
from objectql.errors import DeadlineExceeded, PoolExhausted

MAX_WAIT_S: Final = 5.0


def check_deadline(clock: Clock, deadline_ms: int | None) -> None:
    """Return while there is time.

    Raises:
        DeadlineExceeded: none is left.

    """
    if deadline_ms is not None and clock.now_ms() >= deadline_ms:
        raise DeadlineExceeded


class WriterLock:
    """One holder at a time, first come first served."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def hold(self, deadline_ms: int | None = None) -> AsyncGenerator[None, None]:
        """A block in which nobody else writes.

        Raises:
            PoolExhausted: another writer did not end in time.

        """
        wait_s = MAX_WAIT_S
        if deadline_ms is not None:
            wait_s = min(wait_s, (deadline_ms - self._clock.now_ms()) / 1000)
        try:
            async with asyncio.timeout(wait_s):
                await self._lock.acquire()
        except TimeoutError as exc:
            raise PoolExhausted(pool=self._name) from exc
        try:
            yield
        finally:
            self._lock.release()
