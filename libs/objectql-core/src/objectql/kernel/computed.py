"""Formula fields in the answer to a write, computed of the image that the write left.

A formula that follows lookups needs other records and is left to reads.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from objectql.context import Actor
from objectql.formula.evaluate import evaluate
from objectql.formula.fields import program_of
from objectql.formula.names import FindObject
from objectql.formula.program import Program, Source
from objectql.formula.syntax import FormulaError
from objectql.kernel.json import encode_json
from objectql.kernel.situation import fact_of
from objectql.metadata.model import ObjectDef
from objectql.security.access import ObjectAccess

_exact = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class _Computed(NamedTuple):
    name: str
    program: Program
    reads: frozenset[str]


class ComputedFields:
    """The formula fields of one object that depend on nothing but its own record."""

    def __init__(self, object_: ObjectDef, find: FindObject) -> None:
        self._fields: list[_Computed] = []
        for field in object_.fields.values():
            if field.formula is None:
                continue
            try:
                program = program_of(object_, field, find)
            except FormulaError:
                continue  # reported when it was published; reads do not know the field either
            own = [source for source in program.sources if source.root == "record"]
            if all(len(source.path) == 1 for source in own):
                reads = frozenset(source.path[0] for source in own)
                self._fields.append(_Computed(field.name, program, reads))

    def added(self, image: bytes, access: ObjectAccess, actor: Actor) -> bytes:
        """`image` (a whole record as JSON) with the formulas that the caller may read.

        Who may not read what a formula is computed of does not see it. The moment is that of the
        write.
        """
        fields = [field for field in self._fields if _may_read(field, access)]
        if not fields:
            return image
        record = _exact.decode(image)
        for field in fields:
            values = [_value(source, record, actor) for source in field.program.sources]
            record[field.name] = evaluate(field.program, values).value
        return encode_json(record)


def _may_read(field: _Computed, access: ObjectAccess) -> bool:
    if field.name in access.masks or not field.reads.isdisjoint(access.masks):
        return False
    return access.readable is None or access.readable >= {field.name, *field.reads - {"id"}}


def _value(source: Source, record: dict[str, Any], actor: Actor) -> Any:
    if source.root == "user":
        return fact_of(actor, source.path)
    if source.root == "record":
        return record.get(source.path[0])
    now = record["updated_at"]
    return now[:10] if source.path == ("today",) else now
