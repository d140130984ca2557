"""Canonical values as the database wants them.

Postgres takes Python's own types (asyncpg is strict about them), SQLite text and numbers. A
decimal is kept in SQLite as an integer, counted in units of its last place, so that money is exact
there too: `12.50` at scale 2 is `1250`.

An encoder is for one column, or for comparing with one column by one operator. The latter must
never fail: a comparand that the column's type cannot hold is moved to one that selects the same
rows (`count > 10.5` becomes `count > 10`), or to null, which selects none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from functools import partial
from typing import Literal, NamedTuple, TypeAlias, cast

import msgspec

from objectql.errors import Issue, ValidationFailed
from objectql.metadata.model import FieldDef
from objectql.metadata.types import Storage
from objectql.query.bound import TestOp
from objectql.query.search_words import ANY_ENDING
from objectql.values import Value

DialectName: TypeAlias = Literal["postgres", "sqlite"]
Encoder: TypeAlias = Callable[[Value], object]

DECIMAL_PRECISION = 20
CURRENCY_SCALE = 2
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_DIGITS = 400
"""Enough to multiply any double by a power of ten without rounding."""

_json = msgspec.json.Encoder(decimal_format="number", order="sorted")


class Kind(NamedTuple):
    """How a column keeps its values; `scale` counts the decimal places of a `DECIMAL`."""

    storage: Storage
    scale: int = 0


def kind_of(field: FieldDef) -> Kind:
    """The kind of the column that keeps `field`."""
    storage = field.storage
    if storage is not Storage.DECIMAL:
        return Kind(storage)
    return Kind(storage, CURRENCY_SCALE if field.scale is None else field.scale)


def json_text(value: Value) -> str:
    """`value` as JSON: compact, keys sorted (so equal values are equal text), decimals as numbers."""
    return _json.encode(value).decode()


def column_encoder(field: FieldDef, dialect: DialectName) -> Encoder:
    """The encoder for storing canonical values of `field`.

    It raises `ValidationFailed` for a value that the column cannot hold.
    """
    kind = kind_of(field)
    plain = _PLAIN[dialect][kind.storage]
    if kind.storage is Storage.DECIMAL and dialect == "sqlite":
        plain = partial(_units, scale=kind.scale, rounding=ROUND_HALF_EVEN)

    def encode(value: Value) -> object:
        if value is None:
            return None
        native = plain(value)
        if isinstance(native, int) and not _INT64_MIN <= native <= _INT64_MAX:
            raise _refused(field, "out_of_range", "the number is too large")
        if isinstance(native, str) and "\0" in native:
            raise _refused(field, "invalid_text", "the character U+0000 cannot be stored")
        return native

    return encode


def comparand_encoder(kind: Kind, op: TestOp, dialect: DialectName) -> Encoder:
    """The encoder for the right side of `column op value`. Never fails."""
    if op is TestOp.IN:
        return _members(comparand_encoder(kind, TestOp.EQ, dialect), dialect)
    if op is TestOp.CONTAINS and kind.storage in {Storage.LIST, Storage.JSON}:
        return _not_null(json_text if dialect == "postgres" else _sqlite_member)
    if op is TestOp.LIKE and dialect == "sqlite":
        return _not_null(lambda value: _glob(cast("str", value)))
    if op is TestOp.HAS_WORD and dialect == "postgres":
        return _not_null(lambda value: _tsquery(cast("str", value)))
    match kind.storage:
        case Storage.TEXT:
            return _not_null(lambda value: _text(cast("str", value), op))
        case Storage.INTEGER:
            return _not_null(lambda value: _whole(value, 0, op))
        case Storage.DECIMAL if dialect == "sqlite":
            return _not_null(lambda value: _whole(value, kind.scale, op))
        case _:
            return _not_null(_PLAIN[dialect][kind.storage])


def keep(value: Value) -> object:
    """The value itself: text whose origin is trusted, whole numbers."""
    return value


def _not_null(encode: Callable[[Value], object]) -> Encoder:
    def encoder(value: Value) -> object:
        return None if value is None else encode(value)

    return encoder


def _members(encode: Encoder, dialect: DialectName) -> Encoder:
    def encoder(value: Value) -> object:
        found = (encode(member) for member in cast("list[Value]", value or []))
        members = [member for member in found if member is not None]
        return json_text(cast("Value", members)) if dialect == "sqlite" else members

    return encoder


def _refused(field: FieldDef, code: str, reason: str) -> ValidationFailed:
    return ValidationFailed(object="record", issues=(Issue(field.name, code, reason),))


# --- numbers ---------------------------------------------------------------------------------


def _exact(value: Value) -> Decimal:
    """The number as people write it: `0.1` is a tenth."""
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _units(value: Value, scale: int, rounding: str) -> int:
    """`value` in units of its last place of `scale` decimals."""
    with localcontext(prec=_DIGITS):
        return int(_exact(value).scaleb(scale).to_integral_value(rounding=rounding))


def _whole(value: Value, scale: int, op: TestOp) -> int | None:
    """The whole number of units that compares by `op` as `value` does, within 64 bits."""
    if type(value) is int and not scale and _INT64_MIN <= value <= _INT64_MAX:
        return value
    down = _units(value, scale, ROUND_FLOOR)
    up = _units(value, scale, ROUND_CEILING)
    if down != up:
        if op is TestOp.EQ:
            return None
        # x > 10.5 is x > 10, x >= 10.5 is x >= 11, and the other way round.
        down = down if op in {TestOp.GT, TestOp.LTE} else up
    if not _INT64_MIN <= down <= _INT64_MAX:
        return None if op is TestOp.EQ else max(_INT64_MIN, min(_INT64_MAX, down))
    return down


def _double(value: Value) -> float:
    try:
        return float(cast("int | float | Decimal", value))
    except OverflowError:
        return math.copysign(math.inf, cast("int", value))


# --- text ------------------------------------------------------------------------------------


def _text(value: str, op: TestOp) -> str | None:
    """Stored text never contains U+0000 and is valid Unicode; a comparand may be anything."""
    if "\0" not in value and value.isascii():
        return value
    cleaned = value.encode("utf-8", "replace").decode().replace("\0", "\x01")
    if cleaned == value or op in {TestOp.LT, TestOp.LTE, TestOp.GT, TestOp.GTE}:
        return cleaned
    return None


def _tsquery(term: str) -> str:
    """A word of a search, in which no character has a meaning of its own, as Postgres' `tsquery`."""
    word = term.removesuffix(ANY_ENDING)
    return f"'{word}'" if word == term else f"'{word}':*"


