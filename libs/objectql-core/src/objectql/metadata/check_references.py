"""What can only be checked when every object is known: references, summaries, tables, cycles."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

from objectql.ids import FieldName, ObjectName
from objectql.metadata.check_objects import ObjectParts
from objectql.metadata.document import Node
from objectql.metadata.layered import Layered
from objectql.metadata.model import FieldDef, ObjectDef, Summary
from objectql.metadata.types import NUMERIC

Objects = Mapping[ObjectName, ObjectDef]
Parts = Mapping[str, ObjectParts]
Find = Callable[[str], Node]

_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def resolve_references(
    objects: Objects, parts: Parts, among: Objects | None = None
) -> dict[ObjectName, ObjectDef]:
    """`objects` with every reference exact; what points nowhere is reported.

    They may point to each other, and to any of `among`.
    """
    targets = objects if among is None else Layered(objects, among)
    resolved: dict[ObjectName, ObjectDef] = {}
    for name, object in objects.items():
        fields: dict[FieldName, FieldDef] = {}
        for field in object.fields.values():
            if field.reference is not None:
                field = _resolve_lookup(object, field, targets, parts[name])
            fields[field.name] = field
        resolved[name] = msgspec.structs.replace(object, fields=fields)
        for action_name, action in object.actions.items():
            for param in action.params.values():
                if param.reference is not None and param.reference not in targets:
                    node = parts[name].actions[action_name]
                    _unknown(node, param.reference, targets)
    for object in resolved.values():
        _check_summaries(object, Layered(resolved, targets), parts[object.name])
    _check_tables(resolved, parts)
    _check_master_cycles(resolved, parts)
    return resolved


def snake(name: str) -> str:
    """`SalesOrder` as `sales_order`."""
    return _CAPITAL.sub("_", name).lower()


def _node(parts: ObjectParts, field: str, *keys: str) -> Node:
    place, given = parts.fields[field]
    return next((given[key] for key in keys if key in given), place)


def _unknown(node: Node, name: str, objects: Objects) -> None:
    message = f'there is no object "{name}"'
    node.fail("unknown_reference", message, near=name, among=objects)


def _resolve_lookup(
    object: ObjectDef, field: FieldDef, objects: Objects, parts: ObjectParts
) -> FieldDef:
    target = field.reference or ObjectName("")
    node = _node(parts, field.name, "reference")
    if target not in objects:
        guess = ObjectName(snake(target))
        if guess not in objects:
            _unknown(node, target, objects)
            return field
        node.warn("inexact_reference", f'"{target}" is read as the object {guess}')
        target = guess
        field = msgspec.structs.replace(field, reference=target)
    if objects[target].datasource != object.datasource and field.type == "master_detail":
        node.fail("master_in_other_source", "master and detail must share a data source")
    return field


def _check_summaries(object: ObjectDef, objects: Objects, parts: ObjectParts) -> None:
    for field in object.fields.values():
        summary = field.summary
        if summary is None:
            continue
        child = objects.get(summary.object)
        if child is None:
            node = _node(parts, field.name, "summary_object", "summary_operations")
            message = f'there is no object "{summary.object}"'
            node.fail("summary_unknown_object", message, near=summary.object, among=objects)
            continue
        _check_summary(object, field, summary, child, parts)


def _check_summary(
    object: ObjectDef, field: FieldDef, summary: Summary, child: ObjectDef, parts: ObjectParts
) -> None:
    if summary.field is not None:
        node = _node(parts, field.name, "summary_field", "summary_operations")
        rolled = child.fields.get(summary.field)
        if rolled is None:
            message = f'{child.name} has no field "{summary.field}"'
            node.fail("summary_unknown_field", message, near=summary.field, among=child.fields)
        elif summary.function in ("sum", "avg") and (
            rolled.storage not in NUMERIC
            and not (rolled.formula and rolled.formula.data_type in ("number", "currency"))
        ):
            node.fail("summary_not_numeric", f"{summary.field} is no number to {summary.function}")
    links = [f.name for f in child.fields.values() if f.reference == object.name]
    node = _node(parts, field.name, "relationship_field", "summary_operations", "summary_object")
    if summary.relationship_field is not None:
        if summary.relationship_field not in links:
            message = f"{child.name}.{summary.relationship_field} does not point to {object.name}"
            node.fail("summary_relationship", message, near=summary.relationship_field, among=links)
    elif not links:
        node.fail("summary_unrelated", f"no field of {child.name} points to {object.name}")
    elif len(links) > 1:
        message = f"{' and '.join(links)} point to {object.name}; say which as relationship_field"
        node.fail("summary_ambiguous", message)


def _check_tables(objects: Objects, parts: Parts) -> None:
    taken: dict[tuple[str, str], str] = {}
    for object in objects.values():
        key = (object.datasource, object.table)
        if key in taken:
            mapped = parts[object.name]
            node = mapped.keys.get("table") or mapped.keys.get("name") or mapped.node
            node.fail("table_taken", f"the table {object.table} belongs to {taken[key]} already")
        taken.setdefault(key, object.name)


def _check_master_cycles(objects: Objects, parts: Parts) -> None:
    """Report each cycle of master_detail fields once, at the first object that is on it."""
    reported: set[ObjectName] = set()
    for start in objects:
        trail: list[tuple[ObjectName, FieldName]] = []
        if start not in reported and _find_cycle(start, start, objects, trail, set()):
            names = [name for name, _ in trail]
            reported.update(names)
            path = " → ".join((*names, start))
            node = _node(parts[start], trail[0][1], "reference")
            node.fail("master_detail_cycle", f"a record would be its own master: {path}")


def _find_cycle(
    at: ObjectName,
    goal: ObjectName,
    objects: Objects,
    trail: list[tuple[ObjectName, FieldName]],
    seen: set[ObjectName],
) -> bool:
    if at in seen or at not in objects:
        return False
    seen.add(at)
    for field in objects[at].fields.values():
        if field.type != "master_detail" or field.reference is None:
            continue
        trail.append((at, field.name))
        if field.reference == goal or _find_cycle(field.reference, goal, objects, trail, seen):
            return True
        trail.pop()
    return False
