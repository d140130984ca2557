"""The wire format of Protocol Buffers: tags, varints, and the fields that a message's bytes hold.

Reading trusts nothing: a length beyond the end, a varint that does not end, a group or a field
number of 0 is an `InvalidRequest` that names the message. What is read here is not yet known to be of
any type.

Source: Protocol Buffers, "Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, TypeAlias

from objectql.errors import InvalidRequest, Issue

VARINT: Final = 0
FIXED64: Final = 1
DELIMITED: Final = 2
FIXED32: Final = 5

MASK64: Final = 2**64 - 1
_SIGN64: Final = 2**63
_ONE_BYTE: Final = 0x80
_LONGEST_VARINT: Final = 10
_FIXED_SIZES: Final = {FIXED64: 8, FIXED32: 4}

Scalar: TypeAlias = int | bytes
"""A number (of a varint, or the bits of a fixed field), or the bytes of a field with a length."""


WireField: TypeAlias = tuple[int, int, Scalar]
"""One field as it came: its number, its wire type, its value. Plain, since there are many."""


def malformed(path: str, reason: str, *, code: str = "malformed") -> InvalidRequest:
    """The error of bytes that are no message, or of a value that means nothing."""
    place = path or "the message"
    return InvalidRequest(
        reason=f"{place} {reason}", issues=(Issue(path=path, code=code, message=reason),)
    )


def varint(number: int) -> bytes:
    """`number` (64 bits; negative ones as two's complement) in groups of seven bits."""
    number &= MASK64
    if number < _ONE_BYTE:
        return _BYTES[number]
    parts = bytearray()
    while number >= _ONE_BYTE:
        parts.append(number & 0x7F | _ONE_BYTE)
        number >>= 7
    parts.append(number)
    return bytes(parts)


_BYTES: Final = tuple(bytes((number,)) for number in range(256))


def tag(number: int, wire_type: int) -> bytes:
    """What stands before the value of field `number`."""
    return varint(number << 3 | wire_type)


def delimited(tag: bytes, content: bytes) -> bytes:
    """A field whose length is told."""
    return tag + varint(len(content)) + content


def signed(number: int) -> int:
    """The 64 bits of a varint as an `int64`."""
    return number - 2**64 if number >= _SIGN64 else number


def double_of(bits: int) -> float:
    """The bits of a fixed field of 64 as a number."""
    return struct.unpack("<d", bits.to_bytes(8, "little"))[0]


def read_text(content: bytes, path: str) -> str:
    """`content` as UTF-8.

    Raises:
        InvalidRequest: it is something else.

    """
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise malformed(path, f"is not UTF-8 (byte {exc.start})", code="invalid_text") from exc


def read_fields(data: bytes, path: str) -> Iterator[WireField]:
    """Every field of a message, in the order in which they stand.

    Raises:
        InvalidRequest: `data` is no message; `path` says which.

    """
    at, end = 0, len(data)
    while at < end:
        key = data[at]  # most tags and lengths are one byte
        if key < _ONE_BYTE:
            at += 1
        else:
            key, at = _read_varint(data, at, path)
        number, wire_type = key >> 3, key & 7
        if number == 0 or number >= 2**29:
            raise malformed(path, f"has a field with the number {number}")
        if wire_type == VARINT:
            value, at = _read_varint(data, at, path)
            yield number, wire_type, value
            continue
        if wire_type == DELIMITED:
            if at < end and data[at] < _ONE_BYTE:
                size = data[at]
                at += 1
            else:
                size, at = _read_varint(data, at, path)
        else:
            size = _FIXED_SIZES.get(wire_type, -1)
            if size < 0:
                raise malformed(path, f"has a field of the wire type {wire_type}")
        if size > end - at:
            raise malformed(path, "ends in the middle of a field")
        content = data[at : at + size]
        at += size
        is_fixed = wire_type != DELIMITED
        yield number, wire_type, int.from_bytes(content, "little") if is_fixed else content


def read_packed(data: bytes, path: str) -> Iterator[int]:
    """The varints of a packed repeated field."""
    at = 0
    while at < len(data):
        number, at = _read_varint(data, at, path)
        yield number


def _read_varint(data: bytes, at: int, path: str) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends."""
    try:
        byte = data[at]
        if byte < _ONE_BYTE:
            return byte, at + 1
        number, shift = byte & 0x7F, 7
        for place in range(at + 1, at + _LONGEST_VARINT):
            byte = data[place]
            number |= (byte & 0x7F) << shift
            if byte < _ONE_BYTE:
                return number & MASK64, place + 1
            shift += 7
    except IndexError:
        raise malformed(path, "ends in the middle of a number") from None
    raise malformed(path, "has a number of more than ten bytes")
