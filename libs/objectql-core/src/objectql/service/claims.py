"""From the claims of a token whose signature is right to its caller; whatever is odd is refused."""

from __future__ import annotations

import base64
import json
import math
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias, cast

import msgspec

from objectql.context import DEFAULT_TENANT, Actor
from objectql.ids import tenant_id
from objectql.service.revocations import Dependence, dependence
from objectql.service.settings import IssuerSettings

Claims: TypeAlias = dict[str, Any]

_NOT_CLAIMS: Final = frozenset({
    "sub", "tenant", "roles", "aud", "iss", "exp", "nbf", "iat", "jti", "sid",
})  # fmt: skip
_FOREIGN_KEYS: Final = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64"})
"""Header parameters that bring a key along, name one, or change what is signed (RFC 7515 §4.1)."""

_MAX_ID: Final = 255


class Refusal(Exception):
    """A token is not accepted; `cause` is a word from a closed set, for the log."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Caller(NamedTuple):
    """Who calls, until when (Unix seconds), and on what that depends."""

    actor: Actor
    until_s: float
    right: Dependence


def read_header(token: str) -> dict[str, Any]:
    """The token's header.

    Raises:
        Refusal: it names a key, or a parameter twice.
        ValueError, TypeError: it is none.

    """
    header = _object(token.split(".", 1)[0])
    if not _FOREIGN_KEYS.isdisjoint(header):
        raise Refusal("header")
    return header


def issuer_of(token: str) -> object:
    """The `iss` of a token of which nothing is proven yet.

    Raises:
        Refusal: a claim stands there twice.
        ValueError, TypeError: it is no token.

    """
    return _object(token.split(".")[1]).get("iss")


def to_caller(claims: Claims, issuer: IssuerSettings, now_s: float, leeway_s: float) -> Caller:
    """The caller that verified `claims` describe.

    Raises:
        Refusal: not now, or what is said has no meaning here.

    """
    until_s = _seconds(claims, "exp") + leeway_s
    if now_s >= until_s:
        raise Refusal("expired")
    for name in ("nbf", "iat"):
        if name in claims and _seconds(claims, name) > now_s + leeway_s:
            raise Refusal("not_yet")
    actor = _actor(claims, issuer)
    issued_ms = _seconds(claims, "iat") * 1000 if "iat" in claims else 0.0
    jti = claims.get("jti")
    right = dependence(
        actor.tenant,
        issued_ms,
        user=actor.id,
        session=actor.session,
        token=jti if isinstance(jti, str) else "",
    )
    return Caller(actor, until_s, right)


def _actor(claims: Claims, issuer: IssuerSettings) -> Actor:
    subject, session = claims.get("sub"), claims.get("sid", "")
    roles = _claim(claims, issuer.roles_claim, [])
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_ID or not subject.isprintable():
        _refuse()
    if not isinstance(roles, list):
        _refuse()
    names = tuple(cast("list[object]", roles))
    if not all(isinstance(name, str) for name in names):
        _refuse()
    if not isinstance(session, str) or len(session) > _MAX_ID:
        _refuse()
    default = DEFAULT_TENANT if issuer.tenant_claim == "tenant" else None
    tenant = _claim(claims, issuer.tenant_claim, default)
    if not isinstance(tenant, str) or (issuer.tenants and tenant not in issuer.tenants):
        _refuse()
    mapped = (issuer.tenant_claim.partition(".")[0], issuer.roles_claim.partition(".")[0])
    more = {n: v for n, v in claims.items() if n not in _NOT_CLAIMS and n not in mapped}
    try:
        actor = Actor(
            id=subject,
            tenant=tenant_id(tenant),
            roles=cast("tuple[str, ...]", names),
            claims=more,
            session=session,
        )
        msgspec.json.encode(actor)  # it travels; JSON may hold half a surrogate pair, UTF-8 not
    except ValueError:
        _refuse()
    return actor


def _claim(claims: Claims, name: str, default: object) -> object:
    """The claim of a name, or what a dotted name leads to (`realm_access.roles`)."""
    if name in claims:
        return claims[name]
    value: object = claims
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return default
        value = cast("dict[str, object]", value)[part]
    return value


def _seconds(claims: Claims, name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse()
    try:
        seconds = float(value)
    except OverflowError:
        _refuse()
    if not math.isfinite(seconds):  # JSON has no word for it, but 1e999 is read as one
        _refuse()
    return seconds


def _object(part: str) -> dict[str, Any]:
    """A part of a token as the JSON object that it must be, no name of which stands twice."""

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            _refuse()
        return dict(pairs)

    def no_constant(_: str) -> NoReturn:
        _refuse()

    text = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    found: object = json.loads(text, object_pairs_hook=check, parse_constant=no_constant)
    if not isinstance(found, dict):
        raise TypeError("an object is expected")
    return cast("dict[str, Any]", found)


def _refuse() -> NoReturn:
    raise Refusal("claims")
