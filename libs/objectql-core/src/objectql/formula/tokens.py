"""The words and signs of a formula."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from objectql.formula.syntax import FormulaError

MAX_TOKENS = 1024

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<template>`(?:[^`\\]|\\.)*`)
    | (?P<name>\$?[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>===|!==|==|!=|<>|<=|>=|&&|\|\||\?\?|\?\.(?!\d)|\*\*|\+=|-=|\*=|/=
               |[-+*/%<>=!().,\[\]{}?:;])
    )""",
    re.VERBOSE | re.DOTALL,
)
_BLANK = re.compile(r"\s*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
_SIGNS = {
    "and": "&&",
    "or": "||",
    "===": "==",
    "=": "=",
    "!==": "!=",
    "<>": "!=",
}
"""What means the same is one sign. A single `=` compares too, except in an assignment."""

FORBIDDEN = frozenset(
    """eval Function require import process global globalThis constructor __proto__
    prototype""".split()
)
"""Names by which JavaScript would be left; they mean nothing here, and say what was tried."""


class Token(NamedTuple):
    """`kind` is number, string, template, name, sign or end; `position` counts from 0."""

    kind: str
    text: str
    position: int


def tokens(text: str, start: int, end: int) -> Iterator[Token]:
    """The tokens between two positions of `text`, then one of kind `end`.

    Raises:
        FormulaError: a character has no meaning, or there are more than `MAX_TOKENS`.

    """
    position, count = start, 0
    while True:
        blank = _BLANK.match(text, position, end)
        place = position if blank is None else blank.end()
        if place >= end:
            yield Token("end", "", end)
            return
        match = _TOKEN.match(text, position, end)
        if match is None:
            reason = f"{text[place]!r} has no meaning in an expression"
            raise FormulaError("SYNTAX_ERROR", reason, place)
        count += 1
        if count > MAX_TOKENS:
            reason = f"an expression has at most {MAX_TOKENS} words and signs"
            raise FormulaError("SYNTAX_ERROR", reason, place)
        kind = match.lastgroup or ""
        found = match[kind]
        if kind == "name" and found in FORBIDDEN:
            raise FormulaError("SECURITY_VIOLATION", f"{found} cannot be used", place)
        if found in _SIGNS:
            kind, found = "sign", _SIGNS[found]
        yield Token(kind, found, place)
        position = match.end()


def unescaped(text: str) -> str:
    """The text of a literal without its quotes, backslashes resolved."""
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text)
