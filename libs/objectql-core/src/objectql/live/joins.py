"""Filters that look through lookups, taken apart: what a record says by itself, and what it asks of others.

`alone` weakens a predicate to what can be said without looking at other records: it holds for every
record for which the predicate may hold, so events that it leaves out concern nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from objectql.ids import FieldName, ObjectName
from objectql.live.images import Image
from objectql.metadata.types import Storage
from objectql.query.bound import AllOf, AnyOf, Column, Const, Negate, Predicate, Test


class Join(msgspec.Struct, frozen=True):
    """What is looked at of the record of `target` that the field `lookup` points to."""

    lookup: FieldName
    target: ObjectName
    fields: Mapping[FieldName, Storage]

    def values(self, image: Image | None) -> tuple[object, ...] | None:
        """What is looked at of the record; None where there is none."""
        if image is None:
            return None
        image.need(self.fields.items())
        return tuple(image.record[name] for name in self.fields)


def alone(predicate: Predicate, *, unknown: bool = True) -> Predicate:
    """`predicate` with `unknown` in the place of every test that looks at another record."""
    match predicate:
        case AllOf(items):
            return AllOf(tuple(alone(item, unknown=unknown) for item in items))
        case AnyOf(items):
            return AnyOf(tuple(alone(item, unknown=unknown) for item in items))
        case Negate(item):
            return Negate(alone(item, unknown=not unknown))
        case Test() if any(column.hops for column in _sides(predicate)):
            return Const(unknown)
        case _:
            return predicate


def joins_of(predicate: Predicate) -> tuple[Join, ...]:
    """The lookups that `predicate` follows, each once."""
    found: dict[tuple[FieldName, ObjectName], dict[FieldName, Storage]] = {}
    for column in columns_of(predicate):
        if column.hops:
            (hop,) = column.hops
            fields = found.setdefault((hop.field.name, hop.target.name), {})
            fields[column.field.name] = column.field.storage
            fields |= fields_of(hop.visible)
    return tuple(Join(*key, fields) for key, fields in found.items())


def fields_of(predicate: Predicate) -> dict[FieldName, Storage]:
    """The fields of the record itself that `predicate` looks at, lookups that it follows included."""
    found: dict[FieldName, Storage] = {}
    for column in columns_of(predicate):
        field = column.hops[0].field if column.hops else column.field
        found[field.name] = field.storage
    return found


def columns_of(predicate: Predicate) -> Iterator[Column]:
    """Every field that `predicate` compares."""
    match predicate:
        case AllOf(items) | AnyOf(items):
            for item in items:
                yield from columns_of(item)
        case Negate(item):
            yield from columns_of(item)
        case Test():
            yield from _sides(predicate)
        case _:
            pass


def _sides(test: Test) -> Iterator[Column]:
    return (side for side in (test.left, test.right) if isinstance(side, Column))
