"""Filters as text: the `$filter` grammar, for people and for gateways that forward a filter."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from objectql.errors import InvalidFilter
from objectql.query.ast import And, Compare, Filter, Not, Op, Or, Slot
from objectql.query.words import DOLLAR_OF

_COMPARISONS = {
    Op.EQ: "eq",
    Op.NE: "ne",
    Op.GT: "gt",
    Op.GTE: "ge",
    Op.LT: "lt",
    Op.LTE: "le",
}
_FUNCTIONS = {
    Op.CONTAINS: "contains",
    Op.STARTS_WITH: "startswith",
    Op.ENDS_WITH: "endswith",
    Op.ICONTAINS: "icontains",
}


def print_filter(node: Filter) -> str:
    """`node` in the `$filter` grammar; `parse_filter_text` reads it back as an equal filter.

    Raises:
        InvalidFilter: the grammar has no words for it (`like`, fields compared with fields, an
            empty list, a junction of nothing or of one condition).

    """
    return _print(node, 0)


def describe_filter(node: Filter) -> Any:
    """`node` in the object form as JSON-ready values, with `$1`, `$2`, ... for slots."""
    match node:
        case And(items):
            return {"$and": [describe_filter(item) for item in items]}
        case Or(items):
            return {"$or": [describe_filter(item) for item in items]}
        case Not(item):
            return {"$not": describe_filter(item)}
        case Compare(path, op, value, ref):
            shown: Any = {"$field": ".".join(ref)} if ref is not None else value
            if isinstance(shown, Slot):
                shown = f"${shown.index + 1}"
            return {".".join(path): {DOLLAR_OF[op]: shown}}


def _print(node: Filter, binding: int) -> str:
    """`binding` is how tightly the place binds: 0 `or`, 1 `and`, 2 `not`."""
    match node:
        case Or(items) if len(items) > 1:
            # An `or` directly inside an `or` keeps its parentheses, or it would be flattened.
            text = " or ".join(_print(item, 1) for item in items)
            return f"({text})" if binding > 0 else text
        case And(items) if len(items) > 1:
            text = " and ".join(_print(item, 2) for item in items)
            return f"({text})" if binding > 1 else text
        case Not(item):
            return f"not {_print(item, 2)}"
        case Compare():
            return _print_compare(node)
        case _:
            raise InvalidFilter(reason="a junction of fewer than two conditions has no text form")


def _print_compare(node: Compare) -> str:
    path = "/".join(node.path)
    if node.ref is not None:
        raise InvalidFilter(reason="comparing two fields has no text form", path=node.at)
    match node.op:
        case Op.NULL:
            return f"{path} {'eq' if node.value else 'ne'} null"
        case Op.IN | Op.NIN if node.value:
            members = ",".join(map(_print_value, cast("tuple[Any, ...]", node.value)))
            text = f"{path} in ({members})"
            return text if node.op is Op.IN else f"not {text}"
        case Op.NOT_CONTAINS:
            return f"not contains({path},{_print_value(node.value)})"
        case op if op in _FUNCTIONS:
            return f"{_FUNCTIONS[op]}({path},{_print_value(node.value)})"
        case op if op in _COMPARISONS:
            return f"{path} {_COMPARISONS[op]} {_print_value(node.value)}"
        case _:
            raise InvalidFilter(reason=f"{DOLLAR_OF[node.op]} has no text form", path=node.at)


def _print_value(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal():
            return str(value)
        case _:
            escaped = str(value).replace("'", "''")
            return f"'{escaped}'"
