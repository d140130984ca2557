"""What a set of roles may do to one object: the decision, compiled from the object's rules.

Facts of the caller stay facts in the filters, so callers with the same roles share the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

import msgspec

from objectql.ids import FieldName
from objectql.metadata.model import ObjectDef
from objectql.query.ast import Filter
from objectql.security.filters import EVERY_RECORD, either, joined, moved
from objectql.security.rules import (
    RIGHTS,
    FieldRule,
    ObjectRules,
    Right,
    Roles,
    holds_any,
)

VIEW_ALL = "view_all"
MODIFY_ALL = "modify_all"

Fields: TypeAlias = "frozenset[FieldName] | None"
"""Names of fields; None means all."""
Rows: TypeAlias = Mapping[Right, Filter]
Grants: TypeAlias = Collection[str]
Parent: TypeAlias = Callable[[Right], Filter]
"""The records of the object's parent on which there is a right."""


class ObjectAccess(msgspec.Struct, frozen=True):
    """What a set of roles may do to one object.

    `rows` has a filter for each right (read, update, delete) that does not extend to every record,
    `images` one for each (create, update) that must leave a record of a certain kind.
    """

    operations: frozenset[str] = frozenset()
    rows: Rows = {}
    images: Rows = {}
    readable: Fields = None
    updatable: Fields = None
    creatable: Fields = None
    actions: frozenset[str] = frozenset()
    restricted_actions: frozenset[str] = frozenset()
    action_conditions: Mapping[str, Filter] = {}
    is_declared: bool = False


def compile_access(
    rules: ObjectRules, object_: ObjectDef, held: Roles, *, is_open: bool, parent: Parent
) -> ObjectAccess:
    """What callers with the roles `held` may do; `is_open` is the default of the server."""
    granted = _grants(rules, held) if rules.is_declared else set[str](RIGHTS if is_open else ())
    conditions = {n: a.condition for n, a in rules.actions.items() if a.condition is not None}
    return ObjectAccess(
        operations=frozenset(granted) & frozenset(RIGHTS),
        rows=_rows(rules, held, granted, parent),
        images=_images(rules, held, granted, parent),
        readable=_fields(rules, object_, held, "read"),
        updatable=_fields(rules, object_, held, "update"),
        creatable=_fields(rules, object_, held, "create"),
        actions=frozenset(n for n, a in rules.actions.items() if holds_any(held, a.execute)),
        restricted_actions=frozenset(rules.actions),
        action_conditions=conditions,
        is_declared=rules.is_declared,
    )


def _grants(rules: ObjectRules, held: Roles) -> set[str]:
    granted = {op for op, allowed in rules.grants.items() if holds_any(held, allowed)}
    if VIEW_ALL in granted or MODIFY_ALL in granted:
        granted.add("read")
    if MODIFY_ALL in granted:
        granted |= {"update", "delete"}
    return granted


# --- records ------------------------------------------------------------------------------------


def _rows(rules: ObjectRules, held: Roles, granted: Grants, parent: Parent) -> Rows:
    """The filter of each right that does not extend to every record.

    To change or delete a record one must be able to read it.
    """
    found: dict[Right, Filter] = {}
    if VIEW_ALL not in granted and MODIFY_ALL not in granted:
        found["read"] = _records(rules, held, "read", parent)
    if MODIFY_ALL not in granted:
        read = found.get("read", EVERY_RECORD)
        found["update"] = joined(read, _records(rules, held, "update", parent))
        found["delete"] = joined(read, _records(rules, held, "delete", parent))
    return {right: filter_ for right, filter_ in found.items() if filter_ != EVERY_RECORD}


def _images(rules: ObjectRules, held: Roles, granted: Grants, parent: Parent) -> Rows:
    """What a created or changed record must be: one that the caller might have touched.

    A new record is judged by the rules for creation; where there are none, by those for reading.
    """
    if MODIFY_ALL in granted:
        return {}
    is_ruled = any("create" in rule.rights for rule in rules.rows)
    update = _records(rules, held, "update", parent)
    if VIEW_ALL not in granted:
        update = joined(_records(rules, held, "read", parent), update)
    found: dict[Right, Filter] = {
        "create": _records(rules, held, "create", parent, by="create" if is_ruled else "read"),
        "update": update,
    }
    return {right: filter_ for right, filter_ in found.items() if filter_ != EVERY_RECORD}


def _records(
    rules: ObjectRules, held: Roles, right: Right, parent: Parent, *, by: Right | None = None
) -> Filter:
    """The records on which there is a right: some rule grants it, and nothing narrows it away.

    `by` is the right that the rules are asked for, where it is another one.
    """
    asked = by or right
    base = EVERY_RECORD
    if rules.has_row_rules:
        ways = [r.filter for r in rules.rows if asked in r.rights and holds_any(held, r.roles)]
        if rules.parent is not None:
            ways.append(moved(parent(right), (rules.parent,)))
        base = either(*ways)
    return joined(base, _limit(rules, held))


def _limit(rules: ObjectRules, held: Roles) -> Filter:
    if rules.limit is None:
        return EVERY_RECORD
    matching = [f for role, f in rules.limit.exceptions if holds_any(held, frozenset({role}))]
    if not matching:
        return rules.limit.default
    return either(*(EVERY_RECORD if f is None else f for f in matching))


# --- fields -------------------------------------------------------------------------------------


def _fields(rules: ObjectRules, object_: ObjectDef, held: Roles, right: Right) -> Fields:
    """The fields on which there is a right; None where it is all of them.

    What may not be read may not be written either: writing it would tell that it is there.
    """
    needed: set[Right] = {"read", right}
    denied = {
        name
        for name in object_.fields
        for each in needed
        if not _may(rules.fields.get(name), held, each)
    }
    return frozenset(n for n in object_.fields if n not in denied) if denied else None


def _may(rule: FieldRule | None, held: Roles, right: Right) -> bool:
    if rule is None:
        return True
    match right:
        case "read":
            allowed = rule.read
        case "create":
            allowed = rule.update if rule.create is None else rule.create
        case _:
            allowed = rule.update
    return allowed is None or holds_any(held, allowed)
