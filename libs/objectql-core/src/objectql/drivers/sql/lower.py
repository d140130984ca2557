"""Lowering: a bound query as one SQL statement that answers with finished JSON.

A page is one row `items, count, has_next, last_key, total`; a record is at most one row
`json, version`. The statement has three levels: the innermost select finds the rows of the page
and one more, the next makes a JSON object of each, the outermost joins them and drops the extra
one. So only the rows of the page are ever turned into JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, cast

import sqlalchemy as sa  # noqa: TID251 - this package is the home of SQL

from objectql.drivers.sql.ddl import indexes_of
from objectql.drivers.sql.dialect import Dialect, compile_text
from objectql.drivers.sql.encode import Kind, kind_of
from objectql.drivers.sql.fragment import Expression, Fragment, Typed
from objectql.drivers.sql.lower_json import number, row_json
from objectql.drivers.sql.scope import EACH, Names, Scope, Slot, column_of, is_nullable
from objectql.ids import FieldName, TenantId
from objectql.metadata.types import Storage
from objectql.query.bound import (
    TRUE,
    Aggregate,
    BoundQuery,
    Column,
    Grouping,
    Order,
    Param,
)
from objectql.query.plan import ruled_params, varying_params
from objectql.values import Value

MAX_COUNTED = 10_000
"""How far an estimated total is counted; one more stands for all that is beyond.

The database's own estimate would tell of others: its statistics are of all tenants' rows, and of
those that row rules hide.
"""

_MAX_LABEL_BYTES = 63

LoweredKind: TypeAlias = Literal["page", "record", "groups"]


@dataclass(frozen=True, eq=False)
class LoweredSql:
    """A query as SQL. Immutable; satisfies `drivers.protocol.Lowered`.

    `kind` tells what the rows are: `page` and `groups` answer `items, count, has_next, last_key,
    total`, and `record` answers `json, version`. Bytes are `bytes` from Postgres and `str` from SQLite.
    """

    text: str
    encoders: tuple[Slot, ...]
    kind: LoweredKind
    limit: int | None
    query: BoundQuery
    dialect: Dialect

    def arguments(self, params: Sequence[Value]) -> list[object]:
        """The SQL's arguments, given the plan's parameters as canonical values."""
        return [encode(params[index]) for index, encode in self.encoders]

    def tenant_of(self, params: Sequence[Value]) -> TenantId:
        """Whose rows the statement reads, given the plan's parameters."""
        return cast("TenantId", params[self.query.tenant.index])

    @cached_property
    def record(self) -> LoweredSql:
        """The same query for its first record only; made when first asked for."""
        return self if self.kind == "record" else lower_record(self.query, self.dialect)

    @cached_property
    def each(self) -> LoweredSql:
        """The same read for many callers at once; made when first asked for.

        It answers a row for each, in their order; one of nulls where there is no record.
        """
        return _lower_each(self.query, self.kind, self.dialect)

    def arguments_of_each(self, params: Sequence[Sequence[Value]]) -> list[object]:
        """The arguments of `each`, given the parameters of all reads.

        They differ only where `query.plan.varying_params` says so.
        """
        varying = varying_params(self.query)
        return [
            [encode(one[index]) for one in params] if index in varying else encode(params[0][index])
            for index, encode in self.each.encoders
        ]


def lower(query: BoundQuery, dialect: Dialect) -> LoweredSql:
    """`query` as one statement for a page of records, or of groups."""
    names = Names(dialect, query.tenant)
    kind: LoweredKind = "page" if query.grouping is None else "groups"
    return _lowered(_statement(query, kind, names), kind, query, names)


def lower_record(query: BoundQuery, dialect: Dialect) -> LoweredSql:
    """`query` as one statement for its first record and the record's version."""
    names = Names(dialect, query.tenant)
    return _lowered(_statement(query, "record", names), "record", query, names)


def _lower_each(query: BoundQuery, kind: LoweredKind, dialect: Dialect) -> LoweredSql:
    """The statement for a query, once for each row of parameters.

    The server must not see how many rows there are, nor the facts and constants of row rules: a
    plan made for those looks cheaper than one for any, so it would be made anew each time. Hence
    parameters inside sub-selects.
    """
    names = Names(dialect, query.tenant, varying_params(query), ruled_params(query))
    statement = _statement(query, kind, names)
    lists = names.lists()
    if not lists:
        raise ValueError("reads of this query cannot differ in anything")
    parts: list[str | sa.ClauseElement] = ["SELECT a0.* FROM unnest("]
    for at, values in enumerate(lists):
        parts += [", " if at else "", "(SELECT ", values, ")"]
    columns = ", ".join(f"v{at}" for at in range(len(lists)))
    parts += [f") WITH ORDINALITY AS {EACH}({columns}, position) LEFT JOIN LATERAL (", statement]
    parts.append(f") AS a0 ON true ORDER BY {EACH}.position")
    return _lowered(Fragment.of(parts), kind, query, names)


