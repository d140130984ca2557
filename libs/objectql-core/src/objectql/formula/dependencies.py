"""What a formula looks at, before anything is known of the record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from objectql.formula.check import path_of, rooted
from objectql.formula.parse import parse
from objectql.formula.syntax import (
    Assign,
    Binary,
    Call,
    Choice,
    Expression,
    If,
    Index,
    Joined,
    Member,
    Members,
    Name,
    Return,
    Statement,
    Unary,
)

_LONG, _MEDIUM = 500, 100
_MANY_CHOICES = 3


class Dependencies(NamedTuple):
    """`fields` are the record's own, each once; of a lookup chain its lookup.

    `complexity` is the originals' estimate: choices and chains make a formula medium, many of
    them complex.
    """

    fields: tuple[str, ...]
    lookup_chains: tuple[str, ...]
    system_variables: tuple[str, ...]
    complexity: Literal["simple", "medium", "complex"]


def dependencies(text: str) -> Dependencies:
    """What the formula that `text` writes depends on.

    Raises:
        FormulaError: it writes none.

    """
    formula = parse(text)
    paths: list[tuple[str, ...]] = []
    variables: set[str] = set()
    for statement in formula.body:
        _visit(statement, paths, variables)
    fields, chains, system = dict[str, None](), dict[str, None](), dict[str, None]()
    for path in paths:
        root, rest = rooted(path)
        if path[0].startswith("$"):
            system[".".join(path)] = None
        elif root == "record" and not variables.intersection(rest[:1]):
            if len(rest) > 1:
                chains[".".join(rest)] = None
            fields.update(dict.fromkeys(rest[:1]))
    choices = sum(1 for each in formula.body for _ in _choices(each))
    if choices > _MANY_CHOICES or len(text) > _LONG:
        complexity = "complex"
    else:
        complexity = "medium" if choices or chains or len(text) > _MEDIUM else "simple"
    return Dependencies(tuple(fields), tuple(chains), tuple(system), complexity)


def _visit(node: Expression | Statement, paths: list[tuple[str, ...]], variables: set[str]) -> None:
    match node:
        case Name() | Member() if (path := path_of(node)) is not None:
            paths.append(path[:-1] if path[-1] == "length" and path[1:] else path)
            return
        case Assign(name):
            variables.add(name)
        case Call(Member(Name("Math" | "Date"))) | Call(Name()):
            for argument in node.arguments:
                _visit(argument, paths, variables)
            return
        case Call(Member(of)):
            _visit(of, paths, variables)
            for argument in node.arguments:
                _visit(argument, paths, variables)
            return
        case _:
            pass
    for part in _parts(node):
        _visit(part, paths, variables)


def _parts(node: Expression | Statement) -> Iterator[Expression | Statement]:
    match node:
        case Member(of) | Unary(_, of):
            yield of
        case Index(of, index):
            yield from (of, index)
        case Binary(_, left, right):
            yield from (left, right)
        case Choice(test, then, otherwise):
            yield from (test, then, otherwise)
        case Joined(items) | Members(items):
            yield from items
        case Assign(_, value) | Return(value):
            yield value
        case If(test, then, otherwise):
            yield test
            yield from then
            yield from otherwise
        case _:
            pass


def _choices(node: Expression | Statement) -> Iterator[None]:
    if isinstance(node, Choice | If):
        yield None
    for part in _parts(node):
        yield from _choices(part)
