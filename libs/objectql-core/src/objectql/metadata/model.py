"""Metadata documents as frozen structs.

The loader is the only maker of these from text; after it every name is valid, every alias is
resolved and every default of the language is filled in. What the server does not interpret yet
keeps its checked document in `extra` or as an `Item`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from objectql.ids import DataSource, FieldName, ObjectName
from objectql.metadata.types import COMPUTED, FIELD_TYPES, FieldType, Storage
from objectql.values import Value

DeleteBehavior: TypeAlias = Literal["set_null", "cascade", "restrict"]
Operation: TypeAlias = Literal["create", "read", "update", "delete"]


class Option(msgspec.Struct, frozen=True, omit_defaults=True):
    """A choice of a select field; `value` is what is stored and compared, exactly."""

    value: str | int | float | bool
    label: str
    color: str | None = None
    default: bool = False


class FieldChecks(msgspec.Struct, frozen=True, omit_defaults=True):
    """The `validation` block of a field; `message` replaces the text of whatever fails."""

    format: str | None = None
    protocols: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    message: str | None = None


class Summary(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a summary field rolls up from its child object."""

    object: ObjectName
    function: Literal["count", "sum", "min", "max", "avg"]
    field: FieldName | None = None
    relationship_field: FieldName | None = None
    filters: Any = None


