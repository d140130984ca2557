"""What the answer to a query depends on: the objects it reads, or the one record.

A cache that forgets an answer whenever one of these is written never keeps one too long, so
nothing may be missed here. The walk therefore knows no node by name but three: whatever struct is
added to a bound query is searched too, and any `ObjectDef` in it counts as read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgspec

from objectql.metadata.model import FieldDef, ObjectDef
from objectql.query.bound import AllOf, BoundQuery, Column, Hop, Param, Test, TestOp


class Footprint(msgspec.Struct, frozen=True):
    """`objects` in the order met, the queried one first.

    `record` is the parameter that holds the id when the answer depends on that record of the
    queried object and on nothing else; then `objects` has one member.
    """

    objects: tuple[ObjectDef, ...]
    record: int | None = None


def footprint(query: BoundQuery) -> Footprint:
    """What the answer to `query`, the outermost one, depends on."""
    found: dict[str, ObjectDef] = {query.object.name: query.object}
    is_alone = True
    for node in _nodes(query):
        if isinstance(node, ObjectDef):
            found[node.name] = node
        elif isinstance(node, Hop | BoundQuery) and node is not query:
            is_alone = False
    objects = tuple(found.values())
    if not is_alone or query.grouping is not None or len(objects) > 1:
        return Footprint(objects)
    return Footprint(objects, _id_of(query))


def _id_of(query: BoundQuery) -> int | None:
    """The parameter that the id of every row of the answer is equal to."""
    where = query.where
    for item in where.items if isinstance(where, AllOf) else (where,):
        match item:
            case Test(Column(field, ()), TestOp.EQ, Param(index)) if field.name == "id":
                return index
            case _:
                pass
    return None


def _nodes(node: object) -> Iterator[object]:
    yield node
    if isinstance(node, ObjectDef | FieldDef):
        return  # definitions name further objects without reading them
    if isinstance(node, msgspec.Struct):
        for name in node.__struct_fields__:
            yield from _nodes(getattr(node, name))
    elif isinstance(node, tuple | list | frozenset | set):
        for member in cast("tuple[Any, ...]", node):
            yield from _nodes(member)
    elif isinstance(node, dict):
        for member in cast("dict[Any, Any]", node).values():
            yield from _nodes(member)
