"""Typed requests over the bus: struct in, struct or `ObjectQLError` out.

The client turns the context's deadline into a timeout, error replies into exceptions, and fails at
once while its circuit is open. With a `RetryPolicy` (gateways only: the edge retries, inner hops
never) it repeats what may be repeated: reads, writes that carry an idempotency key, and writes
that nobody has taken.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TypeVar

import msgspec

from objectql.bus.breaker import BreakerPolicy, CircuitBreaker
from objectql.bus.port import Bus, Envelope
from objectql.clock import Clock, SystemClock
from objectql.context import Context
from objectql.errors import (
    Category,
    DeadlineExceeded,
    ErrorInfo,
    Internal,
    ObjectQLError,
    OutcomeUnknown,
    Unavailable,
)
from objectql.wire import codec, subjects
from objectql.wire.headers import ERROR, to_headers
from objectql.wire.trust import SIGNATURE, ContextKeys

T = TypeVar("T")

READ_VERBS = frozenset(
    "find get aggregate explain search history export permissions explain_access meta_types meta_list meta_get view snapshot shares"
    " tenant_list tenant_get tenant_usage tenant_export tenant_metadata tenant_snapshot audit_list audit_verify"
    " live_bind live_unpublished live_standing"
    " auth_me auth_users auth_keys auth_resolve_key auth_state"
    " webhook_list webhook_get webhook_deliveries transaction".split()
)
"""Verbs without effect; every other one is a write."""

SLOW_VERBS = frozenset("find aggregate search explain export".split())
"""Reads whose work the caller chooses."""

_SERVICE = "the service behind this gateway"

_COUNTED_TIMEOUT_S = 1.0
"""A shorter wait that ends without answer says more about the deadline than about the bus."""

_GRACE_S = 0.25
"""How long after its deadline an answer is waited for. The service itself tells that the time was
too short, so only silence beyond it speaks against the transport: slow queries of one tenant must
not open the circuit for all."""

_PROBE_WAIT_S = 0.15
"""How long others wait for a probe's outcome: a refusal must still be quick."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """How the edge repeats requests, always within the deadline.

    A read without answer after `hedge_after_s` is sent a second time and the first answer counts
    (J. Dean, L. Barroso, "The Tail at Scale", 2013). Reads that may be slow by nature wait for
    `hedge_slow_after_s`, or every heavy query would run twice. A write is sent again only after
    `write_attempt_s`. Refusals are repeated up to `attempts` times in all, after a jittered pause
    that starts at `pause_s` and doubles.
    """

    attempts: int = 3
    hedge_after_s: float = 1.0
    hedge_slow_after_s: float = 4.0
    write_attempt_s: float = 3.0
    pause_s: float = 0.05


class KernelClient:
    """Calls the verbs of a service, by default the kernel's; with `keys` it signs who asks."""

    def __init__(
        self,
        bus: Bus,
        *,
        clock: Clock | None = None,
        retry: RetryPolicy | None = None,
        breaker: BreakerPolicy | None = None,
        subject: Callable[[str], str] = subjects.kernel_rpc,
        read_verbs: frozenset[str] = READ_VERBS,
        keys: ContextKeys | None = None,
    ) -> None:
        self._bus = bus
        self._clock = clock or SystemClock()
        self._retry = retry
        self._breaker = CircuitBreaker(self._clock, breaker)
        self._subject = subject
        self._reads = read_verbs
        self._keys = keys
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def is_open(self) -> bool:
        """Whether calls fail at once because the service did not answer lately."""
        return self._breaker.is_open

    async def call(
        self, verb: str, request: msgspec.Struct, context: Context, reply_type: type[T]
    ) -> T:
        """The service's reply to `request`.

        Raises:
            Unavailable: nobody could take the request; nothing was done.
            DeadlineExceeded: no answer in time; nothing was written (reads, expired requests).
            OutcomeUnknown: a write was sent and no answer came.
            ObjectQLError: whatever the service answered.

        """
        reply = await self.call_raw(verb, codec.encode(request), context)
        try:
            return codec.decode(reply_type, reply.body)
        except msgspec.MsgspecError as exc:
            raise Internal from exc

    async def call_raw(self, verb: str, body: bytes, context: Context) -> Envelope:
        """As `call`, for a body that is already encoded; the reply is left encoded."""
        subject = self._subject(verb)
        headers = to_headers(context)
        if self._keys is not None:
            headers[SIGNATURE] = self._keys.sign(subject, headers, body)
        if verb not in self._reads:
            answer = await self._write(subject, body, headers, context)
        elif self._retry is None:
            answer = await self._attempt(subject, body, headers, context)
        else:
            retry = self._retry
            wait_s = retry.hedge_slow_after_s if verb in SLOW_VERBS else retry.hedge_after_s
            answer = await self._hedged(subject, body, headers, context, retry, wait_s)
        if isinstance(answer, ObjectQLError):
            raise answer
        return answer

    # --- one attempt ---------------------------------------------------------------------

    def _left_s(self, context: Context) -> float:
        left_s = (context.deadline_ms - self._clock.now_ms()) / 1000
        if left_s <= 0:
            raise DeadlineExceeded
        return left_s

    async def _attempt(
        self,
        subject: str,
        body: bytes,
        headers: dict[str, str],
        context: Context,
        *,
        at_most_s: float | None = None,
    ) -> Envelope | ObjectQLError:
        """The service's answer, be it an error; what the transport does wrong is raised."""
        timeout_s = self._left_s(context) + _GRACE_S
        if at_most_s is not None:
            timeout_s = min(timeout_s, at_most_s)
        wait_ms = self._breaker.retry_after_ms()
        if wait_ms is not None and self._breaker.is_probing:
            await self._probe_over(min(timeout_s, _PROBE_WAIT_S))
            wait_ms = self._breaker.retry_after_ms()
            timeout_s = min(timeout_s, self._left_s(context) + _GRACE_S)
        if wait_ms is not None:
            raise Unavailable(what=_SERVICE, retry_after_ms=wait_ms)
        if not self._breaker.is_probing:
            return await self._send(subject, body, headers, timeout_s)
        try:
            return await self._send(subject, body, headers, timeout_s)
        finally:
            waiting, self._waiting = self._waiting, []
            for told in waiting:
                if not told.done():
                    told.set_result(None)

    async def _probe_over(self, at_most_s: float) -> None:
        """Return when the probe under way has ended, or after so long.

        When the service is back, the first call finds out and those beside it need not fail.
        """
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(told)
        await asyncio.wait((told,), timeout=at_most_s)

    async def _send(
        self, subject: str, body: bytes, headers: dict[str, str], timeout_s: float
    ) -> Envelope | ObjectQLError:
        try:
            reply = await self._bus.request(subject, body, headers, timeout_s=timeout_s)
        except (Unavailable, OutcomeUnknown):
            self._breaker.failed()
            raise
        except DeadlineExceeded:
            if timeout_s >= _COUNTED_TIMEOUT_S:
                self._breaker.failed()
            else:
                self._breaker.abandoned()
            raise
        except BaseException:
            self._breaker.abandoned()
            raise
        self._breaker.succeeded()
        if ERROR in reply.headers:
            return _to_error(reply)
        return reply

    # --- repeated attempts ---------------------------------------------------------------

    async def _hedged(
        self,
        subject: str,
        body: bytes,
        headers: dict[str, str],
        context: Context,
        retry: RetryPolicy,
        wait_s: float,
    ) -> Envelope | ObjectQLError:
        """The first answer of two: one attempt now, another if it takes `wait_s`.

        The first runs in this task, so an answer in time costs one timer. The second, once it has
        an answer, ends the first by moving a timeout that has no end otherwise to now.
        """
        if self._left_s(context) <= wait_s:
            return await self._read(subject, body, headers, context, retry)
        loop = asyncio.get_running_loop()
        second: asyncio.Task[Envelope | ObjectQLError] | None = None
        is_over = False

        def start_second() -> None:
            nonlocal second
            second = loop.create_task(self._read(subject, body, headers, context, retry))
            second.add_done_callback(end_first)

        def end_first(task: asyncio.Task[Envelope | ObjectQLError]) -> None:
            if not (is_over or task.cancelled() or task.exception()):
                first.reschedule(loop.time())

        timer = loop.call_later(wait_s, start_second)
        try:
            async with asyncio.timeout(None) as first:
                return await self._read(subject, body, headers, context, retry)
        except ObjectQLError:
            is_over = True
            if second is None:
                raise
            return await second
        except TimeoutError:
            if second is None or not first.expired():
                raise
            return second.result()
        finally:
            is_over = True
            timer.cancel()
            if second is not None:
                second.cancel()

    async def _read(
        self,
        subject: str,
        body: bytes,
        headers: dict[str, str],
        context: Context,
        retry: RetryPolicy,
    ) -> Envelope | ObjectQLError:
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = await self._attempt(subject, body, headers, context)
            except OutcomeUnknown as exc:  # a read has no outcome that matters
                failure: ObjectQLError = Unavailable(what=_SERVICE)
                failure.__cause__ = exc
            except Unavailable as exc:
                failure = exc
            else:
                if isinstance(answer, Envelope) or answer.category is not Category.UNAVAILABLE:
                    return answer
                failure = answer
            if attempt >= retry.attempts or not await self._pause(attempt, failure, context, retry):
                raise failure

    async def _write(
        self, subject: str, body: bytes, headers: dict[str, str], context: Context
    ) -> Envelope | ObjectQLError:
        """The answer to a write. Without a key it is sent again only if nobody has taken it."""
        retry = self._retry
        has_key = context.idempotency_key is not None
        attempts = 1 if retry is None else retry.attempts
        was_sent = False
        attempt = 0
        while True:
            attempt += 1
            at_most_s = None
            if retry is not None and has_key and attempt < attempts:
                at_most_s = retry.write_attempt_s
            is_sending = context.deadline_ms > self._clock.now_ms()
            try:
                answer = await self._attempt(subject, body, headers, context, at_most_s=at_most_s)
            except (OutcomeUnknown, DeadlineExceeded) as exc:
                was_sent = was_sent or is_sending
                failure: ObjectQLError = exc
                may_repeat = has_key
            except Unavailable as exc:
                failure = exc
                may_repeat = True
            else:
                if isinstance(answer, Envelope) or answer.category is not Category.UNAVAILABLE:
                    return answer
                failure = answer
                may_repeat = has_key
            if (
                retry is None
                or not may_repeat
                or attempt >= attempts
                or not await self._pause(attempt, failure, context, retry)
            ):
                if was_sent:
                    raise OutcomeUnknown from failure
                raise failure

    async def _pause(
        self, attempt: int, error: ObjectQLError, context: Context, retry: RetryPolicy
    ) -> bool:
        """Wait before the next attempt; false at once where there is no point in one."""
        if self._breaker.is_open:
            return False
        pause_s = retry.pause_s * 2 ** (attempt - 1) * (0.5 + random.random())  # noqa: S311
        if error.retry_after_ms is not None:
            pause_s = max(pause_s, error.retry_after_ms / 1000)
        if pause_s >= (context.deadline_ms - self._clock.now_ms()) / 1000:
            return False
        await self._clock.sleep(pause_s)
        return True


def _to_error(reply: Envelope) -> ObjectQLError:
    try:
        return ObjectQLError.from_info(codec.decode(ErrorInfo, reply.body))
    except msgspec.MsgspecError:  # answered by something that is not ours
        return Internal()
