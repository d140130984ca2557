"""Settings as a tree, for tools that write them down before a process reads them.

A tree has the names of the struct's fields: `{"pool": {"max_size": 32}}` is what `POOL__MAX_SIZE=32`
says. Secrets have no place in it; they are told by files (`..._FILE`), by the paths of
`secret_paths`. A chart's `values.schema.json` is made of both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, cast, get_args, get_origin

import msgspec

from objectql.service.setting_types import bare, is_secret, is_struct, metas

NAME_PATTERN: Final = "^[a-z0-9]+(_[a-z0-9]+)*$"
"""Names that a group of the type `dict[str, T]` may have: what survives being a variable."""

ANY_NAME: Final = "*"
"""Stands in a path for such a name."""


def settings_schema(
    type_: type[msgspec.Struct], without: Collection[str] = (), path: str = ""
) -> dict[str, Any]:
    """JSON Schema of the trees that describe `type_`: nothing is required, nothing unknown allowed.

    Args:
        type_: A settings struct.
        without: Paths of settings, as `pool.max_size`, or of groups that have no place in the tree.
        path: Where the struct itself stands.
    """
    properties: dict[str, Any] = {}
    for field in msgspec.structs.fields(type_):
        at = _below(path, field.name)
        if at in without or is_secret(field.type):
            continue
        inner = bare(field.type)
        if is_struct(inner):
            schema = settings_schema(inner, without, at)
        elif get_origin(inner) is dict:
            schema = _group(get_args(inner)[1], without, at)
        else:
            schema = _leaf(field)
        text = " ".join(meta.description for meta in metas(field.type) if meta.description)
        properties[field.name] = schema | ({"description": text} if text else {})
    return {"type": "object", "properties": properties, "additionalProperties": False}


def setting_paths(type_: type[msgspec.Struct], path: str = "") -> Iterator[tuple[str, bool]]:
    """Every setting of `type_` with whether it is a secret; `*` stands for names that are free."""
    for field in msgspec.structs.fields(type_):
        at = _below(path, field.name)
        inner = bare(field.type)
        if get_origin(inner) is dict:
            at, inner = _below(at, ANY_NAME), bare(get_args(inner)[1])
        if is_struct(inner):
            yield from setting_paths(inner, at)
        else:
            yield at, is_secret(field.type)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _group(type_: Any, without: Collection[str], path: str) -> dict[str, Any]:
    inner = bare(type_)
    at = _below(path, ANY_NAME)
    member = settings_schema(inner, without, at) if is_struct(inner) else _of_type(type_)
    return {
        "type": "object",
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": member,
    }


def _leaf(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    schema = _of_type(field.type)
    if field.default is not msgspec.NODEFAULT and field.default is not None:
        schema["default"] = msgspec.to_builtins(field.default)
    return schema


def _of_type(type_: Any) -> dict[str, Any]:
    """The schema of one value. None is left out: whoever wants the default says nothing."""
    schema = msgspec.json.schema(type_)
    choices = [
        choice
        for choice in cast("list[dict[str, Any]]", schema.pop("anyOf", []))
        if choice != {"type": "null"}
    ]
    if len(choices) == 1:
        return schema | choices[0]
    return schema | ({"anyOf": choices} if choices else {})
