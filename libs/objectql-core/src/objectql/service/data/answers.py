"""Answers as texts: the kernel's bytes in an envelope.

Envelopes are joined, not encoded: the items of a page are never parsed here.
"""

from __future__ import annotations

import msgspec

from objectql.wire.messages import PageReply

_encoder = msgspec.json.Encoder(decimal_format="number")


def to_json(value: object) -> bytes:
    """`value` as JSON text; decimals are numbers."""
    return _encoder.encode(value)


def page_json(page: PageReply) -> bytes:
    """`{"items": [...], "meta": {...}}`; `meta.size` is the limit that was applied."""
    meta = b'{"size":%d,"has_next":%s' % (page.limit, b"true" if page.has_next else b"false")
    if page.next is not None:
        meta += b',"next":' + to_json(page.next)
    if page.total is not None:
        meta += b',"total":%d' % page.total
    return b'{"items":' + page.items + b',"meta":' + meta + b"}}"


def items_json(page: PageReply) -> bytes:
    """`{"items": [...]}`, for aggregates."""
    return b'{"items":' + page.items + b"}"


def deleted_json(id: str) -> bytes:
    """`{"id": ..., "deleted": true}`."""
    return b'{"id":' + to_json(id) + b',"deleted":true}'
