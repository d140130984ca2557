"""An object with a field for each way in which Protocol Buffers keep values."""

from __future__ import annotations

from typing import Any

from objectql.ids import FieldName, ObjectName
from objectql.metadata.field_numbers import allocate
from objectql.metadata.model import FieldDef, ObjectDef, Option, system_fields


def options(*values: str | int) -> tuple[Option, ...]:
    return tuple(Option(value=value, label=str(value)) for value in values)


def field(name: str, type: str, **more: Any) -> FieldDef:
    return FieldDef(name=FieldName(name), type=type, **more)


FIELDS = (
    field("title", "text"),
    field("count", "number", scale=0),
    field("rate", "number"),
    field("price", "currency"),
    field("done", "boolean"),
    field("due", "date"),
    field("seen_at", "datetime"),
    field("starts", "time"),
    field("level", "select", options=options("low", "very high", 3)),
    field("colors", "multiselect", options=options("red", "green")),
    field("words", "tags"),
    field("extra", "json"),
    field("owner", "lookup", reference=ObjectName("task")),
    field("owners", "lookup", reference=ObjectName("task"), multiple=True),
)
TASK = ObjectDef(
    name=ObjectName("task"), fields={each.name: each for each in (*system_fields(), *FIELDS)}
)
NUMBERS = allocate([TASK], {})[TASK.name]
