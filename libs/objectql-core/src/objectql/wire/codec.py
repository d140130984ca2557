"""Encoders and decoders of the bus, made once per type."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

import msgspec

from objectql.errors import InvalidRequest

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder(decimal_format="number")


def encode(message: object) -> bytes:
    """`message` as msgpack.

    Raises:
        InvalidRequest: a whole number in it has more than 64 bits.

    """
    try:
        return _encoder.encode(message)
    except OverflowError as exc:
        raise InvalidRequest(reason="whole numbers have at most 64 bits") from exc


@cache
def _decoder(type_: type[T]) -> msgspec.msgpack.Decoder[T]:
    return msgspec.msgpack.Decoder(type_)


def decode(type_: type[T], body: bytes) -> T:
    """`body` as a `type_`; fields of a newer version are ignored.

    Raises:
        msgspec.DecodeError: it is not one.

    """
    return _decoder(type_).decode(body)
