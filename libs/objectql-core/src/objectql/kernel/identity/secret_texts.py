"""Refresh tokens and API keys as text, and what is stored of them.

`oqlr_<session>_<family>.<single use>` and `oqlk_<key>_<secret>`. The secrets have 256 random bits,
so one round of SHA-256 hides them: there is nothing to guess that a slow hash would make slower.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final, NamedTuple

_SECRET_BYTES: Final = 32
_MAX_CHARACTERS: Final = 256

REFRESH_PREFIX: Final = "oqlr_"
KEY_PREFIX: Final = "oqlk_"


class RefreshText(NamedTuple):
    """The parts of a refresh token."""

    session: str
    family: str
    single: str

    def __str__(self) -> str:
        return f"{REFRESH_PREFIX}{self.session}_{self.family}.{self.single}"


class KeyText(NamedTuple):
    """The parts of an API key."""

    id: str
    secret: str

    def __str__(self) -> str:
        return f"{KEY_PREFIX}{self.id}_{self.secret}"


def new_secret() -> str:
    """256 random bits as text without a dot."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def new_id() -> str:
    """A name that nobody guesses and that says nothing, for keys; no `_` in it."""
    return secrets.token_hex(10)


def digest(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def is_of(secret: str, stored: bytes) -> bool:
    """Whether `stored` was made from `secret`; takes the same time whatever they have in common."""
    return hmac.compare_digest(digest(secret), stored)


def parse_refresh(text: str) -> RefreshText | None:
    """The parts of a refresh token, if it may be one."""
    parts = _parts(text, REFRESH_PREFIX)
    if parts is None:
        return None
    family, _, single = parts[1].partition(".")
    return RefreshText(parts[0], family, single)


def parse_key(text: str) -> KeyText | None:
    """The parts of an API key, if it may be one."""
    parts = _parts(text, KEY_PREFIX)
    return None if parts is None else KeyText(*parts)


def _parts(text: str, prefix: str) -> tuple[str, str] | None:
    if not text.startswith(prefix) or len(text) > _MAX_CHARACTERS or not text.isascii():
        return None
    id_, _, secret = text.removeprefix(prefix).partition("_")
    return (id_, secret) if id_ and secret and "\0" not in text else None
