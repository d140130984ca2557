"""Numbers by which fields and options are known in Protocol Buffers, which never change.

A number belongs to a field of one name and one type for as long as the store lives. A field that
goes keeps its number, so nobody else gets it; one that comes back finds it again; one whose type
changes is another field. Numbers are given in the order of declaration, when metadata are
published, and stored with them: all processes and all versions agree.

Source: Protocol Buffers, "Updating A Message Type".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import msgspec

from objectql.ids import ObjectName
from objectql.metadata.document import Document
from objectql.metadata.model import ActionDef, FieldDef, ObjectDef, Option
from objectql.metadata.types import Storage

KIND: Final = "field_numbers"
LAYER: Final = "field numbers"
"""The layer that holds nothing else; no package can be called so."""

_REFUSED: Final = range(19_000, 20_000)
"""What Protocol Buffers keep for themselves."""

_BY_STORAGE: Final[Mapping[Storage, str]] = {
    Storage.TEXT: "string",
    Storage.INTEGER: "int64",
    Storage.FLOAT: "double",
    Storage.DECIMAL: "google.type.Decimal",
    Storage.BOOLEAN: "bool",
    Storage.DATE: "google.type.Date",
    Storage.DATETIME: "google.protobuf.Timestamp",
    Storage.TIME: "google.type.TimeOfDay",
    Storage.JSON: "google.protobuf.Value",
    Storage.LIST: "repeated string",
    Storage.NONE: "google.protobuf.Value",
}

_BY_FORMULA: Final[Mapping[str, str]] = {
    "number": "double",
    "currency": "double",
    "percent": "double",
    "boolean": "bool",
    "date": "google.type.Date",
    "datetime": "google.protobuf.Timestamp",
    "text": "string",
}


class Choice(msgspec.Struct, frozen=True, array_like=True):
    """A value of an enumeration."""

    number: int
    name: str


class EnumNumbers(msgspec.Struct, frozen=True):
    """The enumeration of a field: `values` by what is stored. `zero` names none of them."""

    name: str
    zero: str
    values: Mapping[str, Choice] = {}


class ObjectNumbers(msgspec.Struct, frozen=True, omit_defaults=True):
    """What Protocol Buffers know of one object, present and past.

    `message` names its message. `fields` has a number for each `name type`, `enums` an enumeration
    for each field that ever had options. Names are kept as numbers are: a new one gives way.
    `actions` has the same of the parameters of each action; `message` is what its method is called.
    """

    message: str
    fields: Mapping[str, int] = {}
    enums: Mapping[str, EnumNumbers] = {}
    actions: Mapping[str, ObjectNumbers] = {}

    def number(self, field: FieldDef) -> int:
        """The number of a field that the object has now."""
        return self.fields[field_key(field)]

    def retired(self, fields: Iterable[FieldDef]) -> tuple[int, ...]:
        """The numbers that none of `fields` uses, in order."""
        used = {self.number(field) for field in fields}
        return tuple(sorted(set(self.fields.values()) - used))


def proto_type(field: FieldDef) -> str:
    """The type of a field; `enum` and `repeated enum` where it is one of its own."""
    if field.formula is not None:
        return _BY_FORMULA.get(field.formula.data_type, "google.protobuf.Value")
    if field.options and field.storage is Storage.TEXT:
        return "enum"
    if field.options and field.storage is Storage.LIST:
        return "repeated enum"
    return _BY_STORAGE[field.storage]


def field_key(field: FieldDef) -> str:
    """What a number belongs to."""
    return f"{field.name} {proto_type(field)}"


def option_key(option: Option) -> str:
    """A choice as text."""
    return option.value if isinstance(option.value, str) else json.dumps(option.value)


def allocate(
    objects: Iterable[ObjectDef], known: Mapping[ObjectName, ObjectNumbers]
) -> dict[ObjectName, ObjectNumbers]:
    """`known` with a number for everything in `objects`; nothing that is known changes.

    Objects of the system have none: they have no service.
    """
    numbers = dict(known)
    taken = {name for each in known.values() for name in message_names(each.message)}
    taken |= {
        name
        for each in known.values()
        for action in each.actions.values()
        for name in action_names(action.message)
    }
    for definition in objects:
        if definition.is_system:
            continue
        before = numbers.get(definition.name)
        if before is None:
            before = ObjectNumbers(_message_name(definition.name, message_names, taken))
            taken.update(message_names(before.message))
        actions = dict(before.actions)
        for action in offered_actions(definition):
            own = actions.get(action.name)
            if own is None:
                name = f"{action.name}_{before.message}"
                own = ObjectNumbers(_message_name(name, action_names, taken))
                taken.update(action_names(own.message))
            actions[action.name] = _with_numbers(own, action.params.values())
        made = _with_numbers(before, definition.fields.values())
        numbers[definition.name] = msgspec.structs.replace(made, actions=actions)
    return numbers


def offered_actions(definition: ObjectDef) -> list[ActionDef]:
    """The actions that clients may run."""
    return [action for action in definition.actions.values() if not action.internal]


def _with_numbers(before: ObjectNumbers, declared: Iterable[FieldDef]) -> ObjectNumbers:
    fields, enums = dict(before.fields), dict(before.enums)
    taken = {name for enum in enums.values() for name in (enum.name, enum.zero)}
    taken.update(choice.name for enum in enums.values() for choice in enum.values.values())
    for field in declared:
        fields.setdefault(field_key(field), _following(fields.values()))
        if not proto_type(field).endswith("enum"):
            continue
        enum = enums.get(field.name)
        if enum is None:
            zero = _free(f"{field.name.upper()}_UNSPECIFIED", taken)
            enum = EnumNumbers(_free(_camel(field.name), taken), zero)
        values = dict(enum.values)
        for option in field.options:
            key = option_key(option)
            if key not in values:
                words = re.sub(r"[^A-Z0-9]+", "_", key.upper()).strip("_") or "VALUE"
                name = _free(f"{field.name.upper()}_{words}", taken)
                values[key] = Choice(_following(each.number for each in values.values()), name)
        enums[field.name] = EnumNumbers(enum.name, enum.zero, values)
    return ObjectNumbers(before.message, fields, enums)


def _following(numbers: Iterable[int]) -> int:
    following = max(numbers, default=0) + 1
    return _REFUSED.stop if following in _REFUSED else following


def _free(name: str, taken: set[str]) -> str:
    """`name`, with a number where it is taken; it is so from now on."""
    made, tries = name, 1
    while made in taken:
        tries += 1
        made = f"{name}_N{tries}" if name.isupper() else f"{name}N{tries}"
    taken.add(made)
    return made


def _camel(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def _message_name(
    name: str, names: Callable[[str], Collection[str]], taken: Collection[str]
) -> str:
    """`sales_order` → `SalesOrder`; with a number where one of its `names` would name two things."""
    plain = _camel(name)
    made, tries = plain, 1
    while any(each in taken for each in names(made)):
        tries += 1
        made = f"{plain}N{tries}"
    return made


def plural(message: str) -> str:
    """`Flight` → `Flights`, by the letters alone: it is a name, and stays what it is."""
    if re.search(r"[^aeiou]y\Z", message):
        return message[:-1] + "ies"
    return message + ("es" if re.search(r"(s|x|z|ch|sh)\Z", message) else "s")


def message_names(message: str) -> frozenset[str]:
    """Everything of one object that is named on the level of the package."""
    one = {f"{verb}{message}Request" for verb in ("Get", "Create", "Update", "Delete")}
    many = {
        f"{verb}{plural(message)}{end}"
        for verb in ("List", "Query", "Export", "Watch")
        for end in ("Request", "Response")
    }
    return frozenset({message, f"{message}Service", f"Delete{message}Response", *one, *many})


def action_names(message: str) -> frozenset[str]:
    """Everything of one action that is named on the level of the package."""
    return frozenset({f"{message}Request", f"{message}Response", f"{message}Parameters"})


def holds_numbers(document: Document) -> bool:
    """Whether it is one of ours: nobody else can write into this layer."""
    return document.layer == LAYER and document.type == KIND


def numbers_of(documents: Iterable[Document]) -> dict[ObjectName, ObjectNumbers]:
    """What the documents of this kind hold."""
    return {
        ObjectName(each.name): msgspec.convert(each.content, ObjectNumbers)
        for each in documents
        if holds_numbers(each)
    }


def documents_for(numbers: Mapping[ObjectName, ObjectNumbers]) -> tuple[Document, ...]:
    """One document for each object."""
    return tuple(
        Document(LAYER, KIND, name, msgspec.to_builtins(each)) for name, each in numbers.items()
    )
