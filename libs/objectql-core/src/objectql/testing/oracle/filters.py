"""Random conditions: every operator on every storage class, paths, other fields, every junction."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Final, NamedTuple, cast

import msgspec

from objectql.ids import FieldName
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.types import NUMERIC, Storage
from objectql.query.ast import And, Compare, Filter, Not, Op, Or, Path
from objectql.testing.oracle.contents import TAGS, literal_of, text_of
from objectql.testing.oracle.schemas import object_at
from objectql.testing.samples import SampleSchema
from objectql.values import Record

ORDERED: Final = (Op.EQ, Op.NE, Op.GT, Op.GTE, Op.LT, Op.LTE)
BOUNDING: Final = frozenset({Op.GT, Op.GTE, Op.LT, Op.LTE})
TEXT_OPS: Final = (
    *(Op.CONTAINS, Op.NOT_CONTAINS, Op.STARTS_WITH, Op.ENDS_WITH, Op.ICONTAINS),
    *(Op.LIKE, Op.ILIKE),
)
SHAPELESS: Final = frozenset({Storage.JSON, Storage.LIST})
_MAX_DEPTH: Final = 3


class World(NamedTuple):
    """A schema and what the queries over it may find: records by object name."""

    schema: SampleSchema
    rows: dict[str, list[Record]]

    @property
    def objects(self) -> tuple[str, ...]:
        """The names of the objects."""
        return tuple(self.rows)

    def known(self, target: ObjectDef) -> Sequence[Record]:
        """The records of an object."""
        return self.rows.get(target.name, ())


class Place(NamedTuple):
    """A path from some object, the field at its end, and the object that has that field."""

    path: Path
    field: FieldDef
    owner: ObjectDef


def random_place(rng: Random, world: World, definition: ObjectDef, hops: int = 3) -> Place:
    """A stored field of the object, or of one that up to `hops` lookups lead to."""
    fields = [item for item in definition.stored_fields if not item.info.write_only]
    declared = [item for item in fields if not item.system]
    found = rng.choice(declared if declared and rng.random() < 0.8 else fields)
    if found.reference is None or found.multiple or hops == 0 or rng.random() < 0.3:
        return Place((found.name,), found, definition)
    rest = random_place(rng, world, world.schema.object(found.reference), hops - 1)
    return Place((found.name, *rest.path), rest.field, rest.owner)


def random_scalar(rng: Random, world: World, definition: ObjectDef) -> Place:
    """As `random_place`, of what has an order."""
    place = random_place(rng, world, definition)
    while place.field.storage in SHAPELESS:
        place = random_place(rng, world, definition)
    return place


def random_filter(rng: Random, world: World, definition: ObjectDef, depth: int = 0) -> Filter:
    """Conditions joined in every way, empty junctions included."""
    if depth == _MAX_DEPTH or rng.random() < 0.55:
        return random_condition(rng, world, definition)
    if rng.random() < 0.25:
        return Not(random_filter(rng, world, definition, depth + 1))
    count = rng.choice((0, 1, 2, 2, 2, 3, 3, 4))
    if rng.random() < 0.25:  # of one column: ranges that meet, lists that overlap
        place = random_place(rng, world, definition)
        items: tuple[Filter, ...] = tuple(
            [random_condition(rng, world, definition, place) for _ in range(count)]
        )
    else:
        items = tuple([random_filter(rng, world, definition, depth + 1) for _ in range(count)])
    if items and rng.random() < 0.1:
        items = (*items, items[0])
    if items and rng.random() < 0.1:
        items = (*items, Not(items[-1]))
    return And(items) if rng.random() < 0.5 else Or(items)


def random_condition(
    rng: Random, world: World, definition: ObjectDef, place: Place | None = None
) -> Compare:
    """One condition on a field of the object (default: any), or of one that lookups lead to."""
    place = place or random_place(rng, world, definition)
    path, target, owner = place
    storage = target.storage
    known = world.known(owner)
    if rng.random() < 0.08 or storage is Storage.JSON:
        if rng.random() < 0.7:
            return Compare(path, Op.NULL, rng.random() < 0.5)
        return Compare(path, rng.choice((Op.EQ, Op.NE)), None)
    if storage is Storage.LIST:
        return _list_condition(rng, path, target, known)
    if storage is Storage.TEXT and rng.random() < (0.2 if target.options else 0.5):
        op = rng.choice(TEXT_OPS)
        return Compare(path, op, _part_of(rng, target, known, op))
    match rng.randint(0, 9):
        case 0:
            return Compare(path, rng.choice(ORDERED), None)
        case 1 | 2:
            members: list[Any] = [
                None if rng.random() < 0.15 else literal_of(rng, target, known)
                for _ in range(rng.randint(0, 4))
            ]
            return Compare(path, rng.choice((Op.IN, Op.NIN)), tuple(members))
        case 3:
            bounds = tuple([literal_of(rng, target, known, is_bound=True) for _ in range(2)])
            return Compare(path, Op.BETWEEN, bounds)
        case 4 | 5:
            return _field_condition(rng, world, definition, place)
        case _:
            op = rng.choice(ORDERED)
            return Compare(path, op, literal_of(rng, target, known, is_bound=op in BOUNDING))


def _list_condition(rng: Random, path: Path, target: FieldDef, known: Sequence[Record]) -> Compare:
    member: Any = rng.choice(TAGS)
    value = rng.choice(known).get(target.name) if known else None
    if isinstance(value, list) and value:
        member = rng.choice(value)
    ops = [Op.EQ, Op.NE]
    if member:  # membership has the operators of text, which compare with some text
        ops += [Op.CONTAINS, Op.NOT_CONTAINS]
    return Compare(path, rng.choice(ops), member)


def _field_condition(rng: Random, world: World, definition: ObjectDef, place: Place) -> Compare:
    """Compared with another field of the record, or of one that it points to."""
    numeric = place.field.storage in NUMERIC
    for _ in range(8):
        other = random_scalar(rng, world, definition)
        storage = other.field.storage
        if storage is place.field.storage or (numeric and storage in NUMERIC):
            return Compare(place.path, rng.choice(ORDERED), None, other.path)
    return Compare(place.path, rng.choice(ORDERED), None, place.path)


def _part_of(rng: Random, target: FieldDef, known: Sequence[Record], op: Op) -> str:
    """A piece of some text of the field, or any text; never empty."""
    text = ""
    value = rng.choice(known).get(target.name) if known else None
    if isinstance(value, str) and value and rng.random() < 0.7:
        start = rng.randint(0, len(value) - 1)
        text = value[start : start + rng.randint(1, 4)]
        if rng.random() < 0.2:
            text = text.swapcase()
    text = text or text_of(rng) or "a"
    if op in {Op.LIKE, Op.ILIKE} and rng.random() < 0.7:
        at = rng.randint(0, len(text))
        text = text[:at] + rng.choice(("%", "_", "%%", "_%")) + text[at + rng.randint(0, 1) :]
    return text


def other_literals(rng: Random, world: World, definition: ObjectDef, node: Filter) -> Filter:
    """The same filter with other literals of the same nature."""
    match node:
        case Not(item):
            return Not(other_literals(rng, world, definition, item))
        case And(items) | Or(items):
            return type(node)(
                tuple([other_literals(rng, world, definition, item) for item in items])
            )
        case Compare():
            return _other_literal(rng, world, definition, node)


def _other_literal(rng: Random, world: World, definition: ObjectDef, node: Compare) -> Compare:
    if node.value is None or node.op is Op.NULL or rng.random() < 0.2:
        return node
    owner = object_at(world.schema, definition, node.path)
    target = owner.fields[FieldName(node.path[-1])]
    known = world.known(owner)
    value: Any
    if target.storage is Storage.LIST:
        value = rng.choice(TAGS) or "red"
    elif node.op in TEXT_OPS:
        value = _part_of(rng, target, known, node.op)
    elif node.op in {Op.IN, Op.NIN, Op.BETWEEN}:
        members = cast("tuple[Any, ...]", node.value)
        value = tuple([None if m is None else literal_of(rng, target, known) for m in members])
    else:
        value = literal_of(rng, target, known, is_bound=node.op in BOUNDING)
    return msgspec.structs.replace(node, value=value)
