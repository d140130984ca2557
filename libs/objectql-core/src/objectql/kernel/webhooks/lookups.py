"""The addresses of endpoints' hosts, asked in threads of their own, of which no tenant gets all.

The system's resolver cannot be interrupted: who gives up leaves a thread behind that waits on. So
a place is held until the thread has ended, whoever still wants to know, and names whose servers
never answer hold up the tenant that wrote them alone.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from typing import Final, TypeAlias

from objectql.fairness import FairPlaces, PlaceLimits

Lookup: TypeAlias = Callable[[str, int], Sequence[str]]
"""Blocks; the addresses as text. Raises `OSError` or `UnicodeError` where there are none."""

ASKER: Final[ContextVar[str]] = ContextVar("webhook_asker", default="")
"""The tenant for whom a host is looked up: the client under the sender passes hosts alone."""

THREADS: Final = 16

_NO_BOUND: Final = 2**31
"""Who may wait is bounded where requests are started."""


def by_system(host: str, port: int) -> Sequence[str]:
    """As the operating system resolves names."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Lookups:
    """See the head of this module. `tenant_share` of the threads are one tenant's at most."""

    def __init__(
        self, lookup: Lookup = by_system, *, threads: int = THREADS, tenant_share: float = 0.25
    ) -> None:
        self._lookup = lookup
        self._places = FairPlaces(PlaceLimits(threads, _NO_BOUND, tenant_share))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="webhook-lookup")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of `host`; see `Lookup`."""
        tenant = ASKER.get()
        await self._places.enter(tenant)
        loop = asyncio.get_running_loop()
        thread = self._threads.submit(self._lookup, host, port)

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended, and everything with it
                loop.call_soon_threadsafe(self._places.leave, tenant)

        thread.add_done_callback(ended)
        return await asyncio.wrap_future(thread)

    def close(self) -> None:
        """Start no more; what is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
