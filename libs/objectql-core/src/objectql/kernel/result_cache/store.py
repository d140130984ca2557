"""Where answers are kept: the port, and its twin in memory.

A store holds *entries* (answers) and *tags*. A tag stands for something that can be written: an
object of a tenant, or one record. Its value is a token that was never used before and never will
be again, so whatever is lost or comes back, a forgotten tag cannot look like a current one.

Nothing in a store is needed for a right answer. Every method may therefore say "not now", and none
raises.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Protocol

TOKEN_BYTES = 12
"""96 random bits: one collision in 2^48 tokens."""


def new_token() -> bytes:
    """A value that no tag ever had."""
    return os.urandom(TOKEN_BYTES)


class ResultStore(Protocol):
    """Entries and tags, shared by all kernels of a cluster."""

    @property
    def is_available(self) -> bool:
        """Whether it is worth asking now."""
        ...

    async def look(self, names: Sequence[str]) -> Sequence[bytes | None] | None:
        """The values under `names` at one moment between call and answer; None: not now."""
        ...

    async def claim(self, tags: Sequence[str]) -> Sequence[bytes | None] | None:
        """The tokens in force, new ones where there were none; None: not now."""
        ...

    def keep(self, name: str, value: bytes, ttl_ms: int) -> None:
        """Store an entry soon, or not at all."""
        ...

    async def forget(self, tags: Sequence[str]) -> bool:
        """Whether it is certain that no token these tags had so far is in force any more."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


class MemoryStore:
    """A store inside one process, with switches for its faults."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.is_available = True
        self.is_losing_forgets = False
        """Say that tags are forgotten, and keep them: what must never happen, for tests."""
        self.before_look: Callable[[], None] = lambda: None

    async def look(self, names: Sequence[str]) -> Sequence[bytes | None] | None:  # noqa: RUF029
        """See `ResultStore`."""
        self.before_look()
        return [self.values.get(name) for name in names] if self.is_available else None

    async def claim(self, tags: Sequence[str]) -> Sequence[bytes | None] | None:  # noqa: RUF029
        """See `ResultStore`."""
        if not self.is_available:
            return None
        return [self.values.setdefault(tag, new_token()) for tag in tags]

    def keep(self, name: str, value: bytes, ttl_ms: int) -> None:  # noqa: ARG002 - it lives as long as the test
        """See `ResultStore`."""
        if self.is_available:
            self.values[name] = value

    async def forget(self, tags: Sequence[str]) -> bool:  # noqa: RUF029
        """See `ResultStore`."""
        if self.is_available and not self.is_losing_forgets:
            for tag in tags:
                self.values.pop(tag, None)
        return self.is_available

    async def close(self) -> None:
        """See `ResultStore`."""
