"""Random queries: everything that can be asked of one object, in every combination that has sense."""

from __future__ import annotations

from random import Random
from typing import Any, Final, Literal, TypeAlias

import msgspec

from objectql.ids import FieldName
from objectql.metadata.model import ObjectDef
from objectql.metadata.types import NUMERIC, Storage
from objectql.query.ast import (
    AggregateFunction,
    Aggregation,
    And,
    Compare,
    Expand,
    Filter,
    Granularity,
    Group,
    Not,
    Op,
    Or,
    Path,
    Query,
    Search,
    Sort,
)
from objectql.query.bind import related_lists
from objectql.query.search_words import terms_of
from objectql.testing.oracle.contents import is_calm, literal_of, text_of
from objectql.testing.oracle.filters import (
    ORDERED,
    SHAPELESS,
    World,
    other_literals,
    random_filter,
    random_place,
    random_scalar,
)

Kind: TypeAlias = Literal["records", "groups", "any"]

_GRANULARITIES: Final[tuple[Granularity, ...]] = ("day", "week", "month", "quarter", "year")
LIMITS: Final = (None, 0, 1, 2, 3, 5, 20)
_MAX_EXPAND_DEPTH: Final = 3


def random_query(rng: Random, world: World, object_: str = "", kind: Kind = "any") -> Query:
    """A query for records, distinct values or groups of an object (default: any)."""
    definition = world.schema.object(object_ or rng.choice(world.objects))
    where = None if rng.random() < 0.25 else random_filter(rng, world, definition)
    by_index = _by_index(rng, world, definition) if rng.random() < 0.2 else None
    if by_index is not None:  # as most are asked: what may share a statement with others
        where = by_index if where is None or rng.random() < 0.5 else And((by_index, where))
    if kind == "groups" or (kind == "any" and rng.random() < 0.25):
        return _random_groups(rng, world, definition, where)
    distinct = kind == "any" and rng.random() < 0.12
    fields: tuple[Path, ...] | None = None
    if distinct:
        paths = [random_scalar(rng, world, definition).path for _ in range(rng.randint(1, 3))]
        fields = tuple(dict.fromkeys(paths))
    elif rng.random() < 0.5:
        paths = [random_place(rng, world, definition).path for _ in range(rng.randint(0, 4))]
        fields = tuple(dict.fromkeys(paths))
    is_plain = by_index is not None and rng.random() < 0.5
    sorts = () if is_plain else random_sorts(rng, world, definition)
    if distinct and fields is not None:
        sorts = tuple([sort for sort in sorts if sort.path in fields])
    has_id = fields is not None and ("id",) in fields
    return Query(
        object=definition.name,
        fields=fields,
        where=where,
        search=_random_search(rng, world, definition),
        order_by=sorts,
        limit=rng.choice(LIMITS),
        offset=rng.choice((0, 0, 0, 1, 3)),
        expand=() if distinct and not has_id else _random_relations(rng, world, definition),
        distinct=distinct and not has_id,
        count=rng.choice(("none", "none", "exact", "estimated")),
        include_deleted=rng.random() < 0.2,
    )


def _by_index(rng: Random, world: World, definition: ObjectDef) -> Filter | None:
    """That an indexed field, or the id, has a value."""
    found = [
        item
        for item in definition.stored_fields
        if (item.name == "id" or item.index or item.unique or item.is_lookup)
        and item.storage not in SHAPELESS
    ]
    if not found:
        return None
    item = rng.choice(found)
    return Compare((item.name,), Op.EQ, literal_of(rng, item, world.known(definition)))


def random_sorts(rng: Random, world: World, definition: ObjectDef) -> tuple[Sort, ...]:
    """Up to three sort keys, in any direction, of the object or behind its lookups."""
    return tuple(
        [
            Sort(random_scalar(rng, world, definition).path, descending=rng.random() < 0.5)
            for _ in range(rng.choice((0, 1, 1, 2, 3)))
        ]
    )


