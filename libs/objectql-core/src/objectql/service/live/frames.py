"""The frames of the protocol: what clients may say, and the bytes that are said to them.

What comes is decoded into one struct per type; what goes is put together from parts, because many
clients are told the same record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias, cast

import msgspec
from msgspec import Meta

from objectql.errors import InvalidRequest, NotSupported, ObjectQLError
from objectql.service.bodies import decode_document, decode_json
from objectql.service.live.subscription import Change, Mode, Subscription

NESTING = 64

MAX_ID = 64
"""Characters of a name that a client gives to a subscription or a request."""


class Frame(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True):
    """Base of what clients say."""


class AuthFrame(Frame, frozen=True, tag="auth"):
    """Who the client is; again, with a fresh token, before the old one expires."""

    token: str


class SubscribeFrame(Frame, frozen=True, tag="subscribe"):
    """Tell of changes of `object`: those of `record`, those that match `where`, or all.

    `snapshot` asks for the records that match now; `since` (on the wire `from`) for what has
    changed since a cursor. The mode `changes` tells of every change, `live` of the latest.
    """

    id: str
    object: str
    record: str | None = None
    where: Any = None
    fields: Any = None
    snapshot: bool = False
    mode: Mode = "changes"
    since: str | None = msgspec.field(default=None, name="from")
    trace: dict[str, str] = {}


class UnsubscribeFrame(Frame, frozen=True, tag="unsubscribe"):
    sub: str


Operation: TypeAlias = Literal[
    "get",
    "query",
    "aggregate",
    "create",
    "update",
    "replace",
    "delete",
    "upsert",
    "bulk",
    "batch",
    "action",
    "transaction",
]


class RequestFrame(Frame, frozen=True, tag="request"):
    """Do one data operation, and answer with a `response` of this `id`.

    `body` is what the REST gateway takes for the same; `record` is the id of the record (or of the
    transaction) that is meant, `match` the fields by which `upsert` finds it. `trace` has the W3C headers.
    """

    id: str
    operation: Operation
    object: str = ""
    record: str | None = None
    action: str | None = None
    body: msgspec.Raw = msgspec.Raw(b"{}")
    match: tuple[str, ...] = ()
    if_version: int | None = None
    idempotency_key: str | None = None
    consistency_token: str | None = None
    read_policy: str | None = None
    timeout_ms: Annotated[int, Meta(gt=0, lt=10**9)] | None = None
    trace: dict[str, str] = {}


class PingFrame(Frame, frozen=True, tag="ping"):
    id: str | None = None


class PongFrame(Frame, frozen=True, tag="pong"):
    id: str | None = None


AnyFrame: TypeAlias = (
    AuthFrame | SubscribeFrame | UnsubscribeFrame | RequestFrame | PingFrame | PongFrame
)


def read_frame(text: bytes) -> AnyFrame:
    """The frame that a client has sent.

    Raises:
        InvalidJson, InvalidRequest: it is none, with the place.
        NotSupported: this gateway does not serve it yet.

    """
    _check_served(text)
    frame = cast("AnyFrame", decode_json(text, cast("type[Frame]", AnyFrame), nesting=NESTING))
    if isinstance(frame, SubscribeFrame):
        decode_document(text, nesting=NESTING)  # no key of a filter may stand twice
    if isinstance(frame, SubscribeFrame | RequestFrame):
        check_id(frame.id)
    return frame


class _Glimpse(msgspec.Struct):
    """What can be known of a frame that is wrong, or is agreed on and not served yet."""

    type: Any = None
    id: Any = None
    messageId: Any = None  # noqa: N815 - the dialect's own name


_glimpse = msgspec.json.Decoder(_Glimpse).decode


def _check_served(text: bytes) -> None:
    """Return unless the frame has a meaning that this gateway does not serve yet.

    Raises:
        NotSupported: it has.

    """
    try:
        seen = _glimpse(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return  # whoever reads it whole tells what is wrong
    if seen.messageId is not None:
        raise NotSupported(feature="the frame dialect of ObjectStack")


def refusal(text: bytes, error: ObjectQLError) -> bytes:
    """What is told to whoever sent the frame `text`, of which `error` is what is wrong."""
    try:
        seen = _glimpse(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return error_frame(error)
    name = seen.id[:MAX_ID] if isinstance(seen.id, str) else None
    if seen.type == "request" and name is not None:
        return response_frame(name, error=error)
    return error_frame(error, sub=name if seen.type == "subscribe" else None)


def check_id(id: str) -> None:
    """Return if a client may name something `id`.

    Raises:
        InvalidRequest: it is empty, too long or not printable.

    """
    if not 0 < len(id) <= MAX_ID or not id.isprintable():
        raise InvalidRequest(reason=f"an id has 1 to {MAX_ID} printable characters")


# --- what is said ----------------------------------------------------------------------------

_encoder = msgspec.json.Encoder(decimal_format="number")
encode = _encoder.encode


def changes_frame(about: Subscription, changes: Sequence[Change], cursor: str) -> bytes:
    """One change as an event, several as a batch of events."""
    tail = _tail(about.name, cursor)
    events = [_event(change, tail) for change in changes]
    if len(events) == 1:
        return events[0]
    return b'{"type":"batch","events":[' + b",".join(events) + b"]" + tail


def _event(change: Change, tail: bytes) -> bytes:
    event, (kind, match), data = change
    parts = [b'{"type":"', kind.encode(), b'","object":"', event.object.encode(), b'"']
    if kind != "created":
        parts += [b',"id":', encode(event.record_id)]
    if data is not None:
        parts += [b',"data":', data]
    if match is not None:
        parts += [b',"match":"', match.encode(), b'"']
    if event.traceparent:
        parts += [b',"traceparent":', encode(event.traceparent)]
    parts.append(tail)
    return b"".join(parts)


def _tail(sub: str, cursor: str) -> bytes:
    """The end of an event: of which subscription, and where it leaves the client."""
    return b',"sub":' + encode(sub) + b',"cursor":"' + cursor.encode() + b'"}'


def subscribed_frame(sub: str, cursor: str, items: list[bytes] | None) -> bytes:
    """The answer to `subscribe`; `items` are the records of a snapshot."""
    told = b'{"type":"subscribed"'
    if items is not None:
        told += b',"items":[' + b",".join(items) + b"]"
    return told + _tail(sub, cursor)


def resync_frame(sub: str, reason: str) -> bytes:
    """The subscription has ended, and something was missed: subscribe again with a snapshot."""
    return encode({"type": "resync", "sub": sub, "reason": reason})


def error_frame(error: ObjectQLError, *, sub: str | None = None) -> bytes:
    """What went wrong, with the error's own fields; of which subscription if of one."""
    told: dict[str, Any] = {"type": "error"} | _error(error)
    if sub is not None:
        told["sub"] = sub
    return encode(told)


def response_frame(
    id: str,
    body: bytes = b"null",
    *,
    version: int | None = None,
    token: str | None = None,
    error: ObjectQLError | None = None,
) -> bytes:
    """The answer to the request `id`: its `body` with the record's version, or what went wrong.

    `token` is the consistency token of a write.
    """
    told = b'{"type":"response","id":' + encode(id)
    if error is not None:
        return told + b',"error":' + encode(_error(error)) + b"}"
    if version is not None:
        told += b',"version":%d' % version
    if token is not None:
        told += b',"consistency_token":' + encode(token)
    return told + b',"body":' + body + b"}"


def _error(error: ObjectQLError) -> dict[str, Any]:
    told: dict[str, Any] = {"code": error.code, "message": error.message}
    if details := error.details():
        told["details"] = details
    if error.issues:
        told["errors"] = [
            {"path": i.path, "code": i.code, "message": i.message} for i in error.issues
        ]
    if error.wait_ms is not None:
        told["retry_after_ms"] = error.wait_ms
    return told


def frame(type: Literal["ready", "unsubscribed", "ping", "pong", "closing"], **more: Any) -> bytes:
    """A short frame; what is None is left out."""
    return encode(
        {"type": type} | {name: value for name, value in more.items() if value is not None}
    )
