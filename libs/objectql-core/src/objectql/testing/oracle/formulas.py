"""Random formulas of every function and type, and records to compute them for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from random import Random
from typing import Any, Final

from objectql.formula.functions import FUNCTIONS, Type
from objectql.formula.program import (
    Apply,
    Before,
    Const,
    Denied,
    Either,
    Every,
    FirstOf,
    Holds,
    Input,
    IsBlank,
    Program,
    Result,
    Same,
    Some,
    Source,
    Term,
    Test,
    Truth,
    size_of,
)
from objectql.formula.texts import MAX_LENGTH
from objectql.ids import FieldName, ObjectName
from objectql.metadata.model import FieldDef, ObjectDef, system_fields
from objectql.metadata.types import Storage
from objectql.values import Record

_FIELDS: Final[Mapping[str, tuple[Type, dict[str, Any]]]] = {
    "real": (Type.NUMBER, {"type": "number"}),
    "whole": (Type.NUMBER, {"type": "number", "scale": 0}),
    "money": (Type.NUMBER, {"type": "currency"}),
    "text": (Type.TEXT, {"type": "text"}),
    "word": (Type.TEXT, {"type": "text"}),
    "flag": (Type.BOOLEAN, {"type": "boolean"}),
    "day": (Type.DATE, {"type": "date"}),
    "other_day": (Type.DATE, {"type": "date"}),
    "moment": (Type.DATETIME, {"type": "datetime"}),
    "clock": (Type.TIME, {"type": "time"}),
    "tags": (Type.LIST, {"type": "tags"}),
}
SOURCES: Final = tuple(Source("record", (name,), type_) for name, (type_, _) in _FIELDS.items())
"""What every random program is computed of."""

_NUMBERS = "0 1 -1 2 0.5 -2.5 7 10 100 3.333 0.1 12345.678 1e-20 9e37 -5e37 64 1000000".split()
_TEXTS = ["", "a", " x ", "Äö ß", "12", "-1.5", "+3.", "it's", "\\", "%_", "a b,c", "ÿıǅж", "7up"]
_LONG: Final = "b, a" * (MAX_LENGTH // 4 - 1)
"""Fields only: four more characters may be joined to it."""
_DAYS = ["0001-01-01", "9999-12-31", "2024-02-29", "2023-12-31", "1969-07-20", "2000-03-01"]
_CLOCKS = ["00:00:00.000Z", "23:59:59.999Z", "12:30:45.500Z"]
_DOUBLES = [0.1, -0.0, 1e300, 1e-300, 5e-324, 123456.789, -2.5, 1 / 3, 1e21, 1e38, 0.0, 3.0]
_STORAGES = {
    Type.TEXT: Storage.TEXT,
    Type.BOOLEAN: Storage.BOOLEAN,
    Type.DATE: Storage.DATE,
    Type.DATETIME: Storage.DATETIME,
    Type.TIME: Storage.TIME,
}
_MAX_ARGUMENTS = 3
_SHORT = 0.9
_FIXED: Final[Mapping[str, Callable[[Random], Decimal | str]]] = {
    "power": lambda rng: Decimal(rng.choice([0, 1, 2, 3, -1, -2, 7, 64, -64])),
    "round_to": lambda rng: Decimal(rng.choice([0, 1, 2, 5, 20, -1, -3, -20])),
    "fixed": lambda rng: Decimal(rng.choice([0, 1, 2, 5, 20])),
    "replace_all": lambda rng: rng.choice(["a", " ", "Ä", "b,"]),
    "piece": lambda rng: rng.choice([" ", ",", "b"]),
}
"""The second arguments that `check` lets be literals only."""


def formula_object() -> ObjectDef:
    """The object whose records random formulas are computed for."""
    own = [FieldDef(name=FieldName(name), **more) for name, (_, more) in _FIELDS.items()]
    fields = {field.name: field for field in (*system_fields(), *own)}
    return ObjectDef(name=ObjectName("formula_row"), fields=fields)


def random_record(rng: Random, id_: str) -> Record:
    """A record; a third of its fields are blank."""
    instant = "2026-01-01T00:00:00.000Z"
    given: dict[str, Any] = {
        "real": rng.choice(_DOUBLES),
        "whole": rng.choice([0, 1, -7, 2**53, 1000, 12]),
        "money": Decimal(rng.choice(["12.50", "-0.01", "0.00", "9999999999999999.99", "3.33"])),
        "text": rng.choice(_TEXTS),
        "word": rng.choice(_TEXTS) if rng.random() < _SHORT else _LONG,
        "flag": rng.random() < 0.5,
        "day": rng.choice(_DAYS),
        "other_day": rng.choice(_DAYS),
        "moment": f"{rng.choice(_DAYS)}T{rng.choice(_CLOCKS)}",
        "clock": rng.choice(["00:00:00", "23:59:59.999", "12:30:00"]),
        "tags": rng.sample(_TEXTS, rng.randrange(4)),
    }
    kept = {name: None if rng.random() < 1 / 3 else value for name, value in given.items()}
    times = {"created_at": instant, "updated_at": instant, "version": 1}
    return {"id": id_, **times, **kept}


def random_program(rng: Random, depth: int) -> Program:
    """A program whose terms nest `depth` deep."""
    return _program(rng, _term(rng, rng.choice([*_STORAGES, Type.NUMBER, Type.NUMBER]), depth))


def every_function(rng: Random) -> list[Program]:
    """A program for each function that databases have, of fields and literals."""
    names = [name for name, function in FUNCTIONS.items() if function.is_portable]
    return [_program(rng, _applied(rng, name, 0)) for name in names]


def _program(rng: Random, root: Term) -> Program:
    result = Result(_STORAGES.get(root.type, Storage.FLOAT))
    if root.type is Type.NUMBER and rng.random() < 0.5:
        result = Result(Storage.DECIMAL, rng.choice([0, 2, 5]))
    return Program(root, SOURCES, result, size_of(root))


def _term(rng: Random, type_: Type, depth: int) -> Term:
    if depth == 0:
        return _leaf(rng, type_)
    names = [name for name, function in FUNCTIONS.items() if function.gives is type_]
    names = [name for name in names if FUNCTIONS[name].is_portable]
    if names and rng.random() < 0.75:
        return _applied(rng, rng.choice(names), depth - 1)
    if type_ is Type.BOOLEAN:
        return Truth(_test(rng, depth - 1))
    if type_ is not Type.LIST and rng.random() < 0.5:
        items = tuple([_term(rng, type_, depth - 1) for _ in range(2)])
        return FirstOf(items, type_)
    if type_ is not Type.LIST:
        then, otherwise = _term(rng, type_, depth - 1), _term(rng, type_, depth - 1)
        return Either(_test(rng, depth - 1), then, otherwise, type_)
    return _leaf(rng, type_)


def _applied(rng: Random, name: str, depth: int) -> Term:
    function = FUNCTIONS[name]
    types = list(function.takes)
    if function.rest is not None:
        types += [function.rest] * rng.randint(0 if types else 1, _MAX_ARGUMENTS)
    arguments = [_term(rng, type_, depth) for type_ in types]
    if name in _FIXED:
        arguments[1] = Const(_FIXED[name](rng), types[1])
    return Apply(name, tuple(arguments), function.gives)


def _leaf(rng: Random, type_: Type) -> Term:
    inputs = [at for at, source in enumerate(SOURCES) if source.type is type_]
    if type_ is Type.LIST or rng.random() < 0.7:
        return Input(rng.choice(inputs), type_)
    if rng.random() < 0.1:
        return Const(None, type_)
    return Const(_constant(rng, type_), type_)


def _constant(rng: Random, type_: Type) -> Decimal | str | bool:
    match type_:
        case Type.NUMBER:
            return Decimal(rng.choice(_NUMBERS))
        case Type.BOOLEAN:
            return rng.random() < 0.5
        case Type.DATE:
            return rng.choice(_DAYS)
        case Type.DATETIME:
            return f"{rng.choice(_DAYS)}T{rng.choice(_CLOCKS)}"
        case Type.TIME:
            return "08:15:00"
        case _:
            return rng.choice(_TEXTS)


def _test(rng: Random, depth: int) -> Test:
    below = max(depth, 0)
    match rng.randrange(6 if depth > 0 else 4):
        case 0:
            return IsBlank(_term(rng, rng.choice([*_STORAGES, Type.LIST]), below))
        case 1:
            return Holds(_term(rng, Type.BOOLEAN, below))
        case 2:
            type_ = rng.choice([Type.NUMBER, *_STORAGES])
            return Same(_term(rng, type_, below), _term(rng, type_, below))
        case 3:
            type_ = rng.choice([Type.NUMBER, Type.TEXT, Type.DATE, Type.DATETIME, Type.TIME])
            left, right = _term(rng, type_, below), _term(rng, type_, below)
            return Before(left, right, rng.random() < 0.5)
        case 4:
            return Denied(_test(rng, depth - 1))
        case _:
            items = tuple([_test(rng, depth - 1) for _ in range(rng.randrange(3))])
            return Every(items) if rng.random() < 0.5 else Some(items)