def _random_search(rng: Random, world: World, definition: ObjectDef) -> Search | None:
    if rng.random() > 0.12:
        return None
    texts = [f for f in definition.stored_fields if f.storage is Storage.TEXT and not f.system]
    # Without names it is the searchable fields, or else those of a type that is searched.
    named = rng.random() < 0.5 or not any(item.searchable for item in texts)
    fields = (
        tuple(str(item.name) for item in rng.sample(texts, min(2, len(texts)))) if named else ()
    )
    if named and not fields:
        return None
    known = world.known(definition)
    terms: list[str] = []
    for _ in range(rng.randint(1, 2)):
        value = rng.choice(known).get(rng.choice(texts).name) if known else None
        text = value if isinstance(value, str) and rng.random() < 0.6 else text_of(rng)
        start = rng.randint(0, len(text))
        terms.append(rng.choice(("fresh", "OPEN", "%", text[start : start + 3])))
    text = " ".join(terms)
    if not text.split():
        return None
    by_words = rng.random() < 0.5 and bool(terms_of(text))
    return Search(text, fields, "words" if by_words else "substring")


# --- relations ----------------------------------------------------------------------------------


def _random_relations(
    rng: Random, world: World, definition: ObjectDef, depth: int = 0
) -> tuple[Expand, ...]:
    forward = [item.name for item in definition.stored_fields if item.reference is not None]
    inverse = {
        name: relation
        for name, relation in related_lists(world.schema.inverse_lookups(definition.name)).items()
        if name not in definition.fields
    }
    names = sorted({*map(str, forward), *inverse})
    if not names or depth == _MAX_EXPAND_DEPTH or rng.random() < 0.6:
        return ()
    found: list[Expand] = []
    for name in rng.sample(names, min(len(names), rng.randint(1, 2))):
        is_list = name not in definition.fields
        reference = None if is_list else definition.fields[FieldName(name)].reference
        target = inverse[name][0] if reference is None else world.schema.object(reference)
        found.append(Expand(name, _random_related(rng, world, target, depth, is_list=is_list)))
    return tuple(found)


def _random_related(
    rng: Random, world: World, target: ObjectDef, depth: int, *, is_list: bool
) -> Query:
    fields: tuple[Path, ...] | None = None
    if rng.random() < 0.6:
        paths = [random_place(rng, world, target).path for _ in range(rng.randint(0, 3))]
        fields = tuple(dict.fromkeys(paths))
    return Query(
        object="",
        fields=fields,
        where=random_filter(rng, world, target) if rng.random() < 0.4 else None,
        order_by=random_sorts(rng, world, target) if is_list else (),
        limit=rng.choice((None, 0, 1, 2, 5)) if is_list else None,
        offset=rng.choice((0, 0, 1)) if is_list else 0,
        expand=_random_relations(rng, world, target, depth + 1),
    )


# --- groups -------------------------------------------------------------------------------------


def _random_groups(rng: Random, world: World, definition: ObjectDef, where: Filter | None) -> Query:
    groups: list[Group] = []
    storages: dict[str, Storage] = {}
    for index in range(rng.choice((0, 1, 1, 2))):
        place = random_scalar(rng, world, definition)
        storage = place.field.storage
        granularity: Granularity | None = None
        if storage in {Storage.DATE, Storage.DATETIME} and rng.random() < 0.7:
            granularity = rng.choice(_GRANULARITIES)
        alias = rng.choice((f"g{index}", f"Group.{index}", f"c{1 - index}"))
        groups.append(Group(place.path, granularity, alias))
        storages[alias] = Storage.TEXT if granularity else storage
    aggregations: list[Aggregation] = []
    for index in range(rng.randint(0 if groups else 1, 3)):
        item, storage = _random_aggregation(rng, world, definition, f"x{index}")
        aggregations.append(item)
        storages[item.alias] = storage
    return Query(
        object=definition.name,
        where=where,
        search=_random_search(rng, world, definition),
        order_by=tuple(
            [
                Sort((rng.choice(list(storages)),), descending=rng.random() < 0.5)
                for _ in range(rng.choice((0, 1, 2)))
            ]
        ),
        limit=rng.choice((None, None, 1, 2, 5)),
        offset=rng.choice((0, 0, 0, 1)),
        group_by=tuple(groups),
        aggregations=tuple(aggregations),
        having=_random_having(rng, storages) if rng.random() < 0.4 else None,
        count=rng.choice(("none", "exact")),
        include_deleted=rng.random() < 0.2,
    )


