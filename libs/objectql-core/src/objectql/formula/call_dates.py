"""Functions of days and instants, as documents call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from objectql.formula.calling import (
    Build,
    BuildMethod,
    Checker,
    arguments,
    moment_of,
    number_at,
)
from objectql.formula.coerce import apply, as_type, number
from objectql.formula.functions import Type
from objectql.formula.program import (
    Term,
)
from objectql.formula.syntax import Call, Expression, FormulaError, Literal

_MS_PER_DAY: Final = 86_400_000
_MS: Final = {"hour": 3_600_000, "minute": 60_000, "second": 1000}
_DAYS: Final = {"day": 1, "week": 7}
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}


def _now(checker: Checker, call: Call) -> Term:
    arguments(call, 0)
    return checker.now()


def _today(checker: Checker, call: Call) -> Term:
    arguments(call, 0)
    return checker.today()


def _now_ms(checker: Checker, call: Call) -> Term:
    return apply("unix_ms", _now(checker, call))


def _js_date(checker: Checker, call: Call) -> Term:
    """`new Date()` and `new Date(x)`."""
    return _as_instant(checker, call) if call.arguments else checker.now()


def _as_day(checker: Checker, call: Call) -> Term:
    node = arguments(call, 1)[0]
    return as_type(checker.term(node), Type.DATE, node.at)


def _as_instant(checker: Checker, call: Call) -> Term:
    node = arguments(call, 1)[0]
    return as_type(checker.term(node), Type.DATETIME, node.at)


def _days_from_now(checker: Checker, call: Call) -> Term:
    return apply("add_days", checker.today(), number_at(checker, arguments(call, 1)[0]))


def _days_ago(checker: Checker, call: Call) -> Term:
    count = apply("negative", number_at(checker, arguments(call, 1)[0]))
    return apply("add_days", checker.today(), count)


def _later(moment: Term, count: Term, unit: str, at: int) -> Term:
    """So many units after a moment: a day stays one where the unit is a day or longer."""
    moment = moment_of(moment, at)
    if unit in _MONTHS:
        months = apply("multiply", apply("truncate", count), number(_MONTHS[unit]))
        is_instant = moment.type is Type.DATETIME
        return apply("add_months_to_instant" if is_instant else "add_months", moment, months)
    if unit in _DAYS and moment.type is not Type.DATETIME:
        days = apply("multiply", apply("truncate", count), number(_DAYS[unit]))
        return apply("add_days", as_type(moment, Type.DATE, at), days)
    ms = _MS[unit] if unit in _MS else _DAYS[unit] * _MS_PER_DAY
    instant = as_type(moment, Type.DATETIME, at)
    return apply("add_ms", instant, apply("multiply", apply("truncate", count), number(ms)))


def _adds(unit: str) -> Build:
    def build(checker: Checker, call: Call) -> Term:
        moment, count = arguments(call, 2)
        return _later(checker.term(moment), number_at(checker, count), unit, moment.at)

    return build


def _date_add(checker: Checker, call: Call) -> Term:
    moment, count, *unit = arguments(call, 2, 3)
    return _later(checker.term(moment), number_at(checker, count), _unit(unit), moment.at)


def _date_diff(checker: Checker, call: Call) -> Term:
    """From the first moment to the second: days, months and years by the calendar, the rest cut."""
    first, second, *units = arguments(call, 2, 3)
    start = moment_of(checker.term(first), first.at)
    end = moment_of(checker.term(second), second.at)
    unit = _unit(units)
    if unit in _MS:
        a, b = (as_type(moment, Type.DATETIME, call.at) for moment in (start, end))
        ms = apply("subtract", apply("unix_ms", b), apply("unix_ms", a))
        return apply("truncate", apply("divide", ms, number(_MS[unit])))
    a, b = (as_type(moment, Type.DATE, call.at) for moment in (start, end))
    if unit in _DAYS:
        return apply("truncate", apply("divide", apply("days_between", a, b), number(_DAYS[unit])))
    years = apply("subtract", apply("year", b), apply("year", a))
    if unit == "year":
        return years
    months = apply("subtract", apply("month", b), apply("month", a))
    total = apply("add", apply("multiply", years, number(12)), months)
    return apply("truncate", apply("divide", total, number(_MONTHS[unit])))


def _unit(nodes: list[Expression]) -> str:
    if not nodes:
        return "day"
    value = nodes[0].value if isinstance(nodes[0], Literal) else None
    name = value.lower().removesuffix("s") if isinstance(value, str) else ""
    if name not in _MS and name not in _DAYS and name not in _MONTHS:
        raise FormulaError("TYPE_ERROR", "a unit of time is expected here", nodes[0].at)
    return name


def _month_index(checker: Checker, call: Call, of: Expression) -> Term:
    """JavaScript's months begin with 0."""
    arguments(call, 0)
    day = as_type(moment_of(checker.term(of), of.at), Type.DATE, of.at)
    return apply("subtract", apply("month", day), number(1))


BUILT_DATES: Final[Mapping[str, Build]] = {
    "DATEADD": _date_add,
    "DATEDIFF": _date_diff,
    "Date": _js_date,
    "Date.now": _now_ms,
    "NOW": _now,
    "TODAY": _today,
    "addDays": _adds("day"),
    "addMonths": _adds("month"),
    "date": _as_day,
    "datetime": _as_instant,
    "daysAgo": _days_ago,
    "daysFromNow": _days_from_now,
    "now": _now,
    "today": _today,
}

METHODS_DATES: Final[Mapping[str, BuildMethod]] = {
    "getMonth": _month_index,
}
