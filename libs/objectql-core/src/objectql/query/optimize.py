"""Rewrites of predicates that never change a result, one function each, to a fixed point.

Parameters are opaque here: two slots that hold equal literals today may differ tomorrow. What can
be made of tests over several of them is the matter of `merges` (one test over a parameter that
follows from them) and of `conflicts` (values that contradict each other).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from objectql.query.bound import (
    FALSE,
    TRUE,
    AllOf,
    AnyOf,
    BoundQuery,
    Column,
    Const,
    Given,
    Negate,
    Operand,
    Param,
    ParamSource,
    Predicate,
    Test,
    TestOp,
)
from objectql.query.costs import cheapest_first
from objectql.query.joins import drop_joins
from objectql.query.merges import merge_tests

Rewrite: TypeAlias = Callable[[Predicate], Predicate]


def optimize(query: BoundQuery) -> BoundQuery:
    """An equal query with simpler predicates, relations and groups included."""
    sources = list(query.params)
    optimized = _optimize(query, sources)
    return msgspec.structs.replace(optimized, params=tuple(sources))


def _optimize(query: BoundQuery, sources: list[ParamSource]) -> BoundQuery:
    def shorten(where: Predicate) -> Predicate:
        """Merging leaves less to simplify, and simplifying more to merge."""
        where = simplify(drop_joins(where, query.object))
        while (merged := simplify(merge_tests(where, sources))) != where:
            where = merged
        return cheapest_first(where)

    grouping = query.grouping
    if grouping is not None:
        grouping = msgspec.structs.replace(
            grouping,
            having=simplify(grouping.having),
            aggregates=tuple(
                msgspec.structs.replace(item, filter=shorten(item.filter))
                for item in grouping.aggregates
            ),
        )
    return msgspec.structs.replace(
        query,
        where=shorten(query.where),
        expand=tuple(
            msgspec.structs.replace(item, query=_optimize(item.query, sources))
            for item in query.expand
        ),
        grouping=grouping,
    )


def simplify(predicate: Predicate) -> Predicate:
    """An equal predicate on which no rewrite has anything left to do."""
    while True:
        rewritten = _rewrite(predicate)
        if rewritten == predicate:
            return predicate
        predicate = rewritten


def _rewrite(node: Predicate) -> Predicate:
    """Every rewrite once, from the leaves up."""
    match node:
        case AllOf(items):
            node = AllOf(tuple(_rewrite(item) for item in items))
        case AnyOf(items):
            node = AnyOf(tuple(_rewrite(item) for item in items))
        case Negate(item):
            node = Negate(_rewrite(item))
        case _:
            pass
    for rewrite in REWRITES:
        node = rewrite(node)
    return node


def flatten(node: Predicate) -> Predicate:
    """`a and (b and c)` to `a and b and c`; a junction of one item to the item."""
    match node:
        case AllOf(items):
            flat = [x for i in items for x in (i.items if isinstance(i, AllOf) else (i,))]
            return flat[0] if len(flat) == 1 else AllOf(tuple(flat))
        case AnyOf(items):
            flat = [x for i in items for x in (i.items if isinstance(i, AnyOf) else (i,))]
            return flat[0] if len(flat) == 1 else AnyOf(tuple(flat))
        case _:
            return node


def fold_constants(node: Predicate) -> Predicate:
    """Neutral items dropped, absorbing ones taken; an empty AND is true, an empty OR false."""
    match node:
        case AllOf(items):
            if FALSE in items:
                return FALSE
            kept = tuple(item for item in items if item != TRUE)
            return AllOf(kept) if kept else TRUE
        case AnyOf(items):
            if TRUE in items:
                return TRUE
            kept = tuple(item for item in items if item != FALSE)
            return AnyOf(kept) if kept else FALSE
        case Negate(Const(value)):
            return FALSE if value else TRUE
        case _:
            return node


def drop_double_negation(node: Predicate) -> Predicate:
    """`not not a` to `a`: tests are two-valued."""
    match node:
        case Negate(Negate(item)):
            return item
        case _:
            return node


def drop_duplicates(node: Predicate) -> Predicate:
    """`a and b and a` to `a and b`."""
    match node:
        case AllOf(items):
            return AllOf(_unique(items))
        case AnyOf(items):
            return AnyOf(_unique(items))
        case _:
            return node


def fold_contradictions(node: Predicate) -> Predicate:
    """`a and not a` to false, `a or not a` to true."""
    match node:
        case AllOf(items) if _has_opposites(items):
            return FALSE
        case AnyOf(items) if _has_opposites(items):
            return TRUE
        case _:
            return node


def absorb(node: Predicate) -> Predicate:
    """`a and (a or b)` to `a`; `a or (a and b)` to `a`."""
    match node:
        case AllOf(items):
            keys = {key_of(item) for item in items}
            kept = tuple(
                item
                for item in items
                if not (isinstance(item, AnyOf) and keys & {key_of(x) for x in item.items})
            )
            return AllOf(kept)
        case AnyOf(items):
            keys = {key_of(item) for item in items}
            kept = tuple(
                item
                for item in items
                if not (isinstance(item, AllOf) and keys & {key_of(x) for x in item.items})
            )
            return AnyOf(kept)
        case _:
            return node


def fold_missing(node: Predicate) -> Predicate:
    """`a is null and a > x` to false: a comparison with a missing value holds for none.

    For the same reason `a is not null and a > x` is `a > x`, and `a is not null or a > x` is
    `a is not null`.
    """
    match node:
        case AllOf(items):
            compared = _compared(items)
            if any(_is_null_key(item) in compared for item in items):
                return FALSE
            return AllOf(
                tuple(
                    item
                    for item in items
                    if not (isinstance(item, Negate) and _is_null_key(item.item) in compared)
                )
            )
        case AnyOf(items):
            present = {_is_null_key(item.item) for item in items if isinstance(item, Negate)}
            return AnyOf(
                tuple(item for item in items if _compared((item,)).isdisjoint(present - {""}))
            )
        case _:
            return node


def _compared(items: Sequence[Predicate]) -> set[str]:
    """The operands that must have a value for all of `items` to hold."""
    return {
        _key_of_operand(side)
        for item in items
        if isinstance(item, Test) and item.op is not TestOp.IS_NULL
        for side in (item.left, item.right)
        if side is not None and not isinstance(side, Param)
    }


def _is_null_key(item: Predicate) -> str:
    """The operand of an `is null`; empty for anything else."""
    if isinstance(item, Test) and item.op is TestOp.IS_NULL:
        return _key_of_operand(item.left)
    return ""


REWRITES: tuple[Rewrite, ...] = (
    flatten,
    fold_constants,
    drop_double_negation,
    drop_duplicates,
    fold_contradictions,
    fold_missing,
    absorb,
)


def key_of(node: Predicate) -> str:
    """A text that is equal for equal predicates over one object (structs hold unhashable dicts)."""
    match node:
        case Const(value):
            return str(value)
        case Test(left, op, right):
            side = f"${right.index}" if isinstance(right, Param) else _key_of_operand(right)
            return f"{_key_of_operand(left)} {op} {side}"
        case Negate(item):
            return f"not({key_of(item)})"
        case AllOf(items):
            return f"all({','.join(sorted(map(key_of, items)))})"
        case AnyOf(items):
            return f"any({','.join(sorted(map(key_of, items)))})"
        case Given(param):
            return f"given(${param.index})"


def _key_of_operand(operand: Operand | None) -> str:
    if isinstance(operand, Column):
        return "{} {}".format(*operand.key)
    return "" if operand is None else operand.name


def _unique(items: Sequence[Predicate]) -> tuple[Predicate, ...]:
    first: dict[str, Predicate] = {}
    for item in items:
        first.setdefault(key_of(item), item)
    return tuple(first.values())


def _has_opposites(items: Sequence[Predicate]) -> bool:
    keys = {key_of(item) for item in items}
    return any(isinstance(item, Negate) and key_of(item.item) in keys for item in items)
