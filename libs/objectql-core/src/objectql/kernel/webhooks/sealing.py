"""Secrets as they are kept: sealed with the operator's keys, if there are any.

Without keys they are kept as they are: who reads the system tables can then sign as the cluster, as
is true of the keys of its tokens (ADR 0017). They are never told again in either case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from objectql.errors import Unavailable

_PLAIN: Final = "plain:"
_SEALED: Final = "fernet:"


class Sealing:
    """The first key seals, all open; so keys are replaced by putting a new one in front."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        """`keys` are of Fernet: 32 bytes in URL-safe Base64.

        Raises:
            ValueError: one is not.

        """
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None

    def seal(self, secret: str) -> str:
        """`secret` as it may be kept."""
        if self._fernet is None:
            return _PLAIN + secret
        return _SEALED + self._fernet.encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """The secret.

        Raises:
            Unavailable: none of the keys opens it.

        """
        if sealed.startswith(_PLAIN):
            return sealed.removeprefix(_PLAIN)
        if self._fernet is not None:
            try:
                return self._fernet.decrypt(sealed.removeprefix(_SEALED).encode()).decode()
            except InvalidToken:
                pass
        raise Unavailable(what="the key that sealed the secrets of webhooks")
