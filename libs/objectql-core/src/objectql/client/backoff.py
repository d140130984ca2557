"""How long to wait before the next try: longer each time, and never all clients at once.

Source: "full jitter" of M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How a client tries again: the n-th pause is random, up to `first_s` times 2^n or `most_s`."""

    first_s: float = 0.1
    most_s: float = 10.0


class Backoff:
    """The pauses of one undertaking; `chance` draws from [0, 1)."""

    def __init__(self, patience: Patience, chance: Callable[[], float] = random.random) -> None:
        self._patience = patience
        self._chance = chance
        self._failures = 0

    def failed(self, *, at_least_s: float = 0.0) -> float:
        """Seconds to wait after one more failure; `at_least_s` is what the server asked for."""
        patience = self._patience
        # 2^32 is beyond any bound, and far below where floats overflow
        most_s = min(patience.most_s, patience.first_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return at_least_s + self._chance() * most_s

    def succeeded(self) -> None:
        """Begin again with short pauses."""
        self._failures = 0
