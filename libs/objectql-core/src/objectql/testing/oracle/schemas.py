"""Random schemas: objects with fields of every type, pointing to each other in every way.

Names are chosen to hurt: words of SQL, the names that statements use for their own columns, and
names as long as they may be.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from objectql.ids import FieldName, ObjectName
from objectql.metadata.model import FieldDef, ObjectDef, Option
from objectql.testing.samples import SampleSchema, field, object_def

_OBJECT_NAMES: Final[tuple[str, ...]] = (
    "item",
    "order",
    "user",
    "t0",
    "p0",
    "select",
    f"very_{'long_' * 10}name",
)
_FIELD_NAMES: Final[tuple[str, ...]] = (
    *"from limit end desc items count has_next last_key total json x o value key position".split(),
    *"item c0 tenant name state size price flag day moment clock labels notes link rank".split(),
    f"also_{'very_' * 10}long_a",
    f"also_{'very_' * 10}long_b",
)
_OPTIONS: Final = (
    Option("new", "Fresh"),
    Option("Open", "Öpen it's"),
    Option("100%", 'Done "100%"'),
    Option("o_o", "fresh_again"),
)
_TEXTS: Final = tuple("text textarea markdown email url phone user color code".split())
_STRUCTURES: Final = ("json", "file", "location", "vector", "grid")
MAX_DECIMALS: Final = 6


def random_schema(rng: Random) -> SampleSchema:
    """Two to four objects; each may point to each, itself included, singly or to several."""
    names: list[str] = rng.sample(_OBJECT_NAMES, rng.randint(2, 4))
    return SampleSchema(*(_random_object(rng, name, names) for name in names))


def fixed_schema() -> SampleSchema:
    """Two objects with a field of every kind; `item` points to `box`, and `box` to another `box`."""
    kinds = [
        field("word", "text", searchable=True),
        field("state", "select", options=_OPTIONS),
        field("size", "number", scale=0),
        field("ratio", "number"),
        field("price", "currency", scale=2),
        field("flag", "boolean"),
        field("day", "date"),
        field("moment", "datetime"),
        field("clock", "time"),
        field("labels", "tags"),
        field("notes", "json"),
    ]
    box = ObjectName("box")
    return SampleSchema(
        object_def("box", *kinds, field("parent", "lookup", reference=box)),
        object_def(
            "item",
            *kinds,
            field("box", "lookup", reference=box),
            field("spare", "lookup", reference=box, multiple=True),
            trash=True,
        ),
    )


def _random_object(rng: Random, name: str, others: list[str]) -> ObjectDef:
    names = rng.sample(_FIELD_NAMES, rng.randint(3, 14))
    # A lookup stands anywhere among the other fields, and there is mostly one.
    lookups = set(rng.sample(names, rng.randint(0, 3)))
    fields = [
        _random_lookup(rng, each, name, others) if each in lookups else _random_field(rng, each)
        for each in names
    ]
    return object_def(name, *fields, trash=rng.random() < 0.4)


def _random_lookup(rng: Random, name: str, own: str, others: list[str]) -> FieldDef:
    type_ = rng.choice(("lookup", "lookup", "master_detail", "tree"))
    target = own if type_ == "tree" else rng.choice(others)
    multiple = type_ == "lookup" and rng.random() < 0.3
    return field(name, type_, reference=ObjectName(target), multiple=multiple)


def _random_field(rng: Random, name: str) -> FieldDef:
    searchable = rng.random() < 0.3
    more: dict[str, Any] = {"index": rng.random() < 0.2}
    match rng.randint(0, 15):
        case 0 | 1 | 2:
            return field(name, rng.choice(_TEXTS), searchable=searchable, **more)
        case 3:
            return field(name, "select", options=_OPTIONS, searchable=searchable, **more)
        case 4:
            return field(name, "number", scale=0, **more)
        case 5:
            return field(name, rng.choice(("number", "percent", "rating")), **more)
        case 6:
            return field(name, "number", scale=rng.randint(1, MAX_DECIMALS), **more)
        case 7:
            return field(name, "currency", scale=rng.choice((None, 0, 2, 4)), **more)
        case 8:
            return field(name, "boolean", **more)
        case 9 | 10:
            return field(name, "date", **more)
        case 11 | 12:
            return field(name, "datetime", **more)
        case 13:
            return field(name, "time", **more)
        case 14:
            if rng.random() < 0.5:
                return field(name, "tags")
            return field(name, "select", options=_OPTIONS, multiple=True)
        case _:
            return field(name, rng.choice(_STRUCTURES))


def object_at(schema: SampleSchema, object_: ObjectDef, path: tuple[str, ...]) -> ObjectDef:
    """The object that has the field at the end of `path`."""
    for name in path[:-1]:
        reference = object_.fields[FieldName(name)].reference
        assert reference is not None, f"{name} leads nowhere"
        object_ = schema.object(reference)
    return object_
