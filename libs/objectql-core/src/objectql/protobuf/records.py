"""Records between the JSON of kernels and messages of their objects.

JSON becomes a message without a message object between: each field has a function that knows its
tag, and what they give is joined. Most records of a stream are made of the same few functions, so
these are what is fast here (ADR 0035 has the figures of the other ways).

What a field's type cannot hold is not told: the text that a mask shows of a number, say. Where the
record of a relation stands in the place of its id, the id is told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeAlias, cast

import msgspec

from objectql.metadata.field_numbers import ObjectNumbers, option_key, proto_type
from objectql.metadata.model import FieldDef
from objectql.protobuf.kinds import KINDS, UNWRITABLE, Kind, enum_kind
from objectql.protobuf.messages import Slot, read_message
from objectql.protobuf.model import DECIMAL
from objectql.protobuf.wire import DELIMITED, tag, varint

Encode: TypeAlias = Callable[[Any], bytes]
"""A value as a whole field, tag and all."""

_COUNT: Final = 4096
_SMALL: Final = tuple(map(varint, range(_COUNT)))
"""The numbers and lengths that most fields have."""

encode_json: Final = msgspec.json.Encoder(decimal_format="number").encode


def field_kind(field: FieldDef, numbers: ObjectNumbers) -> tuple[Kind, bool]:
    """The type of a field, and whether it is repeated."""
    type = proto_type(field)
    is_repeated = type.startswith("repeated ")
    plain = type.rpartition(" ")[2]
    if plain == "enum":
        return _options(field, numbers), is_repeated
    return KINDS[plain], is_repeated


def _options(field: FieldDef, numbers: ObjectNumbers) -> Kind:
    """What options are called that are not in the metadata any more, records may still say."""
    known = {key: choice.number for key, choice in numbers.enums[field.name].values.items()}
    values: dict[int, Any] = {number: key for key, number in known.items()}
    values |= {known[option_key(each)]: each.value for each in field.options}
    kind = enum_kind(known, values)

    def write(value: Any) -> bytes:
        return kind.write(_key_of(value))

    return kind._replace(write=write)


def _key_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class RecordCodec:
    """The message of some fields: of a record, or of the parameters of an action."""

    def __init__(self, fields: Collection[FieldDef], numbers: ObjectNumbers) -> None:
        self._slots: dict[int, Slot] = {}
        self._encode: dict[str, Encode] = {}
        for field in fields:
            kind, is_repeated = field_kind(field, numbers)
            number = numbers.number(field)
            slot = Slot(field.name, kind, is_repeated, tag(number, kind.wire_type))
            self._slots[number] = slot
            self._encode[field.name] = _encoder_of(slot, proto_type(field))
        is_exact = any(proto_type(each) == DECIMAL for each in fields)
        hook = Decimal if is_exact else None
        self._record: Final = msgspec.json.Decoder(dict[str, Any], float_hook=hook).decode
        self._records: Final = msgspec.json.Decoder(list[dict[str, Any]], float_hook=hook).decode

    @property
    def names(self) -> Collection[str]:
        """What the fields of the message are called."""
        return self._encode.keys()

    def message(self, record: bytes) -> bytes:
        """A record (a JSON object) as a message."""
        return self._message(self._record(record))

    def messages(self, items: bytes) -> list[bytes]:
        """Records (a JSON array) as messages."""
        return list(map(self._message, self._records(items)))

    def _message(self, record: Mapping[str, Any]) -> bytes:
        encode = self._encode
        try:
            return b"".join([encode[k](v) for k, v in record.items() if v is not None])
        except (KeyError, *UNWRITABLE):
            return self._with_what_it_can_hold(record)

    def _with_what_it_can_hold(self, record: Mapping[str, Any]) -> bytes:
        parts: list[bytes] = []
        for name, value in record.items():
            encode = self._encode.get(name)
            if encode is None or value is None:
                continue
            try:
                parts.append(encode(value))
            except UNWRITABLE:
                try:
                    parts.append(encode(_ids(value)))
                except (LookupError, *UNWRITABLE):
                    continue
        return b"".join(parts)

    def values(self, message: bytes) -> dict[str, Any]:
        """What is set in a message, as JSON has it.

        Raises:
            InvalidRequest: it is no such message, with the path of what is wrong.

        """
        return read_message(self._slots, message, "")


def _ids(value: Any) -> Any:
    """The ids of records that stand in the place of theirs; of other scalars in lists their text."""
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)["id"]
    if isinstance(value, list):
        return [_ids(each) for each in cast("list[Any]", value)]
    return _key_of(value)


# --- fields ----------------------------------------------------------------------------------


def _encoder_of(slot: Slot, type: str) -> Encode:
    make = _MAKERS.get(type)
    if make is not None:
        return make(slot.tag)
    if slot.is_repeated:
        return partial(_repeated, slot)
    if slot.kind.wire_type == DELIMITED:
        return _delimited(slot.tag, slot.kind.write)
    return _plain(slot.tag, slot.kind.write)


def _repeated(slot: Slot, value: Any) -> bytes:
    if not isinstance(value, list):
        raise TypeError(value)
    return slot.write(value)


def _delimited(tag: bytes, write: Encode) -> Encode:
    def encode(value: Any) -> bytes:
        content = write(value)
        size = len(content)
        return tag + (_SMALL[size] if size < _COUNT else varint(size)) + content

    return encode


def _plain(tag: bytes, write: Encode) -> Encode:
    return lambda value: tag + write(value)


def _text(tag: bytes) -> Encode:
    def encode(value: str) -> bytes:
        content = value.encode()
        size = len(content)
        return tag + (_SMALL[size] if size < _COUNT else varint(size)) + content

    return encode


def _whole(tag: bytes) -> Encode:
    write = KINDS["int64"].write

    def encode(value: int) -> bytes:
        return tag + (_SMALL[value] if 0 <= value < _COUNT else write(value))

    return encode


_MAKERS: Final[Mapping[str, Callable[[bytes], Encode]]] = {"string": _text, "int64": _whole}
"""The types that most fields have, once more without a call between."""
