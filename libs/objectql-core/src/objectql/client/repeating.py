"""One call as several attempts, whatever carries them: sent again while that is safe and helps.

Reads are always safe. Writes are, because each carries an idempotency key: the cluster does what is
asked once, and answers every repetition alike. What is not known when the time is over is said so
(`OutcomeUnknown`), whatever else went wrong afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from objectql.client.backoff import Backoff, Patience
from objectql.client.credentials import Credentials, Post
from objectql.errors import Category, ObjectQLError, OutcomeUnknown, Unauthenticated, Unavailable

T = TypeVar("T")


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """How long one attempt and the whole of a call may take."""

    attempt_s: float = 10.0
    call_s: float = 30.0


class UnansweredError(Exception):
    """An attempt that no gateway has answered; `was_sent` if it may have been heard all the same."""

    def __init__(self, *, was_sent: bool) -> None:
        super().__init__(was_sent)
        self.was_sent = was_sent


async def repeated(
    attempt: Callable[[str, float], Awaitable[T]],
    credentials: Credentials,
    post: Post,
    *,
    times: Times,
    patience: Patience,
    writes: bool,
) -> T:
    """What the first attempt that succeeds returns; each is given a token and its seconds.

    Raises:
        ObjectQLError: what the gateway says, or that none answers in time.

    """
    backoff = Backoff(patience)
    until = time.monotonic() + times.call_s
    is_renewed = is_unknown = False
    while True:
        token: str | None = None
        at_least_s = 0.0
        try:
            token = await credentials.token(post)
            return await attempt(token, min(times.attempt_s, max(0.001, until - time.monotonic())))
        except UnansweredError as exc:
            is_unknown |= writes and exc.was_sent
            error: ObjectQLError = Unavailable(what="the gateway")
            error.__cause__ = exc.__cause__
        except ObjectQLError as exc:
            if isinstance(exc, Unauthenticated) and token is not None and not is_renewed:
                is_renewed = True
                if await credentials.renew(token):
                    continue
            is_unknown |= exc.category is Category.OUTCOME_UNKNOWN
            at_least_s = (exc.retry_after_ms or 0) / 1000
            error = exc
        if not error.retryable:
            raise error
        wait_s = backoff.failed(at_least_s=at_least_s)
        if time.monotonic() + wait_s >= until:
            if is_unknown:
                raise OutcomeUnknown from error
            raise error
        await asyncio.sleep(wait_s)
