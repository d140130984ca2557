"""What a `.proto` file declares, as values.

Only what is needed here: proto3, one service at most, no oneofs, no extensions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

import msgspec

MASK: Final = "google.protobuf.FieldMask"
STRUCT: Final = "google.protobuf.Struct"
VALUE: Final = "google.protobuf.Value"
TIMESTAMP: Final = "google.protobuf.Timestamp"
DATE: Final = "google.type.Date"
DECIMAL: Final = "google.type.Decimal"
TIME_OF_DAY: Final = "google.type.TimeOfDay"
STATUS: Final = "google.rpc.Status"

FOREIGN: Final[Mapping[str, str]] = {
    MASK: "google/protobuf/field_mask.proto",
    STRUCT: "google/protobuf/struct.proto",
    TIMESTAMP: "google/protobuf/timestamp.proto",
    VALUE: "google/protobuf/struct.proto",
    DATE: "google/type/date.proto",
    DECIMAL: "google/type/decimal.proto",
    TIME_OF_DAY: "google/type/timeofday.proto",
    STATUS: "google/rpc/status.proto",
}
"""Types that are not ours, and the files that declare them."""


class Field(msgspec.Struct, frozen=True):
    """A field of a message. `type` may be preceded by `optional` or `repeated`."""

    name: str
    type: str
    number: int
    comment: str = ""

    @property
    def plain_type(self) -> str:
        """The type of one value."""
        return self.type.rpartition(" ")[2]

    @property
    def is_repeated(self) -> bool:
        return self.type.startswith("repeated ")

    @property
    def is_optional(self) -> bool:
        """Whether a scalar can be not set; messages always can."""
        return self.type.startswith("optional ")


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


def listed(name: str, values: Iterable[str]) -> Enum:
    """An enumeration of our own: `Type` of `created` and others has `TYPE_CREATED`."""
    prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()
    every = ("UNSPECIFIED", *map(str.upper, values))
    return Enum(name, tuple(EnumValue(f"{prefix}_{v}", number) for number, v in enumerate(every)))


class Method(msgspec.Struct, frozen=True):
    name: str
    request: str
    response: str
    takes_stream: bool = False
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
    messages: tuple[Message, ...]
    service: Service

    @property
    def service_name(self) -> str:
        """The whole name of the service, as it stands in the path of a call."""
        return f"{self.package}.{self.service.name}"

    @property
    def imports(self) -> tuple[str, ...]:
        """The files in which the types of others are, in alphabetical order."""
        types = {field.plain_type for each in self.messages for field in each.fields}
        return tuple(sorted({FOREIGN[type] for type in types if type in FOREIGN}))


def ranges(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """`(1, 2, 3, 7)` as `(1, 3)` and `(7, 7)`: the first and the last number of each run."""
    if not numbers:
        return
    first = numbers[0]
    for number, following in pairwise((*numbers, None)):
        assert number is not None
        if following != number + 1:
            yield first, number
            if following is not None:
                first = following
