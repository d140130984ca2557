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

import msgspec

from objectql.ids import ObjectName
from objectql.metadata.field_numbers import (
    ObjectNumbers,
    offered_actions,
    option_key,
    plural,
    proto_type,
)
from objectql.metadata.model import ActionDef, FieldDef, ObjectDef
from objectql.metadata.offered import offers
from objectql.protobuf.generic import CHANGE_TYPES, IF_VERSION, MATCHES, READ_MASK
from objectql.protobuf.model import (
    FOREIGN,
    MASK,
    STRUCT,
    VALUE,
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
    comment = definition.description or definition.label
    record = _fields_message(
        numbers.message,
        shown_fields(definition, readable),
        numbers,
        retired=numbers.retired(definition.fields.values()),
        comment=comment,
    )
    actions = numbered_actions(definition, numbers)
    requests = _requests(definition.name, numbers.message)
    own = [each for action, known in actions for each in _action_messages(action, known)]
    service = _service(definition, numbers.message)
    methods = tuple(_action_method(action, known) for action, known in actions)
    return ProtoFile(
        path=f"{_FOLDER}/{definition.name}.proto",
        package=PACKAGE,
        messages=(record, *requests, *own),
        service=msgspec.structs.replace(service, methods=(*service.methods, *methods)),
    )


def numbered_actions(
    definition: ObjectDef, numbers: ObjectNumbers
) -> list[tuple[ActionDef, ObjectNumbers]]:
    """The actions that have methods, and what the messages of each are called."""
    return [
        (action, numbers.actions[action.name])
        for action in offered_actions(definition)
        if action.name in numbers.actions
    ]


def _action_method(action: ActionDef, known: ObjectNumbers) -> Method:
    name = known.message
    comment = action.description or action.label
    return Method(name, f"{name}Request", f"{name}Response", comment=comment)


def _action_messages(action: ActionDef, known: ObjectNumbers) -> tuple[Message, ...]:
    name = known.message
    parameters = Field("parameters", f"{name}Parameters", 2)
    fields = (Field("id", "string", 1), parameters) if action.type == "record" else (parameters,)
    declared = list(action.params.values())
    return (
        Message(f"{name}Request", fields),
        _fields_message(f"{name}Parameters", declared, known, retired=known.retired(declared)),
        Message(f"{name}Response", (Field("result", VALUE, 1),)),
    )


def shown_fields(definition: ObjectDef, readable: Collection[str] | None) -> list[FieldDef]:
    """The fields that a caller's message has: those of `readable` (None: all) and the id."""
    return [
        field
        for field in definition.fields.values()
        if readable is None or field.name == "id" or field.name in readable
    ]


def _fields_message(
    name: str,
    fields: Iterable[FieldDef],
    numbers: ObjectNumbers,
    *,
    retired: tuple[int, ...],
    comment: str = "",
) -> Message:
    shown = sorted(fields, key=numbers.number)
    return Message(
        name=name,
        fields=tuple(
            Field(
                field.name,
                _declared_type(field, numbers),
                numbers.number(field),
                field.help_text or field.description,
            )
            for field in shown
        ),
        enums=tuple(_enum(field, numbers) for field in shown if _is_enum(field)),
        retired=retired,
        comment=comment,
    )


def _is_enum(field: FieldDef) -> bool:
    return proto_type(field).endswith("enum")


def _declared_type(field: FieldDef, numbers: ObjectNumbers) -> str:
    type = proto_type(field)
    if _is_enum(field):
        type = type.replace("enum", numbers.enums[field.name].name)
    has_presence = type.startswith("repeated ") or type in FOREIGN
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


def _service(definition: ObjectDef, message: str) -> Service:
    """With the methods that clients of the object may call."""
    many = plural(message)

    def one(verb: str, comment: str) -> Method:
        return Method(f"{verb}{message}", f"{verb}{message}Request", message, comment=comment)

    def stream(verb: str, comment: str) -> Method:
        name = f"{verb}{many}"
        return Method(name, f"{name}Request", f"{name}Response", is_stream=True, comment=comment)

    listed = Method(
        f"List{many}",
        f"List{many}Request",
        f"List{many}Response",
        comment="A page of the records that a filter names.",
    )
    deleted = Method(
        f"Delete{message}",
        f"Delete{message}Request",
        f"Delete{message}Response",
        comment="Deletes a record.",
    )
    watched = "What becomes of the records that a filter names, from now or from a cursor."
    methods = (
        ("get", one("Get", "One record.")),
        ("find", listed),
        ("create", one("Create", "A new record.")),
        ("update", one("Update", "Changes the fields that the mask names.")),
        ("delete", deleted),
        ("find", stream("Query", "All records that a query names, many in each message.")),
        ("export", stream("Export", "Likewise, for those who may take records away.")),
        ("subscribe", stream("Watch", watched)),
    )
    offered = tuple(method for asked, method in methods if offers(definition, asked))
    return Service(f"{message}Service", offered, definition.description or definition.label)


def _requests(name: str, message: str) -> tuple[Message, ...]:
    """What the methods take and answer. The record is called like the object."""
    many = plural(message)
    records = snake(many)
    return (
        Message(
            f"Get{message}Request",
            (Field("id", "string", 1), Field("read_mask", MASK, 2, READ_MASK)),
        ),
        Message(
            f"List{many}Request",
            (
                Field("page_size", "int32", 1, "As many as fit where it is 0."),
                Field("page_token", "string", 2, "What the page before gave."),
                Field("filter", "string", 3, "As `$filter`: `status eq 'open' and total gt 5`."),
                Field("order_by", "string", 4, "As `$orderby`: `created_at desc, name`."),
                Field("read_mask", MASK, 5, READ_MASK),
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
                Field(beside(name), message, 1, "Its `id` tells which."),
                Field(
                    "update_mask", MASK, 2, "Named and not set: null. Left out: all that is set."
                ),
                Field("if_version", "optional int64", 3, IF_VERSION),
            ),
        ),
        Message(
            f"Delete{message}Request",
            (Field("id", "string", 1), Field("if_version", "optional int64", 2, IF_VERSION)),
        ),
        Message(f"Delete{message}Response"),
        Message(
            f"Query{many}Request",
            (Field("query", STRUCT, 1, "As the body of `POST /api/{object}/query`."),),
        ),
        Message(f"Query{many}Response", (Field(records, f"repeated {message}", 1),)),
        Message(
            f"Export{many}Request",
            (Field("query", STRUCT, 1, "Likewise."),),
        ),
        Message(f"Export{many}Response", (Field(records, f"repeated {message}", 1),)),
        Message(
            f"Watch{many}Request",
            (
                Field(
                    "where", STRUCT, 1, "As `where` of a query; all records where it is left out."
                ),
                Field("read_mask", MASK, 2, READ_MASK),
                Field("snapshot", "bool", 3, "Whether to begin with the records as they are."),
                Field("since", "string", 4, "The cursor of the last event that was seen."),
            ),
        ),
        Message(
            f"Watch{many}Response",
            (
                Field("type", CHANGE_TYPES.name, 1),
                Field("id", "string", 2),
                Field("record", _beside_enums(message), 3, "As it is now; not where it is gone."),
                Field("cursor", "string", 4, "Where to go on from after this."),
                Field("match", MATCHES.name, 5),
            ),
            (
                CHANGE_TYPES,
                MATCHES,
            ),
        ),
    )


def beside(name: str) -> str:
    """What the record is called beside the other fields of an update."""
    return "record" if name in {"update_mask", "if_version"} else name


def _beside_enums(message: str) -> str:
    """How the record's type is called where an enumeration may have the same name."""
    return f"{PACKAGE}.{message}" if message in {CHANGE_TYPES.name, MATCHES.name} else message


def snake(name: str) -> str:
    """`SalesOrders` → `sales_orders`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
