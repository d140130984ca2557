"""The development token: an administrator of the default tenant, signed with the development secret."""

from __future__ import annotations

import time

import jwt

_YEAR_S = 365 * 24 * 3600
_RENEW_BEFORE_S = 30 * 24 * 3600


def admin_token(secret: str) -> str:
    """A JWT that is accepted for a year."""
    now = int(time.time())
    claims = {
        "sub": "admin",
        "tenant": "default",
        "roles": ["admin", "system"],
        "iat": now,
        "exp": now + _YEAR_S,
    }
    return jwt.encode(claims, secret, algorithm="HS256")


def is_lasting(token: str, secret: str) -> bool:
    """Whether `token` is signed with `secret` and accepted for another month."""
    try:
        claims = jwt.decode(token, secret, algorithms=["HS256"])
    except jwt.InvalidTokenError:
        return False
    return bool(claims["exp"] - time.time() > _RENEW_BEFORE_S)
