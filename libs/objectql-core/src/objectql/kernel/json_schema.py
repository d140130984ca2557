"""A subset of JSON Schema (draft 2020-12), as a function from value to the first violation.

Supported: type, enum, const, required, properties, additionalProperties, items, minItems,
maxItems, minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength, pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from objectql.kernel.predicates import is_equal
from objectql.metadata.pattern import compile_pattern

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
SUPPORTED = frozenset(
    """type enum const required properties additionalProperties items minItems maxItems minimum
    maximum exclusiveMinimum exclusiveMaximum minLength maxLength pattern title description
    default examples $schema $id $comment""".split()
)
_LIMITS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "minimum": (lambda v, n: v >= n, "is below {}"),
    "maximum": (lambda v, n: v <= n, "is above {}"),
    "exclusiveMinimum": (lambda v, n: v > n, "is not above {}"),
    "exclusiveMaximum": (lambda v, n: v < n, "is not below {}"),
}
_SIZES = {
    "string": (("minLength", "maxLength"), "characters"),
    "array": (("minItems", "maxItems"), "elements"),
}


def unsupported_keyword(schema: Any) -> str | None:
    """The first keyword of `schema` that is outside the subset."""
    if not isinstance(schema, Mapping):
        return None
    parts = cast("Mapping[str, Any]", schema)
    inner = [*cast("Mapping[str, Any]", parts.get("properties") or {}).values()]
    inner += [parts[key] for key in ("items", "additionalProperties") if key in parts]
    unknown = next((key for key in parts if key not in SUPPORTED), None)
    return unknown or next((bad for s in inner if (bad := unsupported_keyword(s))), None)


def violation(schema: Mapping[str, Any], value: Any, path: str) -> str | None:
    """What of `value` breaks `schema`, as a sentence that starts with the path; None if nothing."""
    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, kind) for kind in _listed(kinds)):
        return f"{path} is not of type {' or '.join(_listed(kinds))}"
    if "enum" in schema and not any(is_equal(value, member) for member in schema["enum"]):
        return f"{path} is none of the allowed values"
    if "const" in schema and not is_equal(value, schema["const"]):
        return f"{path} is not the one allowed value"
    if _is(value, "object"):
        return _object_violation(schema, value, path)
    if _is(value, "array"):
        members = cast("list[Any]", value)
        items = schema.get("items")
        found = (violation(items, m, f"{path}.{i}") for i, m in enumerate(members)) if items else ()
        return _size_violation("array", schema, value, path) or next((f for f in found if f), None)
    if _is(value, "string"):
        text = _size_violation("string", schema, value, path)
        pattern = schema.get("pattern")
        if text is None and pattern and not compile_pattern(pattern)(value):
            return f"{path} does not match the pattern"
        return text
    if _is(value, "number"):
        for key, (holds, wording) in _LIMITS.items():
            if key in schema and not holds(value, schema[key]):
                return f"{path} {wording.format(schema[key])}"
    return None


def _listed(kinds: Any) -> list[str]:
    return cast("list[str]", kinds) if isinstance(kinds, list) else [str(kinds)]


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, ()))


def _size_violation(kind: str, schema: Mapping[str, Any], value: Any, path: str) -> str | None:
    (low, high), unit = _SIZES[kind]
    if low in schema and len(value) < schema[low]:
        return f"{path} has fewer than {schema[low]} {unit}"
    if high in schema and len(value) > schema[high]:
        return f"{path} has more than {schema[high]} {unit}"
    return None


def _object_violation(schema: Mapping[str, Any], value: Any, path: str) -> str | None:
    members = cast("dict[str, Any]", value)
    for name in schema.get("required", ()):
        if name not in members:
            return f"{path}.{name} is missing"
    properties = cast("Mapping[str, Any]", schema.get("properties") or {})
    other = schema.get("additionalProperties", True)
    for name, member in members.items():
        inner = properties.get(name, other)
        if inner is False:
            return f"{path}.{name} is not allowed"
        if isinstance(inner, Mapping):
            found = violation(cast("Mapping[str, Any]", inner), member, f"{path}.{name}")
            if found:
                return found
    return None
