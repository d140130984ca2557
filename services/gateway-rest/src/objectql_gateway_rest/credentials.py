"""Where a request carries its credentials: `Authorization: Bearer`, or `X-API-Key`."""

from __future__ import annotations

from objectql.errors import Unauthenticated
from objectql_gateway_rest.asgi import Request


def find_credentials(request: Request) -> str:
    """The token or API key of a request.

    Raises:
        Unauthenticated: there is none.

    """
    headers = request.headers
    given = headers.get("authorization")
    if given is None:
        key = headers.get("x-api-key", "")
        if not key.startswith("oqlk_"):  # a token has its own header
            raise Unauthenticated
        return key
    scheme, _, token = given.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    return token
