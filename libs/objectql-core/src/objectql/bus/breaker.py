"""A circuit breaker: after repeated failures of the transport, fail at once instead of waiting.

Closed: everything passes. Open: nothing passes until `open_s` is over. Then half open: one probe
passes; its success closes the circuit, its failure opens it again.

Source: M. Nygard, "Release It!", 2007, "Circuit Breaker".
"""

from __future__ import annotations

import msgspec

from objectql.clock import Clock


class BreakerPolicy(msgspec.Struct, frozen=True):
    """`failures` in a row open the circuit for `open_s` seconds."""

    failures: int = 5
    open_s: float = 0.5


class CircuitBreaker:
    """State of one circuit. Not for use from several threads."""

    def __init__(self, clock: Clock, policy: BreakerPolicy | None = None) -> None:
        self._clock = clock
        self._policy = policy or BreakerPolicy()
        self._failures = 0
        self._opened_at: float | None = None
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """Whether the last thing known is failure."""
        return self._opened_at is not None

    @property
    def is_probing(self) -> bool:
        """Whether one call is under way to find out if the transport is back."""
        return self._is_probing

    def retry_after_ms(self) -> int | None:
        """None: go on (and report the outcome). A number: refused, try again after that long."""
        if self._opened_at is None:
            return None
        left_s = self._opened_at + self._policy.open_s - self._clock.monotonic_s()
        if left_s > 0:
            return max(1, round(left_s * 1000))
        if self._is_probing:
            return max(1, round(self._policy.open_s * 1000))
        self._is_probing = True
        return None

    def succeeded(self) -> None:
        """The transport delivered an answer, whatever it says."""
        self._failures = 0
        self._opened_at = None
        self._is_probing = False

    def failed(self) -> None:
        """The transport did not deliver."""
        self._failures += 1
        if self._is_probing or self._failures >= self._policy.failures:
            self._opened_at = self._clock.monotonic_s()
        self._is_probing = False

    def abandoned(self) -> None:
        """The caller gave up before the transport could tell; a probe may be sent again."""
        self._is_probing = False
