"""Positions in the event stream as texts for clients: opaque, and good for one tenant.

A position counts the changes of all tenants, which are nobody else's business, so a cursor is
encrypted, and authenticated together with the tenant it was given to: AES-SIV (RFC 5297), which needs
no random numbers, so that all listeners of a tenant share the cursor of an event.
"""

from __future__ import annotations

import hashlib
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from objectql.errors import InvalidQuery
from objectql.live.commits import Place

_FORM: Final = struct.Struct(">QQ")
_EPOCH_BYTES: Final = 10
"""With them the text has no bits to spare, so that there is one text for a cursor."""

_TAG_BYTES: Final = 16
_TEXT_LENGTH: Final = (_TAG_BYTES + _EPOCH_BYTES + _FORM.size) * 4 // 3


class Position(NamedTuple):
    """A place in one stream; `epoch` tells that stream from one that was made anew."""

    epoch: str
    place: Place


class Cursors:
    """Writes and reads cursors; whoever has the same `secret` reads them."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESSIV(
            hashlib.blake2b(secret, digest_size=64, person=b"oql-cursor").digest()
        )

    def write(self, position: Position, tenant: str) -> str:
        """The cursor of `position` for callers of `tenant`."""
        body = _epoch(position.epoch) + _FORM.pack(*position.place)
        return urlsafe_b64encode(self._cipher.encrypt(body, [tenant.encode()])).decode()

    def read(self, text: str, tenant: str, *, epoch: str) -> Place | None:
        """The place that `text` names in the stream `epoch`; None: it is of another stream.

        Raises:
            InvalidQuery: nobody has given it to this tenant.

        """
        try:
            data = urlsafe_b64decode(text.encode("ascii")) if len(text) == _TEXT_LENGTH else b""
            body = self._cipher.decrypt(data, [tenant.encode()])
        except (ValueError, Error, InvalidTag) as exc:
            raise InvalidQuery(reason="this is not a cursor", path="from") from exc
        if body[:_EPOCH_BYTES] != _epoch(epoch):
            return None
        return Place(*_FORM.unpack(body[_EPOCH_BYTES:]))


def _epoch(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=_EPOCH_BYTES).digest()
