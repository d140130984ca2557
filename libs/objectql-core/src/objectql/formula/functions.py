"""The functions that formulas are made of: what they take, what they give, what they do.

This is the whole machine: `check` reduces every spelling of both dialects to these, `evaluate`
runs them, SQLite calls them, and Postgres has an expression for each (`drivers.sql.formulas`).
None of them fails: what cannot be computed is blank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, NamedTuple

from objectql.formula import dates, numbers, texts
from objectql.formula.syntax import ErrorCode


class Type(StrEnum):
    """What a part of a formula is; every part may also be blank."""

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "date and time"
    TIME = "time"
    LIST = "list"
    BLANK = "blank"
    """`null` where nothing tells what it could be."""


class Function(NamedTuple):
    """`rest` is the type of any number of further arguments.

    A strict function of a blank is blank. `failure` is what went wrong where it is blank and nothing
    that it was given is; None where that is no failure.
    """

    run: Callable[..., Any]
    takes: tuple[Type, ...]
    gives: Type
    rest: Type | None = None
    is_strict: bool = True
    failure: ErrorCode | None = None
    is_portable: bool = True
    """Whether databases have it too."""


_N, _T, _B = Type.NUMBER, Type.TEXT, Type.BOOLEAN
_D, _M, _L = Type.DATE, Type.DATETIME, Type.LIST


def _same(value: str) -> str:
    return value


def _nonzero(value: Decimal) -> Decimal | None:
    return value or None


def _filled(value: str) -> str | None:
    return value or None


def _bit(value: bool) -> Any:  # noqa: FBT001 - a value of formulas
    return numbers.number_of(int(value))


def _word(value: bool) -> str:  # noqa: FBT001
    return "true" if value else "false"


FUNCTIONS: Final[Mapping[str, Function]] = {
    # numbers
    "add": Function(numbers.add, (_N, _N), _N),
    "subtract": Function(numbers.subtract, (_N, _N), _N),
    "multiply": Function(numbers.multiply, (_N, _N), _N, failure="RUNTIME_ERROR"),
    "divide": Function(numbers.divide, (_N, _N), _N, failure="DIVISION_BY_ZERO"),
    "remainder": Function(numbers.remainder, (_N, _N), _N, failure="DIVISION_BY_ZERO"),
    "power": Function(numbers.power, (_N, _N), _N, failure="DIVISION_BY_ZERO"),
    "square_root": Function(numbers.square_root, (_N,), _N, failure="RUNTIME_ERROR"),
    "negative": Function(numbers.negative, (_N,), _N),
    "absolute": Function(numbers.absolute, (_N,), _N),
    "sign": Function(numbers.sign, (_N,), _N),
    "floor": Function(numbers.floor, (_N,), _N),
    "ceiling": Function(numbers.ceiling, (_N,), _N),
    "truncate": Function(numbers.truncate, (_N,), _N),
    "round_half_up": Function(numbers.round_half_up, (_N,), _N),
    "round_to": Function(numbers.round_to, (_N, _N), _N),
    "nonzero": Function(_nonzero, (_N,), _N),
    "greatest": Function(numbers.greatest, (), _N, rest=_N, is_strict=False),
    "least": Function(numbers.least, (), _N, rest=_N, is_strict=False),
    # from one type to another
    "number_of_text": Function(numbers.number_of_text, (_T,), _N, failure="TYPE_ERROR"),
    "number_of_boolean": Function(_bit, (_B,), _N),
    "parse_int": Function(numbers.parse_int, (_T,), _N, failure="TYPE_ERROR"),
    "parse_float": Function(numbers.parse_float, (_T,), _N, failure="TYPE_ERROR"),
    "text_of_number": Function(numbers.text_of_number, (_N,), _T),
    "text_of_boolean": Function(_word, (_B,), _T),
    "text_of_date": Function(_same, (_D,), _T),
    "text_of_datetime": Function(_same, (_M,), _T),
    "text_of_time": Function(_same, (Type.TIME,), _T),
    "fixed": Function(numbers.fixed, (_N, _N), _T),
    # texts
    "concatenate": Function(
        texts.concatenate, (), _T, rest=_T, is_strict=False, failure="RUNTIME_ERROR"
    ),
    "join_filled": Function(
        texts.join_filled, (_T,), _T, rest=_T, is_strict=False, failure="RUNTIME_ERROR"
    ),
    "filled": Function(_filled, (_T,), _T),
    "upper": Function(texts.upper, (_T,), _T),
    "lower": Function(texts.lower, (_T,), _T),
    "trim": Function(texts.trim, (_T,), _T),
    "length": Function(texts.length, (_T,), _N),
    "first_of": Function(texts.first_of, (_T, _N), _T),
    "last_of": Function(texts.last_of, (_T, _N), _T),
    "from_position": Function(texts.from_position, (_T, _N), _T),
    "position": Function(texts.position, (_T, _T), _N),
    "contains": Function(texts.contains, (_T, _T), _B),
    "starts_with": Function(texts.starts_with, (_T, _T), _B),
    "ends_with": Function(texts.ends_with, (_T, _T), _B),
    "replace_first": Function(texts.replace_first, (_T, _T, _T), _T, failure="RUNTIME_ERROR"),
    "replace_all": Function(texts.replace_all, (_T, _T, _T), _T, failure="RUNTIME_ERROR"),
    "pad_start": Function(texts.pad_start, (_T, _N, _T), _T),
    "matches": Function(texts.matches, (_T, _T), _B, is_portable=False),
    "piece": Function(texts.piece, (_T, _T, _N), _T),
    # lists
    "list_length": Function(texts.list_length, (_L,), _N),
    "list_has": Function(texts.list_has, (_L, _T), _B),
    # days and instants
    "day_of": Function(dates.day_of, (_M,), _D),
    "instant_of": Function(dates.instant_of, (_D,), _M),
    "year": Function(dates.year, (_D,), _N),
    "month": Function(dates.month, (_D,), _N),
    "day_of_month": Function(dates.day_of_month, (_D,), _N),
    "weekday": Function(dates.weekday, (_D,), _N),
    "hour": Function(dates.hour, (_M,), _N),
    "minute": Function(dates.minute, (_M,), _N),
    "second": Function(dates.second, (_M,), _N),
    "unix_ms": Function(dates.unix_ms, (_M,), _N),
    "days_between": Function(dates.days_between, (_D, _D), _N),
    "add_days": Function(dates.add_days, (_D, _N), _D, failure="RUNTIME_ERROR"),
    "add_months": Function(dates.add_months, (_D, _N), _D, failure="RUNTIME_ERROR"),
    "add_months_to_instant": Function(
        dates.add_months_to_instant, (_M, _N), _M, failure="RUNTIME_ERROR"
    ),
    "add_ms": Function(dates.add_ms, (_M, _N), _M, failure="RUNTIME_ERROR"),
    "day_from": Function(dates.day_from, (_N, _N, _N), _D, failure="RUNTIME_ERROR"),
}
