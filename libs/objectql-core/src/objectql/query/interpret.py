"""A bound query evaluated over plain rows, as naively as possible: the oracle for every driver.

The memory driver answers with it, live queries match with it, and the SQL drivers are tested
against it. Rows are canonical values by field name (see `objectql.values`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

from objectql.metadata.model import FieldDef, ObjectDef
from objectql.query.bound import BoundExpand, BoundQuery, Order, Output, count_name
from objectql.query.groups import make_groups
from objectql.query.matching import Lookup, matches, value_at
from objectql.values import Record, Value, sort_key

RowsOf: TypeAlias = Callable[[ObjectDef, str], Iterable[Record]]
"""All records of an object in a tenant."""


class Answer(NamedTuple):
    """`last_key` holds the sort key values of the last item when more items follow it.

    Grouped and distinct answers have no `last_key`. `total` counts what matches, whatever the
    page; it is set when the query asks to count. A limit of 0 has no items and nothing next.
    """

    items: list[dict[str, Any]]
    has_next: bool
    last_key: tuple[Value, ...] | None
    total: int | None


def interpret(query: BoundQuery, params: Sequence[Value], rows_of: RowsOf) -> Answer:
    """The answer to `query` over the records that `rows_of` gives."""
    return _Interpreter(params, rows_of, cast("str", params[query.tenant.index])).answer(query)


class _Interpreter:
    def __init__(self, params: Sequence[Value], rows_of: RowsOf, tenant: str) -> None:
        self._params = params
        self._rows_of = rows_of
        self._tenant = tenant
        self._by_id: dict[str, dict[str, Record]] = {}

    def answer(self, query: BoundQuery) -> Answer:
        rows = [
            row
            for row in self._rows_of(query.object, self._tenant)
            if matches(query.where, row, self._params, self._lookup)
        ]
        if query.grouping is not None:
            groups = make_groups(query.grouping, rows, self._params, self._lookup)
            _sort(groups, query.order, lambda group, key: group[key.by.name])
            return self._page(query, groups, len(groups), None)
        _sort(rows, query.order, self._key_value)
        if query.distinct:
            items = _without_repeats([self._outputs(query, row) for row in rows])
            return self._page(query, items, len(items), None)
        total = len(rows)
        if query.after:
            position = [self._params[param.index] for param in query.after]
            rows = [row for row in rows if self._is_after(row, query.order, position)]
        return self._page(query, rows, total, lambda row: self._item(query, row))

    def _page(
        self,
        query: BoundQuery,
        rows: list[dict[str, Any]],
        total: int,
        render: Callable[[Record], dict[str, Any]] | None,
    ) -> Answer:
        start = 0
        if query.offset is not None:
            start = cast("int", self._params[query.offset.index])
        end = len(rows) if query.limit is None else start + query.limit
        page = rows[start:end]
        has_next = bool(page) and end < len(rows)
        last_key = None
        if has_next and render is not None:
            last_key = tuple(self._key_value(page[-1], key) for key in query.order)
        items = page if render is None else [render(row) for row in page]
        return Answer(items, has_next, last_key, None if query.count == "none" else total)

    # --- order -----------------------------------------------------------------------------

    def _key_value(self, row: Record, key: Order) -> Value:
        return value_at(key.by, row, self._lookup, self._params)

    def _is_after(self, row: Record, order: Sequence[Order], position: Sequence[Value]) -> bool:
        for key, last in zip(order, position, strict=True):
            ours, theirs = sort_key(self._key_value(row, key)), sort_key(last)
            if ours != theirs:
                return (ours > theirs) is not key.descending
        return False

    # --- items -----------------------------------------------------------------------------

    def _outputs(self, query: BoundQuery, row: Record) -> dict[str, Any]:
        return {output.name: self._output(output, row) for output in query.outputs}

    def _output(self, output: Output, row: Record) -> Value:
        value = value_at(output.column, row, self._lookup, self._params)
        return value if output.mask is None else output.mask.of(value)

    def _item(self, query: BoundQuery, row: Record) -> dict[str, Any]:
        item = self._outputs(query, row)
        for relation in query.expand:
            if relation.kind == "inverse":
                rows = self._children(relation, row)
                page = self._page(
                    relation.query, rows, len(rows), partial(self._item, relation.query)
                )
                item[relation.name] = page.items
                if page.total is not None:
                    item[count_name(relation)] = page.total
            else:
                item[relation.name] = self._related(relation, row)
        return item

    def _children(self, relation: BoundExpand, row: Record) -> list[Record]:
        query = relation.query
        rows = [
            child
            for child in self._rows_of(query.object, self._tenant)
            if child.get(relation.lookup.name) == row["id"]
            and matches(query.where, child, self._params, self._lookup)
        ]
        _sort(rows, query.order, self._key_value)
        return rows

    def _related(self, relation: BoundExpand, row: Record) -> Any:
        query = relation.query
        if relation.kind == "one":
            return self._one(query, row.get(relation.lookup.name))
        ids = cast("list[Value]", row.get(relation.lookup.name) or [])
        found = (self._one(query, id_) for id_ in ids)
        return [item for item in found if item is not None]

    def _one(self, query: BoundQuery, id_: Value) -> dict[str, Any] | None:
        target = self._find(query.object, id_)
        if target is None or not matches(query.where, target, self._params, self._lookup):
            return None
        return self._item(query, target)

    def _lookup(self, field: FieldDef, target: ObjectDef, row: Record) -> Record | None:
        return self._find(target, row.get(field.name))

    def _find(self, target: ObjectDef, id_: Value) -> Record | None:
        if not isinstance(id_, str):
            return None
        if target.name not in self._by_id:
            self._by_id[target.name] = {
                str(row["id"]): row for row in self._rows_of(target, self._tenant)
            }
        return self._by_id[target.name].get(id_)


def _sort(
    rows: list[dict[str, Any]],
    order: Sequence[Order],
    value_of: Callable[[dict[str, Any], Order], Value],
) -> None:
    """Sort in place; `reverse` keeps equal rows in order, so keys are applied last to first."""
    for key in reversed(order):
        rows.sort(key=lambda row, key=key: sort_key(value_of(row, key)), reverse=key.descending)


def _without_repeats(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of equal items; all items have the same keys."""
    first: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in items:
        first.setdefault(tuple(item.values()), item)
    return list(first.values())


__all__ = ["Answer", "Lookup", "RowsOf", "interpret", "matches"]
