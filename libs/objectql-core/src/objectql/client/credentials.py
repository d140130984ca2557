"""Who the client is: a token, somebody who hands out tokens, or a name with a password."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeAlias

from objectql.errors import ObjectQLError, OutcomeUnknown, Unauthenticated

Post: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Sends a body to a path of the gateway, once, without credentials."""

_SPENT: Final = 0.8
"""The part of a token's life after which a fresh one is asked for."""


class Credentials(Protocol):
    """What knows the token of now."""

    async def token(self, post: Post) -> str:
        """A token that is thought to be good.

        Raises:
            ObjectQLError: there is none to be had.

        """
        ...

    async def renew(self, refused: str) -> bool:
        """Whether `token` may answer something else than `refused` now, which was refused."""
        ...


class StaticToken:
    """One token or API key, for as long as it is good."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self, post: Post) -> str:  # noqa: ARG002 - the protocol's
        return self._token

    async def renew(self, refused: str) -> bool:  # noqa: ARG002 - there is no other
        return False


class FetchedToken:
    """Tokens of somebody else, as an identity provider; `fetch` is called for each new one."""

    def __init__(self, fetch: Callable[[], Awaitable[str]]) -> None:
        self._fetch = fetch
        self._known: str | None = None
        self._one = asyncio.Lock()

    async def token(self, post: Post) -> str:  # noqa: ARG002 - the protocol's
        async with self._one:
            if self._known is None:
                self._known = await self._fetch()
            return self._known

    async def renew(self, refused: str) -> bool:
        if self._known == refused:
            self._known = None
        return True


class SignIn:
    """A built-in user by name (or email) and password; the session is refreshed by itself."""

    def __init__(self, name: str, password: str, *, tenant: str | None = None) -> None:
        self._body = {"name": name, "password": password}
        if tenant is not None:
            self._body["tenant"] = tenant
        self._access: str | None = None
        self._refresh: str | None = None
        self._fresh_until_s = 0.0
        self._one = asyncio.Lock()

    async def token(self, post: Post) -> str:
        async with self._one:  # a refresh token is good for one use: two at once end the session
            if self._access is None or time.monotonic() >= self._fresh_until_s:
                self._take(await self._session(post))
            assert self._access is not None
            return self._access

    async def renew(self, refused: str) -> bool:
        if self._access == refused:
            self._access = None
        return True

    async def _session(self, post: Post) -> dict[str, Any]:
        refresh, self._refresh = self._refresh, None
        if refresh is not None:
            try:
                return await post("/api/auth/refresh", {"refresh_token": refresh})
            except (Unauthenticated, OutcomeUnknown):
                pass  # the session has ended, or the answer is lost and the token spent
            except ObjectQLError:
                self._refresh = refresh  # refused before it was looked at
                raise
        return await post("/api/auth/sign-in", self._body)

    def _take(self, session: dict[str, Any]) -> None:
        self._access, self._refresh = session["access_token"], session["refresh_token"]
        self._fresh_until_s = time.monotonic() + _SPENT * session["expires_in"]


def credentials_of(given: str | Callable[[], Awaitable[str]] | Credentials) -> Credentials:
    """`given` as credentials."""
    if isinstance(given, str):
        return StaticToken(given)
    if callable(given):
        return FetchedToken(given)
    return given
