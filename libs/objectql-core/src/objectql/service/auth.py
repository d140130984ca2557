"""Bearer tokens to actors, for every gateway.

Two kinds of keys: a shared development secret (HS256) and the public keys of an issuer (JWKS). The
token's `alg` chooses among the algorithms of the key's own kind, so a public key can never serve as
an HMAC secret. Every refusal looks the same from outside; the cause is logged.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeAlias, cast

import jwt
import msgspec

from objectql.clock import Clock, SystemClock
from objectql.context import DEFAULT_TENANT, Actor
from objectql.errors import Unauthenticated
from objectql.ids import tenant_id
from objectql.service.settings import AuthSettings

log = logging.getLogger(__name__)

MAX_TOKEN_BYTES = 8 * 1024
_REMEMBERED = 4096
_FETCH_TIMEOUT_S = 5.0
_MAX_JWKS_BYTES = 1024 * 1024
_NOT_CLAIMS = frozenset({"sub", "tenant", "roles", "aud", "iss", "exp", "nbf", "iat", "jti"})
_KTY_OF_ALGORITHM = {"RS": "RSA", "ES": "EC"}

Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]
Refused: TypeAlias = Callable[[str], None]


class TokenVerifier:
    """Verifies tokens against one `AuthSettings`.

    `refused` is told the cause of every refusal, as a word from a closed set.
    """

    def __init__(
        self,
        settings: AuthSettings,
        *,
        clock: Clock | None = None,
        fetch: Fetch | None = None,
        refused: Refused | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._keys = KeySet(settings, self._clock, fetch or fetch_url)
        self._refused = refused
        self._verified: dict[str, tuple[Actor, float]] = {}
        self._verified_with = 0

    async def verify(self, token: str) -> Actor:
        """The actor that `token` names.

        Raises:
            Unauthenticated: it is not a valid token, for whatever reason.

        """
        known = self._verified.get(token)
        if known is not None and self._verified_with == self._keys.generation:
            actor, until_s = known
            if self._clock.now_ms() / 1000 < until_s and not self._keys.is_stale:
                return actor
        try:
            actor, until_s = await self._verify(token)
        except _Refusal as exc:
            cause = exc.cause
        except jwt.PyJWTError as exc:
            cause = _CAUSES.get(type(exc), "malformed")
        except (ValueError, TypeError, RecursionError):
            cause = "malformed"
        else:
            self._remember(token, actor, until_s)
            return actor
        log.info("token_refused", extra={"cause": cause})
        if self._refused is not None:
            self._refused(cause)
        raise Unauthenticated

    async def _verify(self, token: str) -> tuple[Actor, float]:
        if not 0 < len(token) <= MAX_TOKEN_BYTES:
            raise _Refusal("length")
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        settings = self._settings
        key: Any
        if algorithm == "HS256" and settings.jwt_secret is not None:
            key = settings.jwt_secret
        elif algorithm in settings.algorithms and settings.jwks_url is not None:
            key = await self._keys.find(header.get("kid"), algorithm)
        else:
            raise _Refusal("algorithm")
        claims: dict[str, Any] = jwt.decode(  # pyright: ignore[reportUnknownMemberType]
            token,
            key,
            algorithms=[algorithm],
            audience=settings.audience,
            issuer=settings.issuer,
            options={
                "require": ["exp", "sub"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": settings.audience is not None,
            },
        )
        _refuse_repeated_claims(token)
        return _to_actor(claims), self._check_times(claims)

    def _check_times(self, claims: dict[str, Any]) -> float:
        """Until when, in Unix seconds, the token holds. Checked here so that the clock is ours."""
        now_s, leeway_s = self._clock.now_ms() / 1000, self._settings.leeway_s
        until_s = _seconds(claims, "exp") + leeway_s
        if now_s >= until_s:
            raise _Refusal("expired")
        if "nbf" in claims and _seconds(claims, "nbf") > now_s + leeway_s:
            raise _Refusal("not_yet")
        return until_s

    def _remember(self, token: str, actor: Actor, until_s: float) -> None:
        if len(self._verified) >= _REMEMBERED or self._verified_with != self._keys.generation:
            self._verified.clear()
            self._verified_with = self._keys.generation
        self._verified[token] = (actor, until_s)


class KeySet:
    """An issuer's public keys: fetched when needed, kept while the issuer is down.

    An unknown key id is fetched for once (rotation), at most once per `refetch_s` (attackers).
    """

    def __init__(self, settings: AuthSettings, clock: Clock, fetch: Fetch) -> None:
        self._settings = settings
        self._clock = clock
        self._fetch = fetch
        self._keys: dict[str, tuple[str, jwt.PyJWK]] = {}
        self._fetched_s: float | None = None
        self._tried_s: float | None = None
        self._running: asyncio.Task[None] | None = None
        self.generation = 0

    @property
    def is_stale(self) -> bool:
        """Whether it is time to fetch the keys again."""
        if self._settings.jwks_url is None or self._fetched_s is None:
            return False
        return self._clock.monotonic_s() - self._fetched_s >= self._settings.refresh_s

    async def find(self, kid: object, algorithm: str) -> jwt.PyJWK:
        if not isinstance(kid, str):
            raise _Refusal("key")
        if self._fetched_s is None or kid not in self._keys or self.is_stale:
            await self._refresh()
        found = self._keys.get(kid)
        if found is None:
            raise _Refusal("key")
        kty, key = found
        if kty != _KTY_OF_ALGORITHM.get(algorithm[:2]):
            raise _Refusal("algorithm")
        return key

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
        url = self._settings.jwks_url
        assert url is not None
        try:
            document: Any = json.loads(await self._fetch(url))
            entries = cast("list[dict[str, Any]]", document["keys"])
            keys = {
                entry["kid"]: (entry["kty"], jwt.PyJWK(entry))
                for entry in entries
                if entry.get("kty") in _KTY_OF_ALGORITHM.values()
                and entry.get("use", "sig") == "sig"
                and isinstance(entry.get("kid"), str)
            }
        except (OSError, ValueError, KeyError, TypeError, jwt.PyJWTError) as exc:
            log.warning("keys_not_fetched", extra={"reason": repr(exc)})
            return
        self._keys = keys
        self._fetched_s = self._clock.monotonic_s()
        self.generation += 1


async def fetch_url(url: str) -> bytes:
    """The body at an http or https `url`; raises `OSError` or `ValueError`."""

    def fetch() -> bytes:
        if not url.startswith(("https://", "http://")):
            raise ValueError("a key set is fetched over http or https")
        with urllib.request.urlopen(url, timeout=_FETCH_TIMEOUT_S) as answer:  # noqa: S310 - checked
            return answer.read(_MAX_JWKS_BYTES)

    return await asyncio.to_thread(fetch)


class _Refusal(Exception):
    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


_CAUSES: dict[type[Exception], str] = {
    jwt.InvalidSignatureError: "signature",
    jwt.InvalidAudienceError: "audience",
    jwt.InvalidIssuerError: "issuer",
    jwt.MissingRequiredClaimError: "claims",
    jwt.InvalidAlgorithmError: "algorithm",
}


def _to_actor(claims: dict[str, Any]) -> Actor:
    subject, roles = claims["sub"], claims.get("roles", [])
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
        raise _Refusal("claims")
    if not isinstance(roles, list):
        raise _Refusal("claims")
    names = tuple(cast("list[object]", roles))
    if not all(isinstance(name, str) for name in names):
        raise _Refusal("claims")
    tenant = claims.get("tenant", DEFAULT_TENANT)
    if not isinstance(tenant, str):
        raise _Refusal("claims")
    try:
        actor = Actor(
            id=subject,
            tenant=tenant_id(tenant),
            roles=cast("tuple[str, ...]", names),
            claims={name: value for name, value in claims.items() if name not in _NOT_CLAIMS},
        )
        msgspec.json.encode(actor)  # it travels; JSON may hold half a surrogate pair, UTF-8 not
        return actor
    except ValueError:
        raise _Refusal("claims") from None


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124 - NaN
        raise _Refusal("claims")
    try:
        return float(value)
    except OverflowError as exc:
        raise _Refusal("claims") from exc


def _refuse_repeated_claims(token: str) -> None:
    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise _Refusal("claims")
        return dict(pairs)

    def no_constant(_: str) -> NoReturn:
        raise _Refusal("claims")

    payload = token.split(".")[1]
    text = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    json.loads(text, object_pairs_hook=check, parse_constant=no_constant)
