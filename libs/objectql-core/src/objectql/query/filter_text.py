"""The text form of a filter, a subset of OData 4: `status eq 'paid' and total gt 100`.

    or    := and ('or' and)*          and := not ('and' not)*          not := 'not' not | prim
    prim  := '(' or ')' | function | path cmp value | path 'in' '(' value (',' value)* ')'
           | path 'has' value
    value := null | true | false | number | 'string' | day | instant | guid | @me | now()
           | '{' token '}', for example {today}

Errors carry the position of the offending character, from 0; what only metadata can tell is
wrong with a condition, the position at which it begins.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from objectql.errors import InvalidFilter, ObjectQLError
from objectql.query.ast import And, Compare, Filter, Not, Op, Or, Path
from objectql.query.comparand import compare
from objectql.query.words import MAX_DEPTH, near_misses

MAX_LENGTH = 8 * 1024

_COMPARISONS = {
    "eq": Op.EQ,
    "ne": Op.NE,
    "gt": Op.GT,
    "ge": Op.GTE,
    "lt": Op.LT,
    "le": Op.LTE,
}
_FUNCTIONS = {
    "contains": Op.CONTAINS,
    "startswith": Op.STARTS_WITH,
    "endswith": Op.ENDS_WITH,
    "icontains": Op.ICONTAINS,
}
_CONSTANTS = {"null": None, "true": True, "false": False}

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>'(?:[^']|'')*')
  | (?P<moment>\d{4}-\d{2}-\d{2}(?:T[0-9:.]+(?:Z|[+-]\d{2}:?\d{2})?)?(?![\w-]))
  | (?P<guid>[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![\w-]))
  | (?P<clock>\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?![\w:]))
  | (?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
  | (?P<macro>\{\w+(?:\.\w+)*\})
  | (?P<word>@me|[A-Za-z_]\w*(?:[/.][A-Za-z_]\w*)*)
  | (?P<mark>[(),])
)""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def parse_filter_text(text: str, at: str = "$filter") -> Filter:
    """The filter that `text` writes; a filter of white space alone is refused.

    `at` is where the text stands in the request.

    Raises:
        InvalidFilter: with `position`.

    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_LENGTH:
        raise InvalidFilter(
            reason=f"a filter has at most {MAX_LENGTH} bytes", path=at, position=MAX_LENGTH
        )
    parser = _Parser(_tokenize(text, at), at)
    found = parser.parse_or(0)
    parser.expect_end()
    return found


