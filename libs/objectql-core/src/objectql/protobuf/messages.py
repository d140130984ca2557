"""Messages between bytes and values by name.

What is read is a plain mapping of what was set; unknown fields are passed over, as everywhere in
Protocol Buffers. A field of another wire type than its own is refused: whoever sent it has another
file, and what it meant would be lost without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, cast

from objectql.protobuf.kinds import KINDS, Kind, enum_kind
from objectql.protobuf.model import Enum, Field, Message
from objectql.protobuf.wire import DELIMITED, delimited, malformed, read_fields, read_packed, tag


class Slot(NamedTuple):
    """A field of a message, ready to be read and written."""

    name: str
    kind: Kind
    is_repeated: bool
    tag: bytes

    def write(self, value: Any) -> bytes:
        """The field with `value`, or a field for each of them."""
        values = cast("Iterable[Any]", value) if self.is_repeated else (value,)
        return b"".join(map(self._one, values))

    def _one(self, value: Any) -> bytes:
        content = self.kind.write(value)
        if self.kind.wire_type == DELIMITED:
            return delimited(self.tag, content)
        return self.tag + content


def slot_of(field: Field, kind: Kind) -> Slot:
    """How a field is read and written."""
    return Slot(field.name, kind, field.is_repeated, tag(field.number, kind.wire_type))


def words_of(enum: Enum) -> Kind:
    """An enumeration of our own: `TYPE_CREATED` is `created`. What is unspecified is None."""
    prefix = len(enum.values[0].name.removesuffix("UNSPECIFIED"))
    words = {each.number: each.name[prefix:].lower() for each in enum.values[1:]}
    return enum_kind({word: number for number, word in words.items()}, {0: None, **words})


class MessageCodec:
    """Reads and writes one kind of message."""

    def __init__(self, message: Message, kinds: Mapping[str, Kind] = KINDS) -> None:
        """`kinds` are those of the types that its fields have, but for its own enumerations."""
        own = {each.name: words_of(each) for each in message.enums}
        self._slots: Final = {
            field.number: slot_of(field, own.get(field.plain_type) or kinds[field.plain_type])
            for field in message.fields
        }
        self._by_name: Final = {each.name: each for each in self._slots.values()}

    @property
    def kind(self) -> Kind:
        """The type of fields that hold such a message."""
        return Kind(DELIMITED, self.write, self.read, is_message=True)

    def write(self, values: Mapping[str, Any]) -> bytes:
        """The message in which `values` are set, but for those that are None."""
        return b"".join(
            self._by_name[name].write(value) for name, value in values.items() if value is not None
        )

    def read(self, data: bytes, path: str = "") -> dict[str, Any]:
        """What is set in a message, by name.

        Raises:
            InvalidRequest: `data` is no such message, with the path of what is wrong.

        """
        return read_message(self._slots, data, path)


def codecs_of(
    messages: Iterable[Message], kinds: Mapping[str, Kind] = KINDS
) -> dict[str, MessageCodec]:
    """A codec for each message, also where one holds another."""
    by_name = {each.name: each for each in messages}
    made: dict[str, MessageCodec] = {}

    def make(message: Message) -> Kind:
        if message.name not in made:
            inner = {each.plain_type for each in message.fields} & by_name.keys()
            own = {name: make(by_name[name]) for name in inner}
            made[message.name] = MessageCodec(message, {**kinds, **own})
        return made[message.name].kind

    for each in by_name.values():
        make(each)
    return made


def read_message(slots: Mapping[int, Slot], data: bytes, path: str) -> dict[str, Any]:
    """What is set in a message with the fields `slots`.

    Raises:
        InvalidRequest: `data` is no such message.

    """
    found: dict[str, Any] = {}
    pieces: dict[str, tuple[Slot, list[bytes]]] = {}
    for number, wire_type, value in read_fields(data, path):
        slot = slots.get(number)
        if slot is None:
            continue
        name, kind, is_repeated, _ = slot
        place = f"{path}.{name}" if path else name
        if wire_type != kind.wire_type:
            if not (is_repeated and wire_type == DELIMITED):
                raise malformed(place, "is of another type", code="invalid_type")
            packed = read_packed(cast("bytes", value), place)
            found.setdefault(name, []).extend(kind.read(each, place) for each in packed)
        elif is_repeated:
            items = found.setdefault(name, [])
            items.append(kind.read(value, f"{place}.{len(items)}"))
        elif kind.is_message:
            pieces.setdefault(name, (slot, []))[1].append(cast("bytes", value))
        else:
            found[name] = kind.read(value, place)
    for name, (slot, contents) in pieces.items():
        found[name] = slot.kind.read(b"".join(contents), f"{path}.{name}" if path else name)
    return found
