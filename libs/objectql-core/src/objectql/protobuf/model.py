"""What a `.proto` file declares, as values.

Only what is needed here: proto3, one service at most, no oneofs, no extensions.
"""

from __future__ import annotations

import msgspec


class Field(msgspec.Struct, frozen=True):
    """A field of a message. `type` may be preceded by `optional` or `repeated`."""

    name: str
    type: str
    number: int
    comment: str = ""


class Message(msgspec.Struct, frozen=True):
    """A message; `retired` numbers are given to no field again."""

    name: str
    fields: tuple[Field, ...] = ()
    enums: tuple[Enum, ...] = ()
    retired: tuple[int, ...] = ()
    comment: str = ""


class EnumValue(msgspec.Struct, frozen=True):
    name: str
    number: int
    comment: str = ""


class Enum(msgspec.Struct, frozen=True):
    """An enumeration; its first value has the number 0."""

    name: str
    values: tuple[EnumValue, ...]
    retired: tuple[int, ...] = ()


class Method(msgspec.Struct, frozen=True):
    name: str
    request: str
    response: str
    is_stream: bool = False
    """Whether the answer is one."""
    comment: str = ""


class Service(msgspec.Struct, frozen=True):
    name: str
    methods: tuple[Method, ...]
    comment: str = ""


class ProtoFile(msgspec.Struct, frozen=True):
    """A file; `path` is where others import it from."""

    path: str
    package: str
    imports: tuple[str, ...]
    messages: tuple[Message, ...]
    service: Service
