"""Following what a kernel knows: told by events, and asked now and then for what was not told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from objectql.bus.port import Bus, Envelope, Unsubscribe
from objectql.clock import Clock
from objectql.errors import ObjectQLError

log = logging.getLogger(__name__)


class Follower:
    """Calls `refresh` at once, when it is woken, and every `poll_s`; `hear` is given the events.

    `refresh` may raise; that is logged as `<name>_refresh_failed`, once per outage.
    """

    def __init__(
        self,
        name: str,
        subject: str,
        *,
        refresh: Callable[[], Awaitable[None]],
        hear: Callable[[Envelope], None],
        clock: Clock,
        poll_s: float,
    ) -> None:
        self._name = name
        self._subject = subject
        self._refresh = refresh
        self._hear = hear
        self._clock = clock
        self._poll_s = poll_s
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Unsubscribe | None = None

    def wake(self) -> None:
        """Refresh now."""
        self._woken.set()

    def start(self, bus: Bus) -> None:
        """Begin to follow; returns at once."""
        self._task = asyncio.create_task(self._follow(bus), name=f"follow-{self._name}")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._unsubscribe is not None:
            await self._unsubscribe()
            self._unsubscribe = None

    async def _follow(self, bus: Bus) -> None:
        was_reachable = True
        while True:
            self._woken.clear()
            try:
                if self._unsubscribe is None:
                    self._unsubscribe = await bus.subscribe(self._subject, self._on_event)
                await self._refresh()
                was_reachable = True
            except (ObjectQLError, msgspec.MsgspecError) as exc:
                if was_reachable:  # once per outage, not once per poll
                    log.warning("%s_refresh_failed", self._name, extra={"reason": str(exc)})
                was_reachable = False
            await self._pause()

    async def _pause(self) -> None:
        poll = asyncio.ensure_future(self._clock.sleep(self._poll_s))
        change = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait({poll, change}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            poll.cancel()
            change.cancel()

    async def _on_event(self, message: Envelope) -> None:
        try:
            self._hear(message)
        except msgspec.MsgspecError:  # of a newer kernel: ask it
            self.wake()
