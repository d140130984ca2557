"""Puts into the security log what tells of no change: refusals, of which anybody can cause any number.

So they are bounded, in each worker: of one kind and one principal `per_principal` in a window of time
are recorded, and `per_tenant` of all kinds and principals together. The others are counted, and when
the window has ended one entry says how many were left out. They are written a moment later: nobody
waits for it, and nobody can tell from the time of an answer whether something was recorded.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from objectql.clock import Clock
from objectql.drivers.security_log import SecurityEntry, SecurityKind, SecurityLog
from objectql.errors import ObjectQLError
from objectql.values import instant_of_ms

log = logging.getLogger(__name__)

_MAX_WAITING: Final = 10_000
"""Entries, and tenants, that are held in memory: while the store is away, or where nobody writes."""

_BATCH: Final = 500


class RecorderLimits(msgspec.Struct, frozen=True):
    """How many entries of refusals in how long; seconds."""

    window_s: float = 60.0
    per_principal: int = 10
    per_tenant: int = 200
    pause_s: float = 0.25


class _Window:
    """What was refused in one tenant since `began_s`."""

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.recorded: Counter[tuple[SecurityKind, str]] = Counter()
        self.left_out: Counter[SecurityKind] = Counter()


class Recorder:
    """See the head of this module. `store` is asked once the data sources are there."""

    def __init__(
        self,
        store: Callable[[], SecurityLog],
        clock: Clock,
        limits: RecorderLimits | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits or RecorderLimits()
        self._windows: dict[str, _Window] = {}
        self._waiting: list[SecurityEntry] = []

    def refused(self, entry: SecurityEntry, principal: str) -> None:
        """Record that something was refused to `principal`, within the bounds; never fails."""
        window = self._window(entry.tenant)
        if window is None:
            return
        key = (entry.kind, principal)
        limits = self._limits
        if (
            window.recorded[key] >= limits.per_principal
            or window.recorded.total() >= limits.per_tenant
            or len(self._waiting) >= _MAX_WAITING
        ):
            window.left_out[entry.kind] += 1
        else:
            window.recorded[key] += 1
            self._waiting.append(entry)

    async def flush(self, *, is_last: bool = False) -> None:
        """Write what waits, and what was left out of windows that are over; the last time: of all.

        Raises:
            ObjectQLError: the store is away; what was not written waits on.

        """
        self._waiting += self._left_out(is_last=is_last)
        while self._waiting:
            batch = self._waiting[:_BATCH]
            await self._store().record(batch)
            del self._waiting[: len(batch)]

    async def run(self) -> None:
        """Write all the time, until cancelled; the rest is for `close`."""
        while True:
            await self._clock.sleep(self._limits.pause_s)
            await self._try_to_flush()

    async def close(self) -> None:
        """Write the rest, if the store can be reached."""
        await self._try_to_flush(is_last=True)

    async def _try_to_flush(self, *, is_last: bool = False) -> None:
        try:
            await self.flush(is_last=is_last)
        except ObjectQLError as exc:
            told = {"reason": str(exc), "waiting": len(self._waiting)}
            log.warning("security_log_failed", extra=told)

    def _window(self, tenant: str) -> _Window | None:
        now_s = self._clock.monotonic_s()
        window = self._windows.get(tenant)
        if window is not None and now_s - window.began_s >= self._limits.window_s:
            self._waiting += self._end(tenant)
            window = None
        if window is None and len(self._windows) < _MAX_WAITING:
            window = self._windows[tenant] = _Window(now_s)
        return window

    def _left_out(self, *, is_last: bool) -> Iterator[SecurityEntry]:
        over_s = self._clock.monotonic_s() - self._limits.window_s
        for tenant, window in tuple(self._windows.items()):
            if is_last or window.began_s <= over_s:
                yield from self._end(tenant)

    def _end(self, tenant: str) -> Iterator[SecurityEntry]:
        left_out = self._windows.pop(tenant).left_out
        if left_out:
            yield SecurityEntry(
                tenant=tenant,
                kind="entries_left_out",
                at=instant_of_ms(self._clock.now_ms()),
                actor="",
                details={str(kind): count for kind, count in left_out.items()},
            )
