"""How often something happened today and yesterday (UTC), over all processes of a cluster.

Each process counts by itself and tells Redis now and then. What Redis loses, or was not told
before a process died, is not counted: these numbers are for looking at, not for bills.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
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
        elif any(of < day - 1 for of, _ in self._own):
            self._own = Counter({key: n for key, n in self._own.items() if key[0] >= day - 1})

    async def days(self, name: str) -> tuple[int, int]:
        """How often `name` was counted today and yesterday, as far as this process can know."""
        self.settle()
        today = self._clock.now_ms() // _DAY_MS
        days = (today, today - 1)
        own = [self._own[day, name] for day in days]
        connection = self._limiter.connection
        told: list[bytes | None] = [None, None]
        if connection is not None:
            with suppress(RedisFailed):
                (told,) = await connection.ask(("MGET", *(self._key(day, name) for day in days)))
        of_today, of_yesterday = (int(a or 0) + b for a, b in zip(told, own, strict=True))
        return of_today, of_yesterday

    def _key(self, day: int, name: str) -> str:
        return f"{self._limiter.prefix}day:{day}:{name}"
