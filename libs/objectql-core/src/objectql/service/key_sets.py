"""The public keys of an issuer: found by its address or by OpenID Connect discovery.

Source: OpenID Connect Discovery 1.0 §4 (where the document is, and that its `issuer` must be the one
that was asked), RFC 7517 (key sets).
"""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, cast

import jwt

from objectql.clock import Clock
from objectql.service.settings import AuthSettings, IssuerSettings

log = logging.getLogger(__name__)

FETCH_TIMEOUT_S: Final = 5.0
"""How long a request may wait for an issuer, however slowly that answers."""

_MAX_DOCUMENT_BYTES: Final = 1024 * 1024
_KTY_OF_ALGORITHM: Final = {"RS": "RSA", "ES": "EC", "Ed": "OKP"}

Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]


class KeySet:
    """An issuer's public keys: fetched when needed, kept while the issuer is down.

    An unknown key id is fetched for once (rotation), at most once per `refetch_s` (attackers).
    `changed` is told when keys were fetched anew.
    """

    def __init__(
        self,
        issuer: IssuerSettings,
        settings: AuthSettings,
        clock: Clock,
        fetch: Fetch,
        changed: Callable[[], None],
    ) -> None:
        self._issuer = issuer
        self._settings = settings
        self._clock = clock
        self._fetch = fetch
        self._changed = changed
        self._keys: dict[str, tuple[str, jwt.PyJWK]] = {}
        self._fetched_s: float | None = None
        self._tried_s: float | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def good_for_s(self) -> float:
        """For how long a verdict holds that these keys gave: until they are looked at again."""
        if self._fetched_s is None:
            return 0.0
        age_s = self._clock.monotonic_s() - self._fetched_s
        return max(self._settings.refresh_s - age_s, self._settings.refetch_s)

    async def find(self, kid: object, algorithm: str) -> jwt.PyJWK | None:
        """The key with an id, if it is of the algorithm's own kind."""
        if not isinstance(kid, str):
            return None
        if self._fetched_s is None or kid not in self._keys or self._is_stale:
            await self._refresh()
        kty, key = self._keys.get(kid, ("", None))
        return key if kty == _KTY_OF_ALGORITHM.get(algorithm[:2]) else None

    @property
    def _is_stale(self) -> bool:
        fetched_s = self._fetched_s
        return fetched_s is not None and (
            self._clock.monotonic_s() - fetched_s >= self._settings.refresh_s
        )

    async def _refresh(self) -> None:
        """Fetch once, however many callers wait; not again within `refetch_s`."""
        now_s = self._clock.monotonic_s()
        if self._running is None:
            if self._tried_s is not None and now_s - self._tried_s < self._settings.refetch_s:
                return
            self._tried_s = now_s
            self._running = asyncio.ensure_future(self._load())
            self._running.add_done_callback(self._loaded)
        await asyncio.shield(self._running)

    def _loaded(self, _: asyncio.Task[None]) -> None:
        self._running = None

    async def _load(self) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                text = await self._fetch(await self._address())
            entries = cast("list[dict[str, Any]]", json.loads(text)["keys"])
            keys = dict(filter(None, map(_usable, entries)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            log.warning("keys_not_fetched", extra={"reason": repr(exc)})
            return
        self._keys = keys
        self._fetched_s = self._clock.monotonic_s()
        self._changed()

    async def _address(self) -> str:
        if self._issuer.jwks_url is not None:
            return self._issuer.jwks_url
        issuer = self._issuer.issuer or ""
        text = await self._fetch(issuer.rstrip("/") + "/.well-known/openid-configuration")
        document: Any = json.loads(text)
        if document["issuer"] != issuer:
            raise ValueError(f"the issuer calls itself {str(document['issuer'])[:200]!r}")
        return str(document["jwks_uri"])


def _usable(entry: dict[str, Any]) -> tuple[str, tuple[str, jwt.PyJWK]] | None:
    """A key by its id; None is one that signs nothing for us, or of a kind that is not known."""
    kid, kty = entry.get("kid"), entry.get("kty")
    is_ours = kty in _KTY_OF_ALGORITHM.values() and entry.get("use", "sig") == "sig"
    if not is_ours or not isinstance(kid, str):
        return None
    try:
        return kid, (str(kty), jwt.PyJWK(entry))
    except jwt.PyJWTError as exc:
        log.warning("key_not_usable", extra={"kid": kid[:64], "reason": repr(exc)})
        return None


async def fetch_url(url: str) -> bytes:
    """The body at an http or https `url`; raises `OSError` or `ValueError`."""

    def fetch() -> bytes:
        if not url.startswith(("https://", "http://")):
            raise ValueError("a key set is fetched over http or https")
        with urllib.request.urlopen(url, timeout=FETCH_TIMEOUT_S) as answer:  # noqa: S310 - checked
            return answer.read(_MAX_DOCUMENT_BYTES)

    return await asyncio.to_thread(fetch)
