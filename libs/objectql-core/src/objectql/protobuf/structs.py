"""JSON as `google.protobuf.Value` and `Struct`, and back.

Numbers are doubles there: whole ones come back as integers, and what must be exact to the last
digit belongs into the typed services.

Source: google/protobuf/struct.proto.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from struct import Struct as Layout
from typing import Any, Final, cast

from objectql.protobuf.wire import (
    DELIMITED,
    FIXED64,
    VARINT,
    Scalar,
    delimited,
    double_of,
    malformed,
    read_fields,
    read_text,
    tag,
    varint,
)
from objectql.values import MAX_SAFE_INTEGER

MAX_NESTING: Final = 64
"""Levels of lists and objects, as in JSON bodies. Most libraries read no more than 32."""

_NULL, _NUMBER, _TEXT, _BOOLEAN, _STRUCT, _LIST = range(1, 7)
_WIRE_TYPES: Final = {
    _NULL: VARINT,
    _NUMBER: FIXED64,
    _TEXT: DELIMITED,
    _BOOLEAN: VARINT,
    _STRUCT: DELIMITED,
    _LIST: DELIMITED,
}
_ENTRIES: Final = 1
"""Of a struct its members, of a list its items."""
_KEY, _VALUE = 1, 2
_ENTRY: Final = tag(_ENTRIES, DELIMITED)
_ENTRY_VALUE: Final = tag(_VALUE, DELIMITED)
_NULL_VALUE: Final = tag(_NULL, VARINT) + varint(0)
_TRUE: Final = tag(_BOOLEAN, VARINT) + varint(1)
_FALSE: Final = tag(_BOOLEAN, VARINT) + varint(0)
_TEXT_TAG: Final = tag(_TEXT, DELIMITED)
_STRUCT_TAG: Final = tag(_STRUCT, DELIMITED)
_LIST_TAG: Final = tag(_LIST, DELIMITED)
_number: Final = Layout("<Bd").pack
_NUMBER_TAG: Final = _NUMBER << 3 | FIXED64


def struct_bytes(value: Mapping[str, Any]) -> bytes:
    """A JSON object as a `Struct`."""
    entries: list[bytes] = []
    for key, member in value.items():
        content = _key(key) + delimited(_ENTRY_VALUE, value_bytes(member))
        entries.append(delimited(_ENTRY, content))
    return b"".join(entries)


def value_bytes(value: Any) -> bytes:
    """Any JSON as a `Value`."""
    if isinstance(value, str):
        return delimited(_TEXT_TAG, value.encode())
    if value is None:
        return _NULL_VALUE
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, int | float | Decimal):
        return _number(_NUMBER_TAG, value)
    if isinstance(value, Mapping):
        return delimited(_STRUCT_TAG, struct_bytes(cast("Mapping[str, Any]", value)))
    items = cast("Sequence[Any]", value)
    return delimited(_LIST_TAG, b"".join(delimited(_ENTRY, value_bytes(each)) for each in items))


@lru_cache(maxsize=4096)  # the names of fields
def _key(key: str) -> bytes:
    return delimited(tag(_KEY, DELIMITED), key.encode())


def read_struct(data: bytes, path: str, nesting: int = MAX_NESTING) -> dict[str, Any]:
    """The JSON object that a `Struct` holds, its keys in alphabetical order.

    Libraries write them in an order of their own, at each start another; the body of a request that
    is sent again under its key must be the same.

    Raises:
        InvalidRequest: it holds none, with the path of what is wrong.

    """
    if nesting <= 0:
        raise malformed(path, f"is nested deeper than {MAX_NESTING} levels", code="nesting")
    found: dict[str, Any] = {}
    for number, _, content in read_fields(data, path):
        if number == _ENTRIES:
            key, value = _entry(_bytes(content, path), path)
            place = f"{path}.{key}" if path else key
            found[key] = read_value(value, place, nesting - 1)
    return dict(sorted(found.items()))


def _entry(data: bytes, path: str) -> tuple[str, bytes]:
    """The key and the value of a member."""
    key = value = b""
    for number, _, content in read_fields(data, path):
        if number == _KEY:
            key = _bytes(content, path)
        elif number == _VALUE:
            value = _bytes(content, path)
    return read_text(key, path), value


def read_value(data: bytes, path: str, nesting: int = MAX_NESTING) -> Any:
    """The JSON that a `Value` holds.

    Raises:
        InvalidRequest: it holds none, with the path of what is wrong.

    """
    kind, told = 0, cast("Scalar", b"")
    for number, wire_type, value in read_fields(data, path):
        if number in _WIRE_TYPES:
            if _WIRE_TYPES[number] != wire_type:
                raise malformed(path, "is of another type", code="invalid_type")
            kind, told = number, value
    if isinstance(told, bytes):
        if kind == _TEXT:
            return read_text(told, path)
        if kind == _STRUCT:
            return read_struct(told, path, nesting)
        if kind == _LIST:
            return _read_list(told, path, nesting)
        raise malformed(path, "has a value of no kind")
    if kind == _NUMBER:
        return _number_of(double_of(told), path)
    return None if kind == _NULL else bool(told)


def _read_list(data: bytes, path: str, nesting: int) -> list[Any]:
    if nesting <= 0:
        raise malformed(path, f"is nested deeper than {MAX_NESTING} levels", code="nesting")
    fields = read_fields(data, path)
    items = [_bytes(value, path) for number, _, value in fields if number == _ENTRIES]
    return [
        read_value(each, f"{path}.{index}".lstrip("."), nesting - 1)
        for index, each in enumerate(items)
    ]


def _number_of(number: float, path: str) -> int | float:
    if not math.isfinite(number):
        raise malformed(path, "is not a finite number", code="invalid_value")
    if number.is_integer() and abs(number) <= MAX_SAFE_INTEGER:
        return int(number)
    return number


def _bytes(value: Scalar, path: str) -> bytes:
    if isinstance(value, bytes):
        return value
    raise malformed(path, "is of another type", code="invalid_type")
