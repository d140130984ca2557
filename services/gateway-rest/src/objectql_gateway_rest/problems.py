"""Errors as bodies, one mapping per surface.

`/api` speaks RFC 9457, `/api/v1` what the ObjectStack client reads, the SDK surface the nested
`error` object. The status comes from the error except where a client relies on another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Any, Final, Literal, TypeAlias

import msgspec

from objectql.errors import (
    Category,
    Issue,
    MethodNotAllowed,
    ObjectQLError,
    PayloadTooLarge,
    VersionConflict,
)
from objectql_gateway_rest.asgi import JSON, RawHeaders, Response

Surface: TypeAlias = Literal["api", "v1", "sdk"]

PROBLEM = b"application/problem+json"
_encoder = msgspec.json.Encoder(decimal_format="number")

_SDK_CODES: Mapping[Category, str] = {
    Category.INVALID_REQUEST: "INVALID_REQUEST",
    Category.UNAUTHENTICATED: "UNAUTHORIZED",
    Category.FORBIDDEN: "FORBIDDEN",
    Category.NOT_FOUND: "NOT_FOUND",
    Category.CONFLICT: "CONFLICT",
    Category.PRECONDITION_FAILED: "CONFLICT",
    Category.RATE_LIMITED: "RATE_LIMIT_EXCEEDED",
    Category.INTERNAL: "INTERNAL_ERROR",
}
_SDK_OWN_CODES = {"VALIDATION_FAILED": "VALIDATION_ERROR", "INVALID_JSON": "INVALID_JSON"}


def respond_error(error: ObjectQLError, surface: Surface, request_id: str) -> Response:
    """`error` as the answer of `surface`."""
    if surface == "api":
        body, status, kind = problem(error, request_id), error.http, PROBLEM
    elif surface == "v1":
        body, status, kind = v1_error(error, request_id), _conflict_status(error), JSON
    else:
        body, status, kind = sdk_error(error), _conflict_status(error), JSON
    return Response(
        _encoder.encode(body), status=status, content_type=kind, headers=error_headers(error)
    )


def problem(error: ObjectQLError, request_id: str) -> dict[str, Any]:
    """The members of an RFC 9457 problem; `details` holds the error's own fields."""
    told = error.told()
    body: dict[str, Any] = {
        "type": f"urn:objectql:error:{told.code}",
        "title": HTTPStatus(error.http).phrase,
        "status": error.http,
        "detail": told.message,
        "code": told.code,
        "errors": [_issue(issue) for issue in told.issues],
        "request_id": request_id,
    }
    if told.details:
        body["details"] = told.details
    if told.retry_after_ms is not None:
        body["retry_after_ms"] = told.retry_after_ms
    return body


def v1_error(error: ObjectQLError, request_id: str) -> dict[str, Any]:
    """What the ObjectStack client reads; a version conflict has its keys at the top level."""
    told = error.told()
    body: dict[str, Any] = {
        "error": told.message,
        "message": told.message,
        "code": told.code,
        "fields": [
            {"field": issue.path, "code": issue.code, "message": issue.message}
            for issue in error.issues
        ],
        "details": told.details,
        "retryable": error.retryable,
        "requestId": request_id,
    }
    if isinstance(error, VersionConflict) and error.current_version is not None:
        body["currentVersion"] = error.current_version
    return body


def sdk_error(error: ObjectQLError) -> dict[str, Any]:
    """`{"error": {"code", "message", "details"}}` with the codes of the ObjectQL SDK."""
    told = error.told()
    details = told.details
    if error.issues:
        first = error.issues[0]
        details |= {"field": first.path, "reason": first.code}
        details["fields"] = {issue.path: issue.message for issue in error.issues}
    if told.retry_after_ms is not None:
        details["retry_after"] = ceil(told.retry_after_ms / 1000)
    own = _SDK_OWN_CODES.get(told.code) or _SDK_CODES.get(told.category, told.code)
    return {"error": {"code": own, "message": told.message, "details": details}}


_HTTP_METHODS: Final = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PATCH",
    "delete": "DELETE",
    "bulk": "POST",
}
"""Of what an object offers (`enable.apiMethods`)."""


def error_headers(error: ObjectQLError) -> RawHeaders:
    """The HTTP headers that an error implies."""
    headers: RawHeaders = []
    if isinstance(error, MethodNotAllowed):
        allowed = dict.fromkeys(_HTTP_METHODS.get(name, name) for name in error.allowed)
        allowed.pop(_HTTP_METHODS.get(error.method, error.method), None)
        headers.append((b"allow", ", ".join(allowed).encode()))
    if isinstance(error, PayloadTooLarge):
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    if error.http == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.wait_ms is not None:
        headers.append((b"retry-after", b"%d" % max(1, ceil(error.wait_ms / 1000))))
    return headers


def _conflict_status(error: ObjectQLError) -> int:
    """The published clients expect 409 where `/api` answers 412."""
    return 409 if error.http == HTTPStatus.PRECONDITION_FAILED else error.http


def _issue(issue: Issue) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": issue.path, "code": issue.code, "message": issue.message}
    if issue.file is not None:
        entry["file"] = issue.file
    if issue.line is not None:
        entry["line"] = issue.line
    return entry
