"""Which pages of other origins may call, as browsers ask it (Fetch standard, "CORS protocol").

Off unless origins are set. Whoever is not a browser is not concerned by it.
"""

from __future__ import annotations

from objectql_gateway_rest.asgi import RawHeaders, Request, Response
from objectql_gateway_rest.settings import CorsSettings

_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_ASKED = (
    b"authorization, content-type, idempotency-key, if-match, if-none-match, oql-consistency-token, "
    b"oql-read-policy, prefer, traceparent, tracestate, x-oql-csrf, x-request-id, x-timeout-ms"
)
_TOLD = (
    b"etag, location, oql-consistency-token, ratelimit, ratelimit-policy, retry-after, "
    b"server-timing, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-request-id"
)
_ANY = "*"


class Cors:
    """The headers for the origins that `settings` allows."""

    def __init__(self, settings: CorsSettings) -> None:
        self._origins = frozenset(settings.origins)
        self._shared: RawHeaders = []
        if settings.credentials:
            self._shared = [(b"access-control-allow-credentials", b"true")]
        self._max_age = b"%d" % settings.max_age_s

    def headers(self, origin: str | None) -> RawHeaders:
        """What every answer has: leave to read it where `origin` is allowed."""
        if _ANY in self._origins:  # never together with credentials, see the settings
            return [(b"access-control-allow-origin", b"*"), _expose]
        if origin not in self._origins:
            return [_vary]
        assert origin is not None
        allowed = (b"access-control-allow-origin", origin.encode("latin-1"))
        return [allowed, _vary, _expose, *self._shared]

    def preflight(self, request: Request) -> Response | None:
        """The answer to a browser that asks before it calls; None for every other request.

        Without token, route or body: the call itself is checked when it comes.
        """
        headers = request.headers
        if request.method != "OPTIONS" or "access-control-request-method" not in headers:
            return None
        origin = headers.get("origin")
        if _ANY not in self._origins and origin not in self._origins:
            return Response(status=204)
        may = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _ASKED),
            (b"access-control-max-age", self._max_age),
        ]
        return Response(status=204, headers=may)


_vary = (b"vary", b"Origin")
_expose = (b"access-control-expose-headers", _TOLD)
