"""Answers: finished texts as responses, versions as entity tags."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from objectql.service.data.answers import items_json, page_json, to_json
from objectql.service.data.facts import names_tag, version_condition
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
    """Whether `If-None-Match` names `tag`."""
    return names_tag(request.headers.get("if-none-match"), tag.decode())


def expected_version(request: Request) -> dict[str, Any]:
    """The condition of `If-Match`, see `version_condition`; empty when there is none."""
    given = request.headers.get("if-match", "").strip()
    return {} if given in {"", "*"} else version_condition(given, "If-Match")
