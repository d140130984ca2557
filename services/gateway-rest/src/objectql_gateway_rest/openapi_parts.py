"""The parts of the description that every object shares: parameters, headers, answers, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


def ref(kind: str, name: str) -> Json:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def json_content(schema: Json) -> Json:
    """`schema` as a JSON body."""
    return {"application/json": {"schema": schema}}


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _header(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "header", "schema": schema, "description": description}


_TEXT: Json = {"type": "string"}
_VISIBLE: Json = {"type": "string", "pattern": "^[!-~]{1,255}$"}

PARAMETERS: Json = {
    "filter": _query("$filter", _TEXT, "A condition: `total gt 100 and status in ('a','b')`."),
    "orderby": _query("$orderby", _TEXT, "Sort keys: `issued_on desc,number`."),
    "select": _query("$select", _TEXT, "Fields to return: `id,number`."),
    "expand": _query("$expand", _TEXT, "Relations to put in place: `customer($select=name)`."),
    "top": _query("$top", {"type": "integer", "minimum": 0, "maximum": 1000}, "Page size."),
    "history_top": _query("$top", {"type": "integer", "minimum": 1, "maximum": 100}, "Page size."),
    "skip": _query(
        "$skip", {"type": "integer", "minimum": 0, "maximum": 1_000_000}, "Records to pass over."
    ),
    "count": _query(
        "$count",
        {"type": "string", "enum": ["true", "false", "none", "exact", "estimated"]},
        "Whether to return `meta.total`; estimated ones are exact up to 10,000, and 10,001 is more.",
    ),
    "search": _query("$search", _TEXT, "Words that must all occur in the searchable fields."),
    "search_mode": _query(
        "searchMode",
        {"type": "string", "enum": ["substring", "words"]},
        "Whether a word of `$search` is found anywhere, or only as a whole word (`acm*`: as a beginning).",
    ),
    "search_fields": _query("searchFields", _TEXT, "Fields to search: `name,city`."),
    "group_by": _query(
        "groupBy", _TEXT, "Group keys: `status,issued_on:month as m`. Items are groups then."
    ),
    "aggregations": _query("aggregations", _TEXT, "Of each group: `count as n,sum(total)`."),
    "having": _query("having", _TEXT, "A condition on groups: `n gt 10`."),
    "distinct": _query("distinct", {"type": "boolean"}, "Each combination of `$select` once."),
    "after": _query("$after", _TEXT, "The `meta.next` of the page before."),
    "explain": _query(
        "$explain",
        {"type": "string", "enum": ["false", "true", "analyze"]},
        "Answer what becomes of the query instead; `analyze` also runs it, for administrators.",
    ),
    "if_match": _header("If-Match", _VISIBLE, "The entity tag the record must have."),
    "if_none_match": _header("If-None-Match", _VISIBLE, "Answer 304 if the tag is still this."),
    "idempotency_key": _header(
        "Idempotency-Key", _VISIBLE, "Same key and body within 24 hours: the same answer, once."
    ),
    "read_policy": _header(
        "Oql-Read-Policy",
        {"type": "string", "pattern": "^(primary|any|atomic|bounded:[0-9]{1,6})$"},
        "Where the answer may come from.",
    ),
    "id": {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
}

HEADERS: Json = {
    "ETag": {"schema": {"type": "string"}, "description": "The record's version, quoted."},
    "RequestId": {"schema": {"type": "string"}, "description": "Names the request in the logs."},
    "ConsistencyToken": {
        "schema": {"type": "string"},
        "description": "Present it with a later read to see this write.",
    },
    "ServerTiming": {
        "schema": {"type": "string"},
        "description": "Milliseconds: `plan;dur=0.03, db;dur=0.81, total;dur=1.90`; "
        "`cache` in place of `db` where the result cache answered.",
    },
    "RetryAfter": {"schema": {"type": "integer"}, "description": "Seconds to wait."},
    "Location": {"schema": {"type": "string"}, "description": "Where the new record is."},
}

PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail", "code", "errors", "request_id"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:objectql:error:"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "What went wrong; stable."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "code", "message"],
                "properties": {
                    "path": {"type": "string"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
        "request_id": {"type": "string"},
        "retry_after_ms": {"type": "integer"},
        "details": {"type": "object"},
    },
}

PAGE_META: Json = {
    "type": "object",
    "required": ["size", "has_next"],
    "properties": {
        "size": {"type": "integer", "description": "The limit that was applied."},
        "has_next": {"type": "boolean"},
        "next": {"type": "string", "description": "Cursor for `$after`."},
        "total": {"type": "integer", "description": "All matches, when `$count` asks."},
    },
}

_HISTORY_ENTRY: Json = {
    "type": "object",
    "required": ["id", "at", "actor", "operation", "version", "request_id", "changes"],
    "properties": {
        "id": _TEXT,
        "at": {"type": "string", "format": "date-time"},
        "actor": {"type": "string", "description": "The id of who did it."},
        "operation": {"type": "string", "enum": ["created", "updated", "deleted"]},
        "version": {"type": "integer", "description": "The record's, after the change."},
        "request_id": {"type": "string", "description": "Names the request in the logs."},
        "changes": {
            "type": "object",
            "description": "The fields that changed, of those that the caller may read.",
            "additionalProperties": {
                "type": "object",
                "required": ["old", "new"],
                "properties": {"old": {}, "new": {}},
            },
        },
    },
}

HISTORY: Json = {
    "type": "object",
    "required": ["items", "meta"],
    "properties": {
        "items": {"type": "array", "items": _HISTORY_ENTRY},
        "meta": {"$ref": "#/components/schemas/PageMeta"},
    },
}

EXPLANATION: Json = {
    "type": "object",
    "description": "What becomes of a query; administrators see more of it.",
    "required": ["query", "plan", "timings_ms"],
    "properties": {
        "query": {"type": "object", "description": "As it was understood."},
        "plan": {"type": "object", "properties": {"strategy": {"type": "string"}}},
        "plan_cache": {"type": "string", "enum": ["hit", "miss"]},
        "is_empty": {"type": "boolean", "description": "Its values contradict each other."},
        "timings_ms": {"type": "object", "additionalProperties": {"type": "number"}},
    },
}

_PROBLEMS = {
    400: "The request is not valid",
    401: "Valid credentials are required",
    403: "The caller may not do this",
    404: "There is no such thing",
    405: "The method is not served here",
    409: "In conflict with what is stored",
    412: "The record is not at the expected version",
    413: "The body is too large",
    415: "The body is not JSON",
    429: "Too many requests",
    500: "A fault of the server",
    501: "Not supported",
    503: "Unavailable for a while",
    504: "Not done in time",
}


def problem_responses() -> Json:
    """One component per status, `Problem400` and so on."""
    return {f"Problem{status}": _problem(status, text) for status, text in _PROBLEMS.items()}


def _problem(status: int, text: str) -> Json:
    headers = {"X-Request-Id": ref("headers", "RequestId")}
    if status in {429, 503}:
        headers["Retry-After"] = ref("headers", "RetryAfter")
    content = {"application/problem+json": {"schema": ref("schemas", "Problem")}}
    return {"description": f"{text}.", "headers": headers, "content": content}


def errors() -> Json:
    """Every error answer, by status: any operation may be refused for any of these reasons."""
    return {str(status): ref("responses", f"Problem{status}") for status in _PROBLEMS}


def success(description: str, schema: Json | None, *headers: str) -> Json:
    """An answer with a JSON body (none: empty) and the named headers."""
    shown = {"X-Request-Id": ref("headers", "RequestId")}
    names = {"ETag": "ETag", "Location": "Location", "Oql-Consistency-Token": "ConsistencyToken"}
    shown |= {header: ref("headers", names[header]) for header in headers}
    answer: Json = {"description": description, "headers": shown}
    if schema is not None:
        answer["content"] = json_content(schema)
    return answer


SHARE: Json = {
    "type": "object",
    "required": ["type", "id"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["user", "role", "team"]},
        "id": {"type": "string", "minLength": 1, "maxLength": 255},
        "level": {"enum": ["read", "edit"], "default": "read"},
    },
}


def shares_paths(one_path: str, operation: Callable[..., Json]) -> Json:
    """Where records are shared by hand; `operation` makes the parts that all operations have."""
    items = {"type": "object", "properties": {"items": {"type": "array", "items": SHARE}}}
    shares = {"200": success("With whom the record is shared.", items)}
    share = {
        "name": "share",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^(user|role|team):"},
    }
    return {
        f"{one_path}/shares": {
            "parameters": [ref("parameters", "id")],
            "get": operation("get", "Shares", shares),
            "post": operation(
                "share",
                "",
                shares,
                "idempotency_key",
                requestBody={"required": True, "content": json_content(SHARE)},
            ),
        },
        f"{one_path}/shares/{{share}}": {
            "parameters": [ref("parameters", "id"), share],
            "delete": operation("unshare", "", shares, "idempotency_key"),
        },
    }
