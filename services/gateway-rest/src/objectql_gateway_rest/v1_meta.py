"""`/api/v1/meta` and `/api/v1/ui/view`: metadata as the ObjectStack client reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from objectql.errors import MetadataNotFound, NotSupported, QueryParamUnknown, RouteUnknown
from objectql.service.bodies import decoder
from objectql.service.data.answers import to_json
from objectql.service.data.names import check_object
from objectql.wire.messages import JsonReply, MetaListRequest, MetaTypesRequest, ViewRequest
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.metadata_routes import delete_item, get_item, item_etag, put_item
from objectql_gateway_rest.representation import is_not_modified, json_response
from objectql_gateway_rest.routes import Route
from objectql_gateway_rest.v1 import absent


class TypeEntry(msgspec.Struct, frozen=True):
    """What the kernel says about a metadata type; more is ignored here."""

    type: str
    count: int = 0


async def types(call: Call) -> Response:
    reply = await call.read("meta_types", MetaTypesRequest(), JsonReply)
    entries = decoder(list[TypeEntry]).decode(reply.body)
    return json_response({"types": [entry.type for entry in entries], "entries": entries})


async def items(call: Call, type: str) -> Response:
    package = None
    for key, value in call.pairs():
        if key != "package":
            raise QueryParamUnknown(param=key[:100], suggestions=("package",))
        package = value
    reply = await call.read("meta_list", MetaListRequest(type, package), JsonReply)
    return Response(b'{"type":' + to_json(type) + b',"items":' + reply.body + b"}")


async def item(call: Call, type: str, name: str) -> Response:
    reply = await get_item(call, type, name)
    tag = item_etag(reply)
    if is_not_modified(call.request, tag):
        return Response(status=304, headers=[(b"etag", tag)])
    text = b'{"type":%s,"name":%s,"item":%s}' % (to_json(type), to_json(name), reply.body)
    return Response(text, headers=[(b"etag", tag)])


async def put(call: Call, type: str, name: str) -> Response:
    """`version` is what a later `If-Match` names; `?force=true` lets a change lose data."""
    allow = _flag(call, "force", draft="mode")
    document = await call.object_bytes()
    reply = await put_item(call, type, name, document, allow_destructive=allow)
    return json_response(
        {"success": True, "version": str(reply.version), "seq": reply.version, "state": "active"}
    )


async def delete(call: Call, type: str, name: str) -> Response:
    """`reset` says whether there was anything over what packages declare."""
    _flag(call, draft="state")
    try:
        reply = await delete_item(call, type, name, allow_destructive=False)
    except MetadataNotFound:
        await get_item(call, type, name)  # as packages declare it, or not there at all
        return json_response({"success": True, "reset": False})
    return json_response({"success": True, "reset": True, "version": str(reply.version)})


def _flag(call: Call, name: str = "", *, draft: str) -> bool:
    """The value of the flag `name`.

    Raises:
        NotSupported: a draft is asked for in the parameter `draft`, or a package by name.
        QueryParamUnknown: another parameter.

    """
    value = False
    for key, text in call.pairs():
        if name and key == name:
            value = text == "true"
        elif key == "package":
            raise NotSupported(feature="metadata written into packages")
        elif key != draft:
            raise QueryParamUnknown(param=key[:100])
        elif text != "active":
            raise NotSupported(feature="metadata drafts")
    return value


async def view(call: Call, object: str, type: str) -> Response:
    reply = await call.read("view", ViewRequest(check_object(object), type), JsonReply)
    return Response(reply.body)


async def next_states(call: Call, type: str, name: str, field: str) -> Response:
    """Where a record may go from a state; `next` is null where no machine watches the field."""
    if type not in {"object", "objects"}:
        raise RouteUnknown(path=call.request.path)
    start = None
    for key, value in call.pairs():
        if key != "from":
            raise QueryParamUnknown(param=key[:100], suggestions=("from",))
        start = value
    object_ = (await call.services.metadata.of(call.context.tenant)).object(name)
    machine = object_.state_machines.get(field)
    next_ = rule_targets(object_.validations, field, start)
    if machine is not None:
        origin = machine["initial"] if start is None else start
        next_ = targets(machine["states"].get(origin) or {})
    return json_response({"object": name, "field": field, "from": start, "next": next_})


def rule_targets(
    rules: Sequence[Mapping[str, Any]], field: str, start: str | None
) -> list[str] | None:
    """Where the validation rule that watches `field` lets a state go; None without such a rule."""
    for rule in rules:
        if rule.get("type") == "state_machine" and rule.get("field") == field:
            if start is None:
                return list(rule.get("initial_states") or ())
            transitions = cast("Mapping[str, Any]", rule.get("transitions") or {})
            edge: Any = transitions.get(start) or []
            if isinstance(edge, Mapping):
                edge = cast("Mapping[str, Any]", edge).get("allowed_next") or []
            return [str(state) for state in cast("list[Any]", edge)]
    return None


def targets(state: Mapping[str, Any]) -> list[str]:
    """The states that the edges of `state` lead to, each once, in order."""
    found: dict[str, None] = {}
    edges: dict[str, Any] = state.get("on") or {}
    for edge in edges.values():
        choices = cast("list[Any]", edge) if isinstance(edge, list) else [edge]
        for choice in choices:
            target: Any = choice
            if isinstance(choice, dict):
                target = cast("dict[str, Any]", choice).get("target")
            if isinstance(target, str):
                found[target] = None
    return list(found)


_LIFECYCLE = ("history", "published", "references", "audit", "publish", "rollback", "diff", "tree")

ROUTES = (
    Route("GET", "/api/v1/meta", types, "v1"),
    Route("GET", "/api/v1/meta/{type}", items, "v1"),
    Route("GET", "/api/v1/meta/{type}/{name}", item, "v1"),
    Route("PUT", "/api/v1/meta/{type}/{name}", put, "v1"),
    Route("DELETE", "/api/v1/meta/{type}/{name}", delete, "v1"),
    Route("GET", "/api/v1/ui/view/{object}/{type}", view, "v1"),
    *(
        Route(method, f"/api/v1/meta/{{type}}/{{name}}/{part}", absent(f"metadata {part}"), "v1")
        for part in _LIFECYCLE
        for method in ("GET", "POST")
    ),
    Route("GET", "/api/v1/meta/{type}/{name}/state/{field}", next_states, "v1"),
    Route("GET", "/api/v1/meta/_drafts", absent("metadata drafts"), "v1"),
    Route("POST", "/api/v1/meta/_migrate-stored", absent("metadata migration"), "v1"),
    Route("GET", "/api/v1/meta/diagnostics", absent("metadata diagnostics"), "v1"),
)