def _statement(query: BoundQuery, kind: LoweredKind, names: Names) -> sa.Select[Any]:
    if query.grouping is not None:
        return _groups(query, query.grouping, names)
    page = _Page(query, names)
    row = row_json(query, names, page.column)
    dialect = names.dialect
    if kind == "record":
        version = page.column(Column(query.object.fields[FieldName("version")]))
        columns = [dialect.record_bytes(row).label("json"), version.sql.label("version")]
        return sa.select(*columns).select_from(page.select(1, extra=0))
    keys = [] if query.distinct else [dialect.json_value(page.operand(key)) for key in query.order]
    rows = page.select(query.limit)
    total = None if query.count == "none" else _count(query, names)
    return _envelope(rows, row, query, names, keys=keys, total=total)


def _lowered(
    statement: sa.ClauseElement,
    kind: LoweredKind,
    query: BoundQuery,
    names: Names,
) -> LoweredSql:
    text, order = compile_text(statement, names.dialect)
    limit = 1 if kind == "record" else query.limit
    return LoweredSql(text, names.slots(order), kind, limit, query, names.dialect)


def _envelope(
    rows: sa.FromClause,
    row: Expression,
    query: BoundQuery,
    names: Names,
    *,
    keys: Sequence[Expression],
    total: Expression | None,
) -> sa.Select[Any]:
    columns = names.dialect.page_columns(row, keys, query.limit)
    columns["total"] = Fragment("NULL") if total is None else total
    labelled = [column.label(name) for name, column in columns.items()]
    return sa.select(*labelled).select_from(rows)


class _Page:
    """The innermost select: which rows, in which order. It yields the columns asked of it."""

    def __init__(self, query: BoundQuery, names: Names) -> None:
        self._query = query
        self._names = names
        self._scope = Scope(names, query.object)
        self._alias = names.alias("p")
        self._columns: dict[str, Typed] = {}

    def column(self, column: Column) -> Typed:
        """`column` as seen from outside the select."""
        return Typed(column_of(self._alias, self._label(column)), kind_of(column.field))

    def _label(self, column: Column) -> str:
        label = column.name
        if len(label) > _MAX_LABEL_BYTES:  # names are ASCII
            known = [name for name in self._columns if name.startswith(".")]
            label = f".{len(known)}"
        if label not in self._columns:
            self._columns[label] = self._scope.column(column)
        return label

    def operand(self, key: Order) -> Typed:
        assert isinstance(key.by, Column), "groups are not rows"
        return self.column(key.by)

    def select(self, limit: int | None, *, extra: int = 1) -> sa.FromClause:
        """The select, of at most `limit` rows and `extra` ones that tell whether more follow."""
        query = self._query
        if query.after and _continues_in_an_index(query):
            found = self._select_stretches(limit, extra)
        else:
            found = self._select_where(
                [self._scope.after(query.order, query.after)] if query.after else []
            )
        return _cut(found, limit, extra, query.offset, self._names).subquery(self._alias)

    def _select_where(self, conditions: Sequence[Expression]) -> sa.Select[Any]:
        query, scope = self._query, self._scope
        where = [scope.of_tenant(), scope.predicate(query.where), *conditions]
        keys = scope.sort_keys(query.order)
        columns = [typed.sql.label(label) for label, typed in self._columns.items()]
        found = sa.select(*columns)
        if query.distinct:
            found = found.distinct()
        return found.select_from(scope.tables()).where(*where).order_by(*keys)

    def _select_stretches(self, limit: int | None, extra: int) -> sa.Select[Any]:
        """The rows after the cursor: each stretch of the order read on its own, then joined."""
        query, names = self._query, self._names
        joined = names.alias("u")
        keys: list[Expression] = []
        for key in query.order:
            assert isinstance(key.by, Column), "groups have no cursors"
            by = column_of(joined, self._label(key.by))
            nullable = is_nullable(key.by)
            keys.append(names.dialect.order(by, descending=key.descending, is_nullable=nullable))
        stretches = [
            _cut(self._select_where([part]), limit, extra, None, names).subquery(names.alias("s"))
            for part in self._scope.stretches(query.order, query.after)
        ]
        labels = [column_of(joined, label).label(label) for label in self._columns]
        rows = sa.union_all(*(sa.select(sa.text("*")).select_from(part) for part in stretches))
        return sa.select(*labels).select_from(rows.subquery(joined)).order_by(*keys)


