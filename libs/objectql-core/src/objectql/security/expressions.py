"""Expressions of rules as filters: the part of the formula language that a condition can be.

Comparisons of fields with literals, with each other and with facts of the caller, `in`,
`startsWith`, `endsWith`, `contains`, `has`, `&& || !` and parentheses are translated. Arithmetic,
functions and comparisons without a field are not: a rule is joined into every query, so an index
must be able to answer it. Names may be written `record.x`; facts of the caller are
`$current_user.x`, `current_user.x` or `os.user.x`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from objectql.formula.parse import parse
from objectql.formula.syntax import (
    Binary,
    Call,
    Expression,
    FormulaError,
    Literal,
    Member,
    Members,
    Name,
    Unary,
)
from objectql.query.ast import And, Compare, Fact, Filter, Not, Op, Or, Path

_COMPARISONS: Final = {
    "==": Op.EQ,
    "!=": Op.NE,
    "<": Op.LT,
    "<=": Op.LTE,
    ">": Op.GT,
    ">=": Op.GTE,
}
_TURNED: Final = {Op.LT: Op.GT, Op.LTE: Op.GTE, Op.GT: Op.LT, Op.GTE: Op.LTE}
_METHODS: Final = {
    "startsWith": Op.STARTS_WITH,
    "endsWith": Op.ENDS_WITH,
    "contains": Op.CONTAINS,
    "includes": Op.CONTAINS,
}
_CALLER: tuple[Path, ...] = (("$current_user",), ("current_user",), ("os", "user"))
_FOREIGN = frozenset({"previous", "input", "os", "$now", "$today"})


class _Field(NamedTuple):
    """A field of the record, by its path."""

    path: Path


class _Value(NamedTuple):
    value: Any


_Operand: TypeAlias = _Field | _Value | Fact


def translate(text: str) -> Filter:
    """The filter that selects the records for which `text` is true.

    Raises:
        FormulaError: it says what no filter can, or nothing at all.

    """
    expression = parse(text).expression
    if expression is None:
        raise _untranslatable("a rule is one expression", 0)
    return _condition(expression)


def _untranslatable(reason: str, position: int) -> FormulaError:
    return FormulaError("TYPE_ERROR", reason, position)


def _condition(node: Expression) -> Filter:
    match node:
        case Binary("&&", left, right):
            return And((*_parts(left, And), *_parts(right, And)))
        case Binary("||", left, right):
            return Or((*_parts(left, Or), *_parts(right, Or)))
        case Unary("!", Unary("!", of)):
            return _condition(of)
        case Unary("!", of):
            return Not(_condition(of))
        case Binary("in", left, right):
            return _member(_operand(left), _operand(right), node.at)
        case Binary(sign, left, right) if sign in _COMPARISONS:
            return _compared(_operand(left), _COMPARISONS[sign], _operand(right), node.at)
        case Call():
            return _called(node)
        case Literal(bool() as value):
            return And(()) if value else Or(())
        case Name() | Member():
            found = _operand(node)
            if isinstance(found, _Field):
                return Compare(found.path, Op.EQ, True)
            raise _untranslatable("a condition is expected here", node.at)
        case _:
            raise _untranslatable("a condition is expected here: rules only compare", node.at)


def _parts(node: Expression, join: type[And | Or]) -> tuple[Filter, ...]:
    """`a && b && c` is one conjunction, however it is bracketed."""
    found = _condition(node)
    return found.items if isinstance(found, join) and found.items else (found,)


def _compared(left: _Operand, op: Op, right: _Operand, at: int) -> Filter:
    if not isinstance(left, _Field):
        left, op, right = right, _TURNED.get(op, op), left
    match left, right:
        case _Field(path), _Field(other):
            return Compare(path, op, ref=other)
        case _Field(path), _Value(value) if not isinstance(value, tuple):
            return Compare(path, op, value)
        case _Field(path), Fact():
            return Compare(path, op, right)
        case _:
            raise _untranslatable("a comparison needs a field of the record on one side", at)


def _member(left: _Operand, right: _Operand, at: int) -> Filter:
    match left, right:
        case _Field(path), _Value(members) if isinstance(members, tuple):
            return Compare(path, Op.IN, members)
        case _Field(path), Fact():
            return Compare(path, Op.IN, right)
        case _Value(value), _Field(path) if not isinstance(value, tuple):
            return Compare(path, Op.CONTAINS, value)
        case Fact(), _Field(path):
            return Compare(path, Op.CONTAINS, left)
        case _:
            reason = "`in` needs a field, and a list or another fact of the caller"
            raise _untranslatable(reason, at)


def _called(node: Call) -> Filter:
    match node.function, node.arguments:
        case Name("has"), (argument,):
            return Compare(_field(argument).path, Op.NULL, False)
        case Member(of, name), (argument,) if name in _METHODS:
            field, value = _field(of), _operand(argument)
            if isinstance(value, Fact):
                return Compare(field.path, _METHODS[name], value)
            if isinstance(value, _Value) and isinstance(value.value, str):
                return Compare(field.path, _METHODS[name], value.value)
            raise _untranslatable(f"{name}() takes a text or a fact of the caller", node.at)
        case function, _:
            raise _untranslatable(f"{function.name}() cannot be part of a rule", node.at)


def _field(node: Expression) -> _Field:
    found = _operand(node)
    if not isinstance(found, _Field):
        raise _untranslatable("a field of the record is expected here", node.at)
    return found


def _operand(node: Expression) -> _Operand:
    match node:
        case Literal(value):
            return _Value(float(value) if isinstance(value, Decimal) else value)
        case Members(items):
            return _Value(tuple([_listed(item) for item in items]))
        case Name() | Member():
            return _meaning(_path(node), node)
        case Unary("!") | Call() | Binary("&&" | "||" | "in") | Binary("==" | "!="):
            raise _untranslatable("conditions do not compare with each other", node.at)
        case _:
            reason = "a field, a literal or a fact of the caller is expected here"
            raise _untranslatable(reason, node.at)


def _listed(item: Expression) -> Any:
    found = _operand(item)
    if not isinstance(found, _Value) or isinstance(found.value, tuple):
        raise _untranslatable("a list holds literals", item.at)
    return found.value


def _path(node: Expression) -> Path:
    match node:
        case Name(name):
            return (name,)
        case Member(of, name):
            return (*_path(of), name)
        case _:
            raise _untranslatable("a field of the record is expected here", node.at)


def _meaning(path: Path, node: Expression) -> _Field | Fact:
    for prefix in _CALLER:
        if path[: len(prefix)] == prefix and len(path) > len(prefix):
            return Fact(".".join(path[len(prefix) :]))
    if path[0] in _FOREIGN or path[0].startswith("$"):
        raise _untranslatable(f"{path[0]} cannot be used in a rule", node.at)
    is_record = path[0] == "record" and len(path) > 1
    return _Field(path[1:] if is_record else path)
