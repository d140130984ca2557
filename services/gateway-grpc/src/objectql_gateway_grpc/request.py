"""One call with its caller: what every handler is given.

The context (actor, deadline, idempotency key, consistency) is settled once, from the metadata, and
travels to kernels with each message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import isawaitable
from typing import Any, Protocol, TypeAlias, TypeVar
from urllib.parse import unquote

import msgspec
from grpc import aio

from objectql.clock import Clock
from objectql.context import Actor, Context
from objectql.errors import Unauthenticated
from objectql.service.addresses import Proxies
from objectql.service.caller_rates import Rates
from objectql.service.credentials import find_credentials
from objectql.service.data.facts import context_of, request_id, time_limit_ms
from objectql.service.kernel import Kernel
from objectql.service.origins import origin
from objectql.service.recent_writes import RecentWrites
from objectql_gateway_grpc.settings import CallLimits

T = TypeVar("T")

ServerContext: TypeAlias = aio.ServicerContext[bytes, bytes]


class Verifier(Protocol):
    """What the gateway needs of `objectql.service.auth.TokenVerifier`."""

    async def verify(self, token: str) -> Actor: ...


class Services(msgspec.Struct, frozen=True):
    """What calls share for the life of the process. `observe` is told of every end of one:
    the method, the status and the seconds.
    """

    kernel: Kernel
    verifier: Verifier
    clock: Clock
    limits: CallLimits
    writes: RecentWrites
    observe: Callable[[str, str, float], None]
    proxies: Proxies = Proxies(())
    rates: Rates | None = None


class Request:
    """A call on its way to the kernel. Headers that would name somebody are not looked at: who
    calls, only credentials tell.
    """

    __slots__ = ("_context", "_rpc", "_services", "_written", "headers", "request_id", "trailers")

    def __init__(self, rpc: ServerContext, services: Services) -> None:
        self._rpc = rpc
        self._services = services
        self.headers = _texts(rpc.invocation_metadata() or ())
        self.request_id = request_id(self.headers)
        self.trailers = [("oql-request-id", self.request_id)]
        """What is told behind the answer."""
        self._context: Context | None = None
        self._written: str | None = None

    async def authenticate(self) -> None:
        """Settle the context, and count the call of its caller.

        Raises:
            Unauthenticated: no token, or one that is not valid; the answer is always the same.
            InvalidRequest: a header that has no meaning.
            RateLimited: the caller calls too often.

        """
        headers, services = self.headers, self._services
        actor = await services.verifier.verify(self._credentials())
        self._context = context_of(
            actor,
            request_id=self.request_id,
            clock=services.clock,
            patience=services.limits,
            writes=services.writes,
            timeout_ms=self._left_ms(),
            key=headers.get("idempotency-key"),
            token=headers.get("oql-consistency-token"),
            read_policy=headers.get("oql-read-policy"),
            trace=headers,
            origin=origin(headers.get("user-agent", ""), self._address()),
        )
        if services.rates is not None and services.rates.limits_callers:
            told = services.rates.of_caller(actor)
            told = await told if isawaitable(told) else told
            if told is not None:
                self.trailers += [(k.decode(), v.decode()) for k, v in told.headers()]
                told.check()

    def _credentials(self) -> str:
        credentials = find_credentials(self.headers)
        if credentials is None:
            raise Unauthenticated
        return credentials

    def _left_ms(self) -> int | None:
        """What is left of the time that the client gives; None: it does not say."""
        left_s: Any = self._rpc.time_remaining()  # None too, which its stub does not say
        return None if left_s is None else max(1, int(left_s * 1000))

    def _address(self) -> str:
        """Whose `host:port` the peer is: `ipv4:203.0.113.7:5000`, `ipv6:%5B::1%5D:5000`."""
        kind, _, address = self._rpc.peer().partition(":")
        host = unquote(address).rpartition(":")[0].strip("[]") if kind.startswith("ipv") else ""
        return self._services.proxies.client(host, self.headers.get("x-forwarded-for", ""))

    @property
    def context(self) -> Context:
        """Who asks; settled by `authenticate`."""
        if self._context is None:
            raise Unauthenticated
        return self._context

    @property
    def limits(self) -> CallLimits:
        return self._services.limits

    async def go_on(self, *, key: str | None = None) -> None:
        """Give what follows the time of a whole request; for calls of many messages.

        `key` is the idempotency key of what follows.

        Raises:
            Unauthenticated: the caller's right has ended meanwhile.

        """
        actor = await self._services.verifier.verify(self._credentials())
        limit_ms = time_limit_ms(self._left_ms(), self._services.limits)
        self._context = msgspec.structs.replace(
            self.context,
            actor=actor,
            deadline_ms=self._services.clock.now_ms() + limit_ms,
            idempotency_key=key,
        )

    # --- the kernel --------------------------------------------------------------------------

    async def read(self, verb: str, message: msgspec.Struct, reply_type: type[T]) -> T:
        """The kernel's answer to a question; its work ends when the call is cancelled."""
        return await self._services.kernel.call(verb, message, self.context, reply_type)

    async def write(self, verb: str, message: msgspec.Struct, reply_type: type[T]) -> T:
        """The kernel's answer to a change.

        The reply's consistency token stands behind the answer; it contains the one that the
        caller presented.
        """
        context = self.context
        reply = await self._services.kernel.call(verb, message, context, reply_type)
        token: str | None = getattr(reply, "consistency_token", None)
        if token is not None:
            known = self._written or context.consistency_token
            now_s = self._services.clock.monotonic_s()
            self._written = self._services.writes.answered(context.tenant, token, known, now_s)
        return reply

    # --- the answer --------------------------------------------------------------------------

    async def send(self, message: bytes) -> None:
        """Send one message of a stream; returns when there is room for the next one."""
        await self._rpc.write(message)

    def tell(self) -> None:
        """Lay down what stands behind the answer."""
        if self._written is not None:
            self.trailers.append(("oql-consistency-token", self._written))
        self._rpc.set_trailing_metadata(tuple(self.trailers))


def _texts(metadata: Iterable[Any]) -> dict[str, str]:
    """Metadata by name, those that came several times with commas between them, as HTTP joins them.

    What is no text (`...-bin`, or not UTF-8) is nothing that is read here.
    """
    found: dict[str, str] = {}
    for name, value in metadata:
        if isinstance(value, str):
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found
