"""What differs between the databases, as one interface; the lowering is written against it.

SQL is composed of SQLAlchemy expressions. What the databases do not share is written as a
`Fragment`: SQL with holes for expressions. Every expression knows its `Kind`, since the same
value may be kept in different ways.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import sqlalchemy as sa  # noqa: TID251 - this package is the home of SQL
from sqlalchemy.engine.interfaces import Dialect as Vendor  # noqa: TID251
from sqlalchemy.sql.compiler import SQLCompiler  # noqa: TID251

from objectql.drivers.sql.encode import DialectName, Kind
from objectql.drivers.sql.formulas import FormulaSql
from objectql.drivers.sql.fragment import Expression, Typed
from objectql.query.ast import AggregateFunction, Granularity
from objectql.query.bound import TestOp


class Dialect(ABC):
    """One database's ways of saying the same thing. Expressions in, expressions out; no state."""

    name: ClassVar[DialectName]
    vendor: ClassVar[Vendor]
    formulas: ClassVar[FormulaSql]

    @abstractmethod
    def cast_param(self, param: Expression, kind: Kind, *, is_list: bool = False) -> Expression:
        """A parameter that compares with columns of `kind`, its type being clear to the database."""

    @abstractmethod
    def test(self, left: Typed, op: TestOp, right: Expression) -> Expression:
        """`left op right` where `right` is of the same kind (a member, a list, a pattern)."""

    @abstractmethod
    def align(self, left: Typed, right: Typed) -> tuple[Typed, Typed]:
        """Both numbers in a form in which they compare."""

    @abstractmethod
    def order(self, key: Expression, *, descending: bool, is_nullable: bool) -> Expression:
        """A sort key: nulls last ascending, first descending."""

    @abstractmethod
    def bucket(self, value: Typed, granularity: Granularity) -> Expression:
        """The label of the period that a date or instant lies in (UTC)."""

    @abstractmethod
    def aggregate(self, function: AggregateFunction, value: Typed, rows: Expression) -> Typed:
        """`sum`, `avg`, `min` or `max` over a column; exact where the column is.

        `rows` is empty SQL or a FILTER clause that chooses the rows.
        """

    @abstractmethod
    def json_value(self, value: Typed) -> Expression:
        """The value so that it becomes its canonical JSON inside `json_row`."""

    @abstractmethod
    def as_json(self, text: Expression) -> Expression:
        """A finished row or list, so that it nests inside another as JSON."""

    @abstractmethod
    def json_row(self, members: Sequence[tuple[str, Expression]]) -> Expression:
        """A JSON object of `json_value`s and of finished JSON."""

    @abstractmethod
    def json_list(self, row: Expression) -> Expression:
        """An aggregate: the JSON array of `row` over the rows of a sorted sub-select."""

    @abstractmethod
    def page_columns(
        self, row: Expression, keys: Sequence[Expression], limit: int | None
    ) -> dict[str, Expression]:
        """The aggregates `items`, `count`, `has_next`, `last_key` over `limit` + 1 rows.

        `keys` are `json_value`s of the sort keys; none: `last_key` is null.
        """

    @abstractmethod
    def record_bytes(self, row: Expression) -> Expression:
        """A finished row as the driver returns it."""

    @abstractmethod
    def members(
        self, value: Expression, alias: str
    ) -> tuple[sa.FromClause, Expression, Expression]:
        """The members of a list as rows: what to select from, the member, its position."""


def compile_text(statement: sa.ClauseElement, dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """The SQL and the names of its parameters in the order in which they are given."""
    compiled = statement.compile(dialect=dialect.vendor)
    assert isinstance(compiled, SQLCompiler)
    return str(compiled), tuple(compiled.positiontup or ())
