"""SQLite: the same answers from what its JSON functions offer (3.40 and later).

Instants, dates and times are kept as canonical text, booleans as 0 and 1, decimals as whole
numbers of their last place (see `encode`), lists and objects as JSON text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa  # noqa: TID251 - this package is the home of SQL
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler  # noqa: TID251
from sqlalchemy.dialects.sqlite.base import SQLiteDialect as SQLiteVendor  # noqa: TID251
from sqlalchemy.sql.selectable import GenerativeSelect  # noqa: TID251

from objectql.drivers.sql.dialect import Dialect
from objectql.drivers.sql.encode import Kind
from objectql.drivers.sql.formulas_sqlite import SQLITE_FORMULAS
from objectql.drivers.sql.fragment import Expression, Fragment, Typed, string_literal
from objectql.metadata.types import Storage
from objectql.query.ast import AggregateFunction, Granularity
from objectql.query.bound import TestOp

_MAX_PAIRS = 60
"""Of `json_object`: functions take at most 127 arguments."""

_TESTS = {
    TestOp.EQ: "{} = {}",
    TestOp.LT: "{} < {}",
    TestOp.LTE: "{} <= {}",
    TestOp.GT: "{} > {}",
    TestOp.GTE: "{} >= {}",
    TestOp.IN: "{} IN (SELECT value FROM json_each({}))",
    TestOp.CONTAINS: "instr({}, {}) > 0",
    TestOp.ICONTAINS: "instr(lower({}), lower({})) > 0",
    # LIKE ignores the case of ASCII letters and only theirs; GLOB tells cases apart.
    TestOp.LIKE: "{} GLOB {}",
    TestOp.ILIKE: "{} LIKE {}",
    # A function of ours (see `sqlite_connection`), for SQLite cannot split a text.
    TestOp.HAS_WORD: "objectql_has_word({}, {})",
}

# `strftime` has neither ISO weeks (before 3.46) nor quarters. A week belongs to the year of its
# Thursday, and is counted by it.
_THURSDAY = "date({0}, '-3 days', 'weekday 4')"
_BUCKETS: dict[Granularity, str] = {
    "day": "substr({0}, 1, 10)",
    "week": f"strftime('%Y-W', {_THURSDAY}) || "
    f"printf('%02d', (strftime('%j', {_THURSDAY}) - 1) / 7 + 1)",
    "month": "substr({0}, 1, 7)",
    "quarter": "substr({0}, 1, 5) || 'Q' || ((substr({0}, 6, 2) + 2) / 3)",
    "year": "substr({0}, 1, 4)",
}


class _Compiler(SQLiteCompiler):
    def limit_clause(self, select: GenerativeSelect, **kw: Any) -> str:
        """LIMIT and OFFSET without the extra parameters that SQLAlchemy would add."""
        limit, offset = select._limit_clause, select._offset_clause  # pyright: ignore[reportPrivateUsage]
        text = "\n LIMIT " + ("-1" if limit is None else self.process(limit, **kw))
        return text if offset is None else f"{text} OFFSET {self.process(offset, **kw)}"


class _Vendor(SQLiteVendor):
    statement_compiler = _Compiler
    supports_statement_cache = False


class SqliteDialect(Dialect):
    """SQLite 3.40 and later, spoken through the standard library (`?` parameters)."""

    name = "sqlite"
    vendor = _Vendor(paramstyle="qmark")
    formulas = SQLITE_FORMULAS

    def cast_param(self, param: Expression, kind: Kind, *, is_list: bool = False) -> Expression:
        _ = kind, is_list
        return param

    def test(self, left: Typed, op: TestOp, right: Expression) -> Expression:
        if op is TestOp.STARTS_WITH:
            return Fragment("substr({}, 1, length({})) = {}", left.sql, right, right)
        if op is TestOp.ENDS_WITH:
            # A start below 1 gives a text of another length, which is not equal.
            template = "substr({}, length({}) - length({}) + 1) = {}"
            return Fragment(template, left.sql, left.sql, right, right)
        if op is TestOp.CONTAINS and left.kind.storage in {Storage.LIST, Storage.JSON}:
            return Fragment("{} IN (SELECT value FROM json_each({}))", right, left.sql)
        if op is TestOp.OVERLAPS:
            members = (
                "EXISTS (SELECT value FROM json_each({}) INTERSECT SELECT value FROM json_each({}))"
            )
            return Fragment(members, left.sql, right)
        return Fragment(_TESTS[op], left.sql, right)

    def align(self, left: Typed, right: Typed) -> tuple[Typed, Typed]:
        scale = max(left.kind.scale, right.kind.scale)
        if Storage.FLOAT in {left.kind.storage, right.kind.storage}:
            return _as_float(left), _as_float(right)
        return _rescale(left, scale), _rescale(right, scale)

    def order(self, key: Expression, *, descending: bool, is_nullable: bool) -> Expression:
        nulls = " NULLS FIRST" if descending else " NULLS LAST"
        direction = " DESC" if descending else ""
        return Fragment("{}" + direction + (nulls if is_nullable else ""), key)

    def bucket(self, value: Typed, granularity: Granularity) -> Expression:
        template = _BUCKETS[granularity]
        holes = [value.sql] * template.count("{0}")
        return Fragment(template.replace("{0}", "{}"), *holes)

    def aggregate(self, function: AggregateFunction, value: Typed, rows: Expression) -> Typed:
        if function == "avg":
            average = Fragment(f"avg({{}}){{}} / {10.0**value.kind.scale}", value.sql, rows)
            return Typed(average, Kind(Storage.FLOAT))
        return Typed(Fragment(f"{function}({{}}){{}}", value.sql, rows), value.kind)

    def json_value(self, value: Typed) -> Expression:
        sql = value.sql
        match value.kind.storage:
            case Storage.BOOLEAN:
                return Fragment("json(CASE {} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)", sql)
            case Storage.JSON | Storage.LIST:
                return Fragment("json({})", sql)
            case Storage.DECIMAL if value.kind.scale:
                unit = 10**value.kind.scale
                text = (
                    "json(CASE WHEN {} IS NOT NULL THEN printf("
                    f"'%s%d.%0{value.kind.scale}d', CASE WHEN {{}} < 0 THEN '-' ELSE '' END, "
                    f"abs({{}} / {unit}), abs({{}} % {unit})) END)"
                )
                return Fragment(text, sql, sql, sql, sql)
            case Storage.FLOAT:
                # Fifteen digits where they are enough, for they read better; else seventeen.
                text = (
                    "json(CASE WHEN CAST(printf('%!.15g', {}) AS REAL) = {} "
                    "THEN printf('%!.15g', {}) WHEN {} IS NOT NULL THEN printf('%!.17g', {}) END)"
                )
                return Fragment(text, sql, sql, sql, sql, sql)
            case _:
                return sql

    def as_json(self, text: Expression) -> Expression:
        return Fragment("json({})", text)

    def json_row(self, members: Sequence[tuple[str, Expression]]) -> Expression:
        chunks = [members[at : at + _MAX_PAIRS] for at in range(0, len(members), _MAX_PAIRS)]
        parts: list[str | sa.ClauseElement] = []
        for at, chunk in enumerate(chunks):
            # All but the braces between two objects: `{a,b` || `,` || `c,d}`.
            is_last = at == len(chunks) - 1
            parts.append(" || ',' || " if at else "")
            if len(chunks) > 1:
                end = "" if is_last else f", length(o) - {2 if at else 1}"
                # Only numbers go into the text.
                parts.append(f"(SELECT substr(o, {2 if at else 1}{end}) FROM (SELECT ")  # noqa: S608
            parts.append("json_object(")
            for number, (name, value) in enumerate(chunk):
                parts += [", " if number else "", f"{string_literal(name)}, ", value]
            parts.append(") AS o))" if len(chunks) > 1 else ")")
        if len(chunks) == 1:  # without brackets: each one takes a place on the parser's short stack
            return Fragment.of(parts)
        return Fragment.of(["(", *parts, ")"])

    def json_list(self, row: Expression) -> Expression:
        return Fragment("json_group_array(json({}))", row)

    def page_columns(
        self, row: Expression, keys: Sequence[Expression], limit: int | None
    ) -> dict[str, Expression]:
        rows = self.json_list(row)
        if limit is None:
            return {
                "items": rows,
                "count": Fragment("count(*)"),
                "has_next": Fragment("0"),
                "last_key": Fragment("NULL"),
            }
        last_key: Expression = Fragment("NULL")
        if keys and limit:
            parts: list[str | sa.ClauseElement] = []
            for at, key in enumerate(keys):
                parts += [", " if at else "", key]
            all_keys = Fragment.of(["json_group_array(json_array(", *parts, "))"])
            last_key = Fragment(
                f"CASE WHEN count(*) > {limit} THEN json_extract({{}}, '$[{limit - 1}]') END",
                all_keys,
            )
        return {
            "items": Fragment(f"json_remove({{}}, '$[{limit}]')", rows),
            "count": Fragment(f"min(count(*), {limit})"),
            "has_next": Fragment(f"count(*) > {limit}" if limit else "0"),
            "last_key": last_key,
        }

    def record_bytes(self, row: Expression) -> Expression:
        return row

    def members(
        self, value: Expression, alias: str
    ) -> tuple[sa.FromClause, Expression, Expression]:
        rows = sa.func.json_each(value).table_valued("value", "key", name=alias)
        return rows, rows.c.value, rows.c.key


def _rescale(value: Typed, scale: int) -> Typed:
    factor = 10 ** (scale - value.kind.scale)
    if factor == 1:
        return value
    return Typed(Fragment(f"({{}} * {factor})", value.sql), Kind(Storage.DECIMAL, scale))


def _as_float(value: Typed) -> Typed:
    if not value.kind.scale:
        return value
    return Typed(Fragment(f"({{}} / {10.0**value.kind.scale})", value.sql), Kind(Storage.FLOAT))


SQLITE: Final = SqliteDialect()
