"""The table of routes, and the application that serves it."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import FastAPI  # noqa: TID251 - one of the HTTP gateways

from objectql_gateway_rest import (
    actions,
    audit_routes,
    auth_routes,
    bulk,
    docs_page,
    exports,
    history,
    metadata_routes,
    openapi_routes,
    permission_routes,
    proto_routes,
    records,
    sdk,
    sdk_command,
    sdk_metadata,
    sdk_rpc,
    shares,
    tenant_routes,
    v1,
    v1_batch,
    v1_data,
    v1_meta,
    webhook_routes,
)
from objectql_gateway_rest.asgi import Receive, Scope, Send
from objectql_gateway_rest.call import Services
from objectql_gateway_rest.cors import Cors
from objectql_gateway_rest.gateway import Gateway
from objectql_gateway_rest.routes import Route

_MODULES = (
    records,
    history,
    shares,
    bulk,
    actions,
    auth_routes,
    metadata_routes,
    permission_routes,
    proto_routes,
    tenant_routes,
    webhook_routes,
    audit_routes,
    v1,
    v1_data,
    v1_batch,
    v1_meta,
    sdk,
    sdk_rpc,
    sdk_command,
    sdk_metadata,
    openapi_routes,
    docs_page,
    exports,
)

ROUTES: tuple[Route, ...] = tuple(route for module in _MODULES for route in module.ROUTES)


class Application(FastAPI):
    """FastAPI for what is mounted on it; the gateway's own paths go past its layers.

    A request for a mounted prefix is FastAPI's, every other one the gateway's.
    """

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(openapi_url=None, docs_url=None, redoc_url=None)
        self.gateway = gateway
        self._mounted: tuple[str, ...] = ()

    def mount(self, path: str, app: object, name: str | None = None) -> None:
        """Serve `app` under `path`."""
        super().mount(path, app, name)  # pyright: ignore[reportArgumentType] - Starlette's ASGIApp
        self._mounted = (*self._mounted, path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (self._mounted and scope["path"].startswith(self._mounted)):
            await super().__call__(scope, receive, send)
        else:
            await self.gateway(scope, receive, send)


def create_application(
    services: Services, *, hosts: Iterable[str] = (), cors: Cors | None = None
) -> Application:
    """The application with every route of the gateway."""
    return Application(Gateway(ROUTES, services, hosts=hosts, cors=cors))
