"""What a caller may say beside what is asked for: a key, a time limit, a token, a version, a trace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from objectql.clock import Clock
from objectql.context import Actor, Context
from objectql.errors import InvalidRequest
from objectql.ids import uuid7
from objectql.service.recent_writes import RecentWrites
from objectql.wire.consistency import merged_text
from objectql.wire.headers import TRACE, parse_read_policy

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}\Z")
_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_TRACE_TEXT = re.compile(r"[\x20-\x7e]{1,4096}\Z")


class Patience(Protocol):
    """How long a request may take where the caller does not say, and at most, in seconds."""

    @property
    def timeout_s(self) -> float: ...
    @property
    def max_timeout_s(self) -> float: ...


def context_of(
    actor: Actor,
    *,
    request_id: str,
    clock: Clock,
    patience: Patience,
    writes: RecentWrites,
    timeout_ms: int | None = None,
    key: str | None = None,
    token: str | None = None,
    read_policy: str | None = None,
    trace: Mapping[str, str],
    origin: str,
) -> Context:
    """What kernels are told of a request of `actor`; what a caller did not say is None.

    `token` may be several with commas between them. A caller with neither token nor policy sees
    what was written here lately.

    Raises:
        InvalidRequest: one of them has no meaning.

    """
    policy, max_lag_ms = (None, None) if read_policy is None else parse_read_policy(read_policy)
    recent = None
    if token is not None:
        token = merged_text(*map(str.strip, token.split(",")))
    elif read_policy is None:
        recent = writes.token(actor.tenant, clock.monotonic_s())
    return Context(
        actor=actor,
        deadline_ms=clock.now_ms() + time_limit_ms(timeout_ms, patience),
        request_id=request_id,
        idempotency_key=check_key(key),
        consistency_token=token,
        recent_token=recent,
        read_policy=policy,
        max_lag_ms=max_lag_ms,
        trace=trace_of(trace),
        origin=origin,
    )


def version_condition(text: str, name: str) -> dict[str, Any]:
    """The condition that `text` sets to a write, as `if_version` or `if_updated_at`.

    A version may be written `"12"`, `W/"12"`, `12` or `"v12"`. Anything else is what the
    ObjectStack client sends, the record's `updated_at`. `name` is where the text stands.

    Raises:
        InvalidRequest: several versions, which one record cannot all have.

    """
    token = text.strip().removeprefix("W/")
    if token.startswith('"') and token.endswith('"') and len(token) > 1:
        token = token[1:-1]
    if '"' in token or not token or len(token) > 64:
        raise InvalidRequest(reason=f"{name} must name one version")
    number = token.removeprefix("v")
    if number.isascii() and number.isdecimal() and len(number) < 19:
        return {"if_version": int(number)}
    return {"if_updated_at": token}


def request_id(headers: Mapping[str, str]) -> str:
    """The id that the caller has given to the request, or a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.match(given) else uuid7()


def names_tag(given: str | None, tag: str) -> bool:
    """Whether an `If-None-Match` names `tag` (weak comparison, RFC 9110 §8.8.3.2)."""
    if given is None:
        return False
    tags = [candidate.strip().removeprefix("W/") for candidate in given.split(",")]
    return "*" in tags or tag in tags


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
