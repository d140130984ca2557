"""`/api/{object}/{id}/shares`: with whom a record is shared by hand."""

from __future__ import annotations

from typing import Literal

import msgspec

from objectql.service.data.names import check_id, check_object
from objectql.wire.messages import JsonReply, ShareRequest, SharesRequest
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.routes import Route


class Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body that shares a record: with whom, and what they may do."""

    type: Literal["user", "role", "team"]
    id: str
    level: Literal["read", "edit"] = "read"


async def read_shares(call: Call, object: str, id: str) -> Response:
    request = SharesRequest(check_object(object), check_id(object, id))
    return Response((await call.read("shares", request, JsonReply)).body)


async def share(call: Call, object: str, id: str) -> Response:
    """All shares of the record, the new one or the new level among them."""
    body = await call.decode(Share)
    principal = f"{body.type}:{body.id}"
    request = ShareRequest(check_object(object), check_id(object, id), principal, body.level)
    return Response((await call.write("share", request, JsonReply)).body)


async def unshare(call: Call, object: str, id: str, share: str) -> Response:
    """The shares that are left; `share` is `<type>:<id>`."""
    request = ShareRequest(check_object(object), check_id(object, id), share)
    return Response((await call.write("share", request, JsonReply)).body)


ROUTES = (
    Route("GET", "/api/{object}/{id}/shares", read_shares),
    Route("POST", "/api/{object}/{id}/shares", share),
    Route("DELETE", "/api/{object}/{id}/shares/{share}", unshare),
)
