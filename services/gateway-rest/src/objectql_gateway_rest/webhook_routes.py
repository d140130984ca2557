"""`/api/admin/webhooks`: the webhooks of the caller's tenant, for its administrators."""

from __future__ import annotations

from objectql.errors import InvalidRequest
from objectql.wire.messages import JsonReply
from objectql.wire.webhooks import (
    WebhookChangeRequest,
    WebhookCreateRequest,
    WebhookDeleteRequest,
    WebhookDeliveriesRequest,
    WebhookGetRequest,
    WebhookListRequest,
    WebhookReplayRequest,
    WebhookRotateRequest,
    WebhookTestRequest,
)
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.params import known_params
from objectql_gateway_rest.routes import Route

_DIGITS = 18


async def webhooks(call: Call) -> Response:
    reply = await call.read("webhook_list", WebhookListRequest(), JsonReply)
    return Response(b'{"items":' + reply.body + b"}")


async def webhook(call: Call, name: str) -> Response:
    return Response((await call.read("webhook_get", WebhookGetRequest(name), JsonReply)).body)


async def create(call: Call) -> Response:
    request = WebhookCreateRequest(await call.object_bytes())
    reply = await call.write("webhook_create", request, JsonReply)
    return Response(reply.body, status=201)


async def change(call: Call, name: str) -> Response:
    request = WebhookChangeRequest(name, await call.object_bytes())
    return Response((await call.write("webhook_change", request, JsonReply)).body)


async def delete(call: Call, name: str) -> Response:
    await call.write("webhook_delete", WebhookDeleteRequest(name), JsonReply)
    return Response(status=204)


async def rotate(call: Call, name: str) -> Response:
    request = WebhookRotateRequest(name, await call.object_bytes())
    return Response((await call.write("webhook_rotate", request, JsonReply)).body)


async def test(call: Call, name: str) -> Response:
    request = WebhookTestRequest(name)
    return Response((await call.write("webhook_test", request, JsonReply)).body)


async def deliveries(call: Call, name: str) -> Response:
    params = known_params(call, "state", "after", "limit")
    request = WebhookDeliveriesRequest(
        name,
        params.get("state"),
        None if "after" not in params else _number(params["after"], "a place in the log"),
        _number(params.get("limit", "100"), "a number of deliveries"),
    )
    return Response((await call.read("webhook_deliveries", request, JsonReply)).body)


async def replay(call: Call, name: str) -> Response:
    request = WebhookReplayRequest(name, await call.object_bytes())
    return Response((await call.write("webhook_replay", request, JsonReply)).body)


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > _DIGITS:
        raise InvalidRequest(reason=f'"{text[:40]}" is not {what}')
    return int(text)


ROUTES = (
    Route("GET", "/api/admin/webhooks", webhooks),
    Route("POST", "/api/admin/webhooks", create),
    Route("GET", "/api/admin/webhooks/{name}", webhook),
    Route("PATCH", "/api/admin/webhooks/{name}", change),
    Route("DELETE", "/api/admin/webhooks/{name}", delete),
    Route("POST", "/api/admin/webhooks/{name}/rotate", rotate),
    Route("POST", "/api/admin/webhooks/{name}/test", test),
    Route("GET", "/api/admin/webhooks/{name}/deliveries", deliveries),
    Route("POST", "/api/admin/webhooks/{name}/replay", replay),
)
