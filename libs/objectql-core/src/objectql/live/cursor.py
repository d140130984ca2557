"""Positions in the event stream as texts for clients: opaque, and good for one tenant.

A position counts the changes of all tenants, which are nobody else's business, so a cursor is
encrypted, and authenticated together with the tenant it was given to. The construction is SIV
(Rogaway and Shrimpton, 2006) with keyed BLAKE2b as the pseudo-random function: it needs no random
numbers, and all listeners of a tenant share the cursor of an event.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Final, NamedTuple

from objectql.errors import InvalidQuery
from objectql.live.commits import Place

_TAG_BYTES: Final = 12
_FORM: Final = struct.Struct(">QQ")
_EPOCH_BYTES: Final = 8
_BODY_BYTES: Final = _EPOCH_BYTES + _FORM.size
_TEXT_LENGTH: Final = (_TAG_BYTES + _BODY_BYTES) * 4 // 3


class Position(NamedTuple):
    """A place in one stream; `epoch` tells that stream from one that was made anew."""

    epoch: str
    place: Place


class Cursors:
    """Writes and reads cursors; whoever has the same `secret` reads them."""

    def __init__(self, secret: bytes) -> None:
        key = hashlib.blake2b(secret, digest_size=32, person=b"oql-cursor").digest()
        self._tagging = hashlib.blake2b(key=key, digest_size=_TAG_BYTES, person=b"oql-cursor-tag")
        self._hiding = hashlib.blake2b(key=key, digest_size=_BODY_BYTES, person=b"oql-cursor-hide")

    def write(self, position: Position, tenant: str) -> str:
        """The cursor of `position` for callers of `tenant`."""
        body = _epoch(position.epoch) + _FORM.pack(*position.place)
        tag = self._tag(tenant, body)
        return urlsafe_b64encode(tag + self._hidden(tag, body)).decode()

    def read(self, text: str, tenant: str, *, epoch: str) -> Place | None:
        """The place that `text` names in the stream `epoch`; None: it is of another stream.

        Raises:
            InvalidQuery: nobody has given it to this tenant.

        """
        try:
            data = urlsafe_b64decode(text.encode("ascii")) if len(text) == _TEXT_LENGTH else b""
        except (ValueError, Error):
            data = b""
        tag, hidden = data[:_TAG_BYTES], data[_TAG_BYTES:]
        if len(hidden) != _BODY_BYTES:
            raise InvalidQuery(reason="this is not a cursor", path="from")
        body = self._hidden(tag, hidden)
        if not hmac.compare_digest(tag, self._tag(tenant, body)):
            raise InvalidQuery(reason="this is not a cursor", path="from")
        if body[:_EPOCH_BYTES] != _epoch(epoch):
            return None
        return Place(*_FORM.unpack(body[_EPOCH_BYTES:]))

    def _tag(self, tenant: str, body: bytes) -> bytes:
        tagging = self._tagging.copy()
        tagging.update(body)
        tagging.update(tenant.encode())
        return tagging.digest()

    def _hidden(self, tag: bytes, body: bytes) -> bytes:
        hiding = self._hiding.copy()
        hiding.update(tag)
        return bytes(a ^ b for a, b in zip(body, hiding.digest(), strict=True))


def _epoch(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=_EPOCH_BYTES).digest()
