"""`/api/.../actions/{name}`: actions of a record, of an object. The body holds the parameters."""

from __future__ import annotations

from objectql.service.data.names import check_id, check_object
from objectql.wire.messages import ActionRequest, JsonReply
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.routes import Route


async def record_action(call: Call, object: str, id: str, name: str) -> Response:
    params = await call.object_bytes(may_be_empty=True)
    request = ActionRequest(check_object(object), name, check_id(object, id), params)
    return Response((await call.write("action", request, JsonReply)).body)


async def object_action(call: Call, object: str, name: str) -> Response:
    params = await call.object_bytes(may_be_empty=True)
    request = ActionRequest(check_object(object), name, None, params)
    return Response((await call.write("action", request, JsonReply)).body)


ROUTES = (
    Route("POST", "/api/{object}/actions/{name}", object_action),
    Route("POST", "/api/{object}/{id}/actions/{name}", record_action),
)
