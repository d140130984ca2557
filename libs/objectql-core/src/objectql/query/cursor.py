"""Page positions as opaque text: where the last page ended, and for which query.

A cursor is URL-safe base64 of a digest of the query's shape (8 bytes), a checksum (6 bytes) and
the JSON array of the last item's sort key values. It is not a secret: it holds only values that
its owner was shown or may sort by. The digest keeps it from being used with another query.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from decimal import Decimal
from hashlib import blake2b
from typing import Any, cast

import msgspec

from objectql.errors import InvalidQuery
from objectql.query.ast import Query

MAX_LENGTH = 16 * 1024
_DIGEST_BYTES = 8
_CHECK_BYTES = 6


def page_digest(template: Query) -> str:
    """What stays the same over the pages of one walk: object, filter shape, search and order."""
    shape = (
        template.object,
        template.where,
        template.search,
        template.order_by,
        template.include_deleted,
    )
    return blake2b(msgspec.msgpack.encode(shape), digest_size=_DIGEST_BYTES).hexdigest()


def encode_cursor(digest: str, last_key: bytes) -> str:
    """The cursor after the item whose sort key values are the JSON array `last_key`."""
    body = bytes.fromhex(digest) + last_key
    return urlsafe_b64encode(_checksum(body) + body).rstrip(b"=").decode()


def decode_cursor(text: Any, digest: str) -> list[Any]:
    """The sort key values in `text`.

    Raises:
        InvalidQuery: `text` was not made by `encode_cursor`, or for another query.

    """
    if not isinstance(text, str) or len(text) > MAX_LENGTH or not text.isascii():
        raise _invalid()
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as exc:
        raise _invalid() from exc
    check, body = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
    # Decoding skips foreign characters, so the text must also be the one that was handed out.
    if check != _checksum(body) or urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise _invalid()
    if body[:_DIGEST_BYTES].hex() != digest:
        raise InvalidQuery(
            reason="the cursor belongs to a query with another filter or order", path="after"
        )
    try:
        # Decimals keep all their digits; `float` would move the position.
        values: Any = json.loads(body[_DIGEST_BYTES:], parse_float=Decimal)
    except (ValueError, RecursionError) as exc:
        raise _invalid() from exc
    if not isinstance(values, list):
        raise _invalid()
    return cast("list[Any]", values)


def _checksum(body: bytes) -> bytes:
    return blake2b(body, digest_size=_CHECK_BYTES, person=b"oql-cursor").digest()


def _invalid() -> InvalidQuery:
    return InvalidQuery(reason="this is not a cursor of an earlier page", path="after")
