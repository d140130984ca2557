"""An object definition as the JSON document that the metadata API serves.

Keys are in camelCase, as clients of the originals read them, except inside summary and formula
fields, whose keys have always been in snake_case. The loader reads the document back to the same
definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from objectql.metadata.keys import camel
from objectql.metadata.model import ActionDef, AuditDef, FieldDef, IndexDef, ObjectDef

_OBJECT_KEYS = "label plural_label description icon datasource name_field is_system".split()
_FIELD_FLAGS = """required unique index readonly hidden searchable multiple external_id encryption
system""".split()
_FIELD_VALUES = """min max min_length max_length pattern precision scale dimension format""".split()
_FIELD_TEXTS = "description help_text placeholder".split()


def object_document(object: ObjectDef) -> dict[str, Any]:
    """`object` with every default of the language filled in."""
    document: dict[str, Any] = {"name": object.name}
    for key in _OBJECT_KEYS:
        document[camel(key)] = getattr(object, key)
    document["tableName"] = object.table
    if object.require_version:
        document["requireVersion"] = True
    document["enable"] = {
        camel(key): value
        for key, value in msgspec.structs.asdict(object.enable).items()
        if key != "api_methods"
    }
    if object.enable.api_methods:
        document["enable"]["apiMethods"] = list(object.enable.api_methods)
    if object.audit != AuditDef():
        days, redact = object.audit.retention_days, list(object.audit.redact)
        document["audit"] = _without_nones({"retentionDays": days, "redact": redact or None})
    document["fields"] = {name: field_document(f) for name, f in object.fields.items()}
    document["indexes"] = {index.name: _index(index) for index in object.indexes}
    document["actions"] = {name: _action(action) for name, action in object.actions.items()}
    if object.validations:
        document["validation"] = {"rules": [dict(rule) for rule in object.validations]}
    if object.state_machines:
        document["stateMachines"] = dict(object.state_machines)
    if object.tags:
        document["tags"] = list(object.tags)
    for key, value in object.extra.items():
        document[key if key.startswith("ai") else camel(key)] = value
    return _without_nones(document)


def field_document(field: FieldDef) -> dict[str, Any]:
    """`field` as it stands in its object's document."""
    document: dict[str, Any] = {"name": field.name, "type": field.type, "label": field.label}
    for key in _FIELD_TEXTS:
        document[camel(key)] = getattr(field, key) or None
    for key in _FIELD_FLAGS:
        document[camel(key)] = getattr(field, key) or None
    for key in ("sortable", "filterable"):
        document[key] = None if getattr(field, key) else False
    for key in _FIELD_VALUES:
        document[camel(key)] = getattr(field, key)
    document["defaultValue"] = field.default
    if field.reference is not None:
        document["reference"] = field.reference
        document["deleteBehavior"] = field.delete_behavior
    if field.options:
        document["options"] = [msgspec.to_builtins(option) for option in field.options]
    if field.checks is not None:
        document["validation"] = msgspec.to_builtins(field.checks)
    if field.fields:
        document["fields"] = {name: field_document(member) for name, member in field.fields.items()}
    if field.formula is not None:
        formula = field.formula
        document["expression"] = formula.expression
        document["data_type"] = formula.data_type
        document["dialect"] = formula.dialect
        document["blank_as_zero"] = formula.blank_as_zero or None
        document["treat_blank_as"] = formula.treat_blank_as
    if field.summary is not None:
        summary = field.summary
        document["summary_object"] = summary.object
        document["summary_field"] = summary.field
        document["summary_type"] = summary.function
        document["relationship_field"] = summary.relationship_field
        document["filters"] = summary.filters
    for key, value in field.extra.items():
        document[key if key.startswith("ai") else camel(key)] = value
    return _without_nones(document)


def _index(index: IndexDef) -> dict[str, Any]:
    return {"fields": list(index.fields), "unique": index.unique}


def _action(action: ActionDef) -> dict[str, Any]:
    return _without_nones(
        {
            "name": action.name,
            "type": action.type,
            "label": action.label,
            "description": action.description or None,
            "icon": action.icon,
            "confirm_text": action.confirm_text,
            "internal": action.internal or None,
            "transaction": action.transaction or None,
            "return_type": action.return_type,
            "requiredPermissions": list(action.required_permissions) or None,
            "params": {name: field_document(param) for name, param in action.params.items()},
        }
    )


def _without_nones(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None}
