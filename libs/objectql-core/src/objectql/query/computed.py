"""Formula fields in queries: each becomes a column that is computed of stored ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from objectql.formula.fields import program_of
from objectql.formula.functions import Type
from objectql.formula.program import Source
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.types import Storage
from objectql.query.ast import Path
from objectql.query.bound import Column, Computation, Hop, Param
from objectql.query.scope import Params, Schema

_CONTEXTS: Final = {Type.DATETIME: Storage.DATETIME, Type.DATE: Storage.DATE}


def computed_column(
    object_: ObjectDef,
    field: FieldDef,
    hops: tuple[Hop, ...],
    schema: Schema,
    params: Params,
    find: Callable[[Path], Column],
) -> Column:
    """The column of a formula field of `object_`, which `hops` lead to.

    `find` gives the column of a path from `object_`, without those hops.
    """
    program = program_of(object_, field, schema.object)
    inputs = tuple([_input(source, hops, params, find) for source in program.sources])
    return Column(field, hops, Computation(program, inputs))


def _input(
    source: Source, hops: tuple[Hop, ...], params: Params, find: Callable[[Path], Column]
) -> Column | Param:
    if source.root == "record":
        column = find(source.path)
        return Column(column.field, (*hops, *column.hops))
    if source.root == "system":
        return params.context(source.path[0], _CONTEXTS[source.type])
    return params.context(f"user.{'.'.join(source.path)}", Storage.TEXT)
