"""How values of one type become another's: what `check` builds terms with."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from objectql.formula.functions import FUNCTIONS, Type
from objectql.formula.program import (
    MAX_SIZE,
    Apply,
    Const,
    Denied,
    Either,
    Every,
    Holds,
    IsBlank,
    Some,
    Term,
    Test,
    Truth,
)
from objectql.formula.syntax import FormulaError
from objectql.values import canonical_date, canonical_instant, canonical_time, is_day

BLANK: Final = Const(None, Type.BLANK)
ALWAYS: Final = Every(())
NEVER: Final = Some(())

_TEXTS: Final = {
    Type.NUMBER: "text_of_number",
    Type.BOOLEAN: "text_of_boolean",
    Type.DATE: "text_of_date",
    Type.DATETIME: "text_of_datetime",
    Type.TIME: "text_of_time",
}
_MOMENTS: Final = {Type.DATE, Type.DATETIME}


def apply(function: str, *arguments: Term) -> Term:
    """The function of arguments that have the types it takes; a text joined of joined ones is one."""
    if function == "concatenate":
        nested = [_pieces(argument) for argument in arguments]
        if sum(map(len, nested)) <= MAX_SIZE:  # else this is refused, and may be without end
            arguments = tuple([piece for pieces in nested for piece in pieces])
    return Apply(function, arguments, FUNCTIONS[function].gives)


def _pieces(term: Term) -> tuple[Term, ...]:
    match term:
        case Apply("concatenate", pieces):
            return pieces
        case _:
            return (term,)


def number(value: int | Decimal) -> Const:
    """A number of the formula."""
    return Const(Decimal(value), Type.NUMBER)


def truthy(term: Term) -> Test:
    """JavaScript's truth: not blank, not zero, not empty, not false."""
    match term:
        case Truth(test):
            return test
        case Const(value):
            return ALWAYS if value else NEVER
        case _ if term.type is Type.BOOLEAN:
            return Holds(term)
        case _ if term.type is Type.BLANK:
            return NEVER
        case _:
            return Denied(IsBlank(unless_empty(term)))


def unless_empty(term: Term) -> Term:
    """The value, blank where it is zero or empty."""
    if term.type is Type.NUMBER:
        return apply("nonzero", term)
    return apply("filled", term) if term.type is Type.TEXT else term


def as_text(term: Term, at: int) -> Term:
    """The value as text."""
    if term.type is Type.BLANK:
        return Const(None, Type.TEXT)
    if term.type is Type.TEXT:
        return term
    if term.type not in _TEXTS:
        raise FormulaError("TYPE_ERROR", f"a {term.type} is no text", at)
    return apply(_TEXTS[term.type], term)


def as_type(term: Term, wanted: Type, at: int) -> Term:
    """`term` as a value of another type.

    Raises:
        FormulaError: it is not to be had without saying how.

    """
    match term.type, wanted:
        case (Type.BLANK, _):
            return Const(None, wanted)
        case (given, _) if given is wanted:
            return term
        case (_, Type.TEXT):
            return as_text(term, at)
        case (Type.BOOLEAN, Type.NUMBER):
            return apply("number_of_boolean", term)
        case (Type.DATETIME, Type.DATE):
            return apply("day_of", term)
        case (Type.DATE, Type.DATETIME):
            return apply("instant_of", term)
        case (Type.TEXT, Type.DATE | Type.DATETIME | Type.TIME) if isinstance(term, Const):
            return _moment(str(term.value), wanted, at)
        case (_, Type.BOOLEAN):
            return Truth(truthy(term))
        case given, _:
            reason = f"a {wanted} is expected here, and this is a {given}"
            raise FormulaError("TYPE_ERROR", reason, at)


def _moment(text: str, wanted: Type, at: int) -> Const:
    """A literal that writes a day, an instant or a time."""
    read = {
        Type.DATE: lambda: canonical_date(text) if is_day(text) else canonical_instant(text)[:10],
        Type.DATETIME: lambda: canonical_instant(text),
        Type.TIME: lambda: canonical_time(text),
    }[wanted]
    try:
        return Const(read(), wanted)
    except ValueError as exc:
        raise FormulaError("TYPE_ERROR", f'"{text}" is no {wanted}: {exc}', at) from exc


def common(left: Term, right: Term, at: int) -> tuple[Term, Term]:
    """Both as values of one type, in which either may stand for the whole.

    Raises:
        FormulaError: there is none.

    """
    if Type.BLANK in (left.type, right.type) or left.type is right.type:
        wanted = right.type if left.type is Type.BLANK else left.type
    elif Type.TEXT in (left.type, right.type):
        wanted = Type.TEXT
    elif {left.type, right.type} == _MOMENTS:
        wanted = Type.DATETIME
    else:
        reason = f"one of these is a {left.type}, the other a {right.type}"
        raise FormulaError("TYPE_ERROR", reason, at)
    if wanted is Type.BLANK:
        return left, right
    return as_type(left, wanted, at), as_type(right, wanted, at)


def either(test: Test, then: Term, otherwise: Term, at: int) -> Term:
    """One of two values."""
    then, otherwise = common(then, otherwise, at)
    return Either(test, then, otherwise, then.type)


def comparable(left: Term, right: Term, at: int) -> tuple[Term, Term]:
    """Both in a form in which they compare: text as a number beside one, instants by their day.

    Raises:
        FormulaError: they never compare.

    """
    if {left.type, right.type} == _MOMENTS:
        return as_type(left, Type.DATE, at), as_type(right, Type.DATE, at)
    for one, other in ((left, right), (right, left)):
        if one.type is not Type.TEXT or other.type in (Type.TEXT, Type.BLANK):
            continue
        read = _beside(one, other.type, at)
        if read is not None and read.type is Type.DATE and other.type is Type.DATETIME:
            other = apply("day_of", other)
        if read is not None:
            return (read, other) if one is left else (other, read)
    if {left.type, right.type} == {Type.NUMBER, Type.BOOLEAN}:
        return as_type(left, Type.NUMBER, at), as_type(right, Type.NUMBER, at)
    if Type.BLANK not in (left.type, right.type) and left.type is not right.type:
        reason = f"a {left.type} and a {right.type} do not compare"
        raise FormulaError("TYPE_ERROR", reason, at)
    return common(left, right, at)


def _beside(text: Term, other: Type, at: int) -> Term | None:
    """A text as what it is compared with; None where it cannot be that."""
    if other is Type.NUMBER:
        return apply("number_of_text", text)
    if other in (Type.DATE, Type.DATETIME, Type.TIME) and isinstance(text, Const):
        is_bare = other is Type.DATETIME and is_day(str(text.value))
        return _moment(str(text.value), Type.DATE if is_bare else other, at)
    return None
