"""A row rule on its own: bound without a query, for checking it and for matching in memory."""

from __future__ import annotations

import msgspec

from objectql.metadata.model import ObjectDef
from objectql.query.ast import Filter, Path
from objectql.query.bound import Column, ParamSource, Predicate
from objectql.query.conditions import Conditions
from objectql.query.scope import Params, Problems, Schema, trusted_column


class BoundRule(msgspec.Struct, frozen=True):
    """What a record must satisfy, and the parameters of that; the tenant is the first."""

    predicate: Predicate
    params: tuple[ParamSource, ...]


def bind_rule(rule: Filter, object_: ObjectDef, schema: Schema) -> BoundRule:
    """`rule` over records of `object_`; rules may look at every stored field.

    Raises:
        FieldUnknown, InvalidFilter, InvalidQuery: the rule has no meaning, with every mistake.

    """
    params, problems = Params(), Problems(())

    def find(path: Path) -> Column:
        return trusted_column(schema, object_, path)

    predicate = Conditions(params, problems).bind(rule, find, "rule")
    problems.finish()
    return BoundRule(predicate, params.sources())
