"""Hypothesis strategies: random schemas, rows and queries that every driver must agree on.

Values are few and close together, so that comparisons hit, ties occur and groups have members.
Floats are multiples of a quarter: their sums are exact in every order.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, cast

from hypothesis import strategies as st

from objectql.ids import FieldName, ObjectName
from objectql.metadata.model import FieldDef, ObjectDef, Option
from objectql.metadata.types import NUMERIC, Storage
from objectql.query.ast import (
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
from objectql.testing.samples import SampleSchema, field, object_def
from objectql.values import Record, Value

TENANT = "default"

_TEXTS = st.one_of(
    st.sampled_from(
        ["a", "A", "ab", "aB", "a b", "a_b", "a%b", "100%", "É", "é", "ß", "Ω", "'", "\\"]
    ),
    st.text(alphabet="abAB _%é\\'\".", max_size=4),
)
_DAYS = st.sampled_from(
    "1969-12-31 2024-02-29 2025-12-29 2026-01-01 2026-03-31 2026-07-28 2026-07-29".split()
)
_CLOCKS = st.sampled_from(["00:00:00", "09:00:00", "14:30:00", "14:30:00.500", "23:59:59.999"])
_INSTANTS = st.tuples(
    _DAYS,
    st.sampled_from(["00:00:00.000", "09:15:00.000", "12:00:00.500", "23:59:59.999"]),
).map(lambda moment: f"{moment[0]}T{moment[1]}Z")
_TAGS = ("red", "green", "blue")
_OPTIONS = (Option("new", "Fresh"), Option("open", "Open"), Option("done", "Finished"))
_ORDERED = (Op.EQ, Op.NE, Op.GT, Op.GTE, Op.LT, Op.LTE)
_TEXT_OPS = (
    Op.CONTAINS,
    Op.NOT_CONTAINS,
    Op.STARTS_WITH,
    Op.ENDS_WITH,
    Op.ICONTAINS,
)
_GRANULARITIES: tuple[Granularity, ...] = ("day", "week", "month", "quarter", "year")

_KINDS: dict[str, dict[str, Any]] = {
    "word": {"type": "text"},
    "state": {"type": "select", "options": _OPTIONS},
    "size": {"type": "number", "scale": 0},
    "ratio": {"type": "number"},
    "price": {"type": "currency", "scale": 2},
    "flag": {"type": "boolean"},
    "day": {"type": "date"},
    "moment": {"type": "datetime"},
    "clock": {"type": "time"},
    "labels": {"type": "tags"},
}
"""One field of each kind; `fixed_schema` has them all."""


class Case(NamedTuple):
    """A query over rows by object name."""

    schema: SampleSchema
    rows: dict[str, list[Record]]
    query: Query


def fixed_schema() -> SampleSchema:
    """Two objects with a field of every kind; `item` points to `box`, and `box` to another `box`.

    For drivers, whose tables are made once for many examples.
    """
    kinds = [field(name, **keys) for name, keys in _KINDS.items()]
    box = object_def("box", *kinds, field("parent", "lookup", reference=ObjectName("box")))
    item = object_def(
        "item",
        *kinds,
        field("box", "lookup", reference=ObjectName("box")),
        field("spare", "lookup", reference=ObjectName("box"), multiple=True),
        trash=True,
    )
    return SampleSchema(box, item)


@st.composite
def schemas(draw: st.DrawFn) -> SampleSchema:
    """`box` and `item` with some fields of some kinds."""

    def fields(name: str) -> list[FieldDef]:
        names = draw(st.lists(st.sampled_from(sorted(_KINDS)), unique=True, max_size=6))
        found = [field(kind, **_KINDS[kind]) for kind in names]
        if draw(st.booleans()):
            found.append(field("box" if name == "item" else "parent", **_LOOKUP))
        return found

    return SampleSchema(
        object_def("box", *fields("box"), trash=draw(st.booleans())),
        object_def("item", *fields("item"), trash=draw(st.booleans())),
    )


_LOOKUP: dict[str, Any] = {"type": "lookup", "reference": ObjectName("box")}


def values(definition: FieldDef) -> st.SearchStrategy[Value]:
    """Canonical values of a field, without null."""
    if definition.options:
        return st.sampled_from([option.value for option in definition.options])
    match definition.storage:
        case Storage.INTEGER:
            return st.integers(-3, 5)
        case Storage.FLOAT:
            return st.integers(-8, 12).map(lambda quarter: quarter / 4)
        case Storage.DECIMAL:
            return st.integers(-300, 500).map(lambda cents: Decimal(cents).scaleb(-2))
        case Storage.BOOLEAN:
            return st.booleans()
        case Storage.DATE:
            return _DAYS
        case Storage.DATETIME:
            return _INSTANTS
        case Storage.TIME:
            return _CLOCKS
        case Storage.LIST:
            return st.lists(st.sampled_from(_TAGS), unique=True, max_size=3).map(
                lambda tags: cast("Value", tags)
            )
        case _:
            return _TEXTS


@st.composite
def rows(draw: st.DrawFn, schema: SampleSchema, max_size: int = 8) -> dict[str, list[Record]]:
    """Records by object name: every key of the object, lookups to records that exist or null."""
    ids = {
        name: [f"{name[0]}{n}" for n in range(draw(st.integers(0, max_size)))]
        for name in ("box", "item")
    }
    return {
        name: [_draw_record(draw, schema.object(name), id_, ids) for id_ in ids[name]]
        for name in ids
    }


def _draw_record(
    draw: st.DrawFn, definition: ObjectDef, id_: str, ids: dict[str, list[str]]
) -> Record:
    record: Record = {
        "id": id_,
        "created_at": draw(_INSTANTS),
        "created_by": draw(st.sampled_from(["u1", "u2"])),
        "updated_at": draw(_INSTANTS),
        "updated_by": "u1",
        "version": draw(st.integers(1, 3)),
    }
    for name, item in definition.fields.items():
        if name in record:
            continue
        if item.reference is not None:
            known = ids[item.reference]
            if item.multiple:
                record[name] = cast("Value", draw(_some_of(known)))
            else:
                record[name] = draw(st.sampled_from([None, *known]))
        else:
            record[name] = draw(st.one_of(st.none(), values(item)))
    return record


def _some_of(known: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(known), unique=True, max_size=3) if known else st.just([])


# --- queries ------------------------------------------------------------------------------------


def comparands(definition: FieldDef) -> st.SearchStrategy[Any]:
    """Literals for a field as a request may write them."""
    exact = values(definition)
    match definition.storage:
        case Storage.DECIMAL:
            return exact.map(str)
        case Storage.INTEGER | Storage.FLOAT:
            return st.one_of(exact, exact.map(str))
        case Storage.DATETIME:
            return st.one_of(exact, _DAYS)
        case _:
            return exact


@st.composite
def conditions(draw: st.DrawFn, schema: SampleSchema, definition: ObjectDef) -> Compare:
    """One condition on a field of the object, or of one that a lookup leads to."""
    path, target = draw(_paths(schema, definition))
    storage = target.storage
    if draw(st.integers(0, 9)) == 0:
        return Compare(path, Op.NULL, draw(st.booleans()))
    if storage is Storage.LIST:
        word = draw(st.sampled_from([*_TAGS, "b0"]))
        return Compare(path, draw(st.sampled_from([Op.CONTAINS, Op.NOT_CONTAINS])), word)
    if storage is Storage.TEXT and draw(st.booleans()):
        text = draw(_TEXTS.filter(bool))
        # A backslash may be an escape or a character in `like`, depending on the database.
        patterns = () if "\\" in text else (Op.LIKE, Op.ILIKE)
        op = draw(st.sampled_from([*_TEXT_OPS, *patterns]))
        return Compare(path, op, text)
    literal = comparands(target)
    match draw(st.sampled_from(["one", "one", "null", "list", "between", "field"])):
        case "null":
            return Compare(path, draw(st.sampled_from(_ORDERED)), None)
        case "list":
            members = draw(st.lists(st.one_of(st.none(), literal), max_size=4))
            return Compare(path, draw(st.sampled_from([Op.IN, Op.NIN])), tuple(members))
        case "between":
            return Compare(path, Op.BETWEEN, (draw(literal), draw(literal)))
        case "field":
            others = [name for name, item in definition.fields.items() if item.storage is storage]
            other = draw(st.sampled_from(others or [FieldName("id")]))
            if definition.fields[other].storage is storage:
                return Compare(path, draw(st.sampled_from(_ORDERED)), None, (other,))
            return Compare(path, Op.EQ, draw(literal))
        case _:
            return Compare(path, draw(st.sampled_from(_ORDERED)), draw(literal))


@st.composite
def _paths(
    draw: st.DrawFn, schema: SampleSchema, definition: ObjectDef, hops: int = 2
) -> tuple[Path, FieldDef]:
    name = draw(st.sampled_from([n for n in definition.fields if n != "deleted_at"]))
    found = definition.fields[name]
    if found.reference is None or found.multiple or hops == 0 or draw(st.booleans()):
        return (name,), found
    path, target = draw(_paths(schema, schema.object(found.reference), hops - 1))
    return (name, *path), target


def filters(schema: SampleSchema, definition: ObjectDef) -> st.SearchStrategy[Filter]:
    """Conditions joined in every way, empty junctions included."""
    return st.recursive(
        cast("st.SearchStrategy[Filter]", conditions(schema, definition)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda items: cast("Filter", And(tuple(items)))),
            st.lists(inner, max_size=3).map(lambda items: cast("Filter", Or(tuple(items)))),
            inner.map(lambda item: cast("Filter", Not(item))),
        ),
        max_leaves=5,
    )


@st.composite
def queries(
    draw: st.DrawFn,
    schema: SampleSchema,
    object: str = "item",
    kind: Literal["records", "groups", "any"] = "any",
) -> Query:
    """Queries that bind without error: records (or distinct values), or groups."""
    definition = schema.object(object)
    where = draw(st.one_of(st.none(), filters(schema, definition)))
    if kind == "groups" or (kind == "any" and draw(st.integers(0, 3)) == 0):
        return draw(_group_queries(schema, definition, where))
    sorts = draw(st.lists(_sorts(schema, definition), max_size=3))
    fields: tuple[Path, ...] | None = None
    distinct = draw(st.integers(0, 5)) == 0
    if distinct:
        paths = draw(st.lists(_scalar_paths(schema, definition), min_size=1, max_size=3))
        fields = tuple(dict.fromkeys(paths))
        sorts = [sort for sort in sorts if sort.path in fields]
    elif draw(st.booleans()):
        fields = tuple(
            dict.fromkeys(
                path for path, _ in draw(st.lists(_paths(schema, definition), max_size=4))
            )
        )
    return Query(
        object=object,
        fields=fields,
        where=where,
        search=draw(st.one_of(st.none(), st.none(), _searches(definition))),
        order_by=tuple(sorts),
        limit=draw(st.sampled_from([None, 0, 1, 2, 5, 20])),
        offset=draw(st.sampled_from([0, 0, 1, 3])),
        expand=() if distinct else draw(_relations(schema, definition)),
        distinct=distinct,
        count=draw(st.sampled_from(["none", "exact"])),
        include_deleted=draw(st.booleans()),
    )


def _searches(definition: ObjectDef) -> st.SearchStrategy[Search | None]:
    fields = [n for n, f in definition.fields.items() if f.storage is Storage.TEXT and not f.system]
    if not fields:
        return st.none()
    return st.builds(
        Search,
        st.sampled_from(["a", "A b", "fresh", "é", "%", "o"]),
        st.just((fields[0],)),
    )


@st.composite
def _scalar_paths(draw: st.DrawFn, schema: SampleSchema, definition: ObjectDef) -> Path:
    shapeless = {Storage.JSON, Storage.LIST}
    found = _paths(schema, definition).filter(lambda found: found[1].storage not in shapeless)
    return draw(found)[0]


def _sorts(schema: SampleSchema, definition: ObjectDef) -> st.SearchStrategy[Sort]:
    return st.builds(Sort, _scalar_paths(schema, definition), descending=st.booleans())


@st.composite
def _relations(
    draw: st.DrawFn, schema: SampleSchema, definition: ObjectDef, depth: int = 2
) -> tuple[Expand, ...]:
    forward = [n for n, f in definition.fields.items() if f.reference is not None]
    inverse = related_lists(schema.inverse_lookups(definition.name))
    names = sorted({*forward, *inverse})
    if not names or depth == 0 or draw(st.booleans()):
        return ()
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=2))
    found: list[Expand] = []
    for name in chosen:
        is_list = name not in definition.fields
        reference = definition.fields[FieldName(name)].reference if not is_list else None
        target = inverse[name][0] if reference is None else schema.object(reference)
        query = Query(
            object="",
            where=draw(st.one_of(st.none(), filters(schema, target))),
            order_by=tuple(draw(st.lists(_sorts(schema, target), max_size=2))) if is_list else (),
            limit=draw(st.sampled_from([None, 0, 2])) if is_list else None,
            expand=draw(_relations(schema, target, depth - 1)),
        )
        found.append(Expand(name, query))
    return tuple(found)


@st.composite
def _group_queries(
    draw: st.DrawFn, schema: SampleSchema, definition: ObjectDef, where: Filter | None
) -> Query:
    groups: dict[str, Group] = {}
    for index, path in enumerate(draw(st.lists(_scalar_paths(schema, definition), max_size=2))):
        storage = _storage_at(schema, definition, path)
        granularity: Granularity | None = None
        if storage in {Storage.DATE, Storage.DATETIME}:
            granularity = draw(st.one_of(st.none(), st.sampled_from(_GRANULARITIES)))
        groups[f"g{index}"] = Group(path, granularity, f"g{index}")
    aggregations = [
        draw(_aggregations(schema, definition, f"x{index}"))
        for index in range(draw(st.integers(0 if groups else 1, 3)))
    ]
    names = [*groups, *(item.alias for item in aggregations)]
    sorts = draw(
        st.lists(
            st.builds(Sort, st.sampled_from(names).map(lambda n: (n,)), descending=st.booleans()),
            max_size=2,
        )
    )
    counts = [item.alias for item in aggregations if item.function == "count"]
    having = None
    if counts and draw(st.booleans()):
        having = Compare((counts[0],), Op.GTE, draw(st.integers(0, 3)))
    return Query(
        object=definition.name,
        where=where,
        order_by=tuple(sorts),
        limit=draw(st.sampled_from([None, 1, 3])),
        group_by=tuple(groups.values()),
        aggregations=tuple(aggregations),
        having=having,
        count=draw(st.sampled_from(["none", "exact"])),
    )


@st.composite
def _aggregations(
    draw: st.DrawFn, schema: SampleSchema, definition: ObjectDef, alias: str
) -> Aggregation:
    path = draw(_scalar_paths(schema, definition))
    storage = _storage_at(schema, definition, path)
    functions = ["count", "count_distinct"]
    if storage in NUMERIC:
        functions += ["sum", "avg"]
    if storage is not Storage.BOOLEAN:
        functions += ["min", "max"]
    function = draw(st.sampled_from(functions))
    return Aggregation(
        function=cast("Any", function),
        path=None if function == "count" and draw(st.booleans()) else path,
        alias=alias,
        filter=draw(st.one_of(st.none(), filters(schema, definition))),
    )


def _storage_at(schema: SampleSchema, definition: ObjectDef, path: Path) -> Storage:
    for name in path[:-1]:
        reference = definition.fields[FieldName(name)].reference
        assert reference is not None
        definition = schema.object(reference)
    return definition.fields[FieldName(path[-1])].storage


@st.composite
def cases(
    draw: st.DrawFn, kind: Literal["records", "groups", "any"] = "any", *, fixed: bool = False
) -> Case:
    """A schema (`fixed`: always `fixed_schema`), rows and a query over them."""
    schema = fixed_schema() if fixed else draw(schemas())
    name = draw(st.sampled_from(["item", "box"]))
    return Case(schema, draw(rows(schema)), draw(queries(schema, name, kind)))
