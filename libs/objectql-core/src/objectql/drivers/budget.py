"""A bound on the connections of many small pools together.

A pool asks before it makes a connection and tells when one has ended. Where the bound is reached,
the connection that has been idle for longest, in whatever pool, makes room; where none is idle,
whoever returns one first ends it for those who wait, first come first served.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol


class BudgetedPool(Protocol):
    """What the budget needs of a pool."""

    def idle_since(self) -> float | None:
        """Since when its longest idle connection is idle (monotonic seconds); None: none is."""
        ...

    def shed(self) -> None:
        """End that connection."""
        ...


class ConnectionBudget:
    """At most `size` connections, those that are being ended among them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._left = size
        self._pools: set[BudgetedPool] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def used(self) -> int:
        """How many there are."""
        return self.size - self._left

    @property
    def is_short(self) -> bool:
        """Whether somebody waits: then a connection that is returned is ended."""
        return any(not waiter.done() for waiter in self._waiters)

    def join(self, pool: BudgetedPool) -> None:
        """`pool` may have idle connections from now on."""
        self._pools.add(pool)

    def leave(self, pool: BudgetedPool) -> None:
        """`pool` has no connections any more."""
        self._pools.discard(pool)

    async def take(self) -> None:
        """The right to make one connection; waits for it as long as it takes."""
        if self._left and not self.is_short:
            self._left -= 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._shed_one()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # given in the same instant
                self.give()
            else:
                self._waiters.remove(waiter)
            raise

    def give(self) -> None:
        """A connection has ended, or was never made."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._left += 1

    def _shed_one(self) -> None:
        idle = [(since, pool) for pool in self._pools if (since := pool.idle_since()) is not None]
        if idle:
            min(idle, key=lambda one: one[0])[1].shed()