def _random_aggregation(
    rng: Random, world: World, definition: ObjectDef, alias: str
) -> tuple[Aggregation, Storage]:
    place = random_scalar(rng, world, definition)
    storage = place.field.storage
    functions: list[AggregateFunction] = ["count", "count_distinct"]
    if storage in NUMERIC and is_calm(place.field):
        functions.extend(("sum", "sum", "avg", "avg"))
    if storage is not Storage.BOOLEAN:
        functions.extend(("min", "max"))
    function = rng.choice(functions)
    counts = function in {"count", "count_distinct"}
    result = Storage.INTEGER if counts else Storage.FLOAT if function == "avg" else storage
    item = Aggregation(
        function=function,
        path=None if function == "count" and rng.random() < 0.5 else place.path,
        alias=alias,
        filter=random_filter(rng, world, definition) if rng.random() < 0.3 else None,
    )
    return item, result


def _random_having(rng: Random, storages: dict[str, Storage], depth: int = 0) -> Filter:
    if depth < 2 and rng.random() < 0.3:
        items = tuple([_random_having(rng, storages, depth + 1) for _ in range(2)])
        return rng.choice((And(items), Or(items), Not(items[0])))
    name = rng.choice(list(storages))
    if rng.random() < 0.15:
        return Compare((name,), Op.NULL, rng.random() < 0.5)
    literal = _HAVING_LITERALS.get(storages[name])
    if literal is None:
        return Compare((name,), Op.NULL, rng.random() < 0.5)
    kind = rng.random()
    if kind < 0.15:
        return Compare((name,), rng.choice((Op.IN, Op.NIN)), (rng.choice(literal), None))
    if kind < 0.25:
        return Compare((name,), Op.BETWEEN, (rng.choice(literal), rng.choice(literal)))
    return Compare((name,), rng.choice(ORDERED), rng.choice(literal))


_HAVING_LITERALS: Final[dict[Storage, tuple[Any, ...]]] = {
    Storage.TEXT: ("a", "2026-07", "2026-W31", "o_o", "é", "😀"),
    Storage.INTEGER: (0, 1, 2, 3, "2", -1),
    Storage.FLOAT: (0, 0.25, 1.5, -1, "0.5", 1e15),
    Storage.DECIMAL: (0, "1.25", 2.5, -3, "0.001"),
    Storage.BOOLEAN: (True, False),
    Storage.DATE: ("2026-07-28", "1970-01-01"),
    Storage.DATETIME: ("2026-07-28T12:00:00.500Z", "2026-07-28", "2026-01-01T02:30:00+02:00"),
    Storage.TIME: ("09:00", "14:30:00.500"),
}


def with_other_literals(rng: Random, world: World, query: Query) -> Query:
    """The same shape of query with other literals: what a cached plan is made for."""
    definition = world.schema.object(query.object)

    def changed(node: Filter | None) -> Any:
        return None if node is None else other_literals(rng, world, definition, node)

    return msgspec.structs.replace(
        query,
        where=changed(query.where),
        aggregations=tuple(
            [
                msgspec.structs.replace(item, filter=changed(item.filter))
                for item in query.aggregations
            ]
        ),
        offset=rng.randint(1, 4) if query.offset else 0,
    )


def row_rules(rng: Random, world: World) -> dict[str, Filter]:
    """A row rule for some objects: what a caller must satisfy to see a record of theirs."""
    return {
        name: random_filter(rng, world, world.schema.object(name), depth=2)
        for name in world.objects
        if rng.random() < 0.4
    }
