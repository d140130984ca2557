"""Bearer tokens and API keys to actors, for every gateway.

Four kinds of credentials: tokens of a shared development secret (HS256), of an issuer's public keys
(JWKS), of the cluster itself (Ed25519, by `service.identity`), and API keys. The token's `alg` chooses
among the algorithms of the key's own kind, so a public key can never serve as an HMAC secret. Every
refusal looks the same from outside; the cause is logged. What was believed once is believed again by
one look-up, until it expires or something that it depends on is void.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol, TypeAlias

import jwt

from objectql.clock import Clock, SystemClock
from objectql.context import Actor
from objectql.errors import Unauthenticated, Unavailable
from objectql.service.claims import Caller, Refusal, issuer_of, read_header, to_caller
from objectql.service.key_sets import Fetch, KeySet, fetch_url
from objectql.service.revocations import ALWAYS_MS, Revocations, Subject, dependence
from objectql.service.settings import AuthSettings, IssuerSettings
from objectql.wire.identity import KeyReply

log = logging.getLogger(__name__)

MAX_TOKEN_BYTES: Final = 8 * 1024
KEY_PREFIX: Final = "oqlk_"
CLUSTER_ISSUER: Final = "objectql"
_REMEMBERED: Final = 4096
_KEY_REMEMBERED_S: Final = 30.0
_OWN = IssuerSettings(issuer=CLUSTER_ISSUER)

Refused: TypeAlias = Callable[[str], None]


class Identities(Protocol):
    """What is needed of `objectql.service.identity.IdentityView`."""

    @property
    def revocations(self) -> Revocations: ...
    @property
    def is_loaded(self) -> bool: ...
    async def public_key(self, kid: str) -> jwt.PyJWK | None: ...
    async def resolve(self, key: str) -> KeyReply: ...


class TokenVerifier:
    """Verifies credentials against one `AuthSettings`, and with `identities` the cluster's own.

    `refused` is told the cause of every refusal, as a word from a closed set.
    """

    def __init__(
        self,
        settings: AuthSettings,
        *,
        clock: Clock | None = None,
        fetch: Fetch | None = None,
        refused: Refused | None = None,
        identities: Identities | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._refused = refused
        self._identities = identities
        self._known: dict[str, Caller] = {}
        self._issuers = [
            (issuer, KeySet(issuer, settings, self._clock, fetch or fetch_url, self._known.clear))
            for issuer in (settings, *settings.issuers.values())
            if issuer.has_keys
        ]
        if identities is not None:
            identities.revocations.on_change(self._evict)

    async def verify(self, token: str) -> Actor:
        """The actor that `token` names; raises as `caller` does."""
        known = self._known.get(token)
        if known is not None and self._clock.now_ms() / 1000 < known.until_s:
            return known.actor
        return (await self.caller(token)).actor

    async def caller(self, token: str) -> Caller:
        """Whom `token` names, until when, and on what that depends.

        Raises:
            Unauthenticated: it is not a valid token or key, for whatever reason.
            Unavailable: nobody can say yet what is void.

        """
        known = self._known.get(token)
        if known is not None and self._clock.now_ms() / 1000 < known.until_s:
            return known
        if self._identities is not None and not self._identities.is_loaded:
            raise Unavailable(what="the identities", retry_after_ms=1000)
        try:
            caller = await self._verify(token)
        except Refusal as exc:
            cause = exc.cause
        except jwt.PyJWTError as exc:
            cause = _CAUSES.get(type(exc), "malformed")
        except (ValueError, TypeError, IndexError, RecursionError):
            cause = "malformed"
        else:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[token] = caller
            return caller
        log.info("token_refused", extra={"cause": cause})
        if self._refused is not None:
            self._refused(cause)
        raise Unauthenticated

    async def _verify(self, token: str) -> Caller:
        if not 0 < len(token) <= MAX_TOKEN_BYTES:
            raise Refusal("length")
        if token.startswith(KEY_PREFIX):
            caller = await self._by_key(token)
        else:
            caller = await self._by_signature(token)
        # Nothing is awaited from here to where the caller is remembered: what is void by then is
        # seen here, and what is void later evicts it.
        if self._identities is not None and not self._identities.revocations.allow(caller.right):
            raise Refusal("revoked")
        return caller

    async def _by_key(self, key: str) -> Caller:
        if self._identities is None:
            raise Refusal("key")
        try:
            reply = await self._identities.resolve(key)
        except Unauthenticated:
            raise Refusal("key") from None
        until_s = self._clock.now_ms() / 1000 + _KEY_REMEMBERED_S
        if reply.expires_ms is not None:
            until_s = min(until_s, reply.expires_ms / 1000)
        actor = reply.actor
        return Caller(
            actor, until_s, dependence(actor.tenant, ALWAYS_MS, user=actor.id, key=reply.key)
        )

    async def _by_signature(self, token: str) -> Caller:
        header = read_header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        given = issuer_of(token)
        if algorithm == "HS256" and self._settings.jwt_secret is not None:
            return self._decode(token, self._settings.jwt_secret, "HS256", self._settings)
        if given == CLUSTER_ISSUER and self._identities is not None:
            if algorithm != "EdDSA" or not isinstance(kid, str):
                raise Refusal("algorithm")
            own = await self._identities.public_key(kid)
            return self._decode(token, own or _no_key(), "EdDSA", _OWN)
        refusal = "algorithm"
        for issuer, keys in self._issuers:
            if issuer.issuer is not None and issuer.issuer != given:
                refusal = "issuer"
            elif algorithm in issuer.algorithms:
                key = await keys.find(kid, str(algorithm))
                caller = self._decode(token, key or _no_key(), str(algorithm), issuer)
                until_s = self._clock.now_ms() / 1000 + keys.good_for_s
                return caller._replace(until_s=min(caller.until_s, until_s))
        raise Refusal(refusal)

    def _decode(
        self, token: str, key: jwt.PyJWK | str, algorithm: str, issuer: IssuerSettings
    ) -> Caller:
        claims: dict[str, Any] = jwt.decode(  # pyright: ignore[reportUnknownMemberType]
            token,
            key,
            algorithms=[algorithm],
            audience=issuer.audience,
            issuer=issuer.issuer,
            options={
                "require": ["exp", "sub"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": issuer.audience is not None,
            },
        )
        return to_caller(claims, issuer, self._clock.now_ms() / 1000, self._settings.leeway_s)

    def _evict(self, subjects: frozenset[Subject]) -> None:
        gone = [t for t, c in self._known.items() if not subjects.isdisjoint(c.right.subjects)]
        for token in gone:
            del self._known[token]


def _no_key() -> NoReturn:
    raise Refusal("key")


_CAUSES: dict[type[Exception], str] = {
    jwt.InvalidSignatureError: "signature",
    jwt.InvalidAudienceError: "audience",
    jwt.InvalidIssuerError: "issuer",
    jwt.MissingRequiredClaimError: "claims",
    jwt.InvalidAlgorithmError: "algorithm",
}
