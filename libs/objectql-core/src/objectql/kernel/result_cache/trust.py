"""Which tags this kernel may believe.

A kernel that cannot forget a tag in the store after a commit tells the others over the bus before
its caller gets the answer. Whoever is told believes the tag no more until it has forgotten it in
the store itself. So each kernel that can reach the store cleans up for those that cannot, and one
that reaches it again cleans up before it believes anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from objectql.clock import Clock
from objectql.errors import Unavailable
from objectql.kernel.result_cache.store import ResultStore

log = logging.getLogger(__name__)

EVERYTHING = "*"
"""The tag on which every entry depends."""

MAX_DOUBTED = 1000
"""Beyond this many tags everything is forgotten at once."""

REPEAT_S = 1.0
"""How often a kernel that cannot clean up says so again, for those who were not listening."""

LISTEN_S = 2 * REPEAT_S
"""How long a kernel that was not listening believes nothing."""

CLEAN_EVERY_S = 0.1

Announce: TypeAlias = Callable[[Sequence[str]], Awaitable[None]]


async def _tell_nobody(_tags: Sequence[str]) -> None:  # noqa: RUF029 - there is nobody
    """For a kernel that is alone."""


class Trust:
    """The tags in doubt, and what is done about them."""

    def __init__(self, store: ResultStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._doubted: dict[str, int] = {}
        self._serial = 0
        self._deaf_until_s = float("-inf")
        self._own: set[str] = set()
        self._wake = asyncio.Event()
        self.announce: Announce = _tell_nobody

    @property
    def doubted(self) -> int:
        """How many tags are in doubt."""
        return len(self._doubted)

    def allows(self, tags: Iterable[str]) -> bool:
        """Whether all of `tags` may be believed now."""
        if self._doubted and not self._doubted.keys().isdisjoint(tags):
            return False
        return self._clock.monotonic_s() >= self._deaf_until_s

    def listened_anew(self) -> None:
        """Say that announcements may have been missed until now."""
        self._deaf_until_s = self._clock.monotonic_s() + LISTEN_S

    def doubt(self, tags: Iterable[str]) -> None:
        """Believe none of `tags` until they are forgotten in the store, from now on."""
        for tag in tags:
            # The number tells a doubt that came while the tag was being forgotten from an old one.
            self._serial += 1
            self._doubted[tag] = self._serial
        if len(self._doubted) > MAX_DOUBTED:
            self._serial += 1
            self._doubted = {EVERYTHING: self._serial}
            self._own = {EVERYTHING}
        self._wake.set()

    async def forget(self, tags: Sequence[str]) -> bool:
        """Make sure that no kernel believes what it knew of `tags`; whether the store did it."""
        if await self._store.forget(tags):
            return True
        if len(tags) > MAX_DOUBTED:
            tags = (EVERYTHING,)
        self._own.update(tags)
        self.doubt(tags)
        await self._tell(tags)
        return False

    async def run(self) -> None:
        """Clean up until cancelled."""
        told_s = self._clock.monotonic_s()
        while True:
            await self._wake.wait()
            await self.clean()
            if not self._doubted:
                continue
            now_s = self._clock.monotonic_s()
            if self._own and now_s - told_s >= REPEAT_S:
                told_s = now_s
                await self._tell(tuple(self._own))
            await self._clock.sleep(CLEAN_EVERY_S)

    async def clean(self) -> None:
        """Forget in the store what is in doubt now."""
        self._wake.clear()
        before = dict(self._doubted)
        if not before:
            return
        if not await self._store.forget(tuple(before)):
            self._wake.set()
            return
        for tag, serial in before.items():
            if self._doubted.get(tag) == serial:
                del self._doubted[tag]
                self._own.discard(tag)
        if self._doubted:
            self._wake.set()
        else:
            self._own.clear()

    async def _tell(self, tags: Sequence[str]) -> None:
        try:
            await self.announce(tags)
        except Unavailable:
            # Without the bus no answer leaves this kernel either; told again by `run`.
            log.warning("cache_doubt_untold", extra={"tags": len(tags)})
