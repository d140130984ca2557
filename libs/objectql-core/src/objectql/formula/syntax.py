"""Expressions as they were written: the tree that `parse` makes. Nothing here has a type yet."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal as OneOf
from typing import TypeAlias

ErrorCode: TypeAlias = OneOf[
    "SYNTAX_ERROR",
    "FIELD_NOT_FOUND",
    "TYPE_ERROR",
    "DIVISION_BY_ZERO",
    "SECURITY_VIOLATION",
    "RUNTIME_ERROR",
]
"""What is wrong with a formula, in the words of the originals."""

Dialect: TypeAlias = OneOf["js", "cel"]


class FormulaError(ValueError):
    """A text that is no formula, or not one over this record; `position` counts from 0."""

    def __init__(self, code: ErrorCode, reason: str, position: int) -> None:
        super().__init__(f"{reason} (at character {position + 1})")
        self.code: ErrorCode = code
        self.reason = reason
        self.position = position


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text, true, false or null (`undefined` is null)."""

    value: Decimal | int | str | bool | None
    at: int


@dataclass(frozen=True, slots=True)
class Name:
    """A bare name; one that begins with `$` is the system's."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Member:
    """`of.name`, or `of?.name`, which is the same: a blank has blank members."""

    of: Expression
    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Index:
    """`of[index]`."""

    of: Expression
    index: Expression
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """`function(arguments)`; the function is a name or a member."""

    function: Name | Member
    arguments: tuple[Expression, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Unary:
    """`!x`, `-x`, `+x`."""

    sign: OneOf["!", "-", "+"]
    of: Expression
    at: int


@dataclass(frozen=True, slots=True)
class Binary:
    """`left sign right`. Signs that mean the same are one: see `parse`."""

    sign: str
    left: Expression
    right: Expression
    at: int


@dataclass(frozen=True, slots=True)
class Choice:
    """`test ? then : otherwise`."""

    test: Expression
    then: Expression
    otherwise: Expression
    at: int


@dataclass(frozen=True, slots=True)
class Joined:
    """A template: texts and expressions one after the other."""

    parts: tuple[Expression, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Members:
    """`[a, b]`."""

    items: tuple[Expression, ...]
    at: int


Expression: TypeAlias = (
    Literal | Name | Member | Index | Call | Unary | Binary | Choice | Joined | Members
)


@dataclass(frozen=True, slots=True)
class Assign:
    """`let name = value`, `name = value`, `name += value` (as `name = name + value`)."""

    name: str
    value: Expression
    is_new: bool
    at: int


@dataclass(frozen=True, slots=True)
class If:
    """`if (test) then else otherwise`."""

    test: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Return:
    """`return value`."""

    value: Expression
    at: int


Statement: TypeAlias = Assign | If | Return


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed text: statements, the last of which returns where it is one expression.

    `nodes` is how many parts the tree has.
    """

    body: tuple[Statement, ...]
    nodes: int

    @property
    def expression(self) -> Expression | None:
        """The formula as one expression; None where it has further statements."""
        first = self.body[0]
        return first.value if isinstance(first, Return) else None
