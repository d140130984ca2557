"""The field types: what each one stores and which keys it accepts.

Forty-odd types share few storage classes; everything below the model looks at the storage class.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Storage(StrEnum):
    """How a value is kept and compared; see `objectql.values` for the canonical forms."""

    TEXT = "text"
    INTEGER = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    TIME = "time"
    JSON = "json"
    LIST = "list"
    """A JSON array of scalars: multi-selects, tags, multiple lookups."""
    NONE = "none"
    """Computed when read; no column."""


COMPUTED: dict[str, Storage] = {
    "text": Storage.TEXT,
    "number": Storage.FLOAT,
    "percent": Storage.FLOAT,
    "currency": Storage.DECIMAL,
    "boolean": Storage.BOOLEAN,
    "date": Storage.DATE,
    "datetime": Storage.DATETIME,
    "time": Storage.TIME,
}
"""What each `data_type` of a formula is; a number with a `scale` is a decimal."""

NUMERIC = frozenset({Storage.INTEGER, Storage.FLOAT, Storage.DECIMAL})


class FieldType(msgspec.Struct, frozen=True):
    """One row of the table below. `keys` are accepted beside the common ones."""

    storage: Storage
    keys: frozenset[str] = frozenset()
    write_only: bool = False
    computed: bool = False
    is_reference: bool = False


_LENGTHS = frozenset({"min_length", "max_length", "pattern", "rows"})
_RANGE = frozenset({"min", "max", "precision", "scale"})
_OPTIONS = frozenset({"options"})
_REFERENCE = frozenset({"reference", "delete_behavior", "lookup_filters"})
_FILES = frozenset("accept max_size min_size max_width max_height min_width min_height".split())

_TEXT = FieldType(Storage.TEXT, _LENGTHS)
_FILE = FieldType(Storage.JSON, _FILES)
_NUMBER = FieldType(Storage.FLOAT, _RANGE)
_LOOKUP = FieldType(Storage.TEXT, _REFERENCE, is_reference=True)
_STRUCTURE = FieldType(Storage.JSON, frozenset({"fields", "columns"}))

FIELD_TYPES: dict[str, FieldType] = {
    "text": _TEXT,
    "textarea": _TEXT,
    "markdown": _TEXT,
    "html": _TEXT,
    "richtext": _TEXT,
    "email": _TEXT,
    "url": _TEXT,
    "phone": _TEXT,
    "password": FieldType(Storage.TEXT, _LENGTHS, write_only=True),
    "secret": FieldType(Storage.TEXT, _LENGTHS, write_only=True),
    "number": _NUMBER,
    "currency": FieldType(Storage.DECIMAL, _RANGE | {"currency"}),
    "percent": _NUMBER,
    "rating": _NUMBER,
    "slider": _NUMBER,
    "progress": _NUMBER,
    "boolean": FieldType(Storage.BOOLEAN),
    "date": FieldType(Storage.DATE),
    "datetime": FieldType(Storage.DATETIME),
    "time": FieldType(Storage.TIME),
    "select": FieldType(Storage.TEXT, _OPTIONS),
    "multiselect": FieldType(Storage.LIST, _OPTIONS),
    "checkboxes": FieldType(Storage.LIST, _OPTIONS),
    "tags": FieldType(Storage.LIST, _OPTIONS),
    "lookup": _LOOKUP,
    "master_detail": _LOOKUP,
    "tree": _LOOKUP,
    "user": FieldType(Storage.TEXT),
    "file": _FILE,
    "attachment": _FILE,
    "image": _FILE,
    "avatar": _FILE,
    "video": _FILE,
    "audio": _FILE,
    "signature": _FILE,
    "location": FieldType(Storage.JSON),
    "address": FieldType(Storage.JSON),
    "object": _STRUCTURE,
    "json": _STRUCTURE,
    "composite": _STRUCTURE,
    "record": _STRUCTURE,
    "grid": _STRUCTURE,
    "repeater": _STRUCTURE,
    "array": _STRUCTURE,
    "vector": FieldType(Storage.JSON, frozenset({"dimension"})),
    "color": _TEXT,
    "code": FieldType(Storage.TEXT, _LENGTHS | {"language"}),
    "qrcode": _TEXT,
    "formula": FieldType(
        Storage.NONE,
        frozenset(
            "expression dialect data_type format precision blank_as_zero treat_blank_as".split()
        ),
        computed=True,
    ),
    "summary": FieldType(
        Storage.FLOAT,
        frozenset("summary_object summary_field summary_type filters relationship_field".split()),
        computed=True,
    ),
    "autonumber": FieldType(Storage.TEXT, frozenset({"format", "prefix"}), computed=True),
}

TYPE_ALIASES: dict[str, str] = {
    "string": "text",
    "float": "number",
    "int": "number",
    "integer": "number",
    "toggle": "boolean",
    "checkbox": "boolean",
    "radio": "select",
    "rollup": "summary",
    "auto_number": "autonumber",
}
"""`int` and `integer` also set `scale` to 0, which makes the storage `INTEGER`."""
