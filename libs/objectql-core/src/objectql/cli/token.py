"""Tokens signed with the development secret. No service of a real installation accepts them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt

_REGISTERED = frozenset({"sub", "tenant", "roles", "iat", "exp"})


def development_token(
    secret: str,
    *,
    user: str,
    tenant: str,
    roles: tuple[str, ...],
    now_s: int,
    seconds: int,
    claims: Mapping[str, Any] | None = None,
) -> str:
    """A JWT (HS256) for `user` that is accepted for `seconds` from `now_s`.

    Raises:
        ValueError: `claims` repeats one that the token has anyway.

    """
    more = dict(claims or {})
    if taken := _REGISTERED & more.keys():
        raise ValueError(f"{', '.join(sorted(taken))} cannot be given as further claims")
    payload = {
        "sub": user,
        "tenant": tenant,
        "roles": list(roles),
        "iat": now_s,
        "exp": now_s + seconds,
        **more,
    }
    return jwt.encode(payload, secret, algorithm="HS256")
