"""Formulas that the write pipeline evaluates: the truth of a rule, the default of a field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from objectql.context import Actor
from objectql.errors import ObjectQLError
from objectql.formula.check import Wanted, check
from objectql.formula.evaluate import evaluate
from objectql.formula.names import FindObject, RecordNames
from objectql.formula.program import Program, Source
from objectql.ids import ObjectName
from objectql.kernel.situation import Situation, fact_of, read
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.types import Storage
from objectql.values import Value

Truth = Callable[[Situation], bool]
Computed = Callable[[Mapping[str, Value], str, Actor], Value]
"""Takes the record so far, the canonical instant, who writes."""

_DATA_TYPES: Final[Mapping[Storage, str]] = {
    Storage.TEXT: "text",
    Storage.INTEGER: "number",
    Storage.FLOAT: "number",
    Storage.DECIMAL: "currency",
    Storage.BOOLEAN: "boolean",
    Storage.DATE: "date",
    Storage.DATETIME: "datetime",
    Storage.TIME: "time",
}


class RecordFormulas:
    """Compiles formulas over records of one object; those of others are found by `find`."""

    def __init__(self, object_: ObjectDef, find: FindObject | None = None) -> None:
        self._object = object_
        self._find = find
        self._names = RecordNames(object_)

    def of(self, name: str) -> RecordFormulas:
        """Formulas over records of another object; one that is not known has no fields."""
        nothing = ObjectDef(name=ObjectName(name), fields={})
        if self._find is None:
            return RecordFormulas(nothing)
        try:
            return RecordFormulas(self._find(name), self._find)
        except ObjectQLError:
            return RecordFormulas(nothing, self._find)

    @property
    def fields(self) -> Mapping[str, FieldDef]:
        """The object's fields."""
        return {str(name): field for name, field in self._object.fields.items()}

    def truth(self, text: str) -> Truth:
        """Whether `text` is true in a situation; what is blank is not.

        Raises:
            FormulaError: it has no meaning.

        """
        program = check(text, self._names, Wanted("boolean"))
        return lambda situation: _value(program, situation) is True

    def default(self, text: str, field: FieldDef) -> Computed | None:
        """The value of `text` for a new record; None where `field` holds nothing to compute.

        Raises:
            FormulaError: it has no meaning.

        """
        data_type = _DATA_TYPES.get(field.storage)
        if data_type is None:
            return None
        # A whole number is rounded by its check, which also tells of one that is too large.
        scale = None if field.storage is Storage.INTEGER else field.scale
        program = check(text, self._names, Wanted(data_type, scale))

        def computed(record: Mapping[str, Value], now: str, actor: Actor) -> Value:
            return _value(program, Situation(record, {}, "create", now, actor))

        return computed


def _value(program: Program, situation: Situation) -> Value:
    return evaluate(program, [_read(source, situation) for source in program.sources]).value


def _read(source: Source, situation: Situation) -> Any:
    match source.root:
        case "record":
            return read(situation.record, ".".join(source.path))
        case "previous":
            return read(situation.previous, ".".join(source.path))
        case "user":
            return fact_of(situation.actor, source.path)
        case "system":
            return _SYSTEM[source.path[0]](situation)


_SYSTEM: Final[Mapping[str, Callable[[Situation], Value]]] = {
    "now": lambda situation: situation.now,
    "today": lambda situation: situation.now[:10],
    "operation": lambda situation: situation.operation,
    "is_new": lambda situation: situation.operation == "create",
}
