"""Where a request carries its credentials: `Authorization: Bearer` or `X-API-Key`."""

from __future__ import annotations

from collections.abc import Mapping

from objectql.errors import Unauthenticated


def find_credentials(headers: Mapping[str, str]) -> str | None:
    """The token or API key in the headers of a request, by their names in lower case.

    Raises:
        Unauthenticated: what is there is none.

    """
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
