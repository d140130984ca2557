"""What a request must be before anybody looks at what it asks for."""

from __future__ import annotations

from objectql.errors import InvalidRequest, MediaTypeUnsupported
from objectql_gateway_rest.asgi import Request

_OVERRIDES = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
_UNUSUAL = _OVERRIDES | {"content-encoding"}


def admit(request: Request, hosts: frozenset[str]) -> None:
    """Return if `request` is addressed to one of `hosts` (empty: to any), as what it is.

    Raises:
        InvalidRequest: no host or several, one that is not served here, or another method in disguise.
        MediaTypeUnsupported: the body is compressed; a few bytes could become gigabytes.

    """
    headers = request.headers
    host = headers.get("host", "")
    if not host or "," in host:
        raise InvalidRequest(reason="a request names one host")
    if hosts and _name(host) not in hosts:
        raise InvalidRequest(reason="this host is not served here")
    if _UNUSUAL.isdisjoint(headers):
        return
    if not _OVERRIDES.isdisjoint(headers):
        raise InvalidRequest(reason="the method stands in the request line, not in a header")
    if (coding := headers["content-encoding"].strip().lower()) != "identity":
        raise MediaTypeUnsupported(content_type=f"content-encoding: {coding[:40]}")


def _name(host: str) -> str:
    """`host` without its port, in lower case."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdecimal() else host.lower()
