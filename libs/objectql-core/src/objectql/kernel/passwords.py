"""Passwords as they are stored: argon2id in the PHC form, `$argon2id$v=19$m=...$<salt>$<hash>`.

Parameters: OWASP Password Storage Cheat Sheet, argon2id with 19 MiB, two passes, one lane; about
twenty milliseconds of one processor. One lane, because the processors have other work.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

MAX_PASSWORD_CHARACTERS: Final = 256
"""A longer one is refused where it is set, and matches nothing."""


def hash_password(password: str) -> str:
    """The stored form of `password`; two calls give two forms."""
    return _HASHER.hash(password)


def verify_password(password: str, stored: str | None) -> bool:
    """Whether `stored` was made from `password`.

    A stored form that is None matches nothing, in the time that a password takes (S17).
    """
    try:
        is_same = _HASHER.verify(stored or _nobodys(), password)
    except (VerificationError, InvalidHashError):
        return False
    return is_same and stored is not None


def needs_rehash(stored: str) -> bool:
    """Whether `stored` was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(stored)


@cache
def _nobodys() -> str:
    return _HASHER.hash("nobody's")
