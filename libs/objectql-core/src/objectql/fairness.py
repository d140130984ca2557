"""A limited number of places, shared between tenants so that none can take them all.

A tenant holds at most its share. Who must wait waits behind his own tenant only: a place that
becomes free goes to the waiting tenants in turn (round robin, J. Nagle, RFC 970), so one that
sends a thousand requests delays itself. For one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec

from objectql.errors import Overloaded, RateLimited


class PlaceLimits(msgspec.Struct, frozen=True):
    """`total` places, for which `max_waiting` requests may wait.

    `tenant_share` (0 to 1) of both is the most that one tenant may have, but at least one.
    """

    total: int
    max_waiting: int
    tenant_share: float = 0.5
    retry_after_ms: int = 250


class FairPlaces:
    """Places that are entered and left."""

    def __init__(self, limits: PlaceLimits) -> None:
        self._limits = limits
        self._share = max(1, int(limits.total * limits.tenant_share))
        self._queue_share = max(1, int(limits.max_waiting * limits.tenant_share))
        self._free = limits.total
        self._held: dict[str, int] = {}
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        self._turns: dict[str, None] = {}
        """The tenants that wait and are below their share, in the order of their turns."""
        self._waiting = 0

    @property
    def held(self) -> int:
        """Places that are taken."""
        return self._limits.total - self._free

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return self._waiting

    def enter_now(self, tenant: str) -> bool:
        """Take a place if there is one for `tenant` without waiting."""
        held = self._held.get(tenant, 0)
        if not self._free or held >= self._share or self._turns:
            return False
        self._free -= 1
        self._held[tenant] = held + 1
        return True

    async def enter(self, tenant: str) -> None:
        """Take a place, when it is `tenant`'s turn.

        Raises:
            Overloaded: too many requests wait.
            RateLimited: too many of this tenant's do.

        """
        if self.enter_now(tenant):
            return
        limits = self._limits
        queue = self._queues.get(tenant)
        if self._waiting >= limits.max_waiting:
            raise Overloaded(retry_after_ms=limits.retry_after_ms)
        if queue is not None and len(queue) >= self._queue_share:
            raise RateLimited(retry_after_ms=limits.retry_after_ms)
        if queue is None:
            queue = self._queues[tenant] = deque()
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._waiting += 1
        if self._held.get(tenant, 0) < self._share:
            self._turns.setdefault(tenant)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(tenant, turn)
            else:  # the place came, and nobody wants it any more
                self.leave(tenant)
            raise

    def leave(self, tenant: str) -> None:
        """Give a place back; it goes to whose turn it is."""
        self._free += 1
        held = self._held[tenant] - 1
        if held:
            self._held[tenant] = held
        else:
            del self._held[tenant]
        if tenant in self._queues:
            self._turns.setdefault(tenant)
        if self._turns:
            self._hand_on()

    def _hand_on(self) -> None:
        while self._free and self._turns:
            tenant = next(iter(self._turns))
            del self._turns[tenant]
            queue = self._queues[tenant]
            turn = queue.popleft()
            self._waiting -= 1
            if not queue:
                del self._queues[tenant]
            held = self._held.get(tenant, 0)
            if not turn.done():  # else it was cancelled just now
                held += 1
                self._held[tenant] = held
                self._free -= 1
                turn.set_result(None)
            if queue and held < self._share:
                self._turns[tenant] = None

    def _forget(self, tenant: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(tenant)
        if queue is None or turn not in queue:
            return
        queue.remove(turn)
        self._waiting -= 1
        if not queue:
            del self._queues[tenant]
            self._turns.pop(tenant, None)
