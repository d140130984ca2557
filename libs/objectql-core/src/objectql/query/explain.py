"""Every stage of a query, for people (text) and tools (JSON-ready values)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from objectql.query.ast import Query
from objectql.query.bound import (
    AllOf,
    AnyOf,
    BoundQuery,
    Column,
    Const,
    Given,
    Negate,
    Param,
    ParamSource,
    Predicate,
    Test,
    TestOp,
)
from objectql.query.filter_print import describe_filter
from objectql.query.plan import Plan

_SIGNS = {
    TestOp.EQ: "=",
    TestOp.LT: "<",
    TestOp.LTE: "<=",
    TestOp.GT: ">",
    TestOp.GTE: ">=",
}


class Explanation(NamedTuple):
    """The stages by name, in the order in which they happen."""

    stages: dict[str, Any]

    def as_text(self) -> str:
        """One indented block per stage."""
        return "\n\n".join(f"{name}\n{_indent(stage)}" for name, stage in self.stages.items())


def explain(template: Query, bound: BoundQuery, plan: Plan, *, native: str = "") -> Explanation:
    """What becomes of a query. `native` is the driver's form (`Lowered.text`)."""
    stages: dict[str, Any] = {
        "query": describe_query(template),
        "bound": describe_bound(bound),
        "optimized": describe_bound(plan.query),
        "plan": {"strategy": plan.strategy, "indexes": list(plan.index_hints)},
        "parameters": [describe_source(source) for source in plan.query.params],
    }
    if native:
        stages["native"] = native
    return Explanation(stages)


def describe_query(query: Query) -> dict[str, Any]:
    """A query as asked, with `$1`, `$2`, ... for its literals."""
    shown: dict[str, Any] = {"object": query.object}
    if query.fields is not None:
        shown["fields"] = [".".join(path) for path in query.fields]
    if query.where is not None:
        shown["where"] = describe_filter(query.where)
    if query.search is not None:
        shown["search"] = {"fields": list(query.search.fields), "mode": query.search.mode}
    if query.order_by:
        shown["orderBy"] = [
            [".".join(sort.path), "desc" if sort.descending else "asc"] for sort in query.order_by
        ]
    if query.group_by:
        shown["groupBy"] = [".".join(group.path) for group in query.group_by]
    if query.aggregations:
        shown["aggregations"] = [
            f"{item.function}({'.'.join(item.path or ('*',))})" for item in query.aggregations
        ]
    if query.having is not None:
        shown["having"] = describe_filter(query.having)
    if query.expand:
        shown["expand"] = {item.name: describe_query(item.query) for item in query.expand}
    for name in ("limit", "distinct", "count", "include_deleted"):
        value = getattr(query, name)
        if value not in (None, False, "none"):
            shown[name] = value
    return shown


def describe_bound(query: BoundQuery) -> dict[str, Any]:
    """A bound query; the tenant is shown where it always stands."""
    shown: dict[str, Any] = {
        "object": query.object.name,
        "tenant": f"${query.tenant.index}",
        "where": describe_predicate(query.where),
        "order": [
            f"{key.by.name} {'desc nulls first' if key.descending else 'asc nulls last'}"
            for key in query.order
        ],
    }
    if query.outputs:
        shown["outputs"] = [
            output.name if output.mask is None else f"mask({output.name})"
            for output in query.outputs
        ]
    if query.after:
        shown["after"] = [f"${param.index}" for param in query.after]
    if query.limit is not None:
        shown["limit"] = query.limit
    if query.grouping is not None:
        shown["groups"] = {
            "keys": [
                f"{key.granularity}({key.column.name})" if key.granularity else key.column.name
                for key in query.grouping.keys
            ],
            "aggregates": {
                item.alias: f"{item.function}({item.column.name if item.column else '*'})"
                for item in query.grouping.aggregates
            },
            "having": describe_predicate(query.grouping.having),
        }
    if query.expand:
        shown["expand"] = {
            item.name: {"kind": item.kind, **describe_bound(item.query)} for item in query.expand
        }
    return shown


def describe_predicate(node: Predicate) -> str:
    """A predicate as one line, parameters as `$0`, `$1`, ... in the order of the plan."""
    match node:
        case Const(value):
            return "true" if value else "false"
        case AllOf(items):
            return _join(items, " and ", "true")
        case AnyOf(items):
            return _join(items, " or ", "false")
        case Negate(item):
            return f"not ({describe_predicate(item)})"
        case Given(param):
            return f"{_show(param)} is given"
        case Test(left, op, right):
            if op is TestOp.IS_NULL:
                return f"{left.name} is null"
            assert right is not None
            side = right.name if isinstance(right, Column) else _show(right)
            return f"{left.name} {_SIGNS.get(op, op.value)} {side}"


def describe_source(source: ParamSource) -> str:
    """Where a parameter comes from."""
    if source.context is not None:
        origin = source.context
    elif source.slot is not None:
        origin = f"literal {source.slot + 1}"
    elif source.of:
        origin = f"{source.derive} of {', '.join(f'${index}' for index in source.of)}"
    else:
        origin = "constant"
    if source.part is not None:
        origin += f", part {source.part + 1}"
    shape = "" if source.shape == "scalar" else f"{source.shape} of "
    return f"{origin} as {shape}{source.storage}"


def _show(param: Param) -> str:
    return f"${param.index}"


def _join(items: Sequence[Predicate], word: str, empty: str) -> str:
    if not items:
        return empty
    return word.join(
        f"({describe_predicate(item)})"
        if isinstance(item, AllOf | AnyOf) and len(items) > 1
        else describe_predicate(item)
        for item in items
    )


def _indent(stage: Any, depth: int = 1) -> str:
    pad = "  " * depth
    if isinstance(stage, dict):
        entries = cast("dict[str, Any]", stage).items()
        return "\n".join(
            f"{pad}{key}:\n{_indent(value, depth + 1)}"
            if isinstance(value, dict | list)
            else f"{pad}{key}: {value}"
            for key, value in entries
        )
    if isinstance(stage, list):
        return "\n".join(_indent(item, depth) for item in cast("list[Any]", stage)) or f"{pad}-"
    return "\n".join(f"{pad}{line}" for line in str(stage).splitlines())
