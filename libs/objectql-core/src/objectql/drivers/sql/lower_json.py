"""One record as JSON, with the records that it points to in their places.

Relations are correlated sub-selects of the same statement. They are scalar, not joined: a join
could bring the rows of the page out of their order, since a planner may choose a hash join.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import sqlalchemy as sa  # noqa: TID251 - this package is the home of SQL

from objectql.drivers.sql.encode import Kind, kind_of
from objectql.drivers.sql.fragment import Expression, Fragment, Typed, string_literal
from objectql.drivers.sql.scope import Names, Scope, column_of
from objectql.ids import FieldName
from objectql.metadata.masks import MaskPart
from objectql.metadata.types import Storage
from objectql.query.bound import BoundExpand, BoundQuery, Column, Output, TestOp, count_name

ColumnSource: TypeAlias = Callable[[Column], Typed]


def row_json(query: BoundQuery, names: Names, column: ColumnSource) -> Expression:
    """The record as a JSON object: the outputs in order, relations in the place of their ids."""
    dialect = names.dialect
    members: dict[str, Expression] = {
        output.name: dialect.json_value(_shown(output, column)) for output in query.outputs
    }
    for expand in query.expand:
        members[expand.name] = dialect.as_json(_relation(expand, query, names, column))
        if expand.kind == "inverse" and expand.query.count != "none":
            parent_id = column(Column(query.object.fields[FieldName("id")]))
            members[count_name(expand)] = _count(expand, names, parent_id)
    return dialect.json_row(list(members.items()))


def _shown(output: Output, column: ColumnSource) -> Typed:
    """The column, or the text that its mask makes of it."""
    value = column(output.column)
    if output.mask is None:
        return value
    told = output.mask.told
    shown = _text(output.mask.text)
    if told:
        cut = _joined([_part(part, value.sql) for part in output.mask.parts])
        shown = Fragment(
            f"CASE WHEN length({{}}) > {told} THEN {{}} ELSE {{}} END", value.sql, cut, shown
        )
    masked = Fragment("CASE WHEN {} IS NOT NULL THEN {} END", value.sql, shown)
    return Typed(masked, Kind(Storage.TEXT))


def _part(part: MaskPart, value: Expression) -> Expression:
    if isinstance(part, str):
        return _text(part)
    if part.end == "first":
        return Fragment(f"substr({{}}, 1, {part.count})", value)
    # The value is longer than that. A negative start means the end in SQLite only.
    return Fragment(f"substr({{}}, length({{}}) - {part.count - 1})", value, value)


def _text(text: str) -> Expression:
    """A text that metadata fixes."""
    return Fragment.of(["CAST(", string_literal(text), " AS text)"])


def _joined(texts: Sequence[Expression]) -> Expression:
    parts: list[str | sa.ClauseElement] = []
    for at, text in enumerate(texts):
        parts += [" || " if at else "", text]
    return Fragment.of(["(", *parts, ")"])


def _relation(
    expand: BoundExpand, query: BoundQuery, names: Names, column: ColumnSource
) -> Expression:
    match expand.kind:
        case "one":
            return _one(expand, names, column(Column(expand.lookup)))
        case "many":
            return _many(expand, names, column(Column(expand.lookup)))
        case "inverse":
            return _inverse(expand, names, column(Column(query.object.fields[FieldName("id")])))


def _one(expand: BoundExpand, names: Names, lookup: Typed) -> Expression:
    scope = Scope(names, expand.query.object)
    row = row_json(expand.query, names, scope.column)
    where = scope.predicate(expand.query.where)
    same = Fragment("{} = {}", column_of(scope.base, "id"), lookup.sql)
    return (
        sa.select(row)
        .select_from(scope.tables())
        .where(scope.of_tenant(), same, where)
        .scalar_subquery()
    )


def _many(expand: BoundExpand, names: Names, lookup: Typed) -> Expression:
    scope = Scope(names, expand.query.object)
    row = row_json(expand.query, names, scope.column)
    where = scope.predicate(expand.query.where)
    members, member, position = names.dialect.members(lookup.sql, names.alias("m"))
    same = Fragment("{} = {}", column_of(scope.base, "id"), member)
    rows = (
        sa.select(row.label("item"))
        .select_from(scope.tables(members))
        .where(scope.of_tenant(), same, where)
        .order_by(position)
    )
    return _listed(rows, names)


def _inverse(expand: BoundExpand, names: Names, parent_id: Typed) -> Expression:
    query = expand.query
    scope = Scope(names, query.object)
    row = row_json(query, names, scope.column)
    where = _of_parent(expand, scope, parent_id)
    keys = scope.sort_keys(query.order)
    rows = sa.select(row.label("item")).select_from(scope.tables()).where(*where).order_by(*keys)
    if query.limit is not None:
        rows = rows.limit(number(query.limit))
    if query.offset is not None:
        rows = rows.offset(names.count_param(query.offset))
    return _listed(rows, names)


def _count(expand: BoundExpand, names: Names, parent_id: Typed) -> Expression:
    scope = Scope(names, expand.query.object)
    where = _of_parent(expand, scope, parent_id)
    return (
        sa.select(Fragment("count(*)")).select_from(scope.tables()).where(*where).scalar_subquery()
    )


def _of_parent(expand: BoundExpand, scope: Scope, parent_id: Typed) -> list[Expression]:
    """That a record is one of the parent's list."""
    lookup = Typed(column_of(scope.base, expand.lookup.column_name), kind_of(expand.lookup))
    is_list = lookup.kind.storage is Storage.LIST
    points_here = scope.dialect.test(
        lookup, TestOp.CONTAINS if is_list else TestOp.EQ, parent_id.sql
    )
    return [scope.of_tenant(), points_here, scope.predicate(expand.query.where)]


def _listed(rows: sa.Select[tuple[object]], names: Names) -> Expression:
    alias = names.alias("l")
    items = names.dialect.json_list(column_of(alias, "item"))
    return sa.select(items).select_from(rows.subquery(alias)).scalar_subquery()


def number(value: int) -> Expression:
    """A whole number as part of the SQL text; the shape of a plan decides it, not a caller."""
    return sa.literal_column(str(value))
