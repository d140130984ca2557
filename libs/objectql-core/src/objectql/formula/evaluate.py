"""The value of a formula for one record.

There are no loops in the language, so a program takes as many steps as it has parts at most, and
`check` bounds those: no formula can be slow, and no clock is needed to stop one.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple, cast

from objectql.formula import numbers
from objectql.formula.functions import FUNCTIONS
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
from objectql.formula.syntax import ErrorCode
from objectql.metadata.types import Storage
from objectql.values import Value

_DIGITS = 17
"""Of a decimal result before its point and after: what 64 bits hold in every database."""


class Outcome(NamedTuple):
    """A value in canonical form, and what went wrong where it is blank for a reason."""

    value: Value
    failure: ErrorCode | None = None


def evaluate(program: Program, values: Sequence[Value]) -> Outcome:
    """The value of `program`; `values` are those of its sources, in canonical form."""
    run = _Run([_read(value) for value in values])
    value = finished(run.value(program.root), program.result)
    return Outcome(value, run.failure if value is None else None)


def finished(value: Any, result: Result) -> Value:
    """A value of the machine in the form that `result` asks for."""
    if not isinstance(value, Decimal):
        return cast("Value", value)
    if result.storage is Storage.DECIMAL:
        rounded = numbers.round_to(value, Decimal(result.scale))
        return rounded if rounded.copy_abs() < Decimal(10) ** (_DIGITS - result.scale) else None
    return float(value) + 0.0  # there is no -0


def _read(value: Value) -> Any:
    """A canonical value as the machine takes it."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return value
    return numbers.number_of(value)


class _Run:
    def __init__(self, inputs: Sequence[Any]) -> None:
        self._inputs = inputs
        self.failure: ErrorCode | None = None

    def value(self, term: Term) -> Any:
        match term:
            case Const(value):
                return value
            case Input(index):
                return self._inputs[index]
            case Apply():
                return self._applied(term)
            case FirstOf(items):
                found = (self.value(item) for item in items)
                return next((value for value in found if value is not None), None)
            case Either(test, then, otherwise):
                return self.value(then if self.holds(test) else otherwise)
            case Truth(test):
                return self.holds(test)

    def _applied(self, term: Apply) -> Any:
        function = FUNCTIONS[term.function]
        arguments = [self.value(argument) for argument in term.arguments]
        if function.is_strict and None in arguments:
            return None
        found = function.run(*arguments)
        if found is None and self.failure is None:
            self.failure = function.failure
        return found

    def holds(self, test: Test) -> bool:
        match test:
            case IsBlank(of):
                return self.value(of) is None
            case Holds(of):
                return self.value(of) is True
            case Same(left, right):
                return bool(self.value(left) == self.value(right))
            case Before(left, right, or_same):
                first, second = self.value(left), self.value(right)
                if first is None or second is None:
                    return False
                return bool(first <= second if or_same else first < second)
            case Every(items):
                return all(self.holds(item) for item in items)
            case Some(items):
                return any(self.holds(item) for item in items)
            case Denied(item):
                return not self.holds(item)
