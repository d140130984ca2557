"""`/api/admin/tenants`: tenants registered, changed, deleted and exported, by the role `system`."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from objectql.errors import InvalidRequest
from objectql.ids import TenantId
from objectql.wire.messages import JsonReply, MetaWriteReply
from objectql.wire.tenants import (
    TenantChangeRequest,
    TenantCreateRequest,
    TenantDeleteReply,
    TenantDeleteRequest,
    TenantExportReply,
    TenantExportRequest,
    TenantGetRequest,
    TenantListRequest,
    TenantMetadataDeleteRequest,
    TenantMetadataPutRequest,
    TenantMetadataRequest,
    TenantPurgeRequest,
    TenantUsageRequest,
)
from objectql_gateway_rest.asgi import Response, StreamedResponse
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.metadata_routes import metadata_version
from objectql_gateway_rest.params import known_params
from objectql_gateway_rest.representation import etag, is_not_modified, json_response
from objectql_gateway_rest.routes import Route

NDJSON = b"application/x-ndjson"


async def tenants(call: Call) -> Response:
    params = known_params(call, "after", "limit")
    limit = params.get("limit", "100")
    if not (limit.isascii() and limit.isdecimal()) or len(limit) > 9:
        raise InvalidRequest(reason=f'"{limit[:40]}" is not a number of tenants')
    request = TenantListRequest(params.get("after", ""), int(limit))
    reply = await call.read("tenant_list", request, JsonReply)
    return Response(b'{"items":' + reply.body + b"}")


async def tenant(call: Call, id: str) -> Response:
    return Response((await call.read("tenant_get", TenantGetRequest(id), JsonReply)).body)


async def usage(call: Call, id: str) -> Response:
    return Response((await call.read("tenant_usage", TenantUsageRequest(id), JsonReply)).body)


async def create(call: Call) -> Response:
    request = TenantCreateRequest(await call.object_bytes())
    reply = await call.write("tenant_create", request, JsonReply)
    return Response(reply.body, status=201)


async def change(call: Call, id: str) -> Response:
    request = TenantChangeRequest(id, await call.object_bytes())
    return Response((await call.write("tenant_change", request, JsonReply)).body)


async def delete(call: Call, id: str) -> Response:
    request = TenantDeleteRequest(id, known_params(call, "confirm").get("confirm"))
    await call.write("tenant_delete", request, TenantDeleteReply)
    return Response(status=204)


async def export(call: Call, id: str) -> Response:
    """Lines of JSON, see `objectql.kernel.tenancy.export`; the first page comes before the status."""
    first = await call.read("tenant_export", TenantExportRequest(id), TenantExportReply)

    async def lines() -> AsyncGenerator[bytes]:
        page = first
        while True:
            yield page.lines
            if page.object is None:
                return
            await call.go_on()  # each page has the time of a request
            request = TenantExportRequest(id, page.object, page.after)
            page = await call.read("tenant_export", request, TenantExportReply)

    return StreamedResponse(lines(), content_type=NDJSON)


async def metadata(call: Call, id: str) -> Response:
    reply = await call.read("tenant_metadata", TenantMetadataRequest(id), JsonReply)
    return Response(reply.body)


async def document(call: Call, id: str, type: str, name: str) -> Response:
    request = TenantMetadataRequest(id, type, name)
    reply = await call.read("tenant_metadata", request, JsonReply)
    tag = etag(reply.version)
    if is_not_modified(call.request, tag):
        return Response(status=304, headers=[(b"etag", tag)])
    return Response(reply.body, headers=[(b"etag", tag)])


async def put_document(call: Call, id: str, type: str, name: str) -> Response:
    version = metadata_version(call, type, name)
    text = await call.object_bytes()
    request = TenantMetadataPutRequest(id, type, name, text, version)
    reply = await call.write("tenant_metadata_put", request, MetaWriteReply)
    call.services.metadata.forget(TenantId(id))
    answer = {"type": type, "name": name, "version": reply.version, "changes": reply.changes}
    return json_response(answer)


async def delete_document(call: Call, id: str, type: str, name: str) -> Response:
    request = TenantMetadataDeleteRequest(id, type, name, metadata_version(call, type, name))
    reply = await call.write("tenant_metadata_delete", request, MetaWriteReply)
    call.services.metadata.forget(TenantId(id))
    return json_response({"type": type, "name": name, "deleted": True, "version": reply.version})


async def purge(call: Call, id: str) -> Response:
    reply = await call.write("tenant_metadata_purge", TenantPurgeRequest(id), JsonReply)
    return Response(reply.body)


ROUTES = (
    Route("GET", "/api/admin/tenants", tenants),
    Route("POST", "/api/admin/tenants", create),
    Route("GET", "/api/admin/tenants/{id}", tenant),
    Route("PATCH", "/api/admin/tenants/{id}", change),
    Route("DELETE", "/api/admin/tenants/{id}", delete),
    Route("GET", "/api/admin/tenants/{id}/export", export),
    Route("GET", "/api/admin/tenants/{id}/usage", usage),
    Route("GET", "/api/admin/tenants/{id}/metadata", metadata),
    Route("POST", "/api/admin/tenants/{id}/metadata/purge", purge),
    Route("GET", "/api/admin/tenants/{id}/metadata/{type}/{name}", document),
    Route("PUT", "/api/admin/tenants/{id}/metadata/{type}/{name}", put_document),
    Route("DELETE", "/api/admin/tenants/{id}/metadata/{type}/{name}", delete_document),
)
