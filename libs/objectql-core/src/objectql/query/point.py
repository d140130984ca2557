"""Point reads: queries for the one record that has a given id.

Point reads that differ in nothing but the id can be answered by one statement for many ids. Which
parameter is the id, and what that statement asks for, is told here; drivers only lower it.
"""

from __future__ import annotations

import msgspec

from objectql.query.bound import AllOf, BoundQuery, Column, Param, Predicate, Test, TestOp


def point_param(query: BoundQuery) -> int | None:
    """The index of the parameter that the record's id must equal; None when it is no point read.

    Every literal of a query becomes a parameter of its own (see `bind`), so a parameter found here
    stands nowhere else in the query.
    """
    if (
        query.grouping is not None
        or query.after
        or query.offset is not None
        or query.distinct
        or query.count != "none"
        or query.limit == 0
    ):
        return None
    for item in _conjuncts(query.where):
        match item:
            case Test(Column() as column, TestOp.EQ, Param(index)) if _is_id(column):
                if query.params[index].slot is not None:
                    return index
            case _:
                pass
    return None


def for_many_ids(query: BoundQuery) -> BoundQuery:
    """The point read `query` with a list of ids where it had one, in no order.

    Raises:
        ValueError: it is no point read.

    """
    point = point_param(query)
    if point is None:
        raise ValueError("not a read of one record by its id")
    items = tuple(_widened(item, point) for item in _conjuncts(query.where))
    where = items[0] if len(items) == 1 else AllOf(items)
    return msgspec.structs.replace(query, where=where, order=(), limit=None)


def _widened(item: Predicate, point: int) -> Predicate:
    if isinstance(item, Test) and item.right == Param(point):
        return Test(item.left, TestOp.IN, item.right)
    return item


def _conjuncts(where: Predicate) -> tuple[Predicate, ...]:
    return where.items if isinstance(where, AllOf) else (where,)


def _is_id(column: Column) -> bool:
    return not column.hops and column.field.name == "id"
