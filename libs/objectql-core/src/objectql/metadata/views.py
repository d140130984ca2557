"""The list and form view of an object: the stored one, or one generated from its fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, cast

from objectql.metadata.model import FieldDef, Item, ObjectDef
from objectql.metadata.registry import MetadataSnapshot
from objectql.metadata.types import Storage

ViewType: TypeAlias = Literal["list", "form"]

_COLUMNS = 8
_PAGE_SIZE = 25
_WIDTHS = {Storage.BOOLEAN: 90, Storage.DATE: 120, Storage.DATETIME: 180, Storage.TIME: 100}
_DEFAULT_WIDTH = 150


def get_view(snapshot: MetadataSnapshot, object: str, type: ViewType) -> dict[str, Any]:
    """The view of `object`, stored or generated.

    A stored view is an item `view` or `form` of the object: a container that has a member `type`,
    or a document that is itself of that type.

    Raises:
        ObjectUnknown: there is no such object.

    """
    definition = snapshot.object(object)
    stored = _stored_view(snapshot, definition, type)
    if stored is not None:
        return {"object": object, **stored}
    return _list_view(definition) if type == "list" else _form_view(definition)


def _stored_view(
    snapshot: MetadataSnapshot, object: ObjectDef, type: ViewType
) -> dict[str, Any] | None:
    kinds = ("view",) if type == "list" else ("form", "view")
    for kind in kinds:
        for item in snapshot.list(kind):
            if not isinstance(item, Item) or _object_of(item) != object.name:
                continue
            member = item.content.get(type)
            if isinstance(member, Mapping):
                return {"name": item.name, **cast("Mapping[str, Any]", member)}
            is_container = "list" in item.content or "form" in item.content
            is_form = kind == "form" or item.content.get("type") == "form"
            if not is_container and is_form == (type == "form"):
                return {"name": item.name, **item.content}
    return None


def _object_of(item: Item) -> str:
    named = item.content.get("object")
    return named if isinstance(named, str) else item.name


def _list_view(object: ObjectDef) -> dict[str, Any]:
    columns = [_column(field) for field in _listed(object)]
    searchable = [f.name for f in object.fields.values() if f.searchable]
    return {
        "name": "default",
        "object": object.name,
        "type": "datagrid",
        "title": f"{object.label} List",
        "label": object.plural_label,
        "columns": columns,
        "sort": [{"field": "created_at", "order": "desc"}],
        "searchableFields": searchable or ([object.name_field] if object.name_field else []),
        "pagination": {"pageSize": _PAGE_SIZE},
        "actions": ["create", "edit", "delete"],
    }


def _listed(object: ObjectDef) -> list[FieldDef]:
    """The first visible fields that fit in a column, the one that names the record first."""
    fitting = [
        field
        for field in object.fields.values()
        if not field.system
        and not field.hidden
        and not field.info.write_only
        and field.storage is not Storage.JSON
    ]
    fitting.sort(key=lambda field: field.name != object.name_field)
    return fitting[:_COLUMNS]


def _column(field: FieldDef) -> dict[str, Any]:
    width = _WIDTHS.get(field.storage, _DEFAULT_WIDTH)
    return {
        "field": field.name,
        "label": field.label,
        "width": width,
        "sortable": field.sortable and field.storage is not Storage.LIST,
    }


def _form_view(object: ObjectDef) -> dict[str, Any]:
    fields = [
        {"field": field.name, "label": field.label, "type": field.type, "required": field.required}
        for field in object.fields.values()
        if field.is_writable and not field.hidden
    ]
    names = [field["field"] for field in fields]
    section = {"name": "main", "label": object.label, "columns": 2, "fields": names}
    return {
        "name": "default",
        "object": object.name,
        "type": "simple",
        "title": object.label,
        "columns": 2,
        "fields": fields,
        "sections": [section],
        "buttons": {"submit": {"label": "Save"}},
    }
