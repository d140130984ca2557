"""Answers: finished texts as responses, versions as entity tags."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from objectql.errors import InvalidRequest
from objectql.service.data.answers import items_json, page_json, to_json
from objectql.wire.messages import PageReply, RecordReply
from objectql_gateway_rest.asgi import RawHeaders, Request, Response


def json_response(
    value: object, *, status: int = 200, headers: RawHeaders | None = None
) -> Response:
    """A response with `value` as its body."""
    return Response(to_json(value), status=status, headers=headers)


def page_response(page: PageReply) -> Response:
    """See `page_json`."""
    return Response(page_json(page))


def items_response(page: PageReply) -> Response:
    """See `items_json`."""
    return Response(items_json(page))


def record_headers(reply: RecordReply) -> RawHeaders:
    """The entity tag."""
    return [(b"etag", etag(reply.version))]


def etag(version: int) -> bytes:
    """The entity tag of a version."""
    return b'"%d"' % version


def digest_etag(body: bytes) -> bytes:
    """The entity tag of a document without a version: a digest of its text."""
    return b'"' + blake2b(body, digest_size=12).hexdigest().encode() + b'"'


def is_not_modified(request: Request, tag: bytes) -> bool:
    """Whether `If-None-Match` names `tag` (weak comparison, RFC 9110 §8.8.3.2)."""
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    wanted = tag.decode()
    tags = [candidate.strip().removeprefix("W/") for candidate in given.split(",")]
    return "*" in tags or wanted in tags


def expected_version(request: Request) -> dict[str, Any]:
    """The condition of `If-Match` as `if_version` or `if_updated_at`; empty when there is none.

    A version may be written `"12"`, `W/"12"`, `12` or `"v12"`. Anything else is what the
    ObjectStack client sends, the record's `updated_at`.

    Raises:
        InvalidRequest: several versions, which one record cannot all have.

    """
    given = request.headers.get("if-match", "").strip()
    return {} if given in {"", "*"} else version_condition(given, "If-Match")


def version_condition(text: str, name: str) -> dict[str, Any]:
    """See `expected_version`; `name` is where the text stands."""
    token = text.strip().removeprefix("W/")
    if token.startswith('"') and token.endswith('"') and len(token) > 1:
        token = token[1:-1]
    if '"' in token or not token or len(token) > 64:
        raise InvalidRequest(reason=f"{name} must name one version")
    number = token.removeprefix("v")
    if number.isascii() and number.isdecimal() and len(number) < 19:
        return {"if_version": int(number)}
    return {"if_updated_at": token}
