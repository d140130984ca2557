"""Serves typed requests: decode, check the deadline, bound the load, call, encode.

What happens to a request, in order: refused with `CallerUntrusted` when there are keys and none of
them has signed it, answered with `InvalidRequest` when undecodable, answered and
not executed when its deadline has passed, refused when too many of its tenant (`RateLimited`) or of
all (`Overloaded`) wait, executed when it has a place. An `ObjectQLError` becomes its error reply;
anything else is a bug, logged with its stack under the request id and answered with `Internal`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from objectql.bus.port import Bus, Envelope, Handler, Unsubscribe
from objectql.clock import Clock, SystemClock
from objectql.context import Context
from objectql.errors import (
    CallerUntrusted,
    DeadlineExceeded,
    Internal,
    InvalidRequest,
    ObjectQLError,
)
from objectql.fairness import FairPlaces, PlaceLimits
from objectql.wire import codec, subjects
from objectql.wire.headers import ERROR, ERROR_CODE, REQUEST_ID, from_headers
from objectql.wire.trust import SIGNATURE, ContextKeys

R = TypeVar("R", bound=msgspec.Struct)

log = logging.getLogger(__name__)

Observe = Callable[[str, str, float], None]
"""Told of every end: verb, error code, `ok` or `cancelled`, seconds from arrival to then."""

CANCELLED = "cancelled"
"""The outcome of a request whose caller went away before there was one."""


@dataclass(frozen=True)
class Verb(Generic[R]):
    """How one verb is served.

    `is_bounded`: cancel the work when the deadline passes or the caller goes away. Switch it off
    for work that must not be cut at any point, such as a commit, and that watches the deadline
    itself.
    """

    request: type[R]
    answer: Callable[[R, Context], Awaitable[msgspec.Struct]]
    is_bounded: bool = True


class LoadLimits(msgspec.Struct, frozen=True):
    """At most `max_running` requests run, at most `max_waiting` more wait for their turn.

    `tenant_share` of both is the most that one tenant may have.
    """

    max_running: int = 256
    max_waiting: int = 512
    tenant_share: float = 0.5
    retry_after_ms: int = 250


class BusServer:
    """One service's verbs on a bus, as a member of its queue group."""

    def __init__(
        self,
        bus: Bus,
        verbs: Mapping[str, Verb[Any]],
        *,
        service: str = "kernel",
        queue: str = subjects.KERNEL_QUEUE,
        subject: Callable[[str], str] = subjects.kernel_rpc,
        version: str = "0.1.0",
        limits: LoadLimits | None = None,
        clock: Clock | None = None,
        observe: Observe | None = None,
        keys: ContextKeys | None = None,
    ) -> None:
        self._bus = bus
        self._keys = keys
        self._verbs = verbs
        self._service = service
        self._queue = queue
        self._subject = subject
        self._version = version
        self._clock = clock or SystemClock()
        self._observe = observe
        self._places = _places(limits or LoadLimits())
        self._unsubscribe: Unsubscribe | None = None

    @property
    def admitted(self) -> int:
        """Requests that run or wait."""
        return self._places.held + self._places.waiting

    async def start(self) -> None:
        """Begin to serve; where the bus is not connected yet, as soon as it is."""
        handlers: dict[str, Handler] = {
            self._subject(name): self._handler(name, verb) for name, verb in self._verbs.items()
        }
        self._unsubscribe = await self._bus.serve(
            self._service,
            self._queue,
            handlers,
            version=self._version,
            cancellable={self._subject(n) for n, verb in self._verbs.items() if verb.is_bounded},
        )

    async def drain(self, timeout_s: float) -> bool:
        """Take no more requests and wait for those in flight; whether all were finished."""
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is None:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await unsubscribe()
        return self.admitted == 0

    def _handler(self, name: str, verb: Verb[Any]) -> Handler:
        async def handle(envelope: Envelope) -> Envelope:
            started_s = self._clock.monotonic_s()
            outcome = CANCELLED
            try:
                reply = Envelope(subject="", body=await self._answer(verb, envelope))
                outcome = "ok"
            except ObjectQLError as exc:
                outcome = exc.code
                reply = _error_reply(exc)
            except Exception:  # noqa: BLE001 - the edge of the service: a bug must be answered
                log.exception(
                    "request_crashed",
                    extra={"verb": name, "request_id": envelope.headers.get(REQUEST_ID, "")},
                )
                outcome = Internal.code
                reply = _error_reply(Internal())
            finally:
                if self._observe is not None:
                    self._observe(name, outcome, self._clock.monotonic_s() - started_s)
            return reply

        return handle

    async def _answer(self, verb: Verb[Any], envelope: Envelope) -> bytes:
        if self._keys is not None:
            self._check_trust(self._keys, envelope)
        context = from_headers(envelope.headers)
        try:
            request: msgspec.Struct = codec.decode(verb.request, envelope.body)
        except msgspec.MsgspecError as exc:
            raise InvalidRequest(reason=f"the message cannot be decoded: {exc}") from exc
        self._check_deadline(context)
        tenant = context.tenant
        if not self._places.enter_now(tenant):
            await self._places.enter(tenant)
        try:
            left_s = self._check_deadline(context)
            if not verb.is_bounded:
                return codec.encode(await verb.answer(request, context))
            return codec.encode(await _within(left_s, verb.answer(request, context)))
        finally:
            self._places.leave(tenant)

    def _check_trust(self, keys: ContextKeys, envelope: Envelope) -> None:
        try:
            keys.check(envelope.subject, envelope.headers, envelope.body)
        except CallerUntrusted:
            cause = "forged" if SIGNATURE in envelope.headers else "unsigned"
            log.warning("caller_untrusted", extra={"subject": envelope.subject, "cause": cause})
            raise

    def _check_deadline(self, context: Context) -> float:
        left_s = (context.deadline_ms - self._clock.now_ms()) / 1000
        if left_s <= 0:
            raise DeadlineExceeded
        return left_s


def _places(limits: LoadLimits) -> FairPlaces:
    return FairPlaces(
        PlaceLimits(
            limits.max_running, limits.max_waiting, limits.tenant_share, limits.retry_after_ms
        )
    )


async def _within(seconds: float, work: Awaitable[msgspec.Struct]) -> msgspec.Struct:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await work
    except TimeoutError as exc:
        if not limit.expired():  # the handler's own timeout, which is its bug
            raise
        raise DeadlineExceeded from exc


def _error_reply(error: ObjectQLError) -> Envelope:
    """The reply of a NATS micro service: description and code as headers, `ErrorInfo` as body."""
    headers = {ERROR: error.code, ERROR_CODE: str(error.http)}
    return Envelope(subject="", body=codec.encode(error.to_info()), headers=headers)
