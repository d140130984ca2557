"""A lease that one worker of the cluster holds, as that worker knows it."""

from __future__ import annotations

from objectql.clock import Clock
from objectql.drivers.stores import Leases
from objectql.errors import ObjectQLError


class HeldLease:
    """Taken and renewed by `keep`; a worker that dies loses it within its time to live."""

    def __init__(self, leases: Leases, name: str, holder: str, clock: Clock, ttl_s: float) -> None:
        self.name = name
        self._leases = leases
        self._holder = holder
        self._clock = clock
        self._ttl_s = ttl_s
        self._renewed_s = float("-inf")
        self.is_held = False

    async def keep(self) -> bool:
        """Whether it is ours, taken or renewed when a quarter of it has passed."""
        now_s = self._clock.monotonic_s()
        if self.is_held and now_s - self._renewed_s < self._ttl_s / 4:
            return True
        try:
            self.is_held = await self._leases.acquire(self.name, self._holder, self._ttl_s)
        except ObjectQLError:
            self.is_held = False
            raise
        # Counted from before the call: our idea of the lease ends before the database's.
        self._renewed_s = now_s
        return self.is_held

    async def release(self) -> None:
        """Give it up, if it is ours."""
        if self.is_held:
            self.is_held = False
            await self._leases.release(self.name, self._holder)
