"""Functions of texts, as documents call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from objectql.formula.calling import (
    Build,
    BuildMethod,
    Checker,
    arguments,
    number_at,
    text_at,
)
from objectql.formula.coerce import apply, as_type, number, truthy
from objectql.formula.functions import Type
from objectql.formula.program import (
    Before,
    Const,
    Either,
    Term,
    Truth,
)
from objectql.formula.syntax import Call, Expression, FormulaError, Literal, Members
from objectql.metadata.pattern import compile_pattern


def _as_text(checker: Checker, call: Call) -> Term:
    return text_at(checker, arguments(call, 1)[0])


def _to_string(checker: Checker, call: Call, of: Expression) -> Term:
    arguments(call, 0)
    return text_at(checker, of)


def _as_boolean(checker: Checker, call: Call) -> Term:
    return Truth(truthy(checker.term(arguments(call, 1)[0])))


def _length(checker: Checker, call: Call) -> Term:
    node = arguments(call, 1)[0]
    term = checker.term(node)
    if term.type is Type.LIST:
        return apply("list_length", term)
    return apply("length", as_type(term, Type.TEXT, node.at))


def _mid(checker: Checker, call: Call) -> Term:
    """`MID(text, start, count)`, where the first character is 1."""
    text, start, count = arguments(call, 3)
    skipped = apply("subtract", number_at(checker, start), number(1))
    rest = apply("from_position", text_at(checker, text), skipped)
    return apply("first_of", rest, number_at(checker, count))


def _substitute(checker: Checker, call: Call) -> Term:
    text, part, by = arguments(call, 3)
    return _replaced(checker, text, part, by)


def _replace_all(checker: Checker, call: Call, of: Expression) -> Term:
    part, by = arguments(call, 2)
    return _replaced(checker, of, part, by)


def _replaced(checker: Checker, text: Expression, part: Expression, by: Expression) -> Term:
    if not isinstance(part, Literal) or not isinstance(part.value, str) or not part.value:
        raise FormulaError("TYPE_ERROR", "what is replaced is a literal text", part.at)
    parts = (text_at(checker, node) for node in (text, part, by))
    return apply("replace_all", *parts)


def _char_at(checker: Checker, call: Call, of: Expression) -> Term:
    rest = apply("from_position", text_at(checker, of), number_at(checker, arguments(call, 1)[0]))
    return apply("first_of", rest, number(1))


def _substring(checker: Checker, call: Call, of: Expression) -> Term:
    """JavaScript's: bounds below 0 are 0, and the lesser one is the start."""
    first, *last = arguments(call, 1, 2)
    text, start = text_at(checker, of), number_at(checker, first)
    if not last:
        return apply("from_position", text, start)
    end = number_at(checker, last[0])
    one, other = (apply("greatest", bound, number(0)) for bound in (start, end))
    cut = apply("first_of", text, apply("greatest", one, other))
    return apply("from_position", cut, apply("least", one, other))


def _slice(checker: Checker, call: Call, of: Expression) -> Term:
    """JavaScript's: bounds below 0 count from the end."""
    first, *last = arguments(call, 1, 2)
    text = text_at(checker, of)

    def counted(node: Expression) -> Term:
        bound = number_at(checker, node)
        from_end = apply("add", apply("length", text), bound)
        return Either(Before(bound, number(0), or_same=False), from_end, bound, Type.NUMBER)

    cut = apply("first_of", text, counted(last[0])) if last else text
    return apply("from_position", cut, counted(first))


def _pad_start(checker: Checker, call: Call, of: Expression) -> Term:
    width, *fill = arguments(call, 1, 2)
    by = text_at(checker, fill[0]) if fill else Const(" ", Type.TEXT)
    return apply("pad_start", text_at(checker, of), number_at(checker, width), by)


def _join_filled(checker: Checker, call: Call) -> Term:
    members, separator = arguments(call, 2)
    if not isinstance(members, Members):
        raise FormulaError("TYPE_ERROR", "a list is written here", members.at)
    texts = (text_at(checker, item) for item in members.items)
    return apply("join_filled", text_at(checker, separator), *texts)


def _matches(checker: Checker, call: Call) -> Term:
    text, pattern = arguments(call, 2)
    return _matching(checker, text, pattern)


def _matches_method(checker: Checker, call: Call, of: Expression) -> Term:
    return _matching(checker, of, arguments(call, 1)[0])


def _matching(checker: Checker, text: Expression, pattern: Expression) -> Term:
    value = pattern.value if isinstance(pattern, Literal) else None
    if not isinstance(value, str):
        raise FormulaError("TYPE_ERROR", "a pattern is a literal text", pattern.at)
    try:
        compile_pattern(value)
    except ValueError as exc:
        raise FormulaError("SYNTAX_ERROR", f"no pattern: {exc}", pattern.at) from exc
    return apply("matches", text_at(checker, text), Const(value, Type.TEXT))


BUILT_TEXTS: Final[Mapping[str, Build]] = {
    "Boolean": _as_boolean,
    "LEN": _length,
    "MID": _mid,
    "SUBSTITUTE": _substitute,
    "String": _as_text,
    "TEXT": _as_text,
    "joinNonEmpty": _join_filled,
    "len": _length,
    "matches": _matches,
    "size": _length,
}

METHODS_TEXTS: Final[Mapping[str, BuildMethod]] = {
    "charAt": _char_at,
    "matches": _matches_method,
    "padStart": _pad_start,
    "replaceAll": _replace_all,
    "slice": _slice,
    "substring": _substring,
    "toString": _to_string,
}
