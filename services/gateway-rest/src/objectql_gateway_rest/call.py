"""One request with its caller: what every handler is given.

The context (actor, deadline, idempotency key, consistency) is settled once, from the headers, and
travels to the kernel with each message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec

from objectql.clock import Clock
from objectql.context import Actor, Context
from objectql.errors import InvalidRequest, Unauthenticated
from objectql.ids import TenantId
from objectql.service.addresses import Proxies
from objectql.service.bodies import (
    check_content_type,
    decode_document,
    decode_json,
    decode_object,
)
from objectql.service.caller_rates import Rates, Told
from objectql.service.credentials import find_credentials
from objectql.service.data.facts import context_of, request_id, time_limit_ms
from objectql.service.kernel import Kernel
from objectql.service.metadata_view import MetadataView
from objectql.service.origins import origin
from objectql.service.recent_writes import RecentWrites
from objectql.wire.messages import Timing
from objectql_gateway_rest.asgi import Request, WhileClientWaits
from objectql_gateway_rest.cookies import Cookies
from objectql_gateway_rest.settings import CookieSettings, LimitSettings
from objectql_gateway_rest.url_cache import UrlCache

T = TypeVar("T")


class Verifier(Protocol):
    """What the gateway needs of `objectql.service.auth.TokenVerifier`."""

    async def verify(self, token: str) -> Actor: ...


Observe: TypeAlias = Callable[[str, str, float], None]
"""Told of every answer: the route, the status, seconds from arrival to answer."""


class Services(msgspec.Struct, frozen=True):
    """What handlers share for the life of the process."""

    kernel: Kernel
    verifier: Verifier
    metadata: MetadataView
    clock: Clock
    limits: LimitSettings
    writes: RecentWrites
    urls: UrlCache
    observe: Observe
    proxies: Proxies = Proxies(())
    cookies: Cookies = Cookies(CookieSettings())
    public_keys: Callable[[], bytes] | None = None
    """The JWK set of the tokens that the cluster signs; None: it is not told."""
    server_timing: bool = True
    rates: Rates | None = None


class Call:
    """A request on its way to the kernel."""

    __slots__ = (
        "_context",
        "is_by_cookie",
        "label",
        "request",
        "request_id",
        "services",
        "timing",
        "told",
        "written",
    )

    def __init__(self, request: Request, services: Services) -> None:
        self.request = request
        self.services = services
        self.label = "unrouted"
        self.request_id = request_id(request.headers)
        self._context: Context | None = None
        self.is_by_cookie = False
        self.timing: Timing | None = None
        self.told: Told | None = None
        """How the nearest of the caller's limits stands."""
        self.written: str | None = None
        """The consistency token of all that this call has written."""

    @property
    def has_credentials(self) -> bool:
        """Whether the headers carry a token or API key, good or bad.

        Raises:
            Unauthenticated: what is there is none.

        """
        return find_credentials(self.request.headers) is not None

    async def authenticate(self) -> None:
        """Settle the context.

        Raises:
            Unauthenticated: no token, or one that is not valid; the answer is always the same.
            CrossSiteRefused: a page of somebody else uses a session that a browser keeps.
            InvalidRequest: a header that has no meaning.

        """
        self._settle(await self.services.verifier.verify(self._credentials()))

    def _credentials(self) -> str:
        credentials = find_credentials(self.request.headers)
        if credentials is None:
            credentials = self.services.cookies.access_token(self.request)
            self.is_by_cookie = True
        return credentials

    def be_nobody(self, tenant: TenantId) -> None:
        """Settle the context of somebody who has no credentials yet, and wants some of `tenant`."""
        self._settle(Actor(id="nobody", tenant=tenant))

    def _settle(self, actor: Actor) -> None:
        headers, services = self.request.headers, self.services
        self._context = context_of(
            actor,
            request_id=self.request_id,
            clock=services.clock,
            patience=services.limits,
            writes=services.writes,
            timeout_ms=self._asked_ms(),
            key=headers.get("idempotency-key"),
            token=headers.get("oql-consistency-token"),
            read_policy=headers.get("oql-read-policy"),
            trace=headers,
            origin=origin(headers.get("user-agent", ""), self.request.client(services.proxies)),
        )

    def _asked_ms(self) -> int | None:
        text = self.request.headers.get("x-timeout-ms")
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) == 0:
            raise InvalidRequest(reason=f'"{text[:40]}" is not a time limit in milliseconds')
        return int(text)

    @property
    def context(self) -> Context:
        """Who asks; settled by `authenticate`."""
        if self._context is None:
            raise Unauthenticated
        return self._context

    async def go_on(self) -> None:
        """Give what follows the time of a whole request; for answers of many parts.

        Raises:
            Unauthenticated: the caller's right has ended meanwhile.

        """
        actor = await self.services.verifier.verify(self._credentials())
        wanted_ms = time_limit_ms(self._asked_ms(), self.services.limits)
        deadline_ms = self.services.clock.now_ms() + wanted_ms
        self._context = msgspec.structs.replace(self.context, actor=actor, deadline_ms=deadline_ms)

    # --- the body ------------------------------------------------------------------------

    async def body(self) -> bytes:
        """The JSON text of the body, its type and size checked, not yet decoded."""
        check_content_type(self.request.headers.get("content-type"))
        return await self.request.body(self.services.limits.body_bytes)

    async def decode(self, type_: type[T]) -> T:
        """The body as a `type_`; see `bodies.decode_json` for what is raised."""
        return decode_json(await self.body(), type_, nesting=self.services.limits.nesting)

    async def document(self) -> dict[str, Any]:
        """The body, which must be a JSON object in which no key stands twice."""
        return decode_document(await self.body(), nesting=self.services.limits.nesting)

    async def object_bytes(self, *, may_be_empty: bool = False) -> bytes:
        """The body as it came, known to be a JSON object."""
        body = await self.body()
        if may_be_empty and not body.strip():
            return b"{}"
        decode_object(body, nesting=self.services.limits.nesting)
        return body

    def pairs(self) -> list[tuple[str, str]]:
        """The query parameters."""
        return self.request.pairs(self.services.limits.query_string_bytes)

    # --- the kernel ----------------------------------------------------------------------

    async def read(self, verb: str, message: msgspec.Struct, reply_type: type[T]) -> T:
        """The kernel's answer to a question; its work ends when the client hangs up.

        Raises:
            ClientGone: it has.

        """
        with WhileClientWaits(self.request):
            reply = await self.services.kernel.call(verb, message, self.context, reply_type)
        self.timing = getattr(reply, "timing", None)
        return reply

    async def write(self, verb: str, message: msgspec.Struct, reply_type: type[T]) -> T:
        """The kernel's answer to a change.

        With the caller's idempotency key the client of the bus may repeat it when a kernel dies in
        the middle. Without one it is sent once; a lost answer is `OutcomeUnknown`. The reply's
        consistency token becomes a header of the answer, see `written`; it contains the one that
        the caller presented, so that a caller needs to keep the last one only.
        """
        context = self.context
        reply = await self.services.kernel.call(verb, message, context, reply_type)
        token: str | None = getattr(reply, "consistency_token", None)
        if token is not None:
            known = self.written or context.consistency_token
            now_s = self.services.clock.monotonic_s()
            self.written = self.services.writes.answered(context.tenant, token, known, now_s)
        return reply
