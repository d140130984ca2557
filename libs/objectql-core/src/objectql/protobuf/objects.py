"""The file of one object: its record as a message, and a service after Google's AIPs.

Fields of a record have presence: one that is not set is null, or was not asked for. Deviations
from AIP: a list may be asked for in the whole query language (`Query…`), and `Watch…` is a live
query. Who may not read a field finds no such field in the message.

Source: Google API Improvement Proposals 131 to 135 and 157 to 161.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from objectql.ids import ObjectName
from objectql.metadata.field_numbers import (
    ObjectNumbers,
    option_key,
    plural,
    proto_type,
)
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.protobuf.model import (
    Enum,
    EnumValue,
    Field,
    Message,
    Method,
    ProtoFile,
    Service,
)

PACKAGE: Final = "objectql.app.v1"
_FOLDER: Final = PACKAGE.replace(".", "/")

_MASK: Final = "google.protobuf.FieldMask"
_STRUCT: Final = "google.protobuf.Struct"

_FILES: Final[Mapping[str, str]] = {
    _MASK: "google/protobuf/field_mask.proto",
    _STRUCT: "google/protobuf/struct.proto",
    "google.protobuf.Timestamp": "google/protobuf/timestamp.proto",
    "google.protobuf.Value": "google/protobuf/struct.proto",
    "google.type.Date": "google/type/date.proto",
    "google.type.Decimal": "google/type/decimal.proto",
    "google.type.TimeOfDay": "google/type/timeofday.proto",
}
"""Where the types that are not ours come from."""

MayRead = Callable[[ObjectDef], Collection[str] | None]
"""The fields of an object that somebody may read; None: all."""


def proto_files(
    objects: Iterable[ObjectDef],
    numbers: Mapping[ObjectName, ObjectNumbers],
    may_read: MayRead = lambda _: None,
) -> dict[ObjectName, ProtoFile]:
    """The file of each object that has numbers, by the object's name, in alphabetical order."""
    return {
        each.name: proto_file(each, numbers[each.name], may_read(each))
        for each in sorted(objects, key=lambda each: each.name)
        if each.name in numbers
    }


def proto_file(
    definition: ObjectDef, numbers: ObjectNumbers, readable: Collection[str] | None = None
) -> ProtoFile:
    """The file of an object, with the fields of `readable` (None: all) and the id."""
    record = _record(definition, numbers, readable)
    messages = (record, *_requests(definition.name, numbers.message))
    types = {word for each in messages for field in each.fields for word in field.type.split()}
    return ProtoFile(
        path=f"{_FOLDER}/{definition.name}.proto",
        package=PACKAGE,
        imports=tuple({_FILES[type] for type in types if type in _FILES}),
        messages=messages,
        service=_service(numbers.message, definition.description or definition.label),
    )


def _record(
    definition: ObjectDef, numbers: ObjectNumbers, readable: Collection[str] | None
) -> Message:
    shown = [
        field
        for field in definition.fields.values()
        if readable is None or field.name == "id" or field.name in readable
    ]
    enums = [_enum(field, numbers) for field in shown if _is_enum(field)]
    return Message(
        name=numbers.message,
        fields=tuple(
            Field(
                field.name,
                _declared_type(field, numbers),
                numbers.number(field),
                field.help_text or field.description,
            )
            for field in sorted(shown, key=numbers.number)
        ),
        enums=tuple(enums),
        retired=numbers.retired(definition.fields.values()),
        comment=definition.description or definition.label,
    )


def _is_enum(field: FieldDef) -> bool:
    return proto_type(field).endswith("enum")


def _declared_type(field: FieldDef, numbers: ObjectNumbers) -> str:
    type = proto_type(field)
    if _is_enum(field):
        type = type.replace("enum", numbers.enums[field.name].name)
    has_presence = type.startswith("repeated ") or type in _FILES
    return type if has_presence else f"optional {type}"


def _enum(field: FieldDef, numbers: ObjectNumbers) -> Enum:
    known = numbers.enums[field.name]
    said = {option_key(each): each.label for each in field.options}
    values = [
        EnumValue(choice.name, choice.number, key if said[key] == key else f"{key}: {said[key]}")
        for key, choice in known.values.items()
        if key in said
    ]
    gone = sorted(choice.number for key, choice in known.values.items() if key not in said)
    zero = EnumValue(known.zero, 0)
    return Enum(known.name, (zero, *values), tuple(gone))


