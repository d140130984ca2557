"""Whether a JSON Schema of a rule can be used (`kernel.json_schema` evaluates it)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from objectql.metadata.document import Node
from objectql.metadata.pattern import compile_pattern

TYPES: Final = ("object", "array", "string", "number", "integer", "boolean", "null")


def check_pattern(node: Node) -> str | None:
    """The pattern that `node` holds; None after reporting that it is none."""
    text = node.text()
    if text is None:
        return None
    try:
        compile_pattern(text)
    except ValueError as exc:
        node.fail("bad_pattern", f"this pattern cannot be used: {exc}")
        return None
    return text


def check_json_schema(node: Node) -> None:
    """Report keywords whose values are of another type than theirs, at any depth."""
    for keyword, value in node.entries().items():
        check = _KEYWORDS.get(keyword)
        if check is not None:
            check(value)


def _type(node: Node) -> None:
    for each in node.elements() if node.is_list else [node]:
        each.choice(TYPES)


def _properties(node: Node) -> None:
    for member in node.entries().values():
        _schema_or_flag(member)


def _schema_or_flag(node: Node) -> None:
    if not isinstance(node.value, bool):
        check_json_schema(node)


_KEYWORDS: Final[dict[str, Callable[[Node], object]]] = {
    "type": _type,
    "enum": Node.elements,
    "required": Node.texts,
    "properties": _properties,
    "additionalProperties": _schema_or_flag,
    "items": check_json_schema,
    "pattern": check_pattern,
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength"), Node.count),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), Node.number),
}
