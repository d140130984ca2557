"""Columns for the fields that tenants have of their own.

A shared table has few columns for all tenants together: a *slot* keeps one field of each tenant,
like the flex columns of Weissman and Bobrowski, "The Design of the Force.com Multitenant Internet
Application Development Platform" (SIGMOD 2009), sect. 4, but of the field's own type, so that a
slot is compared, sorted and indexed like any column. `text_2__c` is the second text of whoever has
two. Unique fields and lookups have slots apart, since an index or foreign key holds for a column.

A field that is no longer declared leaves its slot *retired*: the values stay, a field of the same
name and kind finds them again, and no other field is given the slot until it is purged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import msgspec

from objectql.ids import TENANT_MARK, ObjectName, TenantId
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.types import Storage

_PRECISION = 20
_SCALE = 2
_DIGEST_BYTES = 12
"""Whoever may choose a tenant's id cannot find another's with the same digest."""

_MAX_NAME = 36
"""Of an object's name in that of its table; Postgres takes 63 bytes for the whole."""


class Slot(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose values a column keeps; `retired_ms` (Unix time) since when no field shows them."""

    field: str
    retired_ms: int | None = None


Columns: TypeAlias = Mapping[str, Slot]
"""The slots that one object of one tenant takes, by column."""

Slots: TypeAlias = Mapping[str, Columns]
"""Those of all its objects."""


def own_table(tenant: TenantId, object_name: str) -> str:
    """The table of an object that only `tenant` has; at most 63 characters."""
    return f"t_{_digest(f'{tenant}/{object_name}')}_{object_name[:_MAX_NAME]}"


def kind_of_slot(field: FieldDef, table_of: Callable[[ObjectName], str]) -> str:
    """What fields must have in common to be kept in one column, one for each tenant."""
    unique = "unique_" if field.unique else ""
    if field.reference is not None and field.storage is Storage.TEXT:
        table = table_of(field.reference)
        return f"{unique}to_{_digest(table)}"
    if field.storage is not Storage.DECIMAL:
        return f"{unique}{field.storage}"
    scale = _SCALE if field.scale is None else field.scale
    return f"{unique}decimal_{max(field.precision or _PRECISION, scale + 1)}_{scale}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def allocate(columns: Columns, fields: Iterable[tuple[str, str]], now_ms: int) -> dict[str, Slot]:
    """Slots of one object for `fields` (name and kind), after those it has taken in `columns`.

    A field keeps its slot, or gets a retired one back, while its kind is the same.
    """
    taken = {column: Slot(s.field, s.retired_ms or now_ms) for column, s in columns.items()}
    for field, kind in fields:
        own = (c for c, slot in taken.items() if slot.field == field and _kind(c) == kind)
        column = next(own, None)
        if column is None:
            number = 1
            while (column := f"{kind}_{number}{TENANT_MARK}") in taken:
                number += 1
        taken[column] = Slot(field)
    return taken


def with_slots(object_: ObjectDef, columns: Columns) -> ObjectDef:
    """`object_` with the columns that keep its fields; those without a slot keep their own."""
    living = {slot.field: column for column, slot in columns.items() if slot.retired_ms is None}
    fields = {
        name: msgspec.structs.replace(field, column=living[name]) if name in living else field
        for name, field in object_.fields.items()
    }
    return msgspec.structs.replace(object_, fields=fields)


def retired(columns: Columns) -> dict[str, Slot]:
    """The slots whose values no field shows."""
    return {column: slot for column, slot in columns.items() if slot.retired_ms is not None}


def _kind(column: str) -> str:
    return column.removesuffix(TENANT_MARK).rpartition("_")[0]