def _tokenize(text: str, place: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while match := _TOKEN.match(text, position):
        kind = match.lastgroup or ""
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        position = match.end()
    rest = text[position:]
    if rest.strip():
        at = position + len(rest) - len(rest.lstrip())
        reason = "the string has no closing quote" if text[at] == "'" else "this cannot be read"
        raise InvalidFilter(reason=f"{reason}: {text[at : at + 20]!r}", path=place, position=at)
    tokens.append(_Token("end", "", len(text)))
    return tokens


class _Parser:
    """Recursive descent, one token ahead."""

    def __init__(self, tokens: list[_Token], at: str) -> None:
        self._tokens = tokens
        self._at = at
        self._next = 0

    def parse_or(self, depth: int) -> Filter:
        parts = [self._parse_and(depth)]
        while self._take_keyword("or"):
            parts.append(self._parse_and(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def expect_end(self) -> None:
        token = self._peek()
        if token.kind != "end":
            raise self._fail(f'"{token.text}" is not expected here', token)

    def _parse_and(self, depth: int) -> Filter:
        parts = [self._parse_not(depth)]
        while self._take_keyword("and"):
            parts.append(self._parse_not(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _parse_not(self, depth: int) -> Filter:
        token = self._peek()
        if depth > MAX_DEPTH:
            raise self._fail(f"conditions nest deeper than {MAX_DEPTH}", token)
        if self._is_keyword(token, "not"):
            self._advance()
            return Not(self._parse_not(depth + 1))
        return self._parse_primary(depth)

    def _parse_primary(self, depth: int) -> Filter:
        token = self._advance()
        if token.text == "(" and token.kind == "mark":
            found = self.parse_or(depth + 1)
            self._expect(")")
            return found
        if token.kind != "word" or token.text == "@me":
            raise self._fail("a condition starts with a field or a function", token)
        if self._peek().text == "(" and self._peek().kind == "mark":
            return self._parse_function(token)
        return self._parse_comparison(token)

    def _parse_function(self, name: _Token) -> Compare:
        word = name.text.lower()
        op = Op.CONTAINS if word == "substringof" else _FUNCTIONS.get(word)
        if op is None:
            known = (*_FUNCTIONS, "substringof")
            raise self._fail(f'there is no function "{name.text}"', name, near_misses(word, known))
        self._expect("(")
        if word == "substringof":  # OData 3 has the string first
            values = self._peek()
            value = self._parse_value()
            self._expect(",")
            path = self._parse_path()
        else:
            path = self._parse_path()
            self._expect(",")
            values = self._peek()
            value = self._parse_value()
        self._expect(")")
        if self._is_keyword(self._peek(), "eq") and self._tokens[self._next + 1].text == "true":
            self._next += 2  # `contains(a,'x') eq true`, as OData 3 clients write it
        return self._compare(path, op, value, name, values)

    def _parse_comparison(self, field: _Token) -> Compare:
        path = self._path_of(field)
        operator = self._advance()
        word = operator.text.lower() if operator.kind == "word" else ""
        if word == "in":
            self._expect("(")
            values = self._peek()
            members = [self._parse_value()]
            while self._peek().text == "," and self._peek().kind == "mark":
                self._advance()
                members.append(self._parse_value())
            self._expect(")")
            return self._compare(path, Op.IN, members, field, values)
        if word == "has":
            values = self._peek()
            return self._compare(path, Op.CONTAINS, self._parse_value(), field, values)
        op = _COMPARISONS.get(word)
        if op is None:
            known = (*_COMPARISONS, "in", "has")
            raise self._fail(
                f'"{operator.text}" is not a comparison'
                if operator.text
                else "a comparison is missing",
                operator,
                near_misses(word, known),
            )
        values = self._peek()
        value = self._parse_value()
        if value is None and op in {Op.EQ, Op.NE}:
            return Compare(path, Op.NULL, op is Op.EQ, None, f"{self._at}:{field.at}")
        return self._compare(path, op, value, field, values)

    def _parse_path(self) -> Path:
        token = self._advance()
        if token.kind != "word" or token.text == "@me":
            raise self._fail("a field is expected here", token)
        return self._path_of(token)

    def _path_of(self, token: _Token) -> Path:
        return tuple(token.text.replace("/", ".").split("."))

    def _parse_value(self) -> Any:
        token = self._advance()
        match token.kind:
            case "string":
                return token.text[1:-1].replace("''", "'")
            case "moment" | "guid" | "clock" | "macro":
                return token.text
            case "number":
                return _number(token.text)
            case "word":
                return self._parse_word(token)
            case _:
                raise self._fail("a value is expected here", token)

    def _parse_word(self, token: _Token) -> Any:
        if token.text == "@me":
            return "{current_user_id}"
        word = token.text.lower()
        if word == "now":
            self._expect("(")
            self._expect(")")
            return "{now}"
        if word in _CONSTANTS:
            return _CONSTANTS[word]
        raise self._fail(f"\"{token.text}\" is not a value; strings stand in '...'", token)

    def _compare(self, path: Path, op: Op, value: Any, start: _Token, values: _Token) -> Compare:
        """A condition that begins at `start`, and its value or values at `values`."""
        try:
            return compare(path, op, value, f"{self._at}:{start.at}")
        except ObjectQLError as error:
            if isinstance(error, InvalidFilter):
                error.path, error.position = self._at, values.at
            raise

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _advance(self) -> _Token:
        token = self._tokens[self._next]
        if token.kind != "end":
            self._next += 1
        return token

    def _is_keyword(self, token: _Token, word: str) -> bool:
        return token.kind == "word" and token.text.lower() == word

    def _take_keyword(self, word: str) -> bool:
        if self._is_keyword(self._peek(), word):
            self._next += 1
            return True
        return False

    def _expect(self, mark: str) -> None:
        token = self._advance()
        if token.kind != "mark" or token.text != mark:
            raise self._fail(f'"{mark}" is expected here', token)

    def _fail(self, reason: str, token: _Token, suggestions: tuple[str, ...] = ()) -> InvalidFilter:
        return InvalidFilter(
            reason=reason, path=self._at, position=token.at, suggestions=suggestions
        )


def _number(text: str) -> int | float:
    if text.lstrip("-").isdigit():
        return int(text[:40])  # what is cut off is beyond 2^53 anyway, and refused
    return float(text)
