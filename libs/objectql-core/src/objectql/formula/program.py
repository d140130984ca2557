"""A formula with every type settled: what is evaluated, and what drivers lower.

Terms have values, tests are true or false and never blank. A comparison with a blank is false,
but two blanks are the same. Drivers and `evaluate` must agree on every node.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, Literal, TypeAlias

import msgspec

from objectql.formula.functions import Type
from objectql.metadata.types import Storage

MAX_SIZE: Final = 1024
"""Parts of a program, every use of a variable counted; no evaluation takes more steps."""

Root: TypeAlias = Literal["record", "previous", "user", "system"]
"""Of what an input is: the record, as it was before a write, the caller, the moment (`now`,
`today`) and what is done (`is_new`)."""


class Source(msgspec.Struct, frozen=True):
    """Where a value comes from: a path from a record, or a fact's name."""

    root: Root
    path: tuple[str, ...]
    type: Type


class Const(msgspec.Struct, frozen=True):
    """A value that the formula fixes: a number is a `Decimal`."""

    value: Decimal | str | bool | None
    type: Type


class Input(msgspec.Struct, frozen=True):
    """The `index`th of the program's sources."""

    index: int
    type: Type


class Apply(msgspec.Struct, frozen=True):
    """A function of `functions.FUNCTIONS`."""

    function: str
    arguments: tuple[Term, ...]
    type: Type


class FirstOf(msgspec.Struct, frozen=True):
    """The first of `items` that is not blank."""

    items: tuple[Term, ...]
    type: Type


class Either(msgspec.Struct, frozen=True):
    """`then` where `test` holds, else `otherwise`; the other one is not looked at."""

    test: Test
    then: Term
    otherwise: Term
    type: Type


class Truth(msgspec.Struct, frozen=True):
    """A test as a value."""

    test: Test
    type: Literal[Type.BOOLEAN] = Type.BOOLEAN


Term: TypeAlias = Const | Input | Apply | FirstOf | Either | Truth


class IsBlank(msgspec.Struct, frozen=True):
    of: Term


class Holds(msgspec.Struct, frozen=True):
    """That a boolean is true."""

    of: Term


class Same(msgspec.Struct, frozen=True):
    """Equal values of one type, or two blanks."""

    left: Term
    right: Term


class Before(msgspec.Struct, frozen=True):
    """`left < right`, or `<=` where `or_same`; false where one is blank."""

    left: Term
    right: Term
    or_same: bool


class Every(msgspec.Struct, frozen=True):
    items: tuple[Test, ...]


class Some(msgspec.Struct, frozen=True):
    items: tuple[Test, ...]


class Denied(msgspec.Struct, frozen=True):
    item: Test


Test: TypeAlias = IsBlank | Holds | Same | Before | Every | Some | Denied


class Result(msgspec.Struct, frozen=True):
    """The form in which a program's value is given.

    `scale` is of decimals only: so many places, halves away from zero.
    """

    storage: Storage
    scale: int = 0


class Program(msgspec.Struct, frozen=True):
    """A typed formula. `root`'s value, as `result` says; `size` counts its parts."""

    root: Term
    sources: tuple[Source, ...]
    result: Result
    size: int


def parts(node: Term | Test) -> Iterator[Term | Test]:
    """The direct parts of a node."""
    match node:
        case Const() | Input():
            pass
        case Apply(_, items) | FirstOf(items) | Every(items) | Some(items):
            yield from items
        case Either(test, then, otherwise):
            yield from (test, then, otherwise)
        case Truth(item) | IsBlank(item) | Holds(item) | Denied(item):
            yield item
        case Same(left, right) | Before(left, right):
            yield from (left, right)


def size_of(node: Term | Test) -> int:
    """How many parts a program has, every use of a shared one counted."""
    return _size(node, {})


def _size(node: Term | Test, known: dict[int, int]) -> int:
    found = known.get(id(node))
    if found is None:
        found = known[id(node)] = 1 + sum(_size(part, known) for part in parts(node))
    return found
