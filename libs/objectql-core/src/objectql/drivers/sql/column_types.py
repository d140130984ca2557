"""The database's type of each column, and which changes of type keep every value."""

from __future__ import annotations

import re
from typing import NamedTuple

from objectql.drivers.sql.encode import DECIMAL_PRECISION, DialectName, kind_of
from objectql.metadata.model import FieldDef
from objectql.metadata.types import Storage

_SAFE_INTEGER_DIGITS = 16
"""Of 2**53, the greatest whole number that the language accepts."""

_TYPES: dict[DialectName, dict[Storage, str]] = {
    "postgres": {
        Storage.TEXT: "text",
        Storage.INTEGER: "bigint",
        Storage.FLOAT: "double precision",
        Storage.BOOLEAN: "boolean",
        Storage.DATE: "date",
        Storage.DATETIME: "timestamp(3) with time zone",
        Storage.TIME: "time(3) without time zone",
        Storage.JSON: "jsonb",
        Storage.LIST: "jsonb",
    },
    # The names tell what is kept, for the comparison with a changed field; all that SQLite reads
    # from them is the affinity: `date`, `time` and `json` would be numeric and so are spelled out.
    "sqlite": {
        Storage.TEXT: "text",
        Storage.INTEGER: "integer",
        Storage.FLOAT: "real",
        Storage.BOOLEAN: "boolean",
        Storage.DATE: "date_text",
        Storage.DATETIME: "datetime_text",
        Storage.TIME: "time_text",
        Storage.JSON: "json_text",
        Storage.LIST: "json_text",
    },
}

_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)\Z")
_EXACT = frozenset({"bigint", "integer"})
_DOUBLE = frozenset({"double precision", "real"})


class Change(NamedTuple):
    """How a column's values become another type's: SQL over the old column (`{}`)."""

    expression: str
    is_safe: bool


def column_type(field: FieldDef, dialect: DialectName) -> str:
    """The type as the database's catalogue writes it."""
    kind = kind_of(field)
    if kind.storage is not Storage.DECIMAL:
        return _TYPES[dialect][kind.storage]
    precision = max(field.precision or DECIMAL_PRECISION, kind.scale + 1)
    return f"numeric({precision},{kind.scale})"


def change_of(old: str, new: str, dialect: DialectName) -> Change:
    """What becomes of a column's values when its type changes."""
    if dialect == "postgres":
        return _change_postgres(old, new)
    return _change_sqlite(old, new)


def is_castable(old: str, new: str) -> bool:
    """Whether both are numbers, so that a change rounds rather than drops."""
    return _is_number(old) and _is_number(new)


def _is_number(name: str) -> bool:
    return name in _EXACT or name in _DOUBLE or _NUMERIC.match(name) is not None


def _digits(name: str) -> tuple[int, int]:
    """Digits before and after the decimal point of an exact number type."""
    match = _NUMERIC.match(name)
    if match is None:
        return _SAFE_INTEGER_DIGITS, 0
    return int(match[1]) - int(match[2]), int(match[2])


def _is_widening(old: str, new: str) -> bool:
    """Whether every number of type `old` is one of type `new`."""
    if old in _DOUBLE or not (_is_number(old) and _is_number(new)):
        return False
    if new in _DOUBLE:
        return old in _EXACT
    whole, places = _digits(old)
    new_whole, new_places = _digits(new)
    return whole <= new_whole and places <= new_places


def _change_postgres(old: str, new: str) -> Change:
    if is_castable(old, new):
        return Change(f"{{}}::{new}", _is_widening(old, new))
    if new == "text" and (old in {"boolean", "date"} or _is_number(old)):
        return Change("{}::text", is_safe=True)
    if (old, new) == ("text", "jsonb"):
        return Change(
            "CASE WHEN {0} IS NOT NULL THEN jsonb_build_array({0}) END",
            is_safe=True,
        )
    if (old, new) == ("date", "timestamp(3) with time zone"):
        return Change("{}::timestamp AT TIME ZONE 'UTC'", is_safe=True)
    return Change(f"NULL::{new}", is_safe=False)


def _change_sqlite(old: str, new: str) -> Change:
    if is_castable(old, new):
        up, down = 10 ** _places(new), 10 ** _places(old)
        if new in _DOUBLE:
            return Change(f"{{}} / {float(down)}", _is_widening(old, new))
        safe = _is_widening(old, new)
        scaled = f"{{}} * {up // down}" if safe else f"round({{}} * {up}.0 / {down})"
        return Change(f"CAST({scaled} AS integer)", safe)
    if new == "text" and (old in {"date_text", "integer"}):
        return Change("CAST({} AS text)", is_safe=True)
    if (old, new) == ("text", "json_text"):
        return Change("CASE WHEN {0} IS NOT NULL THEN json_array({0}) END", is_safe=True)
    if (old, new) == ("date_text", "datetime_text"):
        return Change("{} || 'T00:00:00.000Z'", is_safe=True)
    return Change("NULL", is_safe=False)


def _places(name: str) -> int:
    match = _NUMERIC.match(name)
    return int(match[2]) if match else 0
