"""The types of fields: how a JSON value becomes the bytes of one, and back.

A `Kind` writes what stands behind the tag, without the length, and reads it again. What cannot be a
value of the type is one of `UNWRITABLE` when written, and an `InvalidRequest` when read.

Source: google/type/{date,decimal,timeofday}.proto, google/protobuf/{timestamp,field_mask}.proto.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from objectql.protobuf.model import (
    DATE,
    DECIMAL,
    MASK,
    STATUS,
    STRUCT,
    TIME_OF_DAY,
    TIMESTAMP,
    VALUE,
)
from objectql.protobuf.structs import read_struct, read_value, struct_bytes, value_bytes
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
    signed,
    tag,
    varint,
)


class Kind(NamedTuple):
    """A type of fields. `read` is given the path, which its errors name."""

    wire_type: int
    write: Callable[[Any], bytes]
    read: Callable[[Any, str], Any]
    is_message: bool = False
    """Whether values that come in pieces are put together, as messages are."""


UNWRITABLE: Final = (AttributeError, struct.error, OverflowError, TypeError, ValueError)
"""What is raised for a value that the type does not have."""


def invalid(path: str, reason: str) -> Exception:
    """The error of a value that the type cannot mean."""
    return malformed(path, reason, code="invalid_value")


# --- scalars ---------------------------------------------------------------------------------

_double: Final = struct.Struct("<d").pack


def _write_whole(value: Any) -> bytes:
    if not isinstance(value, int):
        raise TypeError(value)
    return varint(value)


def _read_double(bits: int, path: str) -> float:
    number = double_of(bits)
    if not math.isfinite(number):
        raise invalid(path, "is not a finite number")
    return number


def _read_int32(bits: int, _path: str) -> int:
    """As everywhere, of longer numbers the lower 32 bits."""
    low = bits & (2**32 - 1)
    return low - 2**32 if low >= 2**31 else low


def enum_kind(numbers: Mapping[str, int], values: Mapping[int, Any]) -> Kind:
    """An enumeration: the number of each value as text, and the value of each number.

    Values without a number are told as 0, which names none of them.
    """

    def write(value: Any) -> bytes:
        return varint(numbers.get(value, 0))

    def read(bits: int, path: str) -> Any:
        number = signed(bits)
        if number not in values:
            raise invalid(path, f"has no option with the number {number}")
        return values[number]

    return Kind(VARINT, write, read)


# --- Google's types --------------------------------------------------------------------------


def _numbers(data: bytes, count: int, path: str) -> list[int]:
    """The `count` first fields of a message of whole numbers."""
    found = [0] * count
    for number, wire_type, value in read_fields(data, path):
        if number <= count:
            if wire_type != VARINT:
                raise malformed(path, "is of another type", code="invalid_type")
            found[number - 1] = signed(cast("int", value))
    return found


def _message(*numbers: int) -> bytes:
    return b"".join(
        tag(at, VARINT) + varint(number) for at, number in enumerate(numbers, 1) if number
    )


@lru_cache(maxsize=4096)
def _write_date(text: str) -> bytes:
    day = date.fromisoformat(text)
    return _message(day.year, day.month, day.day)


def _read_date(data: bytes, path: str) -> str:
    try:
        return date(*_numbers(data, 3, path)).isoformat()
    except (ValueError, OverflowError) as exc:
        raise invalid(path, "is not a day of the calendar") from exc


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_NANOS_OF_MICRO: Final = 1000
_NANOS: Final = 10**9


@lru_cache(maxsize=4096)
def _write_timestamp(text: str) -> bytes:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    whole = moment.replace(microsecond=0)
    return _message((whole - _EPOCH) // _SECOND, moment.microsecond * _NANOS_OF_MICRO)


def _read_timestamp(data: bytes, path: str) -> str:
    seconds, nanos = _numbers(data, 2, path)
    try:
        return _moment(seconds, nanos)
    except (ValueError, OverflowError) as exc:
        raise invalid(path, "is not a moment between the years 1 and 9999") from exc


@lru_cache(maxsize=4096)
def _moment(seconds: int, nanos: int) -> str:
    if not 0 <= nanos < _NANOS:
        raise ValueError(nanos)
    moment = _EPOCH + timedelta(seconds=seconds)
    fraction = f".{nanos:09}" if nanos else ""
    return f"{moment.replace(tzinfo=None).isoformat()}{fraction}Z"


_TIME: Final = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?\Z")


@lru_cache(maxsize=4096)
def _write_time(text: str) -> bytes:
    found = _TIME.match(text)
    if found is None:
        raise ValueError(text)
    nanos = int((found[4] or "").ljust(9, "0"))
    return _message(int(found[1]), int(found[2]), int(found[3]), nanos)


def _read_time(data: bytes, path: str) -> str:
    hours, minutes, seconds, nanos = _numbers(data, 4, path)
    is_time = 0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds < 60  # noqa: PLR2004 - of a day
    if not (is_time and 0 <= nanos < _NANOS):
        raise invalid(path, "is not a time of day")
    fraction = f".{nanos // _NANOS_OF_MICRO:06}" if nanos else ""
    return f"{hours:02}:{minutes:02}:{seconds:02}{fraction}"


_DECIMAL_TEXT: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\Z")
_LONGEST_DECIMAL: Final = 100


def _write_decimal(value: Any) -> bytes:
    if not isinstance(value, int | float | Decimal):
        raise TypeError(value)
    return delimited(_FIRST, str(value).encode())


def _read_decimal(data: bytes, path: str) -> Decimal:
    text = "".join(_texts(data, path)[-1:])
    if len(text) > _LONGEST_DECIMAL or _DECIMAL_TEXT.match(text) is None:
        raise invalid(path, "is not a decimal number")
    try:
        return Decimal(text)
    except InvalidOperation as exc:
        raise invalid(path, "is not a decimal number") from exc


_FIRST: Final = tag(1, DELIMITED)


def _read_mask(data: bytes, path: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_texts(data, path)))


def _texts(data: bytes, path: str) -> list[str]:
    """The texts of the first field of a message."""
    return [
        read_text(value, path)
        for number, _, value in read_fields(data, path)
        if number == 1 and isinstance(value, bytes)
    ]


def _write_mask(paths: tuple[str, ...]) -> bytes:
    return b"".join(delimited(_FIRST, each.encode()) for each in paths)


def _as_it_is(content: bytes, _path: str = "") -> bytes:
    return content


def _whole(bits: Scalar, _path: str) -> int:
    return signed(cast("int", bits))


def _boolean(bits: Scalar, _path: str) -> bool:
    return bool(bits)


def _write_boolean(value: Any) -> bytes:
    if not isinstance(value, bool):
        raise TypeError(value)
    return varint(value)


KINDS: Final[Mapping[str, Kind]] = {
    "string": Kind(DELIMITED, str.encode, read_text),
    "bool": Kind(VARINT, _write_boolean, _boolean),
    "int32": Kind(VARINT, _write_whole, _read_int32),
    "int64": Kind(VARINT, _write_whole, _whole),
    "double": Kind(FIXED64, _double, _read_double),
    DATE: Kind(DELIMITED, _write_date, _read_date, is_message=True),
    DECIMAL: Kind(DELIMITED, _write_decimal, _read_decimal, is_message=True),
    MASK: Kind(DELIMITED, _write_mask, _read_mask, is_message=True),
    STATUS: Kind(DELIMITED, _as_it_is, _as_it_is, is_message=True),
    STRUCT: Kind(DELIMITED, struct_bytes, read_struct, is_message=True),
    TIMESTAMP: Kind(DELIMITED, _write_timestamp, _read_timestamp, is_message=True),
    TIME_OF_DAY: Kind(DELIMITED, _write_time, _read_time, is_message=True),
    VALUE: Kind(DELIMITED, value_bytes, read_value, is_message=True),
}
"""Every type that a field may have beside the enumerations and messages of its own file."""
