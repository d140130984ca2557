"""Where the OpenAPI documents are served; one for each version of the metadata, made when asked for.

Whoever shows no credentials sees what is published for all; else the document is the caller's
tenant's, with what that has of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Literal, TypeAlias

import msgspec

from objectql.context import Actor
from objectql.ids import ObjectName
from objectql.metadata.model import ObjectDef
from objectql.metadata.registry import MetadataSnapshot
from objectql.security.permissions import PermissionCompiler
from objectql.service.data.answers import to_json
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.openapi import describe, downgrade
from objectql_gateway_rest.representation import digest_etag, is_not_modified
from objectql_gateway_rest.routes import Route

Edition: TypeAlias = Literal["3.1", "3.0"]

_KEPT: Final = 16
"""Documents of so many versions, the published one and those of tenants."""


def for_everybody(snapshot: MetadataSnapshot) -> MetadataSnapshot:
    """The objects without the fields that some callers may not know of: the document is public."""
    policy = PermissionCompiler(snapshot, default="allow").policy(Actor(id=""))
    objects: dict[ObjectName, ObjectDef] = {}
    for name, definition in snapshot.objects.items():
        readable = policy.access(name).readable
        shown = {
            field_name: field
            for field_name, field in definition.fields.items()
            if readable is None or field_name in readable or field_name == "id"
        }
        objects[name] = msgspec.structs.replace(definition, fields=shown)
    return MetadataSnapshot(snapshot.version, objects)


class _Rendered:
    """The documents of the snapshots that were described last."""

    def __init__(self) -> None:
        self._texts: OrderedDict[MetadataSnapshot, dict[Edition, bytes]] = OrderedDict()

    def texts(self, snapshot: MetadataSnapshot) -> dict[Edition, bytes]:
        """Both documents of `snapshot`."""
        found = self._texts.get(snapshot)
        if found is None:
            document = describe(for_everybody(snapshot))
            texts: dict[Edition, bytes] = {
                "3.1": to_json(document),
                "3.0": to_json(downgrade(document)),
            }
            found = self._texts[snapshot] = texts
            if len(self._texts) > _KEPT:
                self._texts.popitem(last=False)
        self._texts.move_to_end(snapshot)
        return found


_rendered = _Rendered()


async def _respond(call: Call, edition: Edition) -> Response:
    snapshot = call.services.metadata.snapshot
    if call.has_credentials:
        await call.authenticate()
        snapshot = await call.services.metadata.of(call.context.tenant)
    text = _rendered.texts(snapshot)[edition]
    headers = [
        (b"etag", digest_etag(text)),
        (b"cache-control", b"no-cache"),
        (b"vary", b"Authorization, X-API-Key"),
    ]
    if is_not_modified(call.request, headers[0][1]):
        return Response(status=304, headers=headers)
    return Response(text, headers=headers)


async def openapi_31(call: Call) -> Response:
    return await _respond(call, "3.1")


async def openapi_30(call: Call) -> Response:
    return await _respond(call, "3.0")


ROUTES = (
    Route("GET", "/openapi.json", openapi_31, is_public=True),
    Route("GET", "/api/openapi.json", openapi_31, is_public=True),
    Route("GET", "/openapi-3.0.json", openapi_30, is_public=True),
)
