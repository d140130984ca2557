"""Sessions in cookies, for pages in browsers: tokens that no script can read.

A browser sends cookies with whatever any page makes it send, so what changes something by a cookie
has to show that a page of ours asked for it (OWASP, "Cross-Site Request Forgery Prevention"): the
browser says that it comes from this site or from an origin that is set (`Sec-Fetch-Site`, `Origin`:
no page can forge them), and it carries a header that forms and links cannot, and scripts of other
sites only with leave by CORS. A token in a hidden field would need a page that we render, and one
more cookie; these two need no state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from objectql.errors import CrossSiteRefused, InvalidRequest, Unauthenticated
from objectql.wire.identity import TokensReply
from objectql_gateway_rest.asgi import RawHeaders, Request, Response
from objectql_gateway_rest.settings import CookieSettings

ACCESS: Final = "__Host-oql-access"
REFRESH: Final = "__Secure-oql-refresh"
"""Browsers take these only over HTTPS; the first from no other host, not even a subdomain. The
second cannot have that promise, since it is sent to `/api/auth` alone."""

HEADER: Final = "x-oql-csrf"
"""Any value will do: that it is there is the proof."""

_READS: Final = frozenset({"GET", "HEAD"})
_REFRESH_PATH: Final = "/api/auth"
_GONE: Final = 0


def keep_private(response: Response) -> None:
    """Let caches between here and the browser not keep an answer to a cookie.

    They keep none to `Authorization` by themselves; of cookies they know nothing (RFC 9111 §3.5).
    """
    if all(name != b"cache-control" for name, _ in response.headers):
        response.headers.append((b"cache-control", b"private, no-cache"))


class Cookies:
    """Reads and writes the cookies of sessions; `origins` are pages elsewhere that may use them."""

    def __init__(self, settings: CookieSettings, origins: Iterable[str] = ()) -> None:
        self._is_on = settings.enabled
        self._same_site = settings.same_site.capitalize()
        self._origins = frozenset(origins)

    def access_token(self, request: Request) -> str:
        """The token that a request carries in a cookie.

        Raises:
            Unauthenticated: none.
            CrossSiteRefused: it would change something, and nothing shows that a page of ours asks.

        """
        token = self._find(request, ACCESS)
        if request.method not in _READS:
            self.check(request)
        return token

    def refresh_token(self, request: Request) -> str:
        """The refresh token in a cookie; see `access_token` for what is raised."""
        token = self._find(request, REFRESH)
        self.check(request)
        return token

    def check(self, request: Request) -> None:
        """Return if a page of ours sent `request`.

        Raises:
            CrossSiteRefused: nothing shows it.

        """
        headers = request.headers
        if HEADER not in headers:
            raise CrossSiteRefused(reason=f"it lacks the header {HEADER}")
        origin = headers.get("origin")
        if origin in self._origins:
            return
        site = headers.get("sec-fetch-site")  # a browser that sends it knows best
        if site is not None:
            is_ours = site == "same-origin"
        else:
            is_ours = origin is not None and urlsplit(origin).netloc == headers["host"]
        if not is_ours:
            raise CrossSiteRefused(reason="another site sends it")

    def begin(self, reply: TokensReply, now_ms: int) -> RawHeaders:
        """The headers that give a browser the tokens of `reply`."""
        lasts_s = max(_GONE, (reply.session_expires_ms - now_ms) // 1000)
        return [
            self._cookie(ACCESS, reply.access_token, "/", reply.expires_in_s),
            self._cookie(REFRESH, reply.refresh_token, _REFRESH_PATH, lasts_s),
        ]

    def admit(self, request: Request) -> None:
        """Return if `request` may begin a session in cookies.

        Raises:
            InvalidRequest: they are switched off.
            CrossSiteRefused: see `check`; nobody shall be signed in as somebody else.

        """
        if not self._is_on:
            raise InvalidRequest(reason="sessions in cookies are switched off")
        self.check(request)

    def end(self) -> RawHeaders:
        """The headers that make a browser forget the session; none when there are no cookies."""
        if not self._is_on:
            return []
        return [
            self._cookie(ACCESS, "", "/", _GONE),
            self._cookie(REFRESH, "", _REFRESH_PATH, _GONE),
        ]

    def _find(self, request: Request, wanted: str) -> str:
        """The value of a cookie; of one that stands twice none, as nobody knows who set which."""
        if not self._is_on:
            raise Unauthenticated
        pairs = [pair.partition("=") for pair in request.headers.get("cookie", "").split(";")]
        found = [value.strip() for name, _, value in pairs if name.strip() == wanted]
        if len(found) != 1 or not found[0]:
            raise Unauthenticated
        return found[0]

    def _cookie(self, name: str, value: str, path: str, lasts_s: int) -> tuple[bytes, bytes]:
        text = (
            f"{name}={value}; Path={path}; Max-Age={lasts_s}; Secure; HttpOnly; "
            f"SameSite={self._same_site}"
        )
        return (b"set-cookie", text.encode())
