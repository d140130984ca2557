"""What the builders of calls have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

from objectql.formula.coerce import as_type
from objectql.formula.functions import Type
from objectql.formula.program import Const, Term, Test
from objectql.formula.syntax import Call, Expression, FormulaError
from objectql.values import is_day


class Checker(ABC):
    """What building a call asks of `check`."""

    @abstractmethod
    def term(self, node: Expression) -> Term:
        """The value of a part."""

    @abstractmethod
    def test(self, node: Expression) -> Test:
        """The truth of a part."""

    @abstractmethod
    def power(self, base: Term, exponent: Expression) -> Term:
        """`base ** exponent`."""

    @abstractmethod
    def member(self, left: Expression, right: Expression, at: int) -> Test:
        """`left in right`."""

    @abstractmethod
    def now(self) -> Term:
        """The instant of the evaluation."""

    @abstractmethod
    def today(self) -> Term:
        """Its day."""


Build: TypeAlias = Callable[["Checker", Call], Term]

BuildMethod: TypeAlias = Callable[["Checker", Call, Expression], Term]


def check_count(
    call: Call, arguments: tuple[Expression, ...], least: int, most: int | None
) -> None:
    if len(arguments) < least or (most is not None and len(arguments) > most):
        name = call.function.name
        raise FormulaError("TYPE_ERROR", f"{name} takes another number of arguments", call.at)


def arguments(call: Call, least: int, most: int | None = None) -> tuple[Expression, ...]:
    check_count(call, call.arguments, least, least if most is None else most)
    return call.arguments


def moment_of(term: Term, at: int) -> Term:
    """A day or an instant; a literal text may write one."""
    if isinstance(term, Const) and isinstance(term.value, str):
        return as_type(term, Type.DATE if is_day(term.value) else Type.DATETIME, at)
    if term.type not in (Type.DATE, Type.DATETIME, Type.BLANK):
        raise FormulaError("TYPE_ERROR", f"a {term.type} is no date", at)
    return term


def number_at(checker: Checker, node: Expression) -> Term:
    return as_type(checker.term(node), Type.NUMBER, node.at)


def text_at(checker: Checker, node: Expression) -> Term:
    return as_type(checker.term(node), Type.TEXT, node.at)
