from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.formula.parse import MAX_NODES, parse
from objectql.formula.syntax import Binary, Expression, FormulaError, Literal, Member, Name, Unary


def said(text: str) -> str:
    found = parse(text).expression
    assert found is not None
    return shown(found)


def shown(node: Expression) -> str:
    match node:
        case Literal(value):
            return repr(value) if isinstance(value, str) else str(value)
        case Name(name):
            return name
        case Member(of, name):
            return f"{shown(of)}.{name}"
        case Unary(sign, of):
            return f"({sign}{shown(of)})"
        case Binary(sign, left, right):
            return f"({shown(left)} {sign} {shown(right)})"
        case _:
            return type(node).__name__


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("a + b * c", "(a + (b * c))"),
        ("a - b - c", "((a - b) - c)"),
        ("a ** b ** c", "(a ** (b ** c))"),
        ("a || b && c", "(a || (b && c))"),
        ("a ?? b || c", "(a ?? (b || c))"),
        ("a == b < c", "(a == (b < c))"),
        ("!a == b", "((!a) == b)"),
        ("not a == b", "(!(a == b))"),
        ("a and not b or c", "((a && (!b)) || c)"),
        ("a = 1 <> b", "((a == 1) != b)"),
        ("a === 'it\\'s'", '(a == "it\'s")'),
        ("account?.name", "account.name"),
        ("{price} * {customer.rate}", "(price * customer.rate)"),
        ("-1.50", "-1.50"),
        ("- a", "(-a)"),
        ("a;", "a"),
    ],
)
def test_precedence_is_that_of_javascript(text: str, meant: str) -> None:
    assert said(text) == meant


@pytest.mark.parametrize(
    ("text", "code", "position"),
    [
        ("", "SYNTAX_ERROR", 0),
        ("5 +", "SYNTAX_ERROR", 3),
        ("a b", "SYNTAX_ERROR", 2),
        ("a # b", "SYNTAX_ERROR", 2),
        ("(a", "SYNTAX_ERROR", 2),
        ("`${a b}`", "SYNTAX_ERROR", 5),
        ("1()", "SYNTAX_ERROR", 1),
        ("1e400", "SYNTAX_ERROR", 0),
        ("'\\\0'", "SYNTAX_ERROR", 0),
        ("eval('x')", "SECURITY_VIOLATION", 0),
        ("a.constructor", "SECURITY_VIOLATION", 2),
        ("x.__proto__.y", "SECURITY_VIOLATION", 2),
        ("if (a) { return 1", "SYNTAX_ERROR", 17),
        ("let = 1; return 2", "SYNTAX_ERROR", 4),
        ("for (;;) {} return 1", "SYNTAX_ERROR", 4),
        ("(" * 40 + "a" + ")" * 40, "SYNTAX_ERROR", 32),
        ("-" * 40 + "a", "SYNTAX_ERROR", 32),
        ("+".join("a" * MAX_NODES), "SYNTAX_ERROR", 257),
    ],
)
def test_anything_else_is_refused_at_its_place(text: str, code: str, position: int) -> None:
    with pytest.raises(FormulaError) as refusal:
        parse(text)
    assert (refusal.value.code, refusal.value.position) == (code, position)


def test_a_long_text_is_refused() -> None:
    with pytest.raises(FormulaError, match="bytes"):
        parse("'" + "ä" * 2048 + "'")


@given(st.text("ab1.'\"`${}()!=<>&|[], ;?:+-*/\\return ifelse", max_size=60))
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    with contextlib.suppress(FormulaError):
        parse(text)
