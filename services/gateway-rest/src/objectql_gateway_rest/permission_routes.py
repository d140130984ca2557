"""What the caller may do, and for administrators why somebody may or may not do something."""

from __future__ import annotations

from typing import Any

import msgspec

from objectql.wire.messages import ExplainAccessRequest, JsonReply, PermissionsRequest
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.routes import Route


class Question(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The body of `security/explain`."""

    object: str
    operation: str
    record_id: str | None = None
    user_id: str | None = None
    roles: tuple[str, ...] | None = None
    claims: dict[str, Any] = {}


async def mine(call: Call) -> Response:
    return Response((await call.read("permissions", PermissionsRequest(), JsonReply)).body)


async def explain(call: Call) -> Response:
    question = await call.decode(Question)
    request = ExplainAccessRequest(
        question.object,
        question.operation,
        question.record_id,
        question.user_id,
        question.roles,
        question.claims,
    )
    return Response((await call.read("explain_access", request, JsonReply)).body)


ROUTES = (
    Route("GET", "/api/meta/permissions/me", mine),
    Route("POST", "/api/meta/permissions/explain", explain),
    Route("GET", "/api/v1/security/me", mine, "v1"),
    Route("POST", "/api/v1/security/explain", explain, "v1"),
)
