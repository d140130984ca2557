"""Tests of one column over several parameters, merged into one test over a derived parameter.

Values are not known when a plan is made, so what a merge needs of them (the greater of two
bounds, the members of both lists) is described by a parameter source and worked out per request
(`combine`). Facts of the caller are left alone: they may be missing or of any kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from objectql.metadata.types import Storage
from objectql.query.bound import (
    AllOf,
    AnyOf,
    Column,
    ColumnKey,
    Derivation,
    Negate,
    Param,
    ParamSource,
    Predicate,
    Test,
    TestOp,
)
from objectql.values import Value

ORDERED = frozenset(
    {
        Storage.TEXT,
        Storage.INTEGER,
        Storage.FLOAT,
        Storage.DECIMAL,
        Storage.DATE,
        Storage.DATETIME,
        Storage.TIME,
    }
)
"""Storages whose canonical values have the order of their columns."""

_NARROWING: dict[TestOp, Derivation] = {
    TestOp.GT: "greatest_of_all",
    TestOp.GTE: "greatest_of_all",
    TestOp.LT: "least_of_all",
    TestOp.LTE: "least_of_all",
    TestOp.IN: "intersection",
}
_WIDENING: dict[TestOp, Derivation] = {
    TestOp.GT: "least_known",
    TestOp.GTE: "least_known",
    TestOp.LT: "greatest_known",
    TestOp.LTE: "greatest_known",
    TestOp.EQ: "union",
    TestOp.IN: "union",
}


class _Group(NamedTuple):
    """What tests must share to be merged."""

    column: ColumnKey
    op: TestOp


def merge_tests(node: Predicate, sources: list[ParamSource]) -> Predicate:
    """An equal predicate with at most one range or list test of its kind in every junction.

    `a > x and a > y` is `a > the greatest of x and y`, `a = x or a = y or a in z` is
    `a in x, y, z`.
    New parameters are added to `sources`.
    """
    match node:
        case AllOf(items):
            return AllOf(_merge(items, _NARROWING, sources))
        case AnyOf(items):
            return AnyOf(_merge(items, _WIDENING, sources))
        case Negate(item):
            return Negate(merge_tests(item, sources))
        case _:
            return node


def _merge(
    items: Sequence[Predicate], how: dict[TestOp, Derivation], sources: list[ParamSource]
) -> tuple[Predicate, ...]:
    groups: dict[_Group, list[Test]] = {}
    merged: list[Predicate | _Group] = []
    for item in items:
        group = _group_of(item, how, sources)
        if group is None:
            merged.append(merge_tests(item, sources))
            continue
        if group not in groups:
            merged.append(group)
        groups.setdefault(group, []).append(cast("Test", item))
    return tuple(
        _joined(groups[item], how, sources) if isinstance(item, _Group) else item for item in merged
    )


def _group_of(
    item: Predicate, how: dict[TestOp, Derivation], sources: Sequence[ParamSource]
) -> _Group | None:
    """The group of a test that may be merged."""
    if not isinstance(item, Test) or item.op not in how:
        return None
    column, right = item.left, item.right
    if not isinstance(column, Column) or not isinstance(right, Param):
        return None
    if sources[right.index].context is not None or column.field.storage not in ORDERED:
        return None
    # Equality and membership widen to the same list.
    op = TestOp.IN if how[item.op] == "union" else item.op
    return _Group(column.key, op)


def _joined(
    tests: Sequence[Test], how: dict[TestOp, Derivation], sources: list[ParamSource]
) -> Test:
    if len(tests) == 1:
        return tests[0]
    first = tests[0]
    derive = how[first.op]
    of = tuple(dict.fromkeys(cast("Param", test.right).index for test in tests))
    storage = sources[of[0]].storage
    sources.append(ParamSource(storage, of=of, derive=derive))
    op = TestOp.IN if derive == "union" else first.op
    return Test(first.left, op, Param(len(sources) - 1))


def combine(source: ParamSource, values: Sequence[Value]) -> Value:
    """The value of a derived parameter, given those of the parameters before it.

    A comparison with a missing value is false. So is then the whole of an AND (`..._of_all`), but
    an OR goes by the other values (`..._known`).
    """
    parts: list[Any] = [values[index] for index in source.of]
    match source.derive:
        case "intersection":
            return [member for member in parts[0] if all(member in part for part in parts[1:])]
        case "union":
            members: dict[Any, None] = {}
            for part in parts:
                if isinstance(part, list):
                    members |= dict.fromkeys(cast("list[Any]", part))
                else:
                    members[part] = None
            return [member for member in members if member is not None]
        case "greatest_of_all":
            return None if None in parts else max(parts)
        case "least_of_all":
            return None if None in parts else min(parts)
        case "is_given":
            return True if parts[0] is not None else None
        case "greatest_known":
            return max((part for part in parts if part is not None), default=None)
        case _:
            return min((part for part in parts if part is not None), default=None)
