"""What predicates cost to evaluate, and the order in which that is least.

Databases and `interpret` evaluate a junction from left to right, up to the item that settles it.
Postgres moves the items of an AND by the cost of their functions, in which all comparisons are
equal, and those of an OR not at all. Which item settles most records is not known here, so the
cheapest go first.
"""

from __future__ import annotations

from typing import Final

from objectql.metadata.types import Storage
from objectql.query.bound import AllOf, AnyOf, Const, Given, Negate, Predicate, Test, TestOp
from objectql.query.conditions import storage_of

_BY_TEST: Final = {
    TestOp.IS_NULL: 0,
    TestOp.IN: 4,
    TestOp.OVERLAPS: 8,
    TestOp.CONTAINS: 8,
    TestOp.ICONTAINS: 16,
    TestOp.LIKE: 16,
    TestOp.ILIKE: 16,
    TestOp.HAS_WORD: 64,
}
"""Those that are not named compare once: numbers, days and truths as such, texts by their bytes."""

_COMPARED_BY_BYTES: Final = frozenset({Storage.TEXT, Storage.DECIMAL})


def cheapest_first(node: Predicate) -> Predicate:
    """An equal predicate in which cheaper items of each junction stand before dearer ones."""
    match node:
        case AllOf(items):
            return AllOf(_sorted(items))
        case AnyOf(items):
            return AnyOf(_sorted(items))
        case Negate(item):
            return Negate(cheapest_first(item))
        case _:
            return node


def _sorted(items: tuple[Predicate, ...]) -> tuple[Predicate, ...]:
    return tuple(sorted(map(cheapest_first, items), key=cost_of))


def cost_of(node: Predicate) -> int:
    """The cost of evaluating all of `node`, in comparisons of two numbers."""
    match node:
        case Const() | Given():
            return 0
        case Negate(item):
            return cost_of(item)
        case AllOf(items) | AnyOf(items):
            return sum(map(cost_of, items))
        case Test(left, op):
            return _BY_TEST.get(op, 2 if storage_of(left) in _COMPARED_BY_BYTES else 1)
