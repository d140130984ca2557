"""How often something happened today (UTC), over all processes of a cluster.

Each process counts by itself and tells Redis now and then. What Redis loses, or was not told
before a process died, is not counted: these numbers are for looking at, not for bills.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from objectql.clock import Clock
from objectql.rates.limiter import Limiter
from objectql.redis.connection import RedisFailed

SETTLE_EVERY_S: Final = 1.0

_DAY_MS: Final = 86_400_000
_KEPT_S: Final = 3 * 86_400


class Tally:
    """Counts where the limiter counts; without a Redis for this process alone."""

    def __init__(self, clock: Clock, limiter: Limiter) -> None:
        self._clock = clock
        self._limiter = limiter
        self._untold: dict[str, int] = {}
        self._own: Counter[tuple[int, str]] = Counter()
        """What Redis has not been told because it was away."""

    def add(self, name: str) -> None:
        """Count one."""
        self._untold[name] = self._untold.get(name, 0) + 1

    async def run(self) -> None:
        """Tell Redis until cancelled."""
        while True:
            await self._clock.sleep(SETTLE_EVERY_S)
            self.settle()

    def settle(self) -> None:
        """Tell Redis what was counted."""
        day = self._clock.now_ms() // _DAY_MS
        untold, self._untold = self._untold, {}
        for name, count in untold.items():
            self._own[day, name] += count
        connection = self._limiter.connection
        if connection is not None:
            for (of, name), count in self._own.items():
                connection.tell("INCRBY", self._key(of, name), count)
                connection.tell("EXPIRE", self._key(of, name), _KEPT_S)
            self._own.clear()
        elif any(of != day for of, _ in self._own):
            self._own = Counter({(of, n): c for (of, n), c in self._own.items() if of == day})

    async def today(self, name: str) -> int:
        """How often `name` was counted today, as far as this process can know."""
        self.settle()
        day = self._clock.now_ms() // _DAY_MS
        own = self._own[day, name]
        connection = self._limiter.connection
        if connection is None:
            return own
        try:
            (told,) = await connection.ask(("GET", self._key(day, name)))
        except RedisFailed:
            return own
        return own + int(told or 0)

    def _key(self, day: int, name: str) -> str:
        return f"{self._limiter.prefix}today:{day}:{name}"
