"""The OpenAPI description of a metadata snapshot: 3.1, and 3.0.3 made of it; built once per version."""

from __future__ import annotations

from typing import Any, Final, cast

from objectql.metadata.model import SHARES, ActionDef, ObjectDef
from objectql.metadata.offered import offers
from objectql.metadata.registry import MetadataSnapshot
from objectql_gateway_rest.openapi_parts import (
    EXPLANATION,
    HEADERS,
    HISTORY,
    PAGE_META,
    PARAMETERS,
    PROBLEM,
    Json,
    errors,
    json_content,
    problem_responses,
    ref,
    shares_paths,
    success,
)
from objectql_gateway_rest.openapi_schemas import (
    create_schema,
    record_schema,
    type_name,
    update_schema,
)

_LIST = (
    *("filter", "orderby", "select", "expand", "top", "skip", "count", "after", "explain"),
    *("search", "search_mode", "search_fields", "group_by", "aggregations", "having", "distinct"),
)
_ANY: Json = {}


def describe(snapshot: MetadataSnapshot) -> Json:
    """The OpenAPI 3.1 document of every object that is served."""
    paths: Json = {}
    schemas: Json = {
        "Problem": PROBLEM,
        "PageMeta": PAGE_META,
        "Explanation": EXPLANATION,
        "History": HISTORY,
        "Query": _query_schema(),
    }
    tags: list[Json] = []
    for name, definition in sorted(snapshot.objects.items()):
        if not definition.enable.api_enabled:
            continue
        kind = type_name(name)
        tags.append({"name": name, "description": definition.description or definition.label})
        schemas[kind] = record_schema(definition)
        schemas[f"{kind}Create"] = create_schema(definition)
        schemas[f"{kind}Update"] = update_schema(definition)
        schemas[f"{kind}List"] = _list_schema(kind)
        paths |= _object_paths(definition, kind)
    _close_references(schemas)
    paths["/api/batch"] = {"post": _batch()}
    paths["/api/transactions/{id}"] = {"get": _transaction()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ObjectQL API",
            "version": str(snapshot.version),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [*tags, {"name": "batch", "description": "Several writes at once"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "responses": problem_responses(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _object_paths(definition: ObjectDef, kind: str) -> Json:
    name = str(definition.name)
    whole, many = ref("schemas", kind), ref("schemas", f"{kind}List")
    create, update = ref("schemas", f"{kind}Create"), ref("schemas", f"{kind}Update")
    explained = ref("schemas", "Explanation")
    listed = success("A page of records.", {"anyOf": [many, explained]})
    grouped = success("Groups.", {"anyOf": [_groups_schema(), explained]})
    read = success("The record.", whole, "ETag")
    written = success("The record as it is now.", whole, "ETag", "Oql-Consistency-Token")
    created = success("The new record.", whole, "ETag", "Location", "Oql-Consistency-Token")
    gone = success("The record is deleted.", _deleted_schema(), "Oql-Consistency-Token")
    unchanged = success("The record still has this tag.", None, "ETag")
    minimal = success("Done; `Prefer: return=minimal` asked for no body.", None)

    def operation(verb: str, plural: str, answers: Json, *parameters: str, **more: Any) -> Json:
        return {
            "operationId": f"{verb}{kind}{plural}",
            "tags": [name],
            "parameters": [ref("parameters", parameter) for parameter in parameters],
            "responses": answers | errors(),
            **more,
        }

    def body(schema: Json) -> Json:
        return {"required": True, "content": json_content(schema)}

    one_path = f"/api/{name}/{{id}}"
    paths: Json = {
        f"/api/{name}": {
            "get": operation("list", "", {"200": listed}, *_LIST, "read_policy"),
            "post": operation(
                "create",
                "",
                {"201": created, "204": minimal},
                "idempotency_key",
                requestBody=body(create),
            ),
        },
        one_path: {
            "parameters": [ref("parameters", "id")],
            "get": operation(
                "get",
                "",
                {"200": read, "304": unchanged},
                "select",
                "expand",
                "if_none_match",
                "read_policy",
            ),
            "put": operation(
                "replace",
                "",
                {"200": written, "204": minimal},
                "if_match",
                "idempotency_key",
                requestBody=body(update),
            ),
            "patch": operation(
                "update",
                "",
                {"200": written, "204": minimal},
                "if_match",
                "idempotency_key",
                requestBody=body(update),
            ),
            "delete": operation(
                "delete", "", {"200": gone, "204": minimal}, "if_match", "idempotency_key"
            ),
        },
        f"/api/{name}/query": {
            "post": operation(
                "query",
                "",
                {"200": listed},
                "explain",
                "read_policy",
                requestBody=body(ref("schemas", "Query")),
            )
        },
        f"/api/{name}/aggregate": {
            "post": operation(
                "aggregate",
                "",
                {"200": grouped},
                "explain",
                "read_policy",
                requestBody=body(ref("schemas", "Query")),
            )
        },
        f"/api/{name}/bulk": {
            "post": operation(
                "bulk",
                "",
                {"200": success("One result per record.", _bulk_answer(kind))},
                "idempotency_key",
                requestBody=body(_bulk_schema(kind)),
            )
        },
    }
    paths = _offered(definition, paths, name)
    if definition.enable.track_history and offers(definition, "history"):
        entries = success("What became of it, the latest first.", ref("schemas", "History"))
        paths[f"{one_path}/history"] = {
            "parameters": [ref("parameters", "id")],
            "get": operation("get", "History", {"200": entries}, "history_top", "after"),
        }
    if SHARES in definition.fields and offers(definition, "shares"):
        paths |= shares_paths(one_path, operation)
    for action in definition.actions.values():
        if not action.internal:
            path = one_path if action.type == "record" else f"/api/{name}"
            item: Json = {
                "post": operation(
                    "run",
                    type_name(action.name),
                    {"200": success("What the action returns.", _ANY)},
                    "idempotency_key",
                    requestBody={"content": json_content(_params_schema(action))},
                )
            }
            if action.type == "record":
                item["parameters"] = [ref("parameters", "id")]
            paths[f"{path}/actions/{action.name}"] = item
    return paths


_ASKED: Final = {
    ("", "get"): "find",
    ("", "post"): "create",
    ("/{id}", "get"): "get",
    ("/{id}", "put"): "update",
    ("/{id}", "patch"): "update",
    ("/{id}", "delete"): "delete",
    ("/query", "post"): "find",
    ("/aggregate", "post"): "aggregate",
    ("/bulk", "post"): "bulk",
}
"""The operation of each route of an object, without the object's name."""


def _offered(definition: ObjectDef, paths: Json, name: str) -> Json:
    """`paths` without what `enable.apiMethods` takes away."""
    found: Json = {}
    for path, item in paths.items():
        route = path.removeprefix(f"/api/{name}")
        verbs = [verb for verb in item if verb != "parameters"]
        gone = {verb for verb in verbs if not offers(definition, _ASKED[route, verb])}
        if len(gone) < len(verbs):
            found[path] = {verb: said for verb, said in item.items() if verb not in gone}
    return found


def _list_schema(kind: str) -> Json:
    """Records, or groups where the query has aggregations."""
    either = {"anyOf": [ref("schemas", kind), {"type": "object"}]}
    items = {"type": "array", "items": either}
    return {
        "type": "object",
        "required": ["items", "meta"],
        "properties": {"items": items, "meta": ref("schemas", "PageMeta")},
    }


def _deleted_schema() -> Json:
    properties = {"id": {"type": "string"}, "deleted": {"type": "boolean"}}
    return {"type": "object", "required": ["id", "deleted"], "properties": properties}


def _groups_schema() -> Json:
    rows = {"type": "array", "items": {"type": "object"}}
    return {"type": "object", "required": ["items"], "properties": {"items": rows}}


def _params_schema(action: ActionDef) -> Json:
    properties = {name: {"title": field.label or name} for name, field in action.params.items()}
    required = [
        name for name, field in action.params.items() if field.required and field.default is None
    ]
    schema: Json = {"type": "object", "properties": properties}
    return schema | ({"required": required} if required else {})


def _query_schema() -> Json:
    """The query AST; what a filter may say is too much for a schema."""
    names = {"type": "array", "items": {"type": "string"}}
    whole = {"type": "integer", "minimum": 0}
    properties: Json = {
        "fields": names,
        "where": {"type": ["object", "array"]},
        "search": {
            "type": ["string", "object"],
            "properties": {
                "query": {"type": "string"},
                "fields": names,
                "mode": {"enum": ["substring", "words"]},
            },
        },
        "orderBy": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field"],
                "properties": {
                    "field": {"type": "string"},
                    "order": {"enum": ["asc", "desc"]},
                },
            },
        },
        "limit": {**whole, "maximum": 1000},
        "offset": whole,
        "after": {"type": "string"},
        "expand": {"type": ["object", "array"]},
        "groupBy": {"type": "array", "items": {"type": ["string", "object"]}},
        "aggregations": {"type": "array", "items": {"type": ["string", "object"]}},
        "having": {"type": ["object", "array"]},
        "distinct": {"type": "boolean"},
        "count": {"enum": [True, False, "none", "exact", "estimated"]},
    }
    return {"type": "object", "properties": properties}


def _bulk_schema(kind: str) -> Json:
    return {
        "type": "object",
        "required": ["operation", "records"],
        "additionalProperties": False,
        "properties": {
            "operation": {"enum": ["create", "update", "upsert", "delete"]},
            "records": {
                "type": "array",
                "maxItems": 1000,
                "items": ref("schemas", f"{kind}Create"),
            },
            "atomic": {"type": "boolean"},
            "continue_on_error": {"type": "boolean"},
            "return_records": {"type": "boolean"},
            "match": {"type": "array", "items": {"type": "string"}},
        },
    }


def _bulk_answer(kind: str) -> Json:
    row = {
        "type": "object",
        "required": ["index", "id", "action"],
        "properties": {
            "index": {"type": "integer"},
            "id": {"type": ["string", "null"]},
            "action": {"enum": ["created", "updated", "unchanged", "deleted", "none"]},
            "version": {"type": "integer"},
            "record": ref("schemas", kind),
            "error": {"type": "object"},
        },
    }
    count = {"type": "integer"}
    return {
        "type": "object",
        "required": ["results", "succeeded", "failed"],
        "properties": {
            "results": {"type": "array", "items": row},
            "succeeded": count,
            "failed": count,
        },
    }


def _batch() -> Json:
    operation = {
        "type": "object",
        "required": ["object", "action"],
        "additionalProperties": False,
        "properties": {
            "object": {"type": "string"},
            "action": {"enum": ["create", "update", "delete", "upsert"]},
            "id": {"type": ["string", "object"]},
            "data": {"type": "object"},
            "if_version": {"type": ["integer", "null"]},
        },
    }
    request = {
        "type": "object",
        "required": ["operations"],
        "additionalProperties": False,
        "properties": {
            "operations": {"type": "array", "maxItems": 1000, "items": operation},
            "atomic": {"type": "boolean"},
            "isolation": {"enum": ["read_committed", "repeatable_read", "serializable"]},
        },
    }
    answer = {
        "type": "object",
        "required": ["results", "transaction"],
        "properties": {
            "results": {"type": "array", "items": {"type": "object"}},
            "transaction": _TRANSACTION,
        },
    }
    doubt = success("In doubt: ask again at `Location`.", answer, "Location")
    return {
        "operationId": "runBatch",
        "tags": ["batch"],
        "parameters": [ref("parameters", "idempotency_key")],
        "requestBody": {"required": True, "content": json_content(request)},
        "responses": {
            "200": success("The results in order.", answer, "Oql-Consistency-Token"),
            "202": doubt,
        }
        | errors(),
    }


def _transaction() -> Json:
    sources = {"sources": {"type": "array", "items": {"type": "string"}}}
    schema = _TRANSACTION | {"properties": _TRANSACTION["properties"] | sources}
    return {
        "operationId": "getTransaction",
        "tags": ["batch"],
        "parameters": [ref("parameters", "id")],
        "responses": {"200": success("How it stands.", schema)} | errors(),
    }


_TRANSACTION: Json = {
    "type": "object",
    "required": ["id", "state"],
    "properties": {
        "id": {"type": "string"},
        "state": {"enum": ["active", "in_doubt", "committed", "aborted"]},
    },
}


def _close_references(schemas: Json) -> None:
    """A lookup to an object that is not served is described as any object."""
    missing: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            mapping = cast("Json", value)
            target = mapping.get("$ref")
            if isinstance(target, str) and target.startswith("#/components/schemas/"):
                name = target.rsplit("/", 1)[1]
                if name not in schemas:
                    missing.add(name)
            for inner in mapping.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in cast("list[Any]", value):
                walk(inner)

    walk(schemas)
    for name in missing:
        schemas[name] = {"type": "object"}


def downgrade(document: Any) -> Any:
    """A 3.1 document as 3.0.3: type lists and `null` become `nullable`."""
    if isinstance(document, list):
        return [downgrade(item) for item in cast("list[Any]", document)]
    if not isinstance(document, dict):
        return document
    source = cast("Json", document)
    result: Json = {key: downgrade(value) for key, value in source.items()}
    if source.get("openapi") == "3.1.0":
        result["openapi"] = "3.0.3"
        result["info"]["license"].pop("identifier", None)
    kinds = result.get("type")
    if isinstance(kinds, list):
        named = [kind for kind in cast("list[str]", kinds) if kind != "null"]
        if len(named) < len(cast("list[str]", kinds)):
            result["nullable"] = True
        if len(named) == 1:
            result["type"] = named[0]
        else:
            del result["type"]
            result["anyOf"] = [_bare(kind) for kind in named]
    options = result.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        result["anyOf"] = [option for option in options if option != {"type": "null"}]  # pyright: ignore[reportUnknownVariableType] - JSON
        result["nullable"] = True
    choices = result.get("enum")
    if isinstance(choices, list) and None in choices:
        result["nullable"] = True
    if result.get("type") == "array" and "items" not in result:
        result["items"] = {}
    return result


def _bare(kind: str) -> Json:
    return {"type": kind, "items": {}} if kind == "array" else {"type": kind}
