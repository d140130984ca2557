"""Consistency tokens: how far a data source had come when a write was answered.

Opaque to clients, who send back what they were given. The text is `1.<source>:<position>` with
further sources after `;`: the position is that of Postgres' write-ahead log in hexadecimal, or `p`
where only the primary is sure to have the write. It is visible ASCII without commas or quotes, so
it travels unchanged as an HTTP header, gRPC metadata or a JSON string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, unquote

import msgspec

from objectql.errors import InvalidRequest
from objectql.ids import DataSource

MAX_TOKEN_LENGTH = 1024
"""Room for sixteen data sources with the longest names; HTTP servers take 8 KiB of headers."""

_VERSION = "1."
_PART = re.compile(r"([A-Za-z0-9_.~%-]+):(p|[0-9A-F]{1,16})\Z")


class ConsistencyToken(msgspec.Struct, frozen=True):
    """Positions by data source; None where the primary must be asked."""

    positions: Mapping[DataSource, int | None]

    @property
    def text(self) -> str:
        """The token as it travels."""
        parts = [
            f"{quote(source, safe='')}:{'p' if position is None else f'{position:X}'}"
            for source, position in sorted(self.positions.items())
        ]
        return _VERSION + ";".join(parts)

    def merged(self, other: ConsistencyToken) -> ConsistencyToken:
        """The token of a reader who must see what either promises."""
        positions = dict(self.positions)
        for source, position in other.positions.items():
            known = positions.get(source, 0)
            if known is None or position is None:
                positions[source] = None
            else:
                positions[source] = max(known, position)
        return ConsistencyToken(positions)


@lru_cache(maxsize=4096)
def parse_token(text: str) -> ConsistencyToken:
    """The inverse of `ConsistencyToken.text`.

    Raises:
        InvalidRequest: no token of this version.

    """
    positions: dict[DataSource, int | None] = {}
    if len(text) > MAX_TOKEN_LENGTH or not text.startswith(_VERSION):
        raise _malformed()
    for part in text.removeprefix(_VERSION).split(";"):
        found = _PART.match(part)
        if found is None:
            raise _malformed()
        source = DataSource(unquote(found[1]))
        if source in positions:
            raise _malformed()
        positions[source] = None if found[2] == "p" else int(found[2], 16)
    return ConsistencyToken(positions)


def merged_text(first: str, *others: str) -> str:
    """The text of a reader who must see what each of these promises.

    Raises:
        InvalidRequest: one of them is no token.

    """
    token = parse_token(first)
    for other in others:
        if other != first:
            token = token.merged(parse_token(other))
    return token.text


def _malformed() -> InvalidRequest:
    return InvalidRequest(reason="the consistency token is not one that this server gave")
