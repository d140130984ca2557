"""Passwords as they are stored: `scrypt$<n>$<r>$<p>$<salt>$<hash>`, the last two in base64.

Parameters: RFC 7914; n = 2^14, r = 8, p = 1 take about 16 MiB and some tens of milliseconds.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

_N, _R, _P = 1 << 14, 8, 1
_SALT_BYTES = 16
_MAX_MEMORY = 64 << 20


def hash_password(password: str) -> str:
    """The stored form of `password`; two calls give two forms."""
    salt = os.urandom(_SALT_BYTES)
    digest = _digest(password, salt, _N, _R, _P)
    return f"scrypt${_N}${_R}${_P}${_text(salt)}${_text(digest)}"


def verify_password(password: str, stored: str) -> bool:
    """Whether `stored` was made from `password`; a stored form that is none matches nothing."""
    try:
        scheme, n, r, p, salt, digest = stored.split("$")
        expected = base64.b64decode(digest)
        actual = _digest(password, base64.b64decode(salt), int(n), int(r), int(p))
    except ValueError:
        return False
    return scheme == "scrypt" and hmac.compare_digest(expected, actual)


def _digest(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
