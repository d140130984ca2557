"""Passwords, hashed beside the event loop and few at a time.

A sign-in costs some ten thousand times what a read costs. So few run at once, few wait, and more
are turned away: a flood of sign-ins takes one processor's share, and reads go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from objectql.errors import Overloaded
from objectql.kernel.identity.policy import IdentityPolicy
from objectql.kernel.passwords import hash_password, needs_rehash, verify_password

T = TypeVar("T")

_RETRY_AFTER_MS = 1000


class PasswordWorkers:
    """Threads that look at passwords; argon2 holds no lock of the interpreter."""

    def __init__(self, policy: IdentityPolicy) -> None:
        self._executor = ThreadPoolExecutor(policy.hash_workers, "passwords")
        self._places = policy.hash_workers + policy.hash_waiting
        self._taken = 0

    async def verify(self, password: str, stored: str | None) -> bool:
        """See `verify_password`.

        Raises:
            Overloaded: too many wait already.

        """
        return await self._run(lambda: verify_password(password, stored))

    async def hash(self, password: str) -> str:
        """See `hash_password`; raises as `verify` does."""
        return await self._run(lambda: hash_password(password))

    def is_outdated(self, stored: str) -> bool:
        """Whether a right password should be hashed anew."""
        return needs_rehash(stored)

    def close(self) -> None:
        """Let go of the threads; what they do is ended."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._taken >= self._places:
            raise Overloaded(retry_after_ms=_RETRY_AFTER_MS)
        self._taken += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._taken -= 1
