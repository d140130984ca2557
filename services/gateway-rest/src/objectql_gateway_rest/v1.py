"""`/api/v1`: discovery, and which services of the ObjectStack client are here and which are not."""

from __future__ import annotations

from typing import Any

from objectql.errors import NotSupported
from objectql.wire.messages import ActionRequest, JsonReply, SearchRequest
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.representation import json_response
from objectql_gateway_rest.routes import Handler, Route
from objectql_gateway_rest.v1_params import action_body, search_params

ABSENT_SERVICES = (
    "ai analytics approvals auth automation datasources email i18n keys notifications packages "
    "realtime reports security share-links sharing storage"
).split()
"""First path segments of services that the client knows and this system does not have."""


async def discovery(_: Call) -> Response:
    """What is here; the client takes its route map from it."""
    absent: dict[str, Any] = {"enabled": False, "status": "unavailable", "handlerReady": False}

    def present(route: str) -> dict[str, Any]:
        return {
            "enabled": True,
            "status": "available",
            "handlerReady": True,
            "route": route,
            "provider": "kernel",
        }

    services = {
        "data": present("/api/v1/data"),
        "metadata": present("/api/v1/meta"),
        "ui": present("/api/v1/ui"),
        "search": present("/api/v1/search"),
        "actions": present("/api/v1/actions"),
    } | dict.fromkeys(ABSENT_SERVICES, absent)
    enabled, disabled = {"enabled": True}, {"enabled": False}
    return json_response(
        {
            "name": "objectql",
            "version": "0.1.0",
            "environment": "production",
            "apiName": "v1",
            "routes": {
                "data": "/api/v1/data",
                "metadata": "/api/v1/meta",
                "ui": "/api/v1/ui",
                "actions": "/api/v1/actions",
                "auth": "/api/v1/auth",
                "packages": "/api/v1/packages",
            },
            "locale": {"default": "en", "supported": ["en"], "timezone": "UTC"},
            "services": services,
            "capabilities": {
                "transactionalBatch": enabled,
                "search": enabled,
                "websockets": disabled,
                "export": enabled,
                "comments": disabled,
                "automation": disabled,
                "cron": disabled,
                "chunkedUpload": disabled,
            },
        }
    )


async def search(call: Call) -> Response:
    params = search_params(call.pairs())
    request = SearchRequest(params.text, params.objects, params.limit, params.per_object)
    reply = await call.read("search", request, JsonReply)
    return Response(reply.body)


async def object_action(call: Call, object: str, name: str) -> Response:
    body = action_body(await call.object_bytes(may_be_empty=True))
    request = ActionRequest(object, name, body.record_id, bytes(body.params))
    reply = await call.write("action", request, JsonReply)
    return Response(b'{"success":true,"data":' + reply.body + b"}")


def absent(service: str) -> Handler:
    """A handler that says which service is missing."""

    async def answer(_: Call, *__: str) -> Response:
        raise NotSupported(feature=f'the service "{service}"')

    return answer


def absent_routes() -> list[Route]:
    """Every method under every absent service."""
    return [
        Route(method, f"/api/v1/{service}{rest}", absent(service), "v1", is_public=True)
        for service in ABSENT_SERVICES
        for rest in ("", "/{rest*}")
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    ]


ROUTES = (
    Route("GET", "/api/v1/discovery", discovery, "v1", is_public=True),
    Route("GET", "/.well-known/objectstack", discovery, "v1", is_public=True),
    Route("GET", "/api/v1/search", search, "v1"),
    Route("POST", "/api/v1/actions/{object}/{name}", object_action, "v1"),
    *absent_routes(),
)
