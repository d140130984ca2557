"""Formulas as SQL: the terms of `formula.program` over the columns and parameters of a statement.

No part of a formula can make a statement fail: what cannot be computed is null, as in
`formula.evaluate`, which must give the same value. Every expression stands once where it is
used, so the SQL is as long as the program.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from decimal import Decimal

import sqlalchemy as sa  # noqa: TID251 - this package is the home of SQL

from objectql.drivers.sql.encode import Kind
from objectql.drivers.sql.fragment import Expression, Fragment, Typed
from objectql.formula.functions import Type
from objectql.formula.program import (
    Apply,
    Before,
    Const,
    Denied,
    Either,
    Every,
    FirstOf,
    Holds,
    Input,
    IsBlank,
    Program,
    Result,
    Same,
    Some,
    Term,
    Test,
    Truth,
)


class FormulaSql(ABC):
    """One database's way of computing formulas."""

    @abstractmethod
    def input(self, value: Typed, type_: Type) -> Expression:
        """A column or parameter as a value of the machine."""

    @abstractmethod
    def const(self, value: Decimal | str | bool | None, type_: Type) -> Expression:
        """A value that the formula fixes."""

    @abstractmethod
    def apply(self, term: Apply, arguments: Sequence[Expression]) -> Expression:
        """A function of the machine."""

    @abstractmethod
    def before(
        self, left: Expression, right: Expression, type_: Type, *, or_same: bool
    ) -> Expression:
        """`left < right`, or `<=`; false where one is null."""

    @abstractmethod
    def same(self, left: Expression, right: Expression) -> Expression:
        """Equal values, or two nulls."""

    @abstractmethod
    def result(self, value: Expression, type_: Type, result: Result) -> Expression:
        """The value as a column of the result's storage keeps it."""


def lower_formula(program: Program, inputs: Sequence[Typed], sql: FormulaSql) -> Typed:
    """The value of `program`, `inputs` being its sources."""
    lowering = _Lowering(inputs, sql)
    value = sql.result(lowering.term(program.root), program.root.type, program.result)
    return Typed(value, Kind(program.result.storage, program.result.scale))


class _Lowering:
    def __init__(self, inputs: Sequence[Typed], sql: FormulaSql) -> None:
        self._inputs = inputs
        self._sql = sql

    def term(self, term: Term) -> Expression:
        match term:
            case Const(value, type_):
                return self._sql.const(value, type_)
            case Input(index, type_):
                return self._sql.input(self._inputs[index], type_)
            case Apply():
                return self._sql.apply(term, [self.term(each) for each in term.arguments])
            case FirstOf(items):
                return listed("coalesce(", [self.term(item) for item in items], ", ")
            case Either(test, then, otherwise):
                parts = (self.test(test), self.term(then), self.term(otherwise))
                return Fragment("CASE WHEN {} THEN {} ELSE {} END", *parts)
            case Truth(test):
                return self.test(test)

    def test(self, test: Test) -> Expression:
        match test:
            case IsBlank(of):
                return Fragment("({} IS NULL)", self.term(of))
            case Holds(of):
                return Fragment("({} IS TRUE)", self.term(of))
            case Same(left, right):
                return self._sql.same(self.term(left), self.term(right))
            case Before(left, right, or_same):
                return self._sql.before(
                    self.term(left), self.term(right), left.type, or_same=or_same
                )
            case Every(items):
                return self._joined(items, " AND ") if items else sa.true()
            case Some(items):
                return self._joined(items, " OR ") if items else sa.false()
            case Denied(item):
                return Fragment("(NOT {})", self.test(item))

    def _joined(self, items: Sequence[Test], word: str) -> Expression:
        return listed("(", [self.test(item) for item in items], word)


def listed(opening: str, items: Sequence[Expression], between: str) -> Expression:
    """`opening item between item)`."""
    parts: list[str | sa.ClauseElement] = [opening]
    for at, item in enumerate(items):
        parts += [between if at else "", item]
    return Fragment.of([*parts, ")"])
