"""JSON schemas of objects: what a record looks like, what a create and an update may hold.

Written for JSON Schema 2020-12 (OpenAPI 3.1); `openapi.downgrade` makes 3.0.3 of them.
"""

from __future__ import annotations

from typing import Any

from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.types import Storage

Schema = dict[str, Any]

_SAFE = 2**53

_BY_STORAGE: dict[Storage, Schema] = {
    Storage.TEXT: {"type": "string"},
    Storage.INTEGER: {"type": "integer", "minimum": -_SAFE, "maximum": _SAFE},
    Storage.FLOAT: {"type": "number"},
    Storage.DECIMAL: {"type": "number"},
    Storage.BOOLEAN: {"type": "boolean"},
    Storage.DATE: {"type": "string", "format": "date"},
    Storage.DATETIME: {"type": "string", "format": "date-time"},
    Storage.TIME: {"type": "string", "pattern": r"^\d{2}:\d{2}:\d{2}(\.\d{3})?$"},
    Storage.JSON: {},
    Storage.LIST: {"type": "array", "items": {"type": "string"}},
}

_BY_DATA_TYPE: dict[str, Schema] = {
    "number": {"type": "number"},
    "currency": {"type": "number"},
    "percent": {"type": "number"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "text": {"type": "string"},
}


def type_name(object_name: str) -> str:
    """`sales_order` → `SalesOrder`."""
    return "".join(part.capitalize() for part in object_name.split("_"))


def record_schema(definition: ObjectDef) -> Schema:
    """A record as it is read. Only `id` is certain: `$select` leaves out, `$expand` adds."""
    properties: Schema = {f.name: _read(f) for f in definition.readable_fields}
    if "id" in properties:
        properties["id"] = {"type": "string", "minLength": 1, "maxLength": 255, "readOnly": True}
    for formula in definition.fields.values():
        if formula.formula is not None:
            kind = _BY_DATA_TYPE.get(formula.formula.data_type, {})
            properties[formula.name] = _nullable(kind) | {"readOnly": True}
    schema: Schema = {"type": "object", "properties": properties, "required": ["id"]}
    if definition.description:
        schema["description"] = definition.description
    return schema


def create_schema(definition: ObjectDef) -> Schema:
    """What a new record may hold; `id` may be chosen."""
    properties = {f.name: _write(f) for f in definition.fields.values() if _may_write(f)}
    required = [
        f.name
        for f in definition.fields.values()
        if _may_write(f) and f.required and f.default is None
    ]
    schema: Schema = {
        "type": "object",
        "properties": {"id": {"type": "string", "pattern": _ID_PATTERN}, **properties},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = required
    return schema


def update_schema(definition: ObjectDef) -> Schema:
    """What a change may hold."""
    properties = {f.name: _write(f) for f in definition.fields.values() if _may_write(f)}
    return {"type": "object", "properties": properties, "additionalProperties": False}


_ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"


def _may_write(field: FieldDef) -> bool:
    return field.is_writable and not field.readonly


def _plain(field: FieldDef) -> Schema:
    schema = dict(_BY_STORAGE[field.storage])
    if field.options and field.storage is Storage.TEXT:
        schema["enum"] = [option.value for option in field.options]
        schema.pop("type", None)
    elif field.options and field.storage is Storage.LIST:
        schema["items"] = {"enum": [option.value for option in field.options]}
    return schema


def _read(field: FieldDef) -> Schema:
    """As read: a lookup may be expanded to its record."""
    if field.reference is not None:
        record = {"$ref": f"#/components/schemas/{type_name(field.reference)}"}
        one: Schema = {"anyOf": [{"type": "string"}, record]}
        inner = {"type": "array", "items": one} if field.storage is Storage.LIST else one
        schema: Schema = {"anyOf": [inner, {"type": "null"}]}
    else:
        schema = _nullable(_plain(field))
    if field.system or field.info.computed or field.readonly:
        schema["readOnly"] = True
    return _described(schema, field)


def _write(field: FieldDef) -> Schema:
    schema = _plain(field)
    kind = schema.get("type")
    if kind == "string" and "enum" not in schema and "format" not in schema:
        _set(schema, "minLength", field.min_length)
        _set(schema, "maxLength", field.max_length)
    if kind in {"number", "integer"}:
        _set(schema, "minimum", field.min)
        _set(schema, "maximum", field.max)
    if field.info.write_only:
        schema["writeOnly"] = True
    if isinstance(field.default, str | int | float | bool) and not _is_token(field.default):
        schema["default"] = field.default
    return _described(schema if field.required else _nullable(schema), field)


def _is_token(default: object) -> bool:
    return isinstance(default, str) and (default.startswith("$") or default.endswith("()"))


def _nullable(schema: Schema) -> Schema:
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return dict(schema)


def _described(schema: Schema, field: FieldDef) -> Schema:
    if field.label:
        schema["title"] = field.label
    text = field.description or field.help_text
    if text:
        schema["description"] = text
    return schema


def _set(schema: Schema, key: str, value: float | None) -> None:
    if value is not None:
        schema[key] = value
