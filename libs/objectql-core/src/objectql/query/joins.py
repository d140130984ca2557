"""Lookups that need not be followed."""

from __future__ import annotations

import msgspec

from objectql.metadata.model import ObjectDef
from objectql.metadata.types import Storage
from objectql.query.bound import (
    TRUE,
    AllOf,
    AnyOf,
    Column,
    Negate,
    Predicate,
    Test,
)


def drop_joins(node: Predicate, base: ObjectDef) -> Predicate:
    """An equal predicate over records of `base` in which `origin.id` is `origin`.

    That holds where the database keeps the reference whole (both objects in one data source) and
    the caller may see every record of the target, deleted ones not left out.
    """
    match node:
        case AllOf(items):
            return AllOf(tuple(drop_joins(item, base) for item in items))
        case AnyOf(items):
            return AnyOf(tuple(drop_joins(item, base) for item in items))
        case Negate(item):
            return Negate(drop_joins(item, base))
        case Test(left, op, right):
            side = _shorten(right, base) if isinstance(right, Column) else right
            return Test(_shorten(left, base) if isinstance(left, Column) else left, op, side)
        case _:
            return node


def _shorten(column: Column, base: ObjectDef) -> Column:
    if not column.hops or column.field.name != "id":
        return column
    *before, last = column.hops
    source = before[-1].target if before else base
    if last.visible != TRUE or last.target.datasource != source.datasource:
        return column
    if last.field.storage is not Storage.TEXT:
        return column
    return msgspec.structs.replace(column, field=last.field, hops=tuple(before))
