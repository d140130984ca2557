"""From what was written to what it means: every name found, every type settled.

What is wrong is found here, once, when metadata is loaded: an unknown field, a text where a number
is needed, an `if` that multiplies a body beyond measure. After it a program cannot fail, only be
blank.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Protocol

from objectql.formula.calling import Checker
from objectql.formula.calls import called
from objectql.formula.coerce import (
    ALWAYS,
    BLANK,
    NEVER,
    apply,
    as_type,
    common,
    comparable,
    either,
    number,
    truthy,
    unless_empty,
)
from objectql.formula.functions import Type
from objectql.formula.numbers import MAX_EXPONENT
from objectql.formula.parse import parse
from objectql.formula.program import (
    MAX_SIZE,
    Before,
    Const,
    Denied,
    Either,
    Every,
    FirstOf,
    Input,
    IsBlank,
    Program,
    Result,
    Root,
    Same,
    Some,
    Source,
    Term,
    Test,
    Truth,
    size_of,
)
from objectql.formula.syntax import (
    Assign,
    Binary,
    Call,
    Choice,
    Dialect,
    Expression,
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
from objectql.metadata.types import COMPUTED, Storage
from objectql.values import Value

_MAX_WORK: Final = 4 * MAX_SIZE

_TYPES: Final[Mapping[Storage, Type]] = {
    Storage.TEXT: Type.TEXT,
    Storage.FLOAT: Type.NUMBER,
    Storage.DECIMAL: Type.NUMBER,
    Storage.BOOLEAN: Type.BOOLEAN,
    Storage.DATE: Type.DATE,
    Storage.DATETIME: Type.DATETIME,
    Storage.TIME: Type.TIME,
}
CURRENCY_SCALE: Final = 2

_SYSTEM: Final[Mapping[str, Source]] = {
    "$now": Source("system", ("now",), Type.DATETIME),
    "$today": Source("system", ("today",), Type.DATE),
    "$is_new": Source("system", ("is_new",), Type.BOOLEAN),
    "context.operation": Source("system", ("operation",), Type.TEXT),
}
_OF_TODAY: Final = {"$year": "year", "$month": "month", "$day": "day_of_month"}
_OF_NOW: Final = {"$hour": "hour", "$minute": "minute", "$second": "second"}
_ARITHMETIC: Final = {"-": "subtract", "*": "multiply", "/": "divide", "%": "remainder"}
_MOMENTS: Final = frozenset({Type.DATE, Type.DATETIME})


class Names(Protocol):
    """What a formula may name beside the moment."""

    def type_of(self, root: Root, path: tuple[str, ...]) -> Type | None:
        """What is at `path`; None where nothing is.

        Raises:
            ValueError: something is, which no formula can use; with the reason.

        """
        ...


class Wanted:
    """In which form a value is wanted, and what stands for a blank."""

    def __init__(self, data_type: str, scale: int | None = None, blank: Value = None) -> None:
        storage = COMPUTED[data_type]
        self.type = _TYPES[storage]
        is_exact = storage is Storage.DECIMAL or (scale is not None and self.type is Type.NUMBER)
        self.result = Result(storage)
        if is_exact:
            self.result = Result(Storage.DECIMAL, CURRENCY_SCALE if scale is None else scale)
        self.blank = blank


def check(text: str, names: Names, wanted: Wanted, dialect: Dialect = "js") -> Program:
    """The program that `text` means over `names`.

    Raises:
        FormulaError: it means none.

    """
    checker = _Checker(names, dialect)
    root = checker.block(parse(text).body, {})
    root = _converted(root, wanted)
    size = size_of(root)
    if size > MAX_SIZE:
        raise FormulaError("TYPE_ERROR", f"this computes more than {MAX_SIZE} parts", 0)
    return Program(root, tuple(checker.sources), wanted.result, size)


def _converted(root: Term, wanted: Wanted) -> Term:
    """`root` as a value of the wanted type; a blank stays one where nothing stands for it."""
    if root.type is Type.TEXT and wanted.type is Type.NUMBER:
        root = apply("number_of_text", root)
    elif wanted.type is Type.BOOLEAN and root.type not in (Type.BOOLEAN, Type.BLANK):
        empty = Const(None, Type.BOOLEAN)
        root = Either(IsBlank(root), empty, Truth(truthy(root)), Type.BOOLEAN)
    else:
        root = as_type(root, wanted.type, 0)
    if wanted.blank is None:
        return root
    blank = wanted.blank
    if isinstance(blank, float):
        blank = Decimal(str(blank))
    if not isinstance(blank, Decimal | int | str):
        raise FormulaError("TYPE_ERROR", "a literal stands for a blank", 0)
    default = as_type(_literal(blank), wanted.type, 0)
    return FirstOf((root, default), wanted.type)


class _Checker(Checker):
    def __init__(self, names: Names, dialect: Dialect) -> None:
        self._names = names
        self._dialect = dialect
        self._work = 0
        self._variables: dict[str, Term] = {}
        self.sources: list[Source] = []

    # --- statements -------------------------------------------------------------------------

    def block(self, statements: tuple[Statement, ...], variables: dict[str, Term]) -> Term:
        """The value that running `statements` returns; blank where they do not return."""
        for index, statement in enumerate(statements):
            self._variables = variables
            match statement:
                case Return(value):
                    return self.term(value)
                case Assign():
                    variables = self._assigned(statement, variables)
                case If() if _returns(statement):
                    rest = statements[index + 1 :]
                    test = self.test(statement.test)
                    then = self.block((*statement.then, *rest), variables)
                    otherwise = self.block((*statement.otherwise, *rest), variables)
                    return either(test, then, otherwise, statement.at)
                case If():
                    variables = self._branched(statement, variables)
        return BLANK

    def _assigned(self, statement: Assign, variables: dict[str, Term]) -> dict[str, Term]:
        self._variables = variables
        if not statement.is_new and statement.name not in variables:
            reason = f'"{statement.name}" is no variable: only those can be given a value'
            raise FormulaError("TYPE_ERROR", reason, statement.at)
        return {**variables, statement.name: self.term(statement.value)}

    def _branched(self, statement: If, variables: dict[str, Term]) -> dict[str, Term]:
        """The variables after an `if` that only assigns."""
        test = self.test(statement.test)
        then, otherwise = variables, variables
        for inner in statement.then:
            then = self._stepped(inner, then)
        for inner in statement.otherwise:
            otherwise = self._stepped(inner, otherwise)
        return {
            name: before
            if then[name] is otherwise[name]
            else either(test, then[name], otherwise[name], statement.at)
            for name, before in variables.items()
        }

    def _stepped(self, statement: Statement, variables: dict[str, Term]) -> dict[str, Term]:
        self._variables = variables
        if isinstance(statement, Assign):
            return self._assigned(statement, variables)
        assert isinstance(statement, If), "no branch of these returns"
        return self._branched(statement, variables)

    # --- terms ------------------------------------------------------------------------------

    def term(self, node: Expression) -> Term:
        self._work += 1
        if self._work > _MAX_WORK:
            raise FormulaError("TYPE_ERROR", f"this computes more than {MAX_SIZE} parts", node.at)
        match node:
            case Literal(value):
                return _literal(value)
            case Name() | Member():
                return self._named(node)
            case Call():
                return called(self, node)
            case Unary("!"):
                return Truth(self.test(node))
            case Unary(sign, of):
                value = self.number(of)
                return apply("negative", value) if sign == "-" else value
            case Binary("+" | "-" | "*" | "/" | "%" | "**"):
                return self._computed(node)
            case Binary("&&" | "||"):
                return self._joined(node)
            case Binary("??", left, right):
                one, other = common(self.term(left), self.term(right), node.at)
                return FirstOf((one, other), one.type)
            case Binary():
                return Truth(self.test(node))
            case Choice(test, then, otherwise):
                return either(self.test(test), self.term(then), self.term(otherwise), node.at)
            case Joined(pieces):
                return apply("concatenate", *(self.text(piece) for piece in pieces))
            case Index(of, index):
                return self._indexed(of, index)
            case Members():
                raise FormulaError("TYPE_ERROR", "a list can only be looked into", node.at)

    def number(self, node: Expression) -> Term:
        return as_type(self.term(node), Type.NUMBER, node.at)

    def text(self, node: Expression) -> Term:
        return as_type(self.term(node), Type.TEXT, node.at)

    def _computed(self, node: Binary) -> Term:
        sign, left, right = node.sign, self.term(node.left), self.term(node.right)
        if sign == "**":
            return self.power(left, node.right)
        if sign == "+" and Type.TEXT in (left.type, right.type):
            one, other = as_type(left, Type.TEXT, node.at), as_type(right, Type.TEXT, node.at)
            return apply("concatenate", one, other)
        if sign == "-" and {left.type, right.type} <= _MOMENTS:
            one, other = (as_type(x, Type.DATETIME, node.at) for x in (left, right))
            return apply("subtract", apply("unix_ms", one), apply("unix_ms", other))
        if _MOMENTS & {left.type, right.type}:
            reason = "days are added by DATEADD, addDays or addMonths"
            raise FormulaError("TYPE_ERROR", reason, node.at)
        one = as_type(left, Type.NUMBER, node.left.at)
        other = as_type(right, Type.NUMBER, node.right.at)
        quotient = apply(_ARITHMETIC.get(sign, "add"), one, other)
        is_whole = all(
            isinstance(x, Literal) and type(x.value) is int for x in (node.left, node.right)
        )
        if sign == "/" and self._dialect == "cel" and is_whole:
            return apply("truncate", quotient)
        return quotient

    def power(self, base: Term, exponent: Expression) -> Term:
        base = as_type(base, Type.NUMBER, exponent.at)
        value = exponent.value if isinstance(exponent, Literal) else None
        if value == Decimal("0.5"):
            return apply("square_root", base)
        if type(value) is not int or abs(value) > MAX_EXPONENT:
            reason = f"an exponent is a whole number up to {MAX_EXPONENT}, or 0.5"
            raise FormulaError("TYPE_ERROR", reason, exponent.at)
        return apply("power", base, number(value))

    def _joined(self, node: Binary) -> Term:
        """`a || b` and `a && b`: one of the values, where both are of a kind."""
        left, right = self.term(node.left), self.term(node.right)
        is_either = node.sign == "||"
        if left.type is Type.BOOLEAN and right.type is not Type.BOOLEAN and not is_either:
            return either(truthy(left), right, BLANK, node.at)
        if left.type is right.type is not Type.BOOLEAN or Type.BLANK in (left.type, right.type):
            one, other = common(left, right, node.at)
            if is_either:
                return FirstOf((unless_empty(one), other), one.type)
            return Either(truthy(one), other, one, one.type)
        tests = (truthy(left), truthy(right))
        return Truth(Some(tests) if is_either else Every(tests))

    def _indexed(self, of: Expression, index: Expression) -> Term:
        match of:
            case Call(Member(text, "split"), (Literal(str() as separator),)) if separator:
                cut = Const(separator, Type.TEXT)
                return apply("piece", self.text(text), cut, self.number(index))
            case _:
                text = self.text(of)
                start = apply("from_position", text, self.number(index))
                return apply("filled", apply("first_of", start, number(1)))

    # --- names ------------------------------------------------------------------------------

    def _named(self, node: Name | Member) -> Term:
        path = path_of(node)
        if path is None:
            assert isinstance(node, Member), "a name is a path"
            return self._property(node)
        if path[0] in self._variables:
            if len(path) == 1:
                return self._variables[path[0]]
            assert isinstance(node, Member), "a longer path is a member"
            return self._property(node)
        found = self._of_system(".".join(path))
        if found is not None:
            return found
        root, rest = rooted(path)
        type_ = self._type_of(root, rest, node.at)
        if type_ is not None:
            return self.source(Source(root, rest, type_))
        if isinstance(node, Member) and node.name == "length":
            return self._property(node)
        raise FormulaError("FIELD_NOT_FOUND", f'there is no "{".".join(path)}" here', node.at)

    def _type_of(self, root: Root, path: tuple[str, ...], at: int) -> Type | None:
        if not path:
            return None
        try:
            return self._names.type_of(root, path)
        except ValueError as exc:
            raise FormulaError("TYPE_ERROR", str(exc), at) from exc

    def _property(self, node: Member) -> Term:
        of = self.term(node.of)
        if node.name == "length" and of.type in (Type.TEXT, Type.LIST):
            return apply("length" if of.type is Type.TEXT else "list_length", of)
        raise FormulaError("FIELD_NOT_FOUND", f'a {of.type} has no "{node.name}"', node.at)

    def _of_system(self, name: str) -> Term | None:
        if name in _SYSTEM:
            return self.source(_SYSTEM[name])
        if name in _OF_TODAY:
            return apply(_OF_TODAY[name], self.source(_SYSTEM["$today"]))
        if name in _OF_NOW:
            return apply(_OF_NOW[name], self.source(_SYSTEM["$now"]))
        return None

    def source(self, source: Source) -> Term:
        if source not in self.sources:
            self.sources.append(source)
        return Input(self.sources.index(source), source.type)

    def now(self) -> Term:
        return self.source(_SYSTEM["$now"])

    def today(self) -> Term:
        return self.source(_SYSTEM["$today"])

    # --- tests ------------------------------------------------------------------------------

    def test(self, node: Expression) -> Test:
        match node:
            case Literal(value):
                return ALWAYS if value else NEVER
            case Unary("!", of):
                return Denied(self.test(of))
            case Binary("&&", left, right):
                return Every((self.test(left), self.test(right)))
            case Binary("||", left, right):
                return Some((self.test(left), self.test(right)))
            case Binary("in", left, right):
                return self.member(left, right, node.at)
            case Binary("==" | "!=" | "<" | "<=" | ">" | ">="):
                return self._compared(node)
            case _:
                return truthy(self.term(node))

    def _compared(self, node: Binary) -> Test:
        left, right = self.term(node.left), self.term(node.right)
        if node.sign in ("==", "!="):
            same = self._same(left, right, node.at)
            return same if node.sign == "==" else Denied(same)
        left, right = comparable(left, right, node.at)
        if left.type in (Type.LIST, Type.BOOLEAN):
            raise FormulaError("TYPE_ERROR", f"a {left.type} has no order", node.at)
        if node.sign in (">", ">="):
            left, right = right, left
        return Before(left, right, node.sign in ("<=", ">="))

    def _same(self, left: Term, right: Term, at: int) -> Test:
        for one, other in ((left, right), (right, left)):
            if other == BLANK:
                return IsBlank(one)
        left, right = comparable(left, right, at)
        if left.type is Type.LIST:
            raise FormulaError("TYPE_ERROR", "lists do not compare", at)
        return Same(left, right)

    def member(self, left: Expression, right: Expression, at: int) -> Test:
        """`left in right`: of written members, or of a list."""
        value = self.term(left)
        if isinstance(right, Members):
            return Some(tuple(self._same(value, self.term(each), at) for each in right.items))
        members = as_type(self.term(right), Type.LIST, right.at)
        return truthy(apply("list_has", members, as_type(value, Type.TEXT, left.at)))


def _literal(value: Decimal | int | str | bool | None) -> Const:
    match value:
        case None:
            return BLANK
        case bool():
            return Const(value, Type.BOOLEAN)
        case str():
            return Const(value, Type.TEXT)
        case _:
            return number(value)


def path_of(node: Expression) -> tuple[str, ...] | None:
    """The names of a chain, or None where something else stands in it."""
    match node:
        case Name(name):
            return (name,)
        case Member(of, name):
            before = path_of(of)
            return None if before is None else (*before, name)
        case _:
            return None


_ROOTS: Final[tuple[tuple[tuple[str, ...], Root], ...]] = (
    (("$current_user",), "user"),
    (("current_user",), "user"),
    (("os", "user"), "user"),
    (("previous",), "previous"),
    (("record",), "record"),
    (("input",), "record"),
)


def rooted(path: tuple[str, ...]) -> tuple[Root, tuple[str, ...]]:
    """Of what a path is. `$current_user` alone is their id, `$record_id` the record's."""
    if path == ("$current_user",):
        return "user", ("id",)
    if path == ("$record_id",):
        return "record", ("id",)
    for prefix, root in _ROOTS:
        if path[: len(prefix)] == prefix and len(path) > len(prefix):
            return root, path[len(prefix) :]
    return "record", path


def _returns(statement: Statement) -> bool:
    match statement:
        case Return():
            return True
        case If(_, then, otherwise):
            return any(_returns(inner) for inner in (*then, *otherwise))
        case Assign():
            return False
