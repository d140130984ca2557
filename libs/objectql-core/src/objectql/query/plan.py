"""What a driver lowers and a cache keeps: the optimised query with how it will be found."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec

from objectql.metadata.model import IndexDef, ObjectDef
from objectql.query.bound import (
    AllOf,
    AnyOf,
    BoundQuery,
    Column,
    Const,
    Given,
    Negate,
    Param,
    Predicate,
    Test,
    TestOp,
)
from objectql.query.conflicts import Conflict, find_conflicts, is_contradicted
from objectql.query.optimize import optimize
from objectql.values import Value

Strategy: TypeAlias = Literal["indexed", "scan", "join"]

_EQUALITIES = frozenset({TestOp.EQ, TestOp.IN, TestOp.IS_NULL})
_RANGES = frozenset({TestOp.LT, TestOp.LTE, TestOp.GT, TestOp.GTE, TestOp.STARTS_WITH})


class Access(msgspec.Struct, frozen=True):
    """The object's own fields by which its records are found.

    Every record of the answer has them compared for equality (`equal`) or by range (`ranged`), and
    records are sorted by `first_sort` first. `is_served` tells that some index begins with a field
    that is compared, or that none is: one that only keeps the order finds nothing.
    """

    equal: tuple[str, ...] = ()
    ranged: tuple[str, ...] = ()
    first_sort: str | None = None
    is_served: bool = True

    @property
    def wanted(self) -> tuple[str, ...]:
        """The fields of an index that would serve best: equalities, then one range or the sort."""
        last = self.ranged[:1] or ((self.first_sort,) if self.first_sort else ())
        return (*self.equal, *(field for field in last if field not in self.equal))


class Plan(msgspec.Struct, frozen=True):
    """`index_hints` are the indexes that serve `access`, best first; advice for people.

    `join` means that another table takes part. `digest` is what cursors of this query carry.
    `varying` is as told by `varying_params`. `conflicts` are the values with which it can have no
    records.
    """

    query: BoundQuery
    strategy: Strategy
    index_hints: tuple[str, ...] = ()
    digest: str = ""
    varying: tuple[int, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    access: Access = Access()

    def is_contradicted(self, values: Sequence[Value]) -> bool:
        """Whether no record can match, whatever the database holds."""
        return bool(self.conflicts) and is_contradicted(self.conflicts, values)


def make_plan(bound: BoundQuery, *, digest: str = "") -> Plan:
    """The plan of a bound query."""
    query = optimize(bound)
    equal, ranged = _conditions(query.where)
    first = _first_sort(query)
    hints = _rank_indexes(query.object, equal, ranged if first is None else ranged | {first})
    if query.expand or any(column.hops for column in _columns(query)):
        strategy: Strategy = "join"
    else:
        strategy = "indexed" if hints else "scan"
    conflicts = find_conflicts(query.where, query.params)
    is_served = not (equal or ranged) or bool(_rank_indexes(query.object, equal, ranged))
    access = Access(tuple(sorted(equal)), tuple(sorted(ranged)), first, is_served)
    return Plan(query, strategy, hints, digest, varying_params(query), conflicts, access)


def varying_params(query: BoundQuery) -> tuple[int, ...]:
    """The parameters in which reads of one plan may differ and still be one statement.

    They are literals of the request for which a field must be equal. A statement for many values
    is planned without knowing any of them, so there are some only where no value can make a bad
    plan of it: where an index finds the records by equal fields and, for rows, has them in their
    order. Then each read touches the records of its page, or of its groups, whatever the value.
    A range may select nearly all or nearly nothing, and the plan that suits one ruins the other.
    """
    if query.after or query.count == "estimated":
        return ()
    fixed, literals = set[str](), list[int]()
    for item in _conjuncts(query.where):
        match item:
            case Test(Column(field, ()), TestOp.EQ, Param(index)):
                fixed.add(field.name)
                if query.params[index].slot is not None:
                    literals.append(index)
            case Test(Column(field, ()), TestOp.IS_NULL):
                fixed.add(field.name)
            case _:
                pass
    return tuple(sorted(literals)) if literals and _is_in_an_index(query, fixed) else ()


def ruled_params(query: BoundQuery) -> tuple[int, ...]:
    """The parameters that hold nothing of the request: facts of the caller and constants of rules."""
    ruled: list[int] = []
    for index, source in enumerate(query.params):
        if source.slot is None and all(of in ruled for of in source.of):
            ruled.append(index)
    return tuple(ruled)


def _is_in_an_index(query: BoundQuery, fixed: set[str]) -> bool:
    """Whether the records with `fixed` fields lie together in an index, rows in their order."""
    if "id" in fixed:
        return True
    is_whole = query.grouping is not None or query.distinct
    if query.limit is None and not is_whole:
        return False
    sorts = (key.by for key in query.order)
    free = (
        by for by in sorts if not isinstance(by, Column) or by.hops or by.field.name not in fixed
    )
    first = next(free, None)
    for index in _indexes(query.object):
        rest = tuple(itertools.dropwhile(fixed.__contains__, index.fields))
        if len(rest) == len(index.fields):
            continue
        if is_whole or first is None or (index.unique and not rest):
            return True
        following = rest[0] if rest else "id"  # every index that is not unique ends in it
        if isinstance(first, Column) and not first.hops and first.field.name == following:
            return True
    return False


def _conjuncts(where: Predicate) -> tuple[Predicate, ...]:
    return where.items if isinstance(where, AllOf) else (where,)


def _conditions(where: Predicate) -> tuple[set[str], set[str]]:
    """Fields compared for equality and by range in every row of the answer."""
    equal, ranged = set[str](), set[str]()
    for item in _conjuncts(where):
        if not isinstance(item, Test) or not isinstance(item.left, Column) or item.left.hops:
            continue
        if not isinstance(item.right, Param | None):
            continue
        if item.op in _EQUALITIES:
            equal.add(item.left.field.name)
        elif item.op in _RANGES:
            ranged.add(item.left.field.name)
    return equal, ranged


def _first_sort(query: BoundQuery) -> str | None:
    first = query.order[0].by if query.order else None
    return first.field.name if isinstance(first, Column) and not first.hops else None


def _rank_indexes(object_: ObjectDef, equal: set[str], ranged: set[str]) -> tuple[str, ...]:
    """Indexes whose leading fields are compared, longest cover first; one range may end it."""
    ranked: list[tuple[int, str]] = []
    for index in _indexes(object_):
        covered = 0
        for field in index.fields:
            if field in equal:
                covered += 2
                continue
            covered += field in ranged  # less selective than an equality
            break
        if covered:
            ranked.append((-covered, index.name))
    return tuple(name for _, name in sorted(ranked))


def _indexes(object_: ObjectDef) -> Iterator[IndexDef]:
    """Declared indexes and those that single fields imply."""
    yield from object_.indexes
    for field in object_.fields.values():
        if field.name == "id" or field.unique or field.index or field.is_lookup:
            yield IndexDef(f"{object_.name}.{field.name}", (field.name,), field.unique)


def _columns(query: BoundQuery) -> Iterator[Column]:
    for output in query.outputs:
        yield output.column
    for key in query.order:
        if isinstance(key.by, Column):
            yield key.by
    yield from _columns_in(query.where)
    if query.grouping is not None:
        for key in query.grouping.keys:
            yield key.column
        for item in query.grouping.aggregates:
            yield from _columns_in(item.filter)
            if item.column is not None:
                yield item.column


def _columns_in(node: Predicate) -> Iterator[Column]:
    match node:
        case Test(left, _, right):
            yield from (side for side in (left, right) if isinstance(side, Column))
        case AllOf(items) | AnyOf(items):
            for item in items:
                yield from _columns_in(item)
        case Negate(item):
            yield from _columns_in(item)
        case Const() | Given():
            pass
