"""Predicates over one record as they travel: what `bound` says, without the metadata in it."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from objectql.errors import NotSupported
from objectql.ids import FieldName, ObjectName
from objectql.live.joins import columns_of
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.query.bound import (
    AllOf,
    AnyOf,
    Column,
    Const,
    Given,
    Hop,
    Negate,
    Operand,
    Param,
    Predicate,
    Test,
    TestOp,
)


class Field(msgspec.Struct, frozen=True, array_like=True):
    """A field's name, and what decides how its values are kept."""

    name: FieldName
    type: str
    multiple: bool = False
    scale: int | None = None
    of: Followed | None = None


class Followed(msgspec.Struct, frozen=True, array_like=True):
    """The record that a lookup points to, if it is `visible`."""

    lookup: FieldName
    target: ObjectName
    visible: Form


class Always(msgspec.Struct, frozen=True, tag="const", array_like=True):
    value: bool


class Compared(msgspec.Struct, frozen=True, tag="test", array_like=True):
    """`left op` the parameter, the field on the right, or nothing."""

    left: Field
    op: TestOp
    param: int | None = None
    right: Field | None = None


class Every(msgspec.Struct, frozen=True, tag="all", array_like=True):
    items: tuple[Form, ...]


class Some(msgspec.Struct, frozen=True, tag="any", array_like=True):
    items: tuple[Form, ...]


class Opposite(msgspec.Struct, frozen=True, tag="not", array_like=True):
    item: Form


class Known(msgspec.Struct, frozen=True, tag="given", array_like=True):
    param: int


Form: TypeAlias = Always | Compared | Every | Some | Opposite | Known


def form_of(predicate: Predicate) -> Form:
    """`predicate` ready to travel.

    Raises:
        NotSupported: it follows a lookup from a record that a lookup leads to.

    """
    match predicate:
        case Const(value):
            return Always(value)
        case AllOf(items):
            return Every(tuple(form_of(item) for item in items))
        case AnyOf(items):
            return Some(tuple(form_of(item) for item in items))
        case Negate(item):
            return Opposite(form_of(item))
        case Given(param):
            return Known(param.index)
        case Test(left, op, None):
            return Compared(_field(left), op)
        case Test(left, op, Param(index)):
            return Compared(_field(left), op, index)
        case Test(left, op, right):
            assert right is not None
            return Compared(_field(left), op, None, _field(right))


def predicate_of(form: Form) -> Predicate:
    """The predicate that `form_of` was given."""
    match form:
        case Always(value):
            return Const(value)
        case Every(items):
            return AllOf(tuple(predicate_of(item) for item in items))
        case Some(items):
            return AnyOf(tuple(predicate_of(item) for item in items))
        case Opposite(item):
            return Negate(predicate_of(item))
        case Known(param):
            return Given(Param(param))
        case Compared(left, op, param, right):
            other = None if right is None else _column(right)
            return Test(_column(left), op, other if param is None else Param(param))


def own_field(column: Column) -> FieldDef:
    """The field of `column`, which must be the record's own.

    Raises:
        NotSupported: it is another record's.

    """
    if column.hops:
        raise NotSupported(
            feature=f'a live query that tells fields of other records ("{column.name}")'
        )
    return column.field


def _field(operand: Operand | Param) -> Field:
    assert isinstance(operand, Column)  # groups are not subscribed to
    if operand.formula is not None:
        raise NotSupported(feature=f'a live query by the computed field "{operand.name}"')
    field, followed = operand.field, None
    if operand.hops:
        hop = operand.hops[0]
        if len(operand.hops) > 1 or any(column.hops for column in columns_of(hop.visible)):
            raise NotSupported(feature=f'a live query through two lookups ("{operand.name}")')
        followed = Followed(hop.field.name, hop.target.name, form_of(hop.visible))
    return Field(field.name, field.type, field.multiple, field.scale, followed)


def _column(field: Field) -> Column:
    hops = () if field.of is None else (_hop(field.of),)
    return Column(
        FieldDef(name=field.name, type=field.type, multiple=field.multiple, scale=field.scale), hops
    )


def _hop(followed: Followed) -> Hop:
    return Hop(
        FieldDef(name=followed.lookup, type="lookup"),
        ObjectDef(name=followed.target, fields={}),
        predicate_of(followed.visible),
    )
