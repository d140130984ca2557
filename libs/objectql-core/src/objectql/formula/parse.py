"""Text to a tree. Both dialects share one grammar; what differs is the meaning of functions.

JavaScript's spellings, those of CEL (https://github.com/google/cel-spec/blob/master/doc/langdef.md)
and the words `and`, `or`, `not` are all accepted. Precedence, low to high: `?:`, `??`, `||`, `&&`,
`not`, equality, order and `in`, sums, products, `**`, `! - +`, members and calls.

A text with `return` is a body: `let`, `const`, assignments, `if`/`else` and `return`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Final, cast
from typing import Literal as OneOf

from objectql.formula.syntax import (
    Assign,
    Binary,
    Call,
    Choice,
    Expression,
    Formula,
    FormulaError,
    If,
    Index,
    Joined,
    Literal,
    Member,
    Members,
    Name,
    Return,
    Statement,
    Unary,
)
from objectql.formula.tokens import Token, tokens, unescaped

MAX_BYTES = 4096
MAX_NODES = 256
MAX_DEPTH = 32

_LITERALS: Final[Mapping[str, bool | None]] = {
    "true": True,
    "false": False,
    "null": None,
    "undefined": None,
}
_HOLE = re.compile(r"\$\{([^{}`]*)\}")
_MAX_DIGITS = 38
_EQUALITY = frozenset({"==", "=", "!="})
_ORDER = frozenset({"<", "<=", ">", ">=", "in"})
_SUMS = frozenset({"+", "-"})
_PRODUCTS = frozenset({"*", "/", "%"})
_PREFIXES: Final[Mapping[str, OneOf["!", "-", "+"]]] = {"!": "!", "-": "-", "+": "+"}
_ASSIGNMENTS: Final = {"=": "", "+=": "+", "-=": "-", "*=": "*", "/=": "/"}


@lru_cache(maxsize=1024)
def parse(text: str) -> Formula:
    """The formula that `text` writes.

    Raises:
        FormulaError: it writes none, or one beyond the limits of this module.

    """
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise FormulaError("SYNTAX_ERROR", f"at most {MAX_BYTES} bytes", 0)
    parser = _Parser(text, 0, len(text), [0])
    body = parser.body() if parser.has_return() else parser.whole()
    return Formula(body, parser.count[0])


class _Parser:
    """Recursive descent; each method returns at the first token that is not its own."""

    def __init__(self, text: str, start: int, end: int, count: list[int]) -> None:
        self._text = text
        self._tokens = list(tokens(text, start, end))
        self._at = 0
        self._depth = 0
        self.count = count
        """How many nodes there are, in one cell that the parsers of templates share."""

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def has_return(self) -> bool:
        """Whether the text is a body."""
        return any(token.kind == "name" and token.text == "return" for token in self._tokens)

    def whole(self) -> tuple[Statement, ...]:
        """The one expression that the text is."""
        start = self._next
        found = self._expression()
        self._skip(";")
        if self._next.kind != "end":
            raise self._refusal(f"{self._next.text!r} is not expected here")
        return (Return(found, start.position),)

    # --- tokens -----------------------------------------------------------------------------

    def _take(self) -> Token:
        token = self._next
        if token.kind != "end":
            self._at += 1
        return token

    def _is(self, *texts: str) -> bool:
        return self._next.kind in ("sign", "name") and self._next.text in texts

    def _skip(self, text: str) -> bool:
        if self._is(text):
            self._at += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._skip(sign):
            raise self._refusal(f'"{sign}" is expected here')

    def _name(self) -> Token:
        token = self._take()
        if token.kind != "name":
            raise self._refusal("a name is expected here", token)
        return token

    def _refusal(self, reason: str, at: Token | None = None) -> FormulaError:
        return FormulaError("SYNTAX_ERROR", reason, (at or self._next).position)

    def _counted(self) -> None:
        self.count[0] += 1
        if self.count[0] > MAX_NODES:
            raise self._refusal(f"an expression has at most {MAX_NODES} parts")

    def _nested(self, read: Callable[[], Expression]) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._refusal(f"an expression nests at most {MAX_DEPTH} deep")
        found = read()
        self._depth -= 1
        return found

    # --- statements -------------------------------------------------------------------------

    def body(self) -> tuple[Statement, ...]:
        """The statements of the whole text."""
        found: list[Statement] = []
        while self._next.kind != "end":
            if not self._skip(";"):
                found.append(self._statement())
        return tuple(found)

    def _statement(self) -> Statement:
        start = self._take()
        self._counted()
        if start.kind == "name" and start.text == "return":
            value: Expression = Literal(None, start.position)
            if not self._is(";", "}") and self._next.kind != "end":
                value = self._expression()
            return Return(value, start.position)
        if start.kind == "name" and start.text == "if":
            return self._if(start)
        is_new = start.kind == "name" and start.text in ("let", "const", "var")
        name = self._name() if is_new else start
        if name.kind != "name":
            raise self._refusal("a statement is expected here", name)
        sign = self._take()
        if sign.text not in _ASSIGNMENTS or (is_new and sign.text != "="):
            raise self._refusal('"=" is expected here', sign)
        value = self._expression()
        if _ASSIGNMENTS[sign.text]:
            before = Name(name.text, name.position)
            value = Binary(_ASSIGNMENTS[sign.text], before, value, sign.position)
        return Assign(name.text, value, is_new, name.position)

    def _if(self, start: Token) -> If:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._refusal(f"an expression nests at most {MAX_DEPTH} deep")
        self._expect("(")
        test = self._expression()
        self._expect(")")
        then = self._branch()
        otherwise = self._branch() if self._skip("else") else ()
        self._depth -= 1
        return If(test, then, otherwise, start.position)

    def _branch(self) -> tuple[Statement, ...]:
        if not self._skip("{"):
            statement = self._statement()
            self._skip(";")
            return (statement,)
        found: list[Statement] = []
        while not self._skip("}"):
            if self._next.kind == "end":
                raise self._refusal('"}" is expected here')
            if not self._skip(";"):
                found.append(self._statement())
        return tuple(found)

    # --- expressions ------------------------------------------------------------------------

    def _expression(self) -> Expression:
        return self._nested(self._choice)

    def _choice(self) -> Expression:
        start = self._next
        found = self._binary(0)
        if not self._is("?"):
            return found
        self._take()
        self._counted()
        then = self._expression()
        self._expect(":")
        return Choice(found, then, self._expression(), start.position)

    def _binary(self, level: int) -> Expression:
        """A chain of the signs of one level, from left to right."""
        if level == len(_LEVELS):
            return self._power()
        if level == _DENIAL and self._is("not"):
            start = self._take()
            self._counted()
            of = self._nested(lambda: self._binary(_DENIAL))
            return Unary("!", of, start.position)
        found = self._binary(level + 1)
        while self._is(*_LEVELS[level]):
            sign = self._take()
            self._counted()
            text = "==" if sign.text == "=" else sign.text
            found = Binary(text, found, self._binary(level + 1), sign.position)
        return found

    def _power(self) -> Expression:
        found = self._unary()
        if not self._is("**"):
            return found
        sign = self._take()
        self._counted()
        return Binary("**", found, self._nested(self._power), sign.position)

    def _unary(self) -> Expression:
        if not self._is(*_PREFIXES):
            return self._postfix()
        start = self._take()
        of = self._nested(self._unary)
        if isinstance(of, Literal) and start.text == "-":
            if type(of.value) is int:
                return Literal(-of.value, start.position)
            if isinstance(of.value, Decimal):
                return Literal(of.value.copy_negate(), start.position)
        self._counted()
        return Unary(_PREFIXES[start.text], of, start.position)

    def _postfix(self) -> Expression:
        found = self._primary()
        while self._is(".", "?.", "[", "("):
            sign = self._take()
            self._counted()
            if sign.text in (".", "?."):
                name = self._name()
                found = Member(found, name.text, found.at)
            elif sign.text == "[":
                index = self._expression()
                self._expect("]")
                found = Index(found, index, sign.position)
            elif isinstance(found, Name | Member):
                found = Call(found, self._listed(")"), found.at)
            else:
                raise self._refusal("only functions can be called", sign)
        return found

    def _listed(self, end: str) -> tuple[Expression, ...]:
        found: list[Expression] = []
        while not self._skip(end):
            if found:
                self._expect(",")
            found.append(self._expression())
        return tuple(found)

    def _primary(self) -> Expression:
        token = self._take()
        self._counted()
        match token.kind, token.text:
            case "number", text:
                return Literal(self._number(token, text), token.position)
            case "string", text:
                return Literal(self._plain(token, text[1:-1]), token.position)
            case "template", text:
                return self._template(token)
            case "name", name:
                if name == "new" and self._is("Date"):
                    return self._primary()
                if name in _LITERALS:
                    return Literal(_LITERALS[name], token.position)
                return Name(name, token.position)
            case "sign", "(":
                found = self._expression()
                self._expect(")")
                return found
            case "sign", "[":
                return Members(self._listed("]"), token.position)
            case "sign", "{":
                return self._braced()
            case _:
                raise self._refusal("a field, a literal or a function is expected here", token)

    def _number(self, token: Token, text: str) -> int | Decimal:
        value = Decimal(text)
        if value and not -_MAX_DIGITS <= value.adjusted() < _MAX_DIGITS:
            raise self._refusal("the number is out of range", token)
        return int(text) if text.isdigit() else value

    def _plain(self, token: Token, text: str) -> str:
        found = unescaped(text)
        if "\0" in found or (
            not found.isascii() and found.encode("utf-8", "replace").decode() != found
        ):
            raise self._refusal("the text has a character that cannot be stored", token)
        return found

    def _template(self, token: Token) -> Expression:
        parts: list[Expression] = []
        inner, start = token.text[1:-1], token.position + 1
        at = 0
        for hole in _HOLE.finditer(inner):
            parts.append(Literal(self._plain(token, inner[at : hole.start()]), start + at))
            first, last = hole.span(1)
            nested = _Parser(self._text, start + first, start + last, self.count)
            nested._depth = self._depth
            statement = nested.whole()[0]
            parts.append(cast("Return", statement).value)
            at = hole.end()
        parts.append(Literal(self._plain(token, inner[at:]), start + at))
        return Joined(tuple(parts), token.position)

    def _braced(self) -> Expression:
        """`{price}`: a field as some documents write it."""
        first = self._name()
        found: Expression = Name(first.text, first.position)
        while self._skip("."):
            name = self._name()
            found = Member(found, name.text, name.position)
        self._expect("}")
        return found


_LEVELS: Final = (
    frozenset({"??"}),
    frozenset({"||"}),
    frozenset({"&&"}),
    _EQUALITY,
    _ORDER,
    _SUMS,
    _PRODUCTS,
)
_DENIAL: Final = 3
"""Where the word `not` stands: it denies a whole comparison, as in Python."""
