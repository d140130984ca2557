"""The functions and methods of both dialects, and of spreadsheets, as functions of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from objectql.formula.call_dates import BUILT_DATES, METHODS_DATES
from objectql.formula.call_texts import BUILT_TEXTS, METHODS_TEXTS
from objectql.formula.calling import (
    Build,
    BuildMethod,
    Checker,
    arguments,
    check_count,
    moment_of,
    number_at,
)
from objectql.formula.coerce import apply, as_type, common, either, number
from objectql.formula.functions import FUNCTIONS, Type
from objectql.formula.numbers import MAX_ROUNDED
from objectql.formula.program import (
    Const,
    Denied,
    Every,
    FirstOf,
    IsBlank,
    Some,
    Term,
    Truth,
)
from objectql.formula.syntax import Call, Expression, FormulaError, Literal, Member, Name

_PLAIN: Final[Mapping[str, str]] = {
    "ABS": "absolute",
    "BEGINS": "starts_with",
    "CEILING": "ceiling",
    "CONCATENATE": "concatenate",
    "CONTAINS": "contains",
    "DATE": "day_from",
    "DAY": "day_of_month",
    "ENDS": "ends_with",
    "FLOOR": "floor",
    "HOUR": "hour",
    "LEFT": "first_of",
    "LOWER": "lower",
    "MAX": "greatest",
    "MIN": "least",
    "MINUTE": "minute",
    "MONTH": "month",
    "Math.abs": "absolute",
    "Math.ceil": "ceiling",
    "Math.floor": "floor",
    "Math.max": "greatest",
    "Math.min": "least",
    "Math.round": "round_half_up",
    "Math.sign": "sign",
    "Math.sqrt": "square_root",
    "Math.trunc": "truncate",
    "RIGHT": "last_of",
    "SECOND": "second",
    "SQRT": "square_root",
    "TRIM": "trim",
    "TRUNC": "truncate",
    "UPPER": "upper",
    "YEAR": "year",
    "abs": "absolute",
    "ceil": "ceiling",
    "contains": "contains",
    "daysBetween": "days_between",
    "endsWith": "ends_with",
    "floor": "floor",
    "lower": "lower",
    "max": "greatest",
    "min": "least",
    "parseFloat": "parse_float",
    "parseInt": "parse_int",
    "startsWith": "starts_with",
    "trim": "trim",
    "upper": "upper",
}
"""Functions that are the machine's under another name."""

_METHODS: Final[Mapping[str, str]] = {
    "concat": "concatenate",
    "contains": "contains",
    "endsWith": "ends_with",
    "includes": "contains",
    "indexOf": "position",
    "replace": "replace_first",
    "startsWith": "starts_with",
    "toLowerCase": "lower",
    "toUpperCase": "upper",
    "trim": "trim",
    "getTime": "unix_ms",
    "getFullYear": "year",
    "getDate": "day_of_month",
    "getDay": "weekday",
    "getHours": "hour",
    "getMinutes": "minute",
    "getSeconds": "second",
}
"""Methods whose first argument is what they are called on."""
_OF_MOMENTS: Final = frozenset(name for name in _METHODS if name.startswith("get"))


def called(checker: Checker, call: Call) -> Term:
    """The value of a call.

    Raises:
        FormulaError: there is no such function, or not of such arguments.

    """
    match call.function:
        case Name(name):
            pass
        case Member(Name("Math" | "Date" as of), name):
            name = f"{of}.{name}"
        case Member():
            return _method(checker, call, call.function)
    if name in _PLAIN:
        return _applied(checker, call, _PLAIN[name], call.arguments)
    build = _BUILT.get(name)
    if build is None:
        raise FormulaError("FIELD_NOT_FOUND", f'there is no function "{name}"', call.at)
    return build(checker, call)


def _applied(
    checker: Checker, call: Call, function: str, arguments: tuple[Expression, ...]
) -> Term:
    """The machine's function of so many arguments, each as the type that it takes."""
    known = FUNCTIONS[function]
    check_count(call, arguments, len(known.takes), None if known.rest else len(known.takes))
    types = (*known.takes, *(known.rest for _ in arguments[len(known.takes) :]))
    return apply(
        function,
        *(
            as_type(checker.term(node), wanted, node.at)
            for node, wanted in zip(arguments, types, strict=True)
            if wanted is not None
        ),
    )


def _method(checker: Checker, call: Call, function: Member) -> Term:
    of, name = function.of, function.name
    if name in ("includes", "contains") and checker.term(of).type is Type.LIST:
        (member,) = arguments(call, 1)
        return Truth(checker.member(member, of, call.at))
    if name in _METHODS:
        if name in _OF_MOMENTS:
            moment_of(checker.term(of), of.at)
        return _applied(checker, call, _METHODS[name], (of, *call.arguments))
    if name in _BUILT_METHODS:
        return _BUILT_METHODS[name](checker, call, of)
    raise FormulaError("FIELD_NOT_FOUND", f'there is no method "{name}"', call.at)


