"""`/api/meta`: metadata read and written. A written item is served by this gateway at once."""

from __future__ import annotations

from objectql.errors import MetadataNotFound, VersionConflict
from objectql.wire.messages import (
    JsonReply,
    MetaDeleteRequest,
    MetaGetRequest,
    MetaListRequest,
    MetaPutRequest,
    MetaTypesRequest,
    MetaWriteReply,
)
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.params import flag
from objectql_gateway_rest.representation import (
    digest_etag,
    etag,
    expected_version,
    is_not_modified,
    json_response,
)
from objectql_gateway_rest.routes import Route


async def types(call: Call) -> Response:
    reply = await call.read("meta_types", MetaTypesRequest(), JsonReply)
    return Response(b'{"items":' + reply.body + b"}")


async def items(call: Call, type: str) -> Response:
    reply = await call.read("meta_list", MetaListRequest(type), JsonReply)
    return Response(b'{"items":' + reply.body + b"}")


async def get_item(call: Call, type: str, name: str) -> JsonReply:
    """The stored document.

    Raises:
        MetadataNotFound: there is none.

    """
    reply = await call.read("meta_get", MetaGetRequest(type, name), JsonReply)
    if not reply.found:
        raise MetadataNotFound(type=type[:100], name=name[:100])
    return reply


def item_etag(reply: JsonReply) -> bytes:
    """The tag of a document: its version, or a digest where it has none."""
    return etag(reply.version) if reply.version else digest_etag(reply.body)


async def item(call: Call, type: str, name: str) -> Response:
    reply = await get_item(call, type, name)
    tag = item_etag(reply)
    headers = [(b"etag", tag)]
    if is_not_modified(call.request, tag):
        return Response(status=304, headers=headers)
    return Response(reply.body, headers=headers)


def metadata_version(call: Call, type: str, name: str) -> int | None:
    """The version that `If-Match` names.

    Raises:
        VersionConflict: it names none that metadata ever had.

    """
    condition = expected_version(call.request)
    if "if_updated_at" in condition:  # the tag of something else
        raise VersionConflict(object=type[:100], id=name[:100])
    return condition.get("if_version")


async def put_item(
    call: Call, type: str, name: str, document: bytes, *, allow_destructive: bool
) -> MetaWriteReply:
    """Publish a document, and wait until this gateway knows it."""
    request = MetaPutRequest(
        type=type,
        name=name,
        document=document,
        if_version=metadata_version(call, type, name),
        allow_destructive=allow_destructive,
    )
    reply = await call.write("meta_put", request, MetaWriteReply)
    await call.services.metadata.catch_up(reply.version)
    return reply


async def delete_item(
    call: Call, type: str, name: str, *, allow_destructive: bool
) -> MetaWriteReply:
    """Remove a document, and wait until this gateway knows it."""
    request = MetaDeleteRequest(type, name, allow_destructive, metadata_version(call, type, name))
    reply = await call.write("meta_delete", request, MetaWriteReply)
    await call.services.metadata.catch_up(reply.version)
    return reply


async def put(call: Call, type: str, name: str) -> Response:
    allow = flag(call, "allow_destructive")
    document = await call.object_bytes()
    reply = await put_item(call, type, name, document, allow_destructive=allow)
    answer = {"type": type, "name": name, "version": reply.version, "changes": reply.changes}
    return json_response(answer)


async def delete(call: Call, type: str, name: str) -> Response:
    allow = flag(call, "allow_destructive")
    reply = await delete_item(call, type, name, allow_destructive=allow)
    answer = {"type": type, "name": name, "deleted": True, "version": reply.version}
    return json_response(answer)


ROUTES = (
    Route("GET", "/api/meta", types),
    Route("GET", "/api/meta/{type}", items),
    Route("GET", "/api/meta/{type}/{name}", item),
    Route("PUT", "/api/meta/{type}/{name}", put),
    Route("DELETE", "/api/meta/{type}/{name}", delete),
)
