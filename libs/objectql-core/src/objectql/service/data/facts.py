"""What a caller may say beside what is asked for: a key, a time limit, a trace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from objectql.errors import InvalidRequest
from objectql.wire.headers import TRACE

_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_TRACE_TEXT = re.compile(r"[\x20-\x7e]{1,4096}\Z")


class Patience(Protocol):
    """How long a request may take where the caller does not say, and at most, in seconds."""

    @property
    def timeout_s(self) -> float: ...
    @property
    def max_timeout_s(self) -> float: ...


def check_key(text: str | None) -> str | None:
    """`text` if it may be an idempotency key, or is none.

    Raises:
        InvalidRequest: it may not.

    """
    if text is not None and _KEY.match(text) is None:
        raise InvalidRequest(reason="idempotency-key must be 1 to 255 visible ASCII characters")
    return text


def time_limit_ms(wanted_ms: int | None, patience: Patience) -> int:
    """How long a request may take for which a caller wants so long; None: does not say."""
    if wanted_ms is None:
        return int(patience.timeout_s * 1000)
    return min(wanted_ms, int(patience.max_timeout_s * 1000))


def trace_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The W3C headers as they came; malformed ones are dropped, as the standard asks."""
    if _TRACEPARENT.match(headers.get("traceparent", "")) is None:
        return {}
    return {
        name: headers[name]
        for name in TRACE
        if name in headers and _TRACE_TEXT.match(headers[name]) is not None
    }