# --- choices ---------------------------------------------------------------------------------


def _if(checker: Checker, call: Call) -> Term:
    test, then, *rest = arguments(call, 2, 3)
    otherwise = checker.term(rest[0]) if rest else Const(None, Type.BLANK)
    return either(checker.test(test), checker.term(then), otherwise, call.at)


def _every(checker: Checker, call: Call) -> Term:
    return Truth(Every(tuple([checker.test(each) for each in call.arguments])))


def _some(checker: Checker, call: Call) -> Term:
    return Truth(Some(tuple([checker.test(each) for each in call.arguments])))


def _denied(checker: Checker, call: Call) -> Term:
    return Truth(Denied(checker.test(arguments(call, 1)[0])))


def _is_blank(checker: Checker, call: Call) -> Term:
    """Nothing, or a text or list of nothing."""
    term = checker.term(arguments(call, 1)[0])
    if term.type is Type.LIST:
        term = apply("nonzero", apply("list_length", term))
    elif term.type is Type.TEXT:
        term = apply("filled", term)
    return Truth(IsBlank(term))


def _has(checker: Checker, call: Call) -> Term:
    return Truth(Denied(IsBlank(checker.term(arguments(call, 1)[0]))))


def _first_of(checker: Checker, call: Call) -> Term:
    first, *rest = arguments(call, 1, 64)
    found = checker.term(first)
    for node in rest:
        one, other = common(found, checker.term(node), node.at)
        found = FirstOf((one, other), one.type)
    return found


def _blank_value(checker: Checker, call: Call) -> Term:
    """As `coalesce`, an empty text being blank too."""
    value, default = (checker.term(node) for node in arguments(call, 2))
    one, other = common(value, default, call.at)
    one = apply("filled", one) if one.type is Type.TEXT else one
    return FirstOf((one, other), one.type)


# --- numbers ---------------------------------------------------------------------------------


def _places(node: Expression) -> Term:
    value = node.value if isinstance(node, Literal) else None
    if type(value) is not int or abs(value) > MAX_ROUNDED:
        reason = f"a whole number from -{MAX_ROUNDED} to {MAX_ROUNDED} is expected here"
        raise FormulaError("TYPE_ERROR", reason, node.at)
    return number(value)


def _round(checker: Checker, call: Call) -> Term:
    value, *places = arguments(call, 1, 2)
    digits = _places(places[0]) if places else number(0)
    return apply("round_to", number_at(checker, value), digits)


def _to_fixed(checker: Checker, call: Call, of: Expression) -> Term:
    (node,) = arguments(call, 1)
    places = _places(node)
    if isinstance(places, Const) and str(places.value).startswith("-"):
        raise FormulaError("TYPE_ERROR", "a text has no places before the point", node.at)
    return apply("fixed", number_at(checker, of), places)


def _power(checker: Checker, call: Call) -> Term:
    base, exponent = arguments(call, 2)
    return checker.power(checker.term(base), exponent)


def _as_number(checker: Checker, call: Call) -> Term:
    node = arguments(call, 1)[0]
    term = checker.term(node)
    if term.type is Type.TEXT:
        return apply("number_of_text", term)
    if term.type in (Type.DATE, Type.DATETIME):
        return apply("unix_ms", as_type(term, Type.DATETIME, node.at))
    return as_type(term, Type.NUMBER, node.at)


_BUILT: Final[Mapping[str, Build]] = {
    **BUILT_TEXTS,
    **BUILT_DATES,
    "AND": _every,
    "BLANKVALUE": _blank_value,
    "IF": _if,
    "ISBLANK": _is_blank,
    "Math.pow": _power,
    "NOT": _denied,
    "Number": _as_number,
    "OR": _some,
    "POWER": _power,
    "ROUND": _round,
    "VALUE": _as_number,
    "coalesce": _first_of,
    "has": _has,
    "isBlank": _is_blank,
    "isEmpty": _is_blank,
    "round": _round,
}

_BUILT_METHODS: Final[Mapping[str, BuildMethod]] = {
    **METHODS_TEXTS,
    **METHODS_DATES,
    "toFixed": _to_fixed,
}

SPELLINGS: Final = tuple(sorted((*_PLAIN, *_BUILT), key=str.lower))
"""Every function that a formula may call."""
METHODS: Final = tuple(sorted((*_METHODS, *_BUILT_METHODS), key=str.lower))
"""Every method."""