class Formula(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a formula field computes."""

    expression: str
    data_type: str = "text"
    dialect: Literal["js", "cel"] = "js"
    blank_as_zero: bool = False
    treat_blank_as: Value = None


class FieldDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """One field. `type` is a key of `FIELD_TYPES` (aliases are resolved).

    `default` is a literal, a token (`$now`, `$today`, `$current_user.id`, `NOW()`, `current_user`)
    or `{"expression": ...}`. `system` marks the columns that every object has.
    """

    name: FieldName
    type: str
    label: str = ""
    description: str = ""
    help_text: str = ""
    placeholder: str = ""
    required: bool = False
    unique: bool = False
    index: bool = False
    default: Any = None
    readonly: bool = False
    hidden: bool = False
    searchable: bool = False
    sortable: bool = True
    filterable: bool = True
    multiple: bool = False
    external_id: bool = False
    encryption: bool = False
    reference: ObjectName | None = None
    delete_behavior: DeleteBehavior = "set_null"
    options: tuple[Option, ...] = ()
    min: float | None = None
    max: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    precision: int | None = None
    scale: int | None = None
    dimension: int | None = None
    format: str | None = None
    checks: FieldChecks | None = None
    formula: Formula | None = None
    summary: Summary | None = None
    fields: Mapping[str, FieldDef] = {}
    """The members of a structured field, where they are declared."""
    system: bool = False
    column: str = ""
    """The column that keeps it where that is not called like the field, see `slots`."""
    extra: Mapping[str, Any] = {}

    @property
    def column_name(self) -> str:
        """The column that keeps it."""
        return self.column or self.name

    @property
    def info(self) -> FieldType:
        """The row of the type table."""
        return FIELD_TYPES[self.type]

    @property
    def storage(self) -> Storage:
        """How values of this field are kept, or computed; numbers with a scale are exact."""
        if self.formula is not None:
            computed = COMPUTED[self.formula.data_type]
            is_exact = computed is Storage.FLOAT and self.scale is not None
            return Storage.DECIMAL if is_exact else computed
        storage = FIELD_TYPES[self.type].storage
        if self.multiple and storage is Storage.TEXT:
            return Storage.LIST
        if storage is Storage.FLOAT and self.scale is not None:
            return Storage.DECIMAL if self.scale else Storage.INTEGER
        return storage

    @property
    def is_lookup(self) -> bool:
        """Whether it points to records of `reference`."""
        return self.reference is not None

    @property
    def is_stored(self) -> bool:
        """Whether it is a column."""
        return self.info.storage is not Storage.NONE

    @property
    def is_readable(self) -> bool:
        """Whether its values may ever leave the system."""
        return not self.info.write_only

    @property
    def is_writable(self) -> bool:
        """Whether a caller may ever give a value."""
        return not self.system and not self.info.computed


class IndexDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """A declared index over stored fields, in order."""

    name: str
    fields: tuple[FieldName, ...]
    unique: bool = False


class ActionDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """An action; `params` are validated like fields. `type` `record` needs a record id."""

    name: str
    type: Literal["record", "global"] = "record"
    label: str = ""
    description: str = ""
    icon: str | None = None
    confirm_text: str | None = None
    internal: bool = False
    params: Mapping[str, FieldDef] = {}
    return_type: str | None = None
    transaction: bool = False
    required_permissions: tuple[str, ...] = ()
    """The system permissions without which it may not be run."""


class Features(msgspec.Struct, frozen=True, omit_defaults=True):
    """The `enable` block of an object."""

    track_history: bool = False
    searchable: bool = True
    api_enabled: bool = True
    files: bool = False
    feed_enabled: bool = False
    trash: bool = False
    clone: bool = True
    activities: bool = False
    api_methods: tuple[str, ...] = ()
    """What clients may ask for; empty means all of get, list, create, update, delete, bulk."""


class AuditDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """The `audit` block of an object: what its history keeps, and how many days.

    Without `retention_days` entries live as long as their tenant. Of the fields in `redact` the
    history says that they changed, and no value.
    """

    retention_days: int | None = None
    redact: tuple[FieldName, ...] = ()


class ObjectDef(msgspec.Struct, frozen=True, omit_defaults=True):
    """One business object. `fields` holds system fields too, `id` first."""

    name: ObjectName
    fields: Mapping[FieldName, FieldDef]
    label: str = ""
    plural_label: str = ""
    description: str = ""
    icon: str | None = None
    datasource: DataSource = DataSource("default")
    table: str = ""
    name_field: FieldName | None = None
    is_system: bool = False
    require_version: bool = False
    enable: Features = Features()
    audit: AuditDef = AuditDef()
    indexes: tuple[IndexDef, ...] = ()
    actions: Mapping[str, ActionDef] = {}
    validations: tuple[Mapping[str, Any], ...] = ()
    """Rules of all three sources, checked by the loader."""
    state_machines: Mapping[str, Any] = {}
    package: str | None = None
    tags: tuple[str, ...] = ()
    extra: Mapping[str, Any] = {}
    """`sharingModel`, `ai_context`, `sync` and the other keys that are kept verbatim."""

    @property
    def stored_fields(self) -> tuple[FieldDef, ...]:
        """The fields that are columns, in declaration order."""
        return tuple(f for f in self.fields.values() if f.is_stored)

    def field_in(self, column: str) -> str:
        """The field that `column` keeps; the column itself where it keeps none."""
        return next((f.name for f in self.fields.values() if f.column_name == column), column)

    @property
    def tree_fields(self) -> tuple[FieldDef, ...]:
        """The fields that make a tree of the object's own records."""
        return tuple(
            field
            for field in self.fields.values()
            if field.type == "tree" and field.reference == self.name and not field.multiple
        )

    @property
    def readable_fields(self) -> tuple[FieldDef, ...]:
        """The columns that may be read: what the image of a record holds."""
        return tuple(f for f in self.fields.values() if f.is_readable and f.is_stored)


class ObjectPermissions(msgspec.Struct, frozen=True, omit_defaults=True):
    """A `*.permission.yml`: which roles may do what to one object.

    `grants` maps create, read, update, delete, view_all, modify_all, export to roles. `document` is
    the whole checked file; its field, record and sharing rules are compiled by `security`.
    """

    object: ObjectName
    grants: Mapping[str, tuple[str, ...]] = {}
    actions: Mapping[str, tuple[str, ...]] = {}
    shares_by_hand: bool = False
    """Whether a sharing rule is `manual`; the object then has the field `SHARES`."""
    document: Mapping[str, Any] = {}
    package: str | None = None


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """A metadata item that the server keeps and serves verbatim (views, apps, pages, ...)."""

    type: str
    name: str
    content: Mapping[str, Any]
    package: str | None = None
    path: str | None = None


class SeedData(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows of a `*.data.yml`."""

    object: ObjectName
    records: tuple[Mapping[str, Any], ...]
    package: str | None = None
    path: str | None = None


SHARES: Final = FieldName("shared_with")
"""With whom a record is shared by hand, one entry `<level>:<type>:<id>` for each."""


def shares_field() -> FieldDef:
    """The column that objects have whose records can be shared by hand."""
    return FieldDef(name=SHARES, type="tags", label="Shared With", readonly=True, system=True)


def system_fields(*, soft_delete: bool = False) -> tuple[FieldDef, ...]:
    """The columns that every object has beside the ones declared (the tenant is never a field)."""

    def field(name: str, kind: str, **more: Any) -> FieldDef:
        label = "ID" if name == "id" else name.replace("_", " ").title()
        return FieldDef(
            name=FieldName(name), type=kind, label=label, readonly=True, system=True, **more
        )

    fields = (
        field("id", "text", required=True, max_length=255),
        field("created_at", "datetime"),
        field("created_by", "text"),
        field("updated_at", "datetime"),
        field("updated_by", "text"),
        field("version", "number", scale=0),
    )
    return (*fields, field("deleted_at", "datetime")) if soft_delete else fields
