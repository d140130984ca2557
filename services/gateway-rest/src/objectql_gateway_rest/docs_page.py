"""Swagger UI at `/docs`. Its assets come from the installed package; the page names no other host."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from objectql.errors import RouteUnknown
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.routes import Route

_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ObjectQL API</title>
<link rel="icon" href="/docs/assets/favicon.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
"""

_START = b"""window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: true,
  validatorUrl: null,
});
"""

_POLICY = (
    b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"frame-ancestors 'none'"
)
_ASSETS = {
    "swagger-ui-bundle.js": b"text/javascript; charset=utf-8",
    "swagger-ui.css": b"text/css; charset=utf-8",
    "favicon.png": b"image/png",
}
_DAY = (b"cache-control", b"public, max-age=86400")


def asset_directory() -> Path:
    """Where the package that brings Swagger UI keeps it."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package fastapi-offline is not installed")
    return Path(spec.origin).parent / "static"


async def page(_: Call) -> Response:
    headers = [(b"content-security-policy", _POLICY)]
    return Response(_PAGE, content_type=b"text/html; charset=utf-8", headers=headers)


async def asset(_: Call, name: str) -> Response:
    if name == "start.js":
        return Response(_START, content_type=b"text/javascript; charset=utf-8")
    content_type = _ASSETS.get(name)
    if content_type is None:
        raise RouteUnknown(path=f"/docs/assets/{name}")
    content = _loaded.get(name)
    if content is None:  # read once, then from memory
        content = _loaded[name] = (asset_directory() / name).read_bytes()
    return Response(content, content_type=content_type, headers=[_DAY])


_loaded: dict[str, bytes] = {}

ROUTES = (
    Route("GET", "/docs", page, is_public=True),
    Route("GET", "/api/docs", page, is_public=True),
    Route("GET", "/docs/assets/{name}", asset, is_public=True),
)
