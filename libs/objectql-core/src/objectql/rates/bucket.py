"""Token buckets, and their arithmetic.

A bucket is kept as one number, the instant at which it would be full again (the "theoretical
arrival time" of the generic cell rate algorithm; ITU-T I.371, annex A). A token costs `1 / per_s`
seconds of it; it may lie at most `burst / per_s` ahead of now.
"""

from __future__ import annotations

import re
from math import ceil
from typing import Final

import msgspec
from msgspec.structs import force_setattr

from objectql.errors import RateLimited

OFF: Final = "off"

RATE_PATTERN: Final = r"([1-9][0-9]{0,8})/(s|m|h|d)(?::([1-9][0-9]{0,8}))?"
"""`100/s`; `600/m:50` is 600 a minute, of which 50 may come at once."""

SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

_RATE: Final = re.compile(RATE_PATTERN)

_ROUNDING_S: Final = 1e-8
"""A token that lacks no more than this is whole; sums of instants are no better than that."""


class Rate(msgspec.Struct, frozen=True):
    """`per_s` tokens a second on average; up to `burst` of them at once (one or more).

    What a request needs of it is worked out once: a token costs `each_s`, an empty bucket is full
    after `window_s`.
    """

    per_s: float
    burst: int
    each_s: float = 0.0
    window_s: float = 0.0

    def __post_init__(self) -> None:
        """Work out the times."""
        force_setattr(self, "each_s", 1 / self.per_s)
        force_setattr(self, "window_s", self.burst / self.per_s + _ROUNDING_S)

    @staticmethod
    def read(text: str) -> Rate | None:
        """The rate that is written as `RATE_PATTERN` says; None is `off`.

        Without a number after the colon all of a unit's may come at once.

        Raises:
            ValueError: it is neither.

        """
        if text == OFF:
            return None
        match = _RATE.fullmatch(text)
        if match is None:
            raise ValueError(f'"{text[:40]}" is no rate like 100/s, 600/m:50 or off')
        count, unit, burst = match.groups()
        return Rate(int(count) / SECONDS[unit], int(burst or count))

    def part(self, share: float) -> Rate:
        """The rate of somebody who has `share` of it, never nothing."""
        return Rate(self.per_s * share, max(1, int(self.burst * share)))

    def admits(self, full_in_s: float) -> bool:
        """Whether a bucket that had to give a token, and is full in `full_in_s` then, had one."""
        return full_in_s <= self.window_s

    def check(self, full_in_s: float) -> None:
        """Return if it `admits`.

        Raises:
            RateLimited: it does not.

        """
        if full_in_s > self.window_s:
            raise RateLimited(retry_after_ms=max(1, ceil(self.wait_s(full_in_s) * 1000)))

    def left(self, full_in_s: float) -> int:
        """The tokens in it."""
        return max(0, int((self.window_s - full_in_s) * self.per_s))

    def wait_s(self, full_in_s: float) -> float:
        """When it gives the token that it did not have."""
        return max(0.0, full_in_s - self.window_s)


class Bucket:
    """A bucket in this process; full at first."""

    __slots__ = ("_full_s",)

    def __init__(self) -> None:
        self._full_s = float("-inf")

    def take(self, rate: Rate, now_s: float) -> float:
        """Take a token if there is one; the seconds until the bucket is full.

        Where there is none it is the seconds as if there had been, more than `rate.admits`.
        """
        full_s = self._full_s
        taken_s = (full_s - now_s if full_s > now_s else 0.0) + rate.each_s
        if taken_s <= rate.window_s:
            self._full_s = now_s + taken_s
        return taken_s

    def full_in_s(self, now_s: float) -> float:
        """The seconds until all tokens are there."""
        return max(0.0, self._full_s - now_s)

    def fill_in(self, seconds: float, now_s: float) -> None:
        """Let it be full in so many seconds, which may be more than an empty one takes."""
        self._full_s = now_s + seconds
