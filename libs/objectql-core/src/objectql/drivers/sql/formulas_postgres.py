"""Formulas in Postgres: an expression for each function of the machine.

Numbers are `numeric`. An expression that needs an argument twice names it in a sub-select, which
`OFFSET 0` keeps from being merged into its surroundings, so that nothing is computed twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import sqlalchemy as sa  # noqa: TID251 - this package is the home of SQL

from objectql.drivers.sql.formulas import FormulaSql, listed
from objectql.drivers.sql.fragment import (
    Expression,
    Fragment,
    Typed,
    escaped_literal,
    string_literal,
)
from objectql.formula.dates import MAX_DAYS, MAX_MONTHS, MAX_MS, MS_PER_DAY
from objectql.formula.functions import Type
from objectql.formula.numbers import LIMIT, PLACES, text_of_number
from objectql.formula.program import Apply, Const, Result
from objectql.formula.texts import BLANKS, CASES, MAX_LENGTH, MAX_PADDED, MAX_POSITION
from objectql.metadata.types import Storage

_TYPES: Final[Mapping[Type, str]] = {
    Type.NUMBER: "numeric",
    Type.TEXT: "text",
    Type.BOOLEAN: "boolean",
    Type.DATE: "date",
    Type.DATETIME: "timestamptz",
    Type.TIME: "time",
    Type.LIST: "jsonb",
    Type.BLANK: "text",
}
_HOLE = re.compile(r"\{(\d)\}")
_DECIMAL_DIGITS = 17


def _clamped(number: str, bound: str) -> str:
    """The number, or null where it is not between the bounds; `greatest` and `least` skip nulls."""
    return f"nullif(nullif(least(greatest({number}, -{bound}), {bound}), {bound}), -{bound})"


def _limited(number: str) -> str:
    return _clamped(f"round({number}, {PLACES})", f"1e{LIMIT.adjusted()}")


def _whole(number: str, low: int, high: int) -> str:
    return f"least(greatest(trunc({number}), {low}), {high})::int"


def _named(value: str, *names: str) -> str:
    """`value` over arguments that are called by `names`; null where one of them is."""
    given = ", ".join(f"{{{at}}} AS {name}" for at, name in enumerate(names))
    there = " AND ".join(f"f.{name} IS NOT NULL" for name in names)
    return f"(SELECT {value} FROM (SELECT {given} OFFSET 0) AS f WHERE {there})"  # noqa: S608 - of fixed texts


def _unless_long(length: str, text: str) -> str:
    """`text`, which has so many characters, where a formula may make so long a one."""
    return f"CASE WHEN {length} <= {MAX_LENGTH} THEN {text} END"


_BLANK: Final = r"[ \t\n\r]*"
_UTC: Final = "({0} AT TIME ZONE 'UTC')"
_FIRST_DAY, _LAST_DAY = "DATE '0001-01-01'", "DATE '9999-12-31'"
_POSITION: Final = _whole("f.n", 0, MAX_POSITION)
_DAYS: Final = _whole("f.n", -MAX_DAYS, MAX_DAYS)
_MONTHS: Final = _whole("f.n", -MAX_MONTHS, MAX_MONTHS)
_MS: Final = f"least(greatest(trunc(f.n), -{MAX_MS}), {MAX_MS})"
_EPOCH_MS: Final = "trunc(extract(epoch FROM {0})::numeric * 1000)"


def _quotient(left: str, right: str) -> str:
    return _limited(f"div({left} * 1e{PLACES}, nullif({right}, 0)) * 1e-{PLACES}")


def _in_calendar(months: str, value: str, day: str) -> str:
    """`value` where `day`, so many months later, is in the years 1 to 9999."""
    total = f"extract(year FROM {day}) * 12 + extract(month FROM {day}) - 1 + {months}"
    return f"CASE WHEN {total} BETWEEN 12 AND 119999 THEN {value} END"


def _moved(day: str, days: str) -> str:
    """`day` so many days later, where that is in the years 1 to 9999."""
    bounds = f"{_FIRST_DAY} - {day} AND {_LAST_DAY} - {day}"
    return f"CASE WHEN {days} BETWEEN {bounds} THEN {day} + {days} END"


_DAY_FROM: Final = (
    f"(SELECT {_moved('g.a', 'g.d')} FROM (SELECT "  # noqa: S608 - of fixed texts
    "CASE WHEN f.k BETWEEN 12 AND 119999 THEN make_date(f.k / 12, f.k % 12 + 1, 1) END AS a, f.d"
    " FROM (SELECT "
    f"{_whole('e.y', -9999, 19998)} * 12 + {_whole('e.m', -MAX_MONTHS, MAX_MONTHS)} - 1 AS k,"
    f" {_whole('e.d', -MAX_DAYS, MAX_DAYS)} - 1 AS d"
    " FROM (SELECT {0} AS y, {1} AS m, {2} AS d OFFSET 0) AS e"
    " WHERE e.y IS NOT NULL AND e.m IS NOT NULL AND e.d IS NOT NULL OFFSET 0) AS f OFFSET 0) AS g)"
)

TEMPLATES: Final[Mapping[str, str]] = {
    "add": "({0} + {1})",
    "subtract": "({0} - {1})",
    "multiply": _limited("({0} * {1})"),
    "divide": _quotient("{0}", "{1}"),
    "remainder": "mod({0}, nullif({1}, 0))",
    "square_root": f"round(sqrt(round(nullif(greatest({{0}}, -1e-{PLACES + 1}), -1e-{PLACES + 1}), {PLACES})), {PLACES})",
    "negative": "(- {0})",
    "absolute": "abs({0})",
    "sign": "sign({0})",
    "floor": "floor({0})",
    "ceiling": "ceil({0})",
    "truncate": "trunc({0})",
    "round_half_up": "floor({0} + 0.5)",
    "round_to": "round({0}, ({1})::int)",
    "nonzero": "nullif({0}, 0)",
    "number_of_text": f"substring({{0}} FROM '^{_BLANK}([+-]?[0-9]{{1,37}}(?:\\.[0-9]{{0,20}})?){_BLANK}$')::numeric",
    "parse_float": f"substring({{0}} FROM '^{_BLANK}([+-]?[0-9]{{1,37}}(?:\\.[0-9]{{1,20}})?)')::numeric",
    "parse_int": f"substring({{0}} FROM '^{_BLANK}([+-]?[0-9]{{1,37}})')::numeric",
    "number_of_boolean": "({0})::int::numeric",
    "text_of_number": "trim_scale({0})::text",
    "text_of_boolean": "({0})::text",
    "text_of_date": "to_char({0}, 'YYYY-MM-DD')",
    "text_of_datetime": f'to_char({_UTC}, \'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"\')',
    "text_of_time": "replace(to_char({0}, 'HH24:MI:SS.MS'), '.000', '')",
    "fixed": "round({0}, ({1})::int)::text",
    "filled": "nullif({0}, '')",
    "upper": f"translate({{0}}, {string_literal(CASES[0])}, {string_literal(CASES[1])})",
    "lower": f"translate({{0}}, {string_literal(CASES[1])}, {string_literal(CASES[0])})",
    "trim": f"btrim({{0}}, {escaped_literal(BLANKS)})",
    "length": "length({0})::numeric",
    "first_of": _named(f"left(f.a, {_POSITION})", "a", "n"),
    "last_of": _named(f"right(f.a, {_POSITION})", "a", "n"),
    "from_position": _named(f"substr(f.a, {_POSITION} + 1)", "a", "n"),
    "position": "(strpos({0}, {1}) - 1)::numeric",
    "contains": "(strpos({0}, {1}) > 0)",
    "starts_with": "starts_with({0}, {1})",
    "ends_with": _named("right(f.a, length(f.b)) = f.b", "a", "b"),
    "replace_first": _named(
        _unless_long(
            "length(f.a) + (strpos(f.a, f.b) > 0)::int * (length(f.c) - length(f.b))::bigint",
            "CASE WHEN strpos(f.a, f.b) = 0 THEN f.a"
            " ELSE overlay(f.a PLACING f.c FROM strpos(f.a, f.b) FOR length(f.b)) END",
        ),
        *"abc",
    ),
    "replace_all": _named(
        _unless_long(
            "length(f.a) + (length(f.a) - length(replace(f.a, f.b, ''))) / length(f.b)"
            " * (length(f.c) - length(f.b))::bigint",
            "replace(f.a, f.b, f.c)",
        ),
        *"abc",
    ),
    "pad_start": _named(
        f"CASE WHEN f.b = '' OR f.n <= length(f.a) THEN f.a"
        f" ELSE lpad(f.a, greatest({_whole('f.n', 0, MAX_PADDED)}, length(f.a)), f.b) END",
        *"anb",
    ),
    "piece": _named(
        "CASE WHEN f.a = '' THEN CASE WHEN trunc(f.n) = 0 THEN '' END"
        f" ELSE (string_to_array(f.a, f.b))[{_whole('f.n', -1, MAX_POSITION)} + 1] END",
        *"abn",
    ),
    "list_length": "jsonb_array_length({0})::numeric",
    "list_has": "({0} @> to_jsonb({1}))",
    "day_of": f"{_UTC}::date",
    "instant_of": "(({0})::timestamp AT TIME ZONE 'UTC')",
    "year": "extract(year FROM {0})::numeric",
    "month": "extract(month FROM {0})::numeric",
    "day_of_month": "extract(day FROM {0})::numeric",
    "weekday": "extract(dow FROM {0})::numeric",
    "hour": f"extract(hour FROM {_UTC})::numeric",
    "minute": f"extract(minute FROM {_UTC})::numeric",
    "second": f"trunc(extract(second FROM {_UTC})::numeric)",
    "unix_ms": _EPOCH_MS,
    "days_between": "({1} - {0})::numeric",
    "add_days": _named(_moved("f.a", _DAYS), "a", "n"),
    "add_months": _named(
        _in_calendar(_MONTHS, f"(f.a + make_interval(months => {_MONTHS}))::date", "f.a"), "a", "n"
    ),
    "add_months_to_instant": _named(
        _in_calendar(
            _MONTHS,
            f"(f.a AT TIME ZONE 'UTC' + make_interval(months => {_MONTHS})) AT TIME ZONE 'UTC'",
            "(f.a AT TIME ZONE 'UTC')",
        ),
        "a",
        "n",
    ),
    "add_ms": _named(
        f"CASE WHEN {_EPOCH_MS.replace('{0}', 'f.a')} + {_MS}"
        " BETWEEN -62135596800000 AND 253402300799999 THEN"
        f" (f.a AT TIME ZONE 'UTC' + make_interval(days => div({_MS}, {MS_PER_DAY})::int)"
        f" + mod({_MS}, {MS_PER_DAY})::float8 * INTERVAL '1 millisecond') AT TIME ZONE 'UTC' END",
        "a",
        "n",
    ),
    "day_from": _DAY_FROM,
}
"""What each function is; `{0}` is its first argument. Those of any number of arguments, and
powers, are made in `PostgresFormulas.apply`."""


class PostgresFormulas(FormulaSql):
    """Expressions of Postgres 14 and later."""

    def input(self, value: Typed, type_: Type) -> Expression:
        if type_ is not Type.NUMBER:
            return value.sql
        match value.kind.storage:
            case Storage.INTEGER:
                return Fragment("({})::numeric", value.sql)
            case Storage.FLOAT:
                # Its text is the shortest that is read back as the same double.
                return _filled(_limited("({0})::text::numeric"), [value.sql])
            case _:
                return _filled(_limited("({0})"), [value.sql])

    def const(self, value: Decimal | str | bool | None, type_: Type) -> Expression:
        name = _TYPES[type_]
        if value is None:
            return Fragment(f"NULL::{name}")
        if isinstance(value, bool):
            return Fragment("true" if value else "false")
        if isinstance(value, Decimal):
            return Fragment(f"({text_of_number(value)})::numeric")
        return Fragment.of([string_literal(value), f"::{name}"])

    def apply(self, term: Apply, arguments: Sequence[Expression]) -> Expression:
        match term.function:
            case "greatest" | "least" if not arguments:
                return self.const(None, term.type)
            case "greatest" | "least" as name:
                return listed(f"{name}(", arguments, ", ")
            case "concatenate":
                return _joined(None, arguments)
            case "join_filled":
                separator, *texts = arguments
                return _joined(separator, [Fragment("nullif({}, '')", each) for each in texts])
            case "power":
                return _power(term, arguments[0])
            case name:
                return _filled(TEMPLATES[name], arguments)

    def before(
        self, left: Expression, right: Expression, type_: Type, *, or_same: bool
    ) -> Expression:
        sign = "<=" if or_same else "<"
        collation = ' COLLATE "C"' if type_ is Type.TEXT else ""
        return Fragment(f"coalesce(({{}}){collation} {sign} {{}}, false)", left, right)

    def same(self, left: Expression, right: Expression) -> Expression:
        return Fragment("({} IS NOT DISTINCT FROM {})", left, right)

    def result(self, value: Expression, type_: Type, result: Result) -> Expression:
        if type_ is Type.TEXT:
            return Fragment('({}) COLLATE "C"', value)
        if type_ is not Type.NUMBER:
            return value
        if result.storage is Storage.DECIMAL:
            bound = str(10 ** (_DECIMAL_DIGITS - result.scale))
            return _filled(_clamped(f"round({{0}}, {result.scale})", bound), [value])
        return Fragment("({})::double precision", value)


def _joined(separator: Expression | None, texts: Sequence[Expression]) -> Expression:
    """The texts that are not null one after the other; of an array, as functions take a hundred
    arguments at most.
    """
    if not texts:
        return Fragment("''::text")
    names = [f"f.t{at}" for at in range(len(texts))]
    array = f"ARRAY[{', '.join(names)}]"
    length = " + ".join(f"coalesce(length({name}), 0)::bigint" for name in names)
    if separator is not None:
        length += f" + length(f.s)::bigint * greatest(num_nonnulls(VARIADIC {array}) - 1, 0)"
    joined = _unless_long(length, f"array_to_string({array}, f.s)")
    parts: list[str | sa.ClauseElement] = [f"(SELECT {joined} FROM (SELECT "]  # noqa: S608
    for at, text in enumerate(texts):
        parts += [text, f" AS t{at}, "]
    between = [Fragment("''")] if separator is None else ["coalesce(", separator, ", '')"]
    return Fragment.of([*parts, *between, " AS s OFFSET 0) AS f)"])


def _power(term: Apply, base: Expression) -> Expression:
    exponent = term.arguments[1]
    assert isinstance(exponent, Const), "exponents are literals"
    times = int(exponent.value or 0)
    raised = _limited(f"power({_limited('{0}')}, {abs(times)})")
    return _filled(raised if times >= 0 else _quotient("1", raised), [base])


def _filled(template: str, arguments: Sequence[Expression]) -> Expression:
    """`template` with the arguments in its holes; other braces mean themselves."""
    parts: list[str | sa.ClauseElement] = []
    for at, piece in enumerate(_HOLE.split(template)):
        is_hole = at % 2 == 1
        parts.append(arguments[int(piece)] if is_hole else piece)
    return Fragment.of(parts)


POSTGRES_FORMULAS: Final = PostgresFormulas()
"""Stateless."""