_GLOB = str.maketrans({"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"})


def _glob(pattern: str) -> str:
    """A LIKE pattern as GLOB, the only matching of SQLite that tells cases apart."""
    return pattern.translate(_GLOB)


def _sqlite_member(value: Value) -> object:
    """As `json_each` shows an array's member."""
    if isinstance(value, Decimal):
        return float(value)
    return json_text(value) if isinstance(value, dict | list) else value


def _date(value: Value) -> date:
    return date.fromisoformat(cast("str", value))


def _datetime(value: Value) -> datetime:
    return datetime.fromisoformat(cast("str", value))


def _time(value: Value) -> time:
    return time.fromisoformat(cast("str", value))


_PLAIN: dict[DialectName, dict[Storage, Callable[[Value], object]]] = {
    "postgres": {
        Storage.TEXT: keep,
        Storage.INTEGER: lambda value: _units(value, 0, ROUND_HALF_EVEN),
        Storage.FLOAT: _double,
        Storage.DECIMAL: _exact,
        Storage.BOOLEAN: bool,
        Storage.DATE: _date,
        Storage.DATETIME: _datetime,
        Storage.TIME: _time,
        Storage.JSON: json_text,
        Storage.LIST: json_text,
    },
    "sqlite": {
        Storage.TEXT: keep,
        Storage.INTEGER: lambda value: _units(value, 0, ROUND_HALF_EVEN),
        Storage.FLOAT: _double,
        Storage.DECIMAL: keep,
        Storage.BOOLEAN: lambda value: int(bool(value)),
        Storage.DATE: keep,
        Storage.DATETIME: keep,
        Storage.TIME: keep,
        Storage.JSON: json_text,
        Storage.LIST: json_text,
    },
}