def _service(message: str, comment: str) -> Service:
    many = plural(message)
    methods = (
        Method(f"Get{message}", f"Get{message}Request", message, comment="One record."),
        Method(
            f"List{many}",
            f"List{many}Request",
            f"List{many}Response",
            comment="A page of the records that a filter names.",
        ),
        Method(f"Create{message}", f"Create{message}Request", message, comment="A new record."),
        Method(
            f"Update{message}",
            f"Update{message}Request",
            message,
            comment="Changes the fields that the mask names.",
        ),
        Method(
            f"Delete{message}",
            f"Delete{message}Request",
            f"Delete{message}Response",
            comment="Deletes a record.",
        ),
        Method(
            f"Query{many}",
            f"Query{many}Request",
            f"Query{many}Response",
            is_stream=True,
            comment="All records that a query names, as a stream.",
        ),
        Method(
            f"Watch{many}",
            f"Watch{many}Request",
            f"Watch{many}Response",
            is_stream=True,
            comment="What becomes of the records that a filter names, from now or from a cursor.",
        ),
    )
    return Service(f"{message}Service", methods, comment)


def _requests(name: str, message: str) -> tuple[Message, ...]:
    """What the methods take and answer. The record is called like the object."""
    many = plural(message)
    records = _snake(many)
    mask = "The fields to answer with; all that you may read where it is left out."
    version = "Only if the record has this version, else FAILED_PRECONDITION."
    return (
        Message(
            f"Get{message}Request",
            (Field("id", "string", 1), Field("read_mask", _MASK, 2, mask)),
        ),
        Message(
            f"List{many}Request",
            (
                Field("page_size", "int32", 1, "As many as fit where it is 0."),
                Field("page_token", "string", 2, "What the page before gave."),
                Field("filter", "string", 3, "As `$filter`: `status eq 'open' and total gt 5`."),
                Field("order_by", "string", 4, "As `$orderby`: `created_at desc, name`."),
                Field("read_mask", _MASK, 5, mask),
                Field("count", "bool", 6, "Whether to count all that the filter names."),
            ),
        ),
        Message(
            f"List{many}Response",
            (
                Field(records, f"repeated {message}", 1),
                Field("next_page_token", "string", 2, "Empty after the last page."),
                Field("total_size", "optional int64", 3, "Where `count` was asked for."),
            ),
        ),
        Message(f"Create{message}Request", (Field(name, message, 1),)),
        Message(
            f"Update{message}Request",
            (
                Field(name, message, 1, "Its `id` tells which."),
                Field(
                    "update_mask", _MASK, 2, "Named and not set: null. Left out: all that is set."
                ),
                Field("if_version", "optional int64", 3, version),
            ),
        ),
        Message(
            f"Delete{message}Request",
            (Field("id", "string", 1), Field("if_version", "optional int64", 2, version)),
        ),
        Message(f"Delete{message}Response"),
        Message(
            f"Query{many}Request",
            (Field("query", _STRUCT, 1, "As the body of `POST /api/{object}/query`."),),
        ),
        Message(f"Query{many}Response", (Field(name, message, 1),)),
        Message(
            f"Watch{many}Request",
            (
                Field(
                    "where", _STRUCT, 1, "As `where` of a query; all records where it is left out."
                ),
                Field("read_mask", _MASK, 2, mask),
                Field("snapshot", "bool", 3, "Whether to begin with the records as they are."),
                Field("from", "string", 4, "The cursor of the last event that was seen."),
            ),
        ),
        Message(
            f"Watch{many}Response",
            (
                Field("type", "Type", 1),
                Field("id", "string", 2),
                Field(name, message, 3, "The record as it is now; not where it is gone."),
                Field("cursor", "string", 4, "Where to go on from after this."),
                Field("match", "Match", 5),
            ),
            (
                _listed(
                    "Type", ("SNAPSHOT", "CREATED", "UPDATED", "DELETED", "RESYNC", "BOOKMARK")
                ),
                _listed("Match", ("ENTERED", "LEFT")),
            ),
        ),
    )


def _listed(name: str, values: Iterable[str]) -> Enum:
    every = ("UNSPECIFIED", *values)
    prefix = name.upper()
    return Enum(name, tuple(EnumValue(f"{prefix}_{v}", number) for number, v in enumerate(every)))


def _snake(name: str) -> str:
    """`SalesOrders` → `sales_orders`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
