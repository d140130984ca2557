"""Values that contradict each other: a query that can have no records, seen before it is run.

What may conflict is worked out once per plan; a plan without such tests costs a request nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from objectql.query.bound import (
    FALSE,
    AllOf,
    Column,
    ColumnKey,
    Given,
    Param,
    ParamSource,
    Predicate,
    Test,
    TestOp,
)
from objectql.query.merges import ORDERED
from objectql.values import Value


class Conflict(NamedTuple):
    """No record matches when `holds` for the values of two parameters (None: they are one)."""

    first: int
    second: int | None
    holds: Callable[[Any, Any], bool]


def find_conflicts(where: Predicate, sources: Sequence[ParamSource]) -> tuple[Conflict, ...]:
    """The ways in which the parameters of `where` can exclude every record."""
    if where == FALSE:
        return (Conflict(0, None, _always),)
    found: list[Conflict] = []
    columns: dict[ColumnKey, list[tuple[TestOp, int]]] = {}
    for item in where.items if isinstance(where, AllOf) else (where,):
        if isinstance(item, Given):
            found.append(Conflict(item.param.index, None, _is_missing))
        if not isinstance(item, Test) or not isinstance(item.right, Param):
            continue
        index = item.right.index
        if sources[index].context is not None:
            found.append(Conflict(index, None, _is_missing))
        elif isinstance(item.left, Column) and item.left.field.storage in ORDERED:
            if item.op is TestOp.IN:
                found.append(Conflict(index, None, _is_empty))
            columns.setdefault(item.left.key, []).append((item.op, index))
    for tests in columns.values():
        for number, (op, index) in enumerate(tests):
            for other_op, other in tests[number + 1 :]:
                if (holds := _EXCLUDING.get((op, other_op))) is not None:
                    found.append(Conflict(index, other, holds))
                elif (holds := _EXCLUDING.get((other_op, op))) is not None:
                    found.append(Conflict(other, index, holds))
    return tuple(found)


def is_contradicted(conflicts: Sequence[Conflict], values: Sequence[Value]) -> bool:
    """Whether one of `conflicts` holds for the values of the parameters."""
    for first, second, holds in conflicts:
        if holds(values[first], None if second is None else values[second]):
            return True
    return False


def _always(_one: Any, _other: Any) -> bool:
    return True


def _is_missing(value: Any, _: Any) -> bool:
    return value is None


def _is_empty(value: Any, _: Any) -> bool:
    return value is None or not value


def _differ(one: Any, other: Any) -> bool:
    return bool(one != other)


def _is_outside(value: Any, members: Any) -> bool:
    return value not in members


def _is_above(low: Any, high: Any) -> bool:
    return low is not None and high is not None and bool(low > high)


def _is_not_below(low: Any, high: Any) -> bool:
    return low is not None and high is not None and bool(low >= high)


_EXCLUDING: dict[tuple[TestOp, TestOp], Callable[[Any, Any], bool]] = {
    (TestOp.EQ, TestOp.EQ): _differ,
    (TestOp.EQ, TestOp.IN): _is_outside,
    (TestOp.GTE, TestOp.LTE): _is_above,
    (TestOp.GTE, TestOp.EQ): _is_above,
    (TestOp.EQ, TestOp.LTE): _is_above,
    (TestOp.GT, TestOp.LT): _is_not_below,
    (TestOp.GT, TestOp.LTE): _is_not_below,
    (TestOp.GTE, TestOp.LT): _is_not_below,
    (TestOp.GT, TestOp.EQ): _is_not_below,
    (TestOp.EQ, TestOp.LT): _is_not_below,
}
"""Tests of one column, and when they exclude each other."""
