"""Expressions of rules as filters: the part of both formula dialects that a database can answer.

Comparisons of fields with literals, with each other and with facts of the caller, `in`,
`startsWith`, `endsWith`, `contains`, `has`, `&& || !` and parentheses are translated. Arithmetic,
functions and comparisons without a field are not: a rule must be answered by the database for
each row, and alike in memory. Names may be written `record.x`; facts of the caller are
`$current_user.x`, `current_user.x` or `os.user.x`.

Grammar: https://github.com/google/cel-spec/blob/master/doc/langdef.md, with the JavaScript
spellings `===`, `!==` and `includes`, and the words `and`, `or`, `not`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from objectql.query.ast import And, Compare, Fact, Filter, Not, Op, Or, Path

MAX_DEPTH = 32
MAX_TOKENS = 1024

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<name>\$?[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>===|!==|==|!=|<>|<=|>=|&&|\|\||[<>=!().,\[\]-])
    )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
_COMPARISONS = {
    "==": Op.EQ,
    "===": Op.EQ,
    "=": Op.EQ,
    "!=": Op.NE,
    "!==": Op.NE,
    "<>": Op.NE,
    "<": Op.LT,
    "<=": Op.LTE,
    ">": Op.GT,
    ">=": Op.GTE,
}
_TURNED = {Op.LT: Op.GT, Op.LTE: Op.GTE, Op.GT: Op.LT, Op.GTE: Op.LTE}
_METHODS = {
    "startsWith": Op.STARTS_WITH,
    "endsWith": Op.ENDS_WITH,
    "contains": Op.CONTAINS,
    "includes": Op.CONTAINS,
}
_WORDS = {"and": "&&", "or": "||", "not": "!"}
_LITERALS: dict[str, Any] = {"true": True, "false": False, "null": None, "undefined": None}
_CALLER: tuple[Path, ...] = (("$current_user",), ("current_user",), ("os", "user"))
_FOREIGN = frozenset({"previous", "input", "os", "$now", "$today"})


class Untranslatable(ValueError):
    """The expression says what no filter can, or nothing at all; with the place, from 1."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(f"{reason} (at character {position + 1})")


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


class _Field(NamedTuple):
    """A field of the record, by its path."""

    path: Path


class _Literal(NamedTuple):
    value: Any


_Operand: TypeAlias = _Field | _Literal | Fact


def translate(text: str) -> Filter:
    """The filter that selects the records for which `text` is true.

    Raises:
        Untranslatable

    """
    parser = _Parser(list(_tokens(text)), len(text))
    found = parser.either(0)
    parser.end()
    return found


def _tokens(text: str) -> Iterator[_Token]:
    position, count = 0, 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            place = position + len(text[position:]) - len(text[position:].lstrip())
            raise Untranslatable(f"{text[place]!r} has no meaning in a rule", place)
        count += 1
        if count > MAX_TOKENS:
            raise Untranslatable(f"a rule has at most {MAX_TOKENS} words and signs", position)
        kind = match.lastgroup or ""
        found = match[kind]
        if kind == "name" and found in _WORDS:
            kind, found = "sign", _WORDS[found]
        yield _Token(kind, found, match.start(kind))
        position = match.end()


