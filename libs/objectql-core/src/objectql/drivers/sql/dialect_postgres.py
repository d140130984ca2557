"""Postgres: the JSON is finished in the database, and Python only passes bytes on.

The forms below were measured against their alternatives (ADR 0003).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa  # noqa: TID251 - this package is the home of SQL
from sqlalchemy.dialects.postgresql.base import PGDialect  # noqa: TID251

from objectql.drivers.sql.dialect import Dialect
from objectql.drivers.sql.encode import Kind
from objectql.drivers.sql.formulas_postgres import POSTGRES_FORMULAS
from objectql.drivers.sql.fragment import (
    Expression,
    Fragment,
    Typed,
    escaped_literal,
    identifier,
    string_literal,
)
from objectql.metadata.types import Storage
from objectql.query.ast import AggregateFunction, Granularity
from objectql.query.bound import TestOp
from objectql.query.search_words import MAX_SEARCHED, MAX_WORD, TRANSLATED

_MAX_LABEL_BYTES = 63
_MAX_PAIRS = 50
"""Of `json_build_object`: functions take at most 100 arguments."""

_ROW_TO_JSON = '(SELECT row_to_json("0") FROM (SELECT '
"""`"0"` is the row. No field or group can be called so; one of the row's own name would be taken for
the whole row."""

_TYPES = {
    Storage.TEXT: "text",
    Storage.INTEGER: "bigint",
    Storage.FLOAT: "double precision",
    Storage.DECIMAL: "numeric",
    Storage.BOOLEAN: "boolean",
    Storage.DATE: "date",
    Storage.DATETIME: "timestamptz",
    Storage.TIME: "time",
    Storage.JSON: "jsonb",
    Storage.LIST: "jsonb",
}


def words_vector(text: str) -> str:
    """The words of a column, given as SQL, as a `tsvector`; what indexes over words hold.

    Postgres' own parsers split by rules of their version; these are `query.search_words`'s.
    """
    before, after = map(escaped_literal, TRANSLATED)
    plain = f"translate(left({text}, {MAX_SEARCHED}), {before}, {after})"
    short = f"regexp_replace({plain}, '([^ ]{{{MAX_WORD}}})', '\\1 ', 'g')"
    return f"array_to_tsvector(array_remove(string_to_array({short}, ' '), ''))"


_TESTS = {
    TestOp.EQ: "{} = {}",
    TestOp.LT: "{} < {}",
    TestOp.LTE: "{} <= {}",
    TestOp.GT: "{} > {}",
    TestOp.GTE: "{} >= {}",
    TestOp.IN: "{} = ANY({})",
    TestOp.CONTAINS: "strpos({}, {}) > 0",
    # Under the collation "C" only ASCII letters have a lower case.
    TestOp.ICONTAINS: 'strpos(lower({} COLLATE "C"), lower({} COLLATE "C")) > 0',
    TestOp.STARTS_WITH: "starts_with({}, {})",
    # No character escapes another: a backslash means itself.
    TestOp.LIKE: "{} LIKE {} ESCAPE ''",
    TestOp.ILIKE: "{} COLLATE \"C\" ILIKE {} ESCAPE ''",
    TestOp.HAS_WORD: f"{words_vector('{}')} @@ {{}}::tsquery",
}

_BUCKETS: dict[Granularity, str] = {
    "day": "YYYY-MM-DD",
    "week": 'IYYY-"W"IW',
    "month": "YYYY-MM",
    "quarter": 'YYYY-"Q"Q',
    "year": "YYYY",
}


class PostgresDialect(Dialect):
    """Postgres 14 and later, spoken through asyncpg (`$1` parameters)."""

    name = "postgres"
    vendor = PGDialect(paramstyle="numeric_dollar")
    formulas = POSTGRES_FORMULAS

    def cast_param(self, param: Expression, kind: Kind, *, is_list: bool = False) -> Expression:
        return Fragment(f"{{}}::{_TYPES[kind.storage]}" + ("[]" if is_list else ""), param)

    def test(self, left: Typed, op: TestOp, right: Expression) -> Expression:
        if op is TestOp.ENDS_WITH:
            return Fragment("right({}, length({})) = {}", left.sql, right, right)
        if op is TestOp.CONTAINS and left.kind.storage in {Storage.LIST, Storage.JSON}:
            return Fragment("{} @> to_jsonb({})", left.sql, right)
        if op is TestOp.OVERLAPS:
            return Fragment("{} ?| {}", left.sql, right)
        return Fragment(_TESTS[op], left.sql, right)

    def align(self, left: Typed, right: Typed) -> tuple[Typed, Typed]:
        return left, right

    def order(self, key: Expression, *, descending: bool, is_nullable: bool) -> Expression:
        # Nulls last ascending and first descending is how Postgres sorts, and how it keeps indexes.
        _ = is_nullable
        return Fragment("{} DESC", key) if descending else key

    def bucket(self, value: Typed, granularity: Granularity) -> Expression:
        moment = "::timestamp" if value.kind.storage is Storage.DATE else " AT TIME ZONE 'UTC'"
        label = string_literal(_BUCKETS[granularity])
        return Fragment(f'to_char({{}}{moment}, {label}) COLLATE "C"', value.sql)

    def aggregate(self, function: AggregateFunction, value: Typed, rows: Expression) -> Typed:
        if function == "avg":
            average = Fragment("(avg({}){})::double precision", value.sql, rows)
            return Typed(average, Kind(Storage.FLOAT))
        name: str = function
        if value.kind.storage is Storage.BOOLEAN:
            name = {"min": "bool_and", "max": "bool_or"}[function]
        return Typed(Fragment(f"{name}({{}}){{}}", value.sql, rows), value.kind)

    def json_value(self, value: Typed) -> Expression:
        match value.kind.storage:
            case Storage.DATETIME:
                pattern = """'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'"""
                return Fragment(f"to_char({{}} AT TIME ZONE 'UTC', {pattern})", value.sql)
            case Storage.TIME:
                return Fragment("replace(to_char({}, 'HH24:MI:SS.MS'), '.000', '')", value.sql)
            case _:
                return value.sql

    def as_json(self, text: Expression) -> Expression:
        return text

    def json_row(self, members: Sequence[tuple[str, Expression]]) -> Expression:
        if all(0 < len(name.encode()) <= _MAX_LABEL_BYTES for name, _ in members):
            parts: list[str | sa.ClauseElement] = [_ROW_TO_JSON]
            for at, (name, value) in enumerate(members):
                parts += [", " if at else "", value, f" AS {identifier(name)}"]
            return Fragment.of([*parts, ') "0")'])
        chunks = [members[at : at + _MAX_PAIRS] for at in range(0, len(members), _MAX_PAIRS)]
        parts = ["("]
        for at, chunk in enumerate(chunks):
            # All but the braces between two objects: `{a, b` || `, ` || `c, d}`.
            parts += [" || ', ' || substr(" if at else "", "" if at == len(chunks) - 1 else "left("]
            parts.append("json_build_object(")
            for number, (name, value) in enumerate(chunk):
                parts += [", " if number else "", f"{string_literal(name)}::text, ", value]
            parts += [")::text", "" if at == len(chunks) - 1 else ", -1)", ", 2)" if at else ""]
        return Fragment.of([*parts, ")::json"])

    def json_list(self, row: Expression) -> Expression:
        return Fragment("coalesce(json_agg({}), '[]'::json)", row)

    def page_columns(
        self, row: Expression, keys: Sequence[Expression], limit: int | None
    ) -> dict[str, Expression]:
        if limit is None:
            joined = Fragment("string_agg({}::text, ',')", row)
            return {
                "items": _bytes(Fragment("'[' || coalesce({}, '') || ']'", joined)),
                "count": Fragment("count(*)::int"),
                "has_next": Fragment("false"),
                "last_key": Fragment("NULL::bytea"),
            }
        more = f"count(*) > {limit}" if limit else "false"
        joined = Fragment(f"array_to_string((array_agg({{}}::text))[:{limit}], ',')", row)
        last_key: Expression = Fragment("NULL::bytea")
        if keys and limit:
            lasts = [Fragment(f"(array_agg({{}}))[{limit}]", key) for key in keys]
            parts: list[str | sa.ClauseElement] = []
            for at, last in enumerate(lasts):
                parts += [", " if at else "", last]
            key_text = Fragment.of(["json_build_array(", *parts, ")::text"])
            last_key = Fragment(f"CASE WHEN {more} THEN {{}} END", _bytes(key_text))
        return {
            "items": _bytes(Fragment("'[' || coalesce({}, '') || ']'", joined)),
            "count": Fragment(f"least(count(*), {limit})::int"),
            "has_next": Fragment(more),
            "last_key": last_key,
        }

    def record_bytes(self, row: Expression) -> Expression:
        return _bytes(Fragment("{}::text", row))

    def members(
        self, value: Expression, alias: str
    ) -> tuple[sa.FromClause, Expression, Expression]:
        rows = sa.func.jsonb_array_elements_text(value).table_valued(
            "id", with_ordinality="position", name=alias
        )
        rows = rows.render_derived()
        return rows, rows.c.id, rows.c.position


def _bytes(text: Expression) -> Expression:
    return Fragment("convert_to({}, 'UTF8')", text)


POSTGRES: Final = PostgresDialect()
