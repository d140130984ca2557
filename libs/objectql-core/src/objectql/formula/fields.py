"""Formula fields as programs over stored fields: formulas within formulas are written out."""

from __future__ import annotations

from typing import Final

import msgspec

from objectql.formula.check import check
from objectql.formula.coerce import apply, number
from objectql.formula.functions import FUNCTIONS, Type
from objectql.formula.names import FindObject, RecordNames, wanted_of
from objectql.formula.program import (
    MAX_SIZE,
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
    Same,
    Some,
    Source,
    Term,
    Test,
    Truth,
    parts,
    size_of,
)
from objectql.formula.syntax import FormulaError
from objectql.ids import FieldName
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.types import Storage

_FACTS: Final = frozenset({"now", "today"})


def program_of(object_: ObjectDef, field: FieldDef, find: FindObject) -> Program:
    """The program of a formula field; its sources are stored fields, the caller and the moment.

    Raises:
        FormulaError: it has no meaning, no database can compute it, or it depends on itself.

    """
    program = _Expansion(find).program(object_, field, ())
    size = size_of(program.root)
    if size > MAX_SIZE:
        reason = f"with the formulas that it reads, this computes more than {MAX_SIZE} parts"
        raise FormulaError("TYPE_ERROR", reason, 0)
    return msgspec.structs.replace(program, size=size)


class _Expansion:
    def __init__(self, find: FindObject) -> None:
        self._find = find

    def program(
        self, object_: ObjectDef, field: FieldDef, within: tuple[tuple[str, str], ...]
    ) -> Program:
        key = (str(object_.name), str(field.name))
        if key in within:
            chain = " → ".join(name for _, name in (*within[within.index(key) :], key))
            raise FormulaError("TYPE_ERROR", f"a formula cannot depend on itself: {chain}", 0)
        assert field.formula is not None, "only formula fields are asked for"
        formula = field.formula
        names = RecordNames(object_, self._find)
        program = check(formula.expression, names, wanted_of(field), formula.dialect)
        _check_portable(program.root)
        sources: list[Source] = []
        terms = [
            self._source(source, object_, (*within, key), sources) for source in program.sources
        ]
        root = _Substitution(terms).term(program.root)
        return msgspec.structs.replace(program, root=root, sources=tuple(sources))

    def _source(
        self,
        source: Source,
        object_: ObjectDef,
        within: tuple[tuple[str, str], ...],
        sources: list[Source],
    ) -> Term:
        """What stands for a source: itself, or the program of the formula that it is."""
        _check_source(source)
        if source.root != "record":
            return _input(source, sources)
        target = object_
        for name in source.path[:-1]:
            target = self._find(str(target.fields[FieldName(name)].reference))
        field = target.fields[FieldName(source.path[-1])]
        if field.formula is None:
            return _input(source, sources)
        inner = self.program(target, field, within)
        via = source.path[:-1]
        terms = [
            _input(Source(s.root, (*via, *s.path), s.type) if s.root == "record" else s, sources)
            for s in inner.sources
        ]
        for moved in sources:
            if len(moved.path) > _MAX_PATH:
                raise FormulaError(
                    "TYPE_ERROR", f'"{".".join(moved.path)}" follows too many lookups', 0
                )
        root = _Substitution(terms).term(inner.root)
        if inner.result.storage is Storage.DECIMAL:
            root = apply("round_to", root, number(inner.result.scale))
        if not via:
            return root
        # What a lookup that leads nowhere leads to has no formulas either.
        there = _input(Source("record", (*via, "id"), Type.TEXT), sources)
        return Either(IsBlank(there), Const(None, root.type), root, root.type)


_MAX_PATH: Final = 4


def _input(source: Source, sources: list[Source]) -> Term:
    if source not in sources:
        sources.append(source)
    return Input(sources.index(source), source.type)


def _check_source(source: Source) -> None:
    name = ".".join(source.path)
    if source.root == "previous" or (source.root == "system" and name not in _FACTS):
        raise FormulaError("FIELD_NOT_FOUND", f'a field\'s formula has no "{name}"', 0)
    if source.root == "user" and source.type is not Type.TEXT:
        raise FormulaError("TYPE_ERROR", f'a field\'s formula cannot look into "{name}"', 0)


def _check_portable(node: Term | Test) -> None:
    if isinstance(node, Apply) and not FUNCTIONS[node.function].is_portable:
        raise FormulaError("TYPE_ERROR", f"no database has {node.function}()", 0)
    for part in parts(node):
        _check_portable(part)


class _Substitution:
    """A program with terms in the places of its inputs."""

    def __init__(self, terms: list[Term]) -> None:
        self._terms = terms

    def term(self, term: Term) -> Term:
        match term:
            case Const():
                return term
            case Input(index):
                return self._terms[index]
            case Apply(function, arguments, type_):
                return Apply(function, tuple([self.term(each) for each in arguments]), type_)
            case FirstOf(items, type_):
                return FirstOf(tuple([self.term(each) for each in items]), type_)
            case Either(test, then, otherwise, type_):
                return Either(self.test(test), self.term(then), self.term(otherwise), type_)
            case Truth(test):
                return Truth(self.test(test))

    def test(self, test: Test) -> Test:
        match test:
            case IsBlank(of):
                return IsBlank(self.term(of))
            case Holds(of):
                return Holds(self.term(of))
            case Same(left, right):
                return Same(self.term(left), self.term(right))
            case Before(left, right, or_same):
                return Before(self.term(left), self.term(right), or_same)
            case Every(items):
                return Every(tuple([self.test(each) for each in items]))
            case Some(items):
                return Some(tuple([self.test(each) for each in items]))
            case Denied(item):
                return Denied(self.test(item))