def _continues_in_an_index(query: BoundQuery) -> bool:
    """Whether an index may hold the order and its nulls, so that a cursor is better split.

    Without an index each stretch would be a walk through the whole table.
    """
    first = query.order[0].by
    if not isinstance(first, Column) or first.hops or query.distinct or query.offset is not None:
        return False
    return is_nullable(first) and any(
        first.field.column_name in index.keys and not index.skips_null
        for index in indexes_of(query.object)
    )


def _cut(
    found: sa.Select[Any], limit: int | None, extra: int, offset: Param | None, names: Names
) -> sa.Select[Any]:
    if limit is not None:
        found = found.limit(number(limit + extra))
    return found if offset is None else found.offset(names.count_param(offset))


def _count(query: BoundQuery, names: Names) -> Expression:
    """How many records match, all pages together."""
    scope = Scope(names, query.object)
    where = (scope.of_tenant(), scope.predicate(query.where))
    if not query.distinct:
        if query.count == "estimated":
            found = sa.select(Fragment("1")).select_from(scope.tables()).where(*where)
            return _count_of(found.limit(number(MAX_COUNTED + 1)), names)
        counted = sa.select(Fragment("count(*)")).select_from(scope.tables()).where(*where)
        return counted.scalar_subquery()
    columns = [
        scope.column(output.column).sql.label(f"c{at}") for at, output in enumerate(query.outputs)
    ]
    rows = sa.select(*columns).distinct().select_from(scope.tables()).where(*where)
    return _count_of(rows, names)


def _count_of(rows: sa.Select[Any], names: Names) -> Expression:
    alias = names.alias("n")
    counted = sa.select(Fragment("count(*)")).select_from(rows.subquery(alias))
    return counted.scalar_subquery()


# --- groups ----------------------------------------------------------------------------------


def _groups(query: BoundQuery, grouping: Grouping, names: Names) -> sa.Select[Any]:
    """The innermost select groups, the next one chooses and sorts groups by their outputs."""
    dialect = names.dialect
    page = names.alias("p")
    found, outputs = _having(query, grouping, names)
    scope = Scope(names, query.object, outputs)
    ordered = found.order_by(*scope.sort_keys(query.order))
    rows = _cut(ordered, query.limit, 1, query.offset, names).subquery(page)
    members = [
        (alias, dialect.json_value(Typed(column_of(page, f"c{at}"), typed.kind)))
        for at, (alias, typed) in enumerate(outputs.items())
    ]
    total = None
    if query.count != "none":
        total = _count_of(_having(query, grouping, names)[0], names)
    return _envelope(rows, dialect.json_row(members), query, names, keys=(), total=total)


def _having(
    query: BoundQuery, grouping: Grouping, names: Names
) -> tuple[sa.Select[Any], dict[str, Typed]]:
    """The groups that pass, as columns `c0`, `c1`, ..., and each output by its alias."""
    scope = Scope(names, query.object)
    keys: list[Expression] = []
    made: dict[str, Typed] = {}
    for key in grouping.keys:
        value = scope.column(key.column)
        if key.granularity is not None:
            value = Typed(names.dialect.bucket(value, key.granularity), Kind(Storage.TEXT))
        keys.append(value.sql)
        made[key.alias] = value
    for aggregate in grouping.aggregates:
        made[aggregate.alias] = _aggregate(aggregate, scope)
    where = scope.predicate(query.where)
    columns = [typed.sql.label(f"c{at}") for at, typed in enumerate(made.values())]
    grouped = sa.select(*columns).select_from(scope.tables()).where(scope.of_tenant(), where)
    if keys:
        grouped = grouped.group_by(*keys)
    alias = names.alias("g")
    outputs = {
        name: Typed(column_of(alias, f"c{at}"), typed.kind)
        for at, (name, typed) in enumerate(made.items())
    }
    chosen = sa.select(*(typed.sql.label(f"c{at}") for at, typed in enumerate(outputs.values())))
    having = Scope(names, query.object, outputs).predicate(grouping.having)
    return chosen.select_from(grouped.subquery(alias)).where(having), outputs


def _aggregate(aggregate: Aggregate, scope: Scope) -> Typed:
    rows: Expression = Fragment("")
    if aggregate.filter != TRUE:
        rows = Fragment(" FILTER (WHERE {})", scope.predicate(aggregate.filter))
    if aggregate.column is None:
        return Typed(Fragment("count(*){}", rows), Kind(Storage.INTEGER))
    value = scope.column(aggregate.column)
    match aggregate.function:
        case "count":
            return Typed(Fragment("count({}){}", value.sql, rows), Kind(Storage.INTEGER))
        case "count_distinct":
            return Typed(Fragment("count(DISTINCT {}){}", value.sql, rows), Kind(Storage.INTEGER))
        case function:
            return scope.dialect.aggregate(function, value, rows)
