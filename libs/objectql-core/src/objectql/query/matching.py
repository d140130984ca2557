"""Predicates over one record: what a condition means, for the oracle and for live queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

from objectql.formula.evaluate import evaluate
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.query.bound import (
    Alias,
    AllOf,
    AnyOf,
    Const,
    Given,
    Negate,
    Operand,
    Param,
    Predicate,
    Test,
    TestOp,
)
from objectql.query.like import is_like
from objectql.query.search_words import has_word
from objectql.query.values_in import fold_ascii
from objectql.values import Record, Value

Lookup: TypeAlias = Callable[[FieldDef, ObjectDef, Record], "Record | None"]
"""The record of `target` that `field` of a record points to, or None."""


def matches(predicate: Predicate, record: Record, params: Sequence[Value], lookup: Lookup) -> bool:
    """Whether `record` satisfies `predicate`.

    For conditions on groups the record is the group: its keys and aggregates by alias.
    """
    match predicate:
        case Const(value):
            return value
        case AllOf(items):
            return all(matches(item, record, params, lookup) for item in items)
        case AnyOf(items):
            return any(matches(item, record, params, lookup) for item in items)
        case Negate(item):
            return not matches(item, record, params, lookup)
        case Given(param):
            return params[param.index] is True
        case Test(left, op, right):
            value = value_at(left, record, lookup, params)
            if op is TestOp.IS_NULL:
                return value is None
            if isinstance(right, Param):
                other = params[right.index]
            else:
                assert right is not None
                other = value_at(right, record, lookup, params)
            return value is not None and other is not None and holds(op, value, other)


def value_at(operand: Operand, record: Record, lookup: Lookup, params: Sequence[Value]) -> Value:
    """The operand's value; None where a lookup on the way leads nowhere or to what is hidden."""
    if isinstance(operand, Alias):
        return record.get(operand.name)
    found = record
    for hop in operand.hops:
        target = lookup(hop.field, hop.target, found)
        if target is None or not matches(hop.visible, target, params, lookup):
            return None
        found = target
    if operand.formula is None:
        return found.get(operand.field.name)
    inputs = [
        params[each.index] if isinstance(each, Param) else value_at(each, record, lookup, params)
        for each in operand.formula.inputs
    ]
    return evaluate(operand.formula.program, inputs).value


def holds(op: TestOp, value: Any, other: Any) -> bool:
    """`value op other` for two values that are there."""
    match op:
        case TestOp.EQ:
            return bool(value == other)
        case TestOp.LT:
            return bool(value < other)
        case TestOp.LTE:
            return bool(value <= other)
        case TestOp.GT:
            return bool(value > other)
        case TestOp.GTE:
            return bool(value >= other)
        case TestOp.IN:
            return value in cast("list[Value]", other)
        case TestOp.CONTAINS:
            return other in value
        case TestOp.OVERLAPS:
            return any(member in other for member in value)
        case TestOp.ICONTAINS:
            return fold_ascii(other) in fold_ascii(value)
        case TestOp.STARTS_WITH:
            return bool(value.startswith(other))
        case TestOp.ENDS_WITH:
            return bool(value.endswith(other))
        case TestOp.LIKE:
            return is_like(value, other)
        case TestOp.ILIKE:
            return is_like(fold_ascii(value), fold_ascii(other))
        case TestOp.HAS_WORD:
            return has_word(value, other)
        case TestOp.IS_NULL:
            return False  # both values are there
