"""Where a request carries its credentials: `Authorization: Bearer`, `X-API-Key`, or a cookie."""

from __future__ import annotations

from objectql.errors import Unauthenticated
from objectql_gateway_rest.asgi import Request


def find_credentials(request: Request) -> str | None:
    """The token or API key in the headers of a request; None: only a cookie may have one.

    Raises:
        Unauthenticated: what is there is none.

    """
    headers = request.headers
    given = headers.get("authorization")
    if given is None:
        key = headers.get("x-api-key")
        if key is not None and not key.startswith("oqlk_"):  # a token has its own header
            raise Unauthenticated
        return key
    scheme, _, token = given.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    return token
