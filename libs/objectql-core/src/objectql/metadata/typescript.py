"""Objects as TypeScript types: what a record holds, what may be created and changed.

The text goes with the client in `clients/javascript`, whose `Client<Objects>` it types. A record's
fields may be null unless they are required; a lookup is an id, as it is where nothing expands it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.types import Storage

_HEAD: Final = """\
// Written by `objectql types`: do not change it, write it anew.
"""

_BY_STORAGE: Final[Mapping[Storage, str]] = {
    Storage.TEXT: "string",
    Storage.INTEGER: "number",
    Storage.FLOAT: "number",
    Storage.DECIMAL: "number",
    Storage.BOOLEAN: "boolean",
    Storage.DATE: "string",
    Storage.DATETIME: "string",
    Storage.TIME: "string",
    Storage.JSON: "unknown",
    Storage.LIST: "string[]",
    Storage.NONE: "unknown",
}

_BY_FORMULA: Final[Mapping[str, str]] = {
    "number": "number",
    "currency": "number",
    "percent": "number",
    "boolean": "boolean",
    "date": "string",
    "datetime": "string",
    "text": "string",
}

_ALWAYS_SET: Final = frozenset({"id", "created_at", "updated_at", "version"})


_TAKEN: Final = ("Objects", "Partial", "Omit")


def typescript(objects: Iterable[ObjectDef]) -> str:
    """A module with the types of `objects`, and the interface `Objects` that names them all."""
    known = sorted(objects, key=lambda each: each.name)
    names = _names(known)
    parts = [_HEAD, *(_object(each, names[each.name]) for each in known)]
    lines = "".join(
        f"  {each}: {{ record: {name}; create: {name}Create; update: {name}Update }};\n"
        for each, name in names.items()
    )
    parts.append(f"/** For `Client<Objects>`. */\nexport interface Objects {{\n{lines}}}\n")
    return "\n".join(parts)


def _names(objects: Iterable[ObjectDef]) -> dict[str, str]:
    """`sales_order` → `SalesOrder`; with `_` behind it where that would name two things."""
    names = {each.name: "".join(map(str.capitalize, each.name.split("_"))) for each in objects}
    made = [name + end for name in names.values() for end in ("", "Create", "Update")]
    uses = Counter([*_TAKEN, *made])
    return {
        each: name
        if max(uses[name], uses[f"{name}Create"], uses[f"{name}Update"]) == 1
        else f"{name}_"
        for each, name in names.items()
    }


def _object(object: ObjectDef, name: str) -> str:
    read = [f for f in object.fields.values() if not f.info.write_only]
    written = [f for f in object.fields.values() if f.is_writable and not f.readonly]
    record = "".join(_member(field, _nullable(field), optional=False) for field in read)
    create = "".join(
        _member(field, _given(field), optional=not field.required or field.default is not None)
        for field in written
    )
    return (
        f"{_comment(object.description or object.label, '')}"
        f"export interface {name} {{\n{record}}}\n\n"
        f"export interface {name}Create {{\n  /** Chosen by the server where it is left out. */\n"
        f"  id?: string;\n{create}}}\n\n"
        f'export type {name}Update = Partial<Omit<{name}Create, "id">>;\n'
    )


def _member(field: FieldDef, type: str, *, optional: bool) -> str:
    mark = "?" if optional else ""
    said = field.help_text or field.description
    return f"{_comment(said, '  ')}  {field.name}{mark}: {type};\n"


def _nullable(field: FieldDef) -> str:
    type = _type(field)
    is_set = field.required or field.name in _ALWAYS_SET or type == "unknown"
    return type if is_set else f"{type} | null"


def _given(field: FieldDef) -> str:
    type = _type(field)
    return type if field.required or type == "unknown" else f"{type} | null"


def _type(field: FieldDef) -> str:
    if field.formula is not None:
        return _BY_FORMULA.get(field.formula.data_type, "unknown")
    if field.type == "summary":
        return "number"
    if field.options and field.storage in {Storage.TEXT, Storage.LIST}:
        union = " | ".join(json.dumps(option.value) for option in field.options)
        return f"({union})[]" if field.storage is Storage.LIST else union
    return _BY_STORAGE[field.storage]


def _comment(text: str, indent: str) -> str:
    said = re.sub(r"\s+", " ", text).replace("*/", "*\\/").strip()
    return f"{indent}/** {said} */\n" if said else ""
