"""Parsed query strings, so that a repeated URL is not parsed again."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from objectql.query.ast import Query
from objectql.query.url import ExplainMode

Dialect: TypeAlias = Literal["odata", "v1", "objectql"]
Key: TypeAlias = tuple[str, Dialect, int | str, bytes]
"""Object, dialect, edition of the metadata (where names of fields matter, else 0), query string."""

_ENTRIES = 2048
_MAX_BYTES = 2048


class UrlRequest(msgspec.Struct, frozen=True):
    """A parsed query string.

    `is_wrapped` asks for `{"data": record}` around one record; `total` is what it says about
    counting, None when it says nothing.
    """

    query: Query
    is_wrapped: bool = False
    total: bool | None = None
    explain: ExplainMode = "no"


class UrlCache:
    """A bounded memory, oldest out first. Macros are still text in it, so nothing goes stale."""

    def __init__(self) -> None:
        self._entries: dict[Key, UrlRequest] = {}

    def get(self, key: Key) -> UrlRequest | None:
        """What `key` was parsed to, if it is still remembered."""
        return self._entries.get(key)

    def put(self, key: Key, value: UrlRequest) -> None:
        """Remember `value`; very long query strings are not worth it."""
        if len(key[3]) > _MAX_BYTES:
            return
        if len(self._entries) >= _ENTRIES:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = value
