"""What follows from an attempt: done, again later, or dead. Pure.

- 2xx: done.
- 410: the endpoint wants nothing any more; the webhook is switched off, its deliveries wait.
- 400, 413, 415, 422: the endpoint refuses this very message, and would again: dead at once.
- 429 and 503 with `Retry-After`: again then, but no later than the longest pause.
- everything else, 3xx among it (redirects are never followed), and network errors: again later.
- what was tried as often as the webhook allows is dead.

Pauses grow exponentially with full jitter, a random time below the bound, so that what failed
together does not come back together. Source: M. Brooker, "Exponential Backoff And Jitter", AWS
Architecture Blog, 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

import msgspec

REFUSES_MESSAGE: Final = frozenset({400, 413, 415, 422})
GONE: Final = 410
TELLS_WHEN: Final = frozenset({429, 503})

_OK: Final = range(200, 300)
_MAX_DOUBLINGS: Final = 40


class Pauses(msgspec.Struct, frozen=True):
    """How long to wait after the first failure at most, and after any."""

    first_s: float = 5.0
    longest_s: float = 3600.0


class Answer(NamedTuple):
    """What came of an attempt: an HTTP status, or none and an `error`.

    `excerpt` is how the body begins, for the operator.
    """

    status: int | None
    retry_after: str | None = None
    excerpt: str = ""
    error: str = ""


class Verdict(NamedTuple):
    """`retry_s` of None: not again. `is_gone`: switch the webhook off.

    `holds_all`: nothing is to be sent to the endpoint until then.
    """

    is_done: bool
    retry_s: float | None = None
    is_gone: bool = False
    holds_all: bool = False
    reason: str = ""


def judge(
    answer: Answer,
    attempts: int,
    max_attempts: int,
    *,
    pauses: Pauses,
    now_s: float,
    random: Callable[[], float],
) -> Verdict:
    """What follows from the answer to attempt number `attempts` (from 1)."""
    status = answer.status
    if status in _OK:
        return Verdict(is_done=True)
    reason = answer.error or f"{status} {answer.excerpt}".rstrip()
    if status == GONE:
        return Verdict(is_done=False, retry_s=0.0, is_gone=True, reason=reason)
    if status in REFUSES_MESSAGE or attempts >= max_attempts:
        return Verdict(is_done=False, reason=reason)
    if status in TELLS_WHEN and answer.retry_after is not None:
        told_s = retry_after_s(answer.retry_after, now_s)
        if told_s is not None:
            retry_s = min(told_s, pauses.longest_s)
            return Verdict(is_done=False, retry_s=retry_s, holds_all=True, reason=reason)
    return Verdict(is_done=False, retry_s=pause_s(attempts, pauses, random), reason=reason)


def pause_s(failures: int, pauses: Pauses, random: Callable[[], float]) -> float:
    """How long to wait after so many failures in a row (from 1); `random` is in [0, 1)."""
    bound_s = pauses.first_s * 2.0 ** min(failures - 1, _MAX_DOUBLINGS)
    return random() * min(bound_s, pauses.longest_s)


def retry_after_s(text: str, now_s: float) -> float | None:
    """The seconds from now that the header's value names, as a number or as a date."""
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:12])
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(moment.timestamp() - now_s, 0.0)


class Circuit:
    """Keeps a dead endpoint cheap: after `THRESHOLD` failures in a row one attempt at a time.

    While it is open every failure closes the endpoint for a growing pause; the first success opens
    it to all again. `hold` does the same for as long as the endpoint itself asks.
    """

    THRESHOLD: Final = 5

    def __init__(self, pauses: Pauses, random: Callable[[], float], failures: int = 0) -> None:
        """After so many `failures` in a row. Times are of any one clock."""
        self._pauses = pauses
        self._random = random
        self._failures = failures
        self._open_s = 0.0

    @property
    def failures(self) -> int:
        """How many there were in a row."""
        return self._failures

    @property
    def open_s(self) -> float:
        """From when on something may be sent; 0.0 for always."""
        return self._open_s

    @property
    def is_broken(self) -> bool:
        """Whether only one attempt may be under way."""
        return self._failures >= self.THRESHOLD

    def wait_s(self, now_s: float) -> float:
        """How long nothing may be sent; 0.0 for not at all."""
        return max(self._open_s - now_s, 0.0)

    def succeeded(self) -> None:
        """The endpoint is well."""
        self._failures = 0
        self._open_s = 0.0

    def failed(self, now_s: float) -> None:
        """The endpoint could not be reached, or said that it is not well."""
        self._failures += 1
        over = self._failures - self.THRESHOLD
        if over >= 0:
            self._open_s = max(self._open_s, now_s + pause_s(over + 1, self._pauses, self._random))

    def hold(self, now_s: float, seconds: float) -> None:
        """Send nothing for so long."""
        self._open_s = max(self._open_s, now_s + seconds)
