"""The ObjectQL SDK's `/api/metadata`: objects, their fields and actions, and other items."""

from __future__ import annotations

from typing import Any, cast

from objectql.errors import FieldUnknown, ObjectUnknown
from objectql.service.bodies import decoder
from objectql.service.data.names import check_object
from objectql.wire.messages import JsonReply, MetaGetRequest, MetaListRequest
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.metadata_routes import delete_item, get_item, put_item
from objectql_gateway_rest.representation import json_response
from objectql_gateway_rest.routes import Route

Document = dict[str, Any]


async def objects(call: Call) -> Response:
    reply = await call.read("meta_list", MetaListRequest("object"), JsonReply)
    documents = decoder(list[Document]).decode(reply.body)
    keys = ("name", "label", "icon", "description", "fields")
    return json_response({"items": [{k: d.get(k) for k in keys} for d in documents]})


async def _object(call: Call, name: str) -> Document:
    reply = await call.read("meta_get", MetaGetRequest("object", check_object(name)), JsonReply)
    if not reply.found:
        raise ObjectUnknown(object=name)
    document = decoder(Document).decode(reply.body)
    fields = cast("dict[str, Document]", document.get("fields") or {})
    document["fields"] = {key: {"name": key, **field} for key, field in fields.items()}
    return document


async def object(call: Call, name: str) -> Response:
    return json_response(await _object(call, name))


async def field(call: Call, name: str, field_name: str) -> Response:
    fields = (await _object(call, name))["fields"]
    if field_name not in fields:
        raise FieldUnknown(object=name, field=field_name[:100])
    return json_response(fields[field_name])


async def actions(call: Call, name: str) -> Response:
    declared = cast("dict[str, Document]", (await _object(call, name)).get("actions") or {})
    return json_response({"items": [_action(key, action) for key, action in declared.items()]})


def _action(name: str, action: Document) -> Document:
    kind = action.get("type") or ("record" if action.get("params") else "global")
    shown = {key: action[key] for key in ("label", "params", "description") if key in action}
    return {"name": name, "type": kind, **shown}


async def items(call: Call, type: str) -> Response:
    reply = await call.read("meta_list", MetaListRequest(type), JsonReply)
    return Response(b'{"items":' + reply.body + b"}")


async def item(call: Call, type: str, name: str) -> Response:
    return Response((await get_item(call, type, name)).body)


async def put(call: Call, type: str, name: str) -> Response:
    document = await call.object_bytes()
    reply = await put_item(call, type, name, document, allow_destructive=False)
    return json_response({"success": True, "version": reply.version})


async def delete(call: Call, type: str, name: str) -> Response:
    reply = await delete_item(call, type, name, allow_destructive=False)
    return json_response({"success": True, "version": reply.version})


ROUTES = (
    Route("GET", "/api/metadata", objects, "sdk"),
    Route("GET", "/api/metadata/objects", objects, "sdk"),
    Route("GET", "/api/metadata/object", objects, "sdk"),
    Route("GET", "/api/metadata/object/{name}", object, "sdk"),
    Route("GET", "/api/metadata/objects/{name}", object, "sdk"),
    Route("GET", "/api/metadata/object/{name}/fields/{field}", field, "sdk"),
    Route("GET", "/api/metadata/object/{name}/actions", actions, "sdk"),
    Route("GET", "/api/metadata/{type}", items, "sdk"),
    Route("GET", "/api/metadata/{type}/{name}", item, "sdk"),
    Route("PUT", "/api/metadata/{type}/{name}", put, "sdk"),
    Route("POST", "/api/metadata/{type}/{name}", put, "sdk"),
    Route("DELETE", "/api/metadata/{type}/{name}", delete, "sdk"),
)
