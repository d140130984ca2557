"""The ASGI entry: match, authenticate, call the handler, answer; every failure in its surface's form."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from types import CoroutineType

from objectql.errors import Internal, ObjectQLError, Overloaded
from objectql.wire.messages import Timing
from objectql_gateway_rest.admission import admit
from objectql_gateway_rest.asgi import ClientGone, Receive, Request, Response, Scope, Send
from objectql_gateway_rest.call import Call, Services
from objectql_gateway_rest.cookies import keep_private
from objectql_gateway_rest.cors import Cors
from objectql_gateway_rest.problems import Surface, respond_error
from objectql_gateway_rest.routes import Route, Router

log = logging.getLogger(__name__)

_RETRY_AFTER_MS = 250

_SDK_PREFIXES = ("data", "metadata", "objectql", "query", "command", "execute", "files")


class Gateway:
    """Serves a table of routes."""

    def __init__(
        self,
        routes: Iterable[Route],
        services: Services,
        *,
        hosts: Iterable[str] = (),
        cors: Cors | None = None,
    ) -> None:
        self._router = Router(routes)
        self._hosts = frozenset(host.lower() for host in hosts)
        self._cors = cors
        self._services = services
        rates = self._rates = services.rates
        self._limited = None if rates is None or not rates.limits_callers else rates
        """What counts the requests of callers, where any are limited."""
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """Requests that are not answered yet."""
        return self._in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; it never raises for the caller's reasons."""
        request = Request(scope, receive)
        call = Call(request, self._services)
        clock = self._services.clock
        started_s = clock.monotonic_s()
        self._in_flight += 1
        try:
            response = await self._answer(call)
        except ClientGone:
            return
        finally:
            self._in_flight -= 1
        took_s = clock.monotonic_s() - started_s
        self._services.observe(call.label, str(response.status), took_s)
        if self._services.server_timing:
            response.headers.append((b"server-timing", _server_timing(call.timing, took_s)))
        response.headers.append((b"x-request-id", call.request_id.encode()))
        if call.written is not None:
            response.headers.append((b"oql-consistency-token", call.written.encode()))
        if call.is_by_cookie:
            keep_private(response)
        if call.told is not None:
            response.headers += call.told.headers()
        if self._cors is not None:
            response.headers += self._cors.headers(request.headers.get("origin"))
        await response.send(send, with_body=request.method != "HEAD")

    async def _answer(self, call: Call) -> Response:
        surface: Surface = surface_of(call.request.path)
        try:
            admit(call.request, self._hosts)
            if self._cors is not None and (answer := self._cors.preflight(call.request)):
                return answer
            segments = call.request.segments()
            if self._in_flight > self._services.limits.in_flight:
                raise Overloaded(retry_after_ms=_RETRY_AFTER_MS)
            if call.request.method == "OPTIONS":
                return self._options(segments)
            route, values = self._router.match(call.request.method, segments)
            surface = route.surface
            call.label = route.label
            if not route.is_public:
                await call.authenticate()
            if self._limited is not None and not route.is_public:
                told = self._limited.of_caller(call.context.actor)
                call.told = await told if isinstance(told, CoroutineType) else told
            elif route.by_address and self._rates is not None:
                call.told = await self._rates.of_address(
                    call.request.client(self._services.proxies)
                )
            if call.told is not None:
                call.told.check()
            return await route.handler(call, *values)
        except ObjectQLError as exc:
            return respond_error(exc, surface, call.request_id)
        except ClientGone:
            raise
        except Exception:  # noqa: BLE001 - the edge of the service: a bug must be answered
            log.exception("request_crashed", extra={"request_id": call.request_id})
            return respond_error(Internal(), surface, call.request_id)

    def _options(self, segments: list[str]) -> Response:
        allowed = self._router.allowed(segments)
        if not allowed:
            self._router.match("OPTIONS", segments)
        return Response(status=204, headers=[(b"allow", ", ".join(allowed).encode())])


def _server_timing(timing: Timing | None, took_s: float) -> bytes:
    """Milliseconds by step (W3C Server Timing); what is not part of a step is on the way."""
    if timing is None:
        return b"total;dur=%.2f" % (took_s * 1e3)
    plan_us, data_us, data_from = timing
    return b"plan;dur=%.2f, %s;dur=%.2f, total;dur=%.2f" % (
        plan_us / 1e3,
        data_from.encode(),
        data_us / 1e3,
        took_s * 1e3,
    )


def surface_of(path: str) -> Surface:
    """Whose error bodies a path that is not routed has."""
    parts = path.split("/", 3)
    area = parts[2] if len(parts) > 2 and parts[1] == "api" else ""
    if area == "v1":
        return "v1"
    return "sdk" if area in _SDK_PREFIXES else "api"
