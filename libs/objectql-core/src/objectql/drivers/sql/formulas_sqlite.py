"""Formulas in SQLite, which calls the functions of the machine itself (`add_formula_functions`).

It has neither exact decimals nor calendars of its own. Numbers are text in their shortest form
there, so that equal numbers are equal texts.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final

from objectql.drivers.sql.formulas import FormulaSql, listed
from objectql.drivers.sql.fragment import Expression, Fragment, Typed, string_literal
from objectql.formula.evaluate import finished
from objectql.formula.functions import FUNCTIONS, Function, Type
from objectql.formula.numbers import number_of, text_of_number
from objectql.formula.program import Apply, Result
from objectql.metadata.types import Storage


class SqliteFormulas(FormulaSql):
    """Expressions of SQLite; booleans are 0 and 1."""

    def input(self, value: Typed, type_: Type) -> Expression:
        if type_ is not Type.NUMBER:
            return value.sql
        if value.kind.storage is Storage.INTEGER:
            return Fragment("CAST({} AS text)", value.sql)
        return Fragment(f"objectql_number({{}}, {value.kind.scale})", value.sql)

    def const(self, value: Decimal | str | bool | None, type_: Type) -> Expression:
        _ = type_
        if value is None:
            return Fragment("NULL")
        if isinstance(value, bool):
            return Fragment(str(int(value)))
        text = text_of_number(value) if isinstance(value, Decimal) else value
        return Fragment.of([string_literal(text)])

    def apply(self, term: Apply, arguments: Sequence[Expression]) -> Expression:
        return listed(f"objectql_{term.function}(", arguments, ", ")

    def before(
        self, left: Expression, right: Expression, type_: Type, *, or_same: bool
    ) -> Expression:
        sign = "<=" if or_same else "<"
        if type_ is Type.NUMBER:
            return Fragment(f"coalesce(objectql_compare({{}}, {{}}) {sign} 0, 0)", left, right)
        return Fragment(f"coalesce({{}} {sign} {{}}, 0)", left, right)

    def same(self, left: Expression, right: Expression) -> Expression:
        return Fragment("({} IS {})", left, right)

    def result(self, value: Expression, type_: Type, result: Result) -> Expression:
        if type_ is not Type.NUMBER:
            return value
        if result.storage is Storage.DECIMAL:
            return Fragment(f"objectql_units({{}}, {result.scale})", value)
        return Fragment("objectql_float({})", value)


def add_formula_functions(connection: sqlite3.Connection) -> None:
    """Have the functions on `connection` that formulas call."""
    for name, function in FUNCTIONS.items():
        count = len(function.takes) if function.rest is None else -1
        run = partial(_call, function, [*map(_reader, function.takes)])
        connection.create_function(f"objectql_{name}", count, run, deterministic=True)
    for name, count, run in (
        ("number", 2, _number),
        ("compare", 2, _compare),
        ("units", 2, _units),
        ("float", 1, _float),
    ):
        connection.create_function(f"objectql_{name}", count, run, deterministic=True)


def _reader(type_: Type) -> Callable[[Any], Any]:
    return _READERS.get(type_, _same)


def _same(value: Any) -> Any:
    return value


_READERS: Final[dict[Type, Callable[[Any], Any]]] = {
    Type.NUMBER: Decimal,
    Type.BOOLEAN: bool,
    Type.LIST: json.loads,
}


def _call(function: Function, readers: Sequence[Callable[[Any], Any]], *values: Any) -> Any:
    if function.is_strict and None in values:
        return None
    rest = _same if function.rest is None else _reader(function.rest)
    arguments = [
        None if value is None else (readers[at] if at < len(readers) else rest)(value)
        for at, value in enumerate(values)
    ]
    return _kept(function.run(*arguments))


def _kept(value: Any) -> Any:
    if isinstance(value, Decimal):
        return text_of_number(value)
    return int(value) if isinstance(value, bool) else value


def _number(value: float | None, scale: int) -> str | None:
    """A stored number; a decimal is kept as units of its last place."""
    if value is None:
        return None
    found = number_of(Decimal(value).scaleb(-scale) if scale else value)
    return None if found is None else text_of_number(found)


def _compare(left: str | None, right: str | None) -> int | None:
    if left is None or right is None:
        return None
    one, other = Decimal(left), Decimal(right)
    return (one > other) - (one < other)


def _units(value: str | None, scale: int) -> int | None:
    if value is None:
        return None
    found = finished(Decimal(value), Result(Storage.DECIMAL, scale))
    return None if found is None else int(Decimal(str(found)).scaleb(scale))


def _float(value: str | None) -> float | None:
    return None if value is None else float(Decimal(value)) + 0.0


SQLITE_FORMULAS: Final = SqliteFormulas()