class _Parser:
    """Recursive descent; each method returns at the first token that is not its own."""

    def __init__(self, tokens: list[_Token], length: int) -> None:
        self._tokens = [*tokens, _Token("end", "", length)]
        self._at = 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        self._at += 1
        return token

    def _skip(self, sign: str) -> bool:
        if self._next.kind == "sign" and self._next.text == sign:
            self._at += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._skip(sign):
            raise self._refusal(f'"{sign}" is expected here')

    def _refusal(self, reason: str, at: _Token | None = None) -> Untranslatable:
        return Untranslatable(reason, (at or self._next).position)

    def end(self) -> None:
        if self._next.kind != "end":
            raise self._refusal(f"{self._next.text!r} is not expected here: rules only compare")

    def either(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise self._refusal(f"a rule nests at most {MAX_DEPTH} deep")
        items = [self._all(depth)]
        while self._skip("||"):
            items.append(self._all(depth))
        return items[0] if len(items) == 1 else Or(tuple(items))

    def _all(self, depth: int) -> Filter:
        items = [self._denied(depth)]
        while self._skip("&&"):
            items.append(self._denied(depth))
        return items[0] if len(items) == 1 else And(tuple(items))

    def _denied(self, depth: int) -> Filter:
        is_denied = False
        while self._skip("!"):
            is_denied = not is_denied
        found = self._condition(depth)
        return Not(found) if is_denied else found

    def _condition(self, depth: int) -> Filter:
        start = self._next
        if self._skip("("):
            found = self.either(depth + 1)
            self._expect(")")
            return found
        left = self._operand()
        if isinstance(left, Compare):
            return left
        if self._next.kind == "sign" and self._next.text in _COMPARISONS:
            op = _COMPARISONS[self._take().text]
            return self._compared(left, op, self._value(), start)
        if self._next.kind == "name" and self._next.text == "in":
            self._at += 1
            return self._member(left, self._value(), start)
        if isinstance(left, _Field):
            return Compare(left.path, Op.EQ, True)
        if isinstance(left, _Literal) and isinstance(left.value, bool):
            return And(()) if left.value else Or(())
        raise self._refusal("a condition is expected here", start)

    def _compared(self, left: _Operand, op: Op, right: _Operand, start: _Token) -> Filter:
        if not isinstance(left, _Field):
            left, op, right = right, _TURNED.get(op, op), left
        match left, right:
            case _Field(path), _Field(other):
                return Compare(path, op, ref=other)
            case _Field(path), _Literal(value) if not isinstance(value, tuple):
                return Compare(path, op, value)
            case _Field(path), Fact():
                return Compare(path, op, right)
            case _:
                raise self._refusal("a comparison needs a field of the record on one side", start)

    def _member(self, left: _Operand, right: _Operand, start: _Token) -> Filter:
        match left, right:
            case _Field(path), _Literal(members) if isinstance(members, tuple):
                return Compare(path, Op.IN, members)
            case _Field(path), Fact():
                return Compare(path, Op.IN, right)
            case _Literal(value), _Field(path) if not isinstance(value, tuple):
                return Compare(path, Op.CONTAINS, value)
            case Fact(), _Field(path):
                return Compare(path, Op.CONTAINS, left)
            case _:
                raise self._refusal(
                    "`in` needs a field, and a list or another fact of the caller", start
                )

    def _value(self) -> _Operand:
        start = self._next
        found = self._operand()
        if isinstance(found, Compare):
            raise self._refusal("conditions do not compare with each other", start)
        return found

    def _operand(self) -> _Operand | Compare:
        token = self._take()
        if token.kind == "number":
            return _Literal(_number(token.text))
        if token.kind == "string":
            return _Literal(_ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[1]), token.text[1:-1]))
        if token.kind == "name":
            if token.text in _LITERALS:
                return _Literal(_LITERALS[token.text])
            return self._named(token)
        if token.text == "-" and self._next.kind == "number":
            return _Literal(-_number(self._take().text))
        if token.text == "[":
            return _Literal(self._members())
        raise self._refusal("a field, a literal or a fact of the caller is expected here", token)

    def _members(self) -> tuple[Any, ...]:
        members: list[Any] = []
        while not self._skip("]"):
            if members:
                self._expect(",")
            start = self._next
            member = self._operand()
            if not isinstance(member, _Literal) or isinstance(member.value, tuple):
                raise self._refusal("a list holds literals", start)
            members.append(member.value)
        return tuple(members)

    def _named(self, first: _Token) -> _Operand | Compare:
        if first.text == "has" and self._skip("("):
            field = self._field(self._path(self._take()), first)
            self._expect(")")
            return Compare(field.path, Op.NULL, False)
        path = self._path(first)
        if not self._skip("("):
            return self._meaning(path, first)
        method = _METHODS.get(path[-1])
        if method is None or len(path) == 1:
            raise self._refusal(f"{path[-1]}() cannot be answered by a database", first)
        argument = self._value()
        self._expect(")")
        field = self._field(path[:-1], first)
        if isinstance(argument, Fact):
            return Compare(field.path, method, argument)
        if isinstance(argument, _Literal) and isinstance(argument.value, str):
            return Compare(field.path, method, argument.value)
        raise self._refusal(f"{path[-1]}() takes a text or a fact of the caller", first)

    def _path(self, first: _Token) -> Path:
        if first.kind != "name":
            raise self._refusal("a name is expected here", first)
        names = [first.text]
        while self._skip("."):
            token = self._take()
            if token.kind != "name":
                raise self._refusal("a name is expected here", token)
            names.append(token.text)
        return tuple(names)

    def _field(self, path: Path, at: _Token) -> _Field:
        found = self._meaning(path, at)
        if not isinstance(found, _Field):
            raise self._refusal("a field of the record is expected here", at)
        return found

    def _meaning(self, path: Path, at: _Token) -> _Field | Fact:
        for prefix in _CALLER:
            if path[: len(prefix)] == prefix and len(path) > len(prefix):
                return Fact(".".join(path[len(prefix) :]))
        if path[0] in _FOREIGN or path[0].startswith("$"):
            raise self._refusal(f"{path[0]} cannot be used in a rule", at)
        is_record = path[0] == "record" and len(path) > 1
        return _Field(path[1:] if is_record else path)


def _number(text: str) -> int | float:
    return int(text) if text.isdigit() else float(text)
