"""What a set of roles may do to one object: the decision, compiled from the object's rules.

Facts of the caller stay facts in the filters, so callers with the same roles share the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

import msgspec

from objectql.ids import FieldName
from objectql.metadata.masks import Mask
from objectql.metadata.model import ObjectDef
from objectql.query.ast import Filter
from objectql.security.filters import EVERY_RECORD, NOBODY, either, joined, moved
from objectql.security.rules import (
    EXPORT,
    MODIFY_ALL,
    RIGHTS,
    TRANSFER,
    VIEW_ALL,
    ActionRule,
    FieldRule,
    ObjectRules,
    Right,
    Roles,
    holds_any,
    holds_each,
)

_EVERY_GRANT = (*RIGHTS, EXPORT)

Fields: TypeAlias = "frozenset[FieldName] | None"
"""Names of fields; None means all."""
Masks: TypeAlias = Mapping[FieldName, Mask]
Rows: TypeAlias = Mapping[Right, Filter]
Grants: TypeAlias = Collection[str]
Parent: TypeAlias = Callable[[Right], Filter]
"""The records of the object's parent on which there is a right."""


class ObjectAccess(msgspec.Struct, frozen=True):
    """What a set of roles may do to one object.

    `rows` has a filter for each right (read, update, delete) that does not extend to every record,
    `images` one for each (create, update) that must leave a record of a certain kind; both have one
    for `transfer` where it is not that of the update that every transfer is. Actions that
    are neither among `actions` nor `barred_actions` are for those who may update. `masks` are what
    is shown of fields that may be read, and cannot be asked about.
    """

    operations: frozenset[str] = frozenset()
    rows: Rows = {}
    images: Rows = {}
    readable: Fields = None
    updatable: Fields = None
    creatable: Fields = None
    masks: Masks = {}
    actions: frozenset[str] = frozenset()
    barred_actions: frozenset[str] = frozenset()
    action_conditions: Mapping[str, Filter] = {}
    is_declared: bool = False

    def reach(self, right: Right) -> Filter | None:
        """The records on which there is `right`; None means all."""
        return _of(self.rows, right)

    def image(self, right: Right) -> Filter | None:
        """What a record must be that is left by a write of that kind; None means anything."""
        return _of(self.images, right)


def _of(filters: Rows, right: Right) -> Filter | None:
    """Of a transfer that has no filter of its own, that of the update that it is."""
    return filters.get(right, filters.get("update") if right == TRANSFER else None)


def compile_access(
    rules: ObjectRules, object_: ObjectDef, held: Roles, *, is_open: bool, parent: Parent
) -> ObjectAccess:
    """What callers with the roles `held` may do; `is_open` is the default of the server."""
    granted = _grants(rules, held) if rules.is_declared else set(_EVERY_GRANT if is_open else ())
    operations = _operations(rules, held, granted)
    conditions = {n: a.condition for n, a in rules.actions.items() if a.condition is not None}
    named = {name for name, action in rules.actions.items() if _is_named(action, held)}
    barred = {name for name, action in rules.actions.items() if _is_barred(action, held)}
    return ObjectAccess(
        operations=operations,
        rows=_rows(rules, held, granted, parent, may_delete="delete" in operations),
        images=_images(rules, held, granted, parent),
        readable=_fields(rules, object_, held, "read"),
        updatable=_fields(rules, object_, held, "update"),
        creatable=_fields(rules, object_, held, "create"),
        masks=_masks(rules, object_, held),
        actions=frozenset(named - barred),
        barred_actions=frozenset(barred),
        action_conditions=conditions,
        is_declared=rules.is_declared,
    )


def _operations(rules: ObjectRules, held: Roles, granted: Grants) -> frozenset[str]:
    """What may be done at all. Only what may be read can be exported."""
    found = {
        right
        for right in RIGHTS
        if right in granted and holds_each(held, rules.required.get(right, {}))
    }
    return frozenset(found | ({EXPORT} & set(granted) if "read" in found else set()))


def _is_named(action: ActionRule, held: Roles) -> bool:
    return action.execute is not None and holds_any(held, action.execute)


def _is_barred(action: ActionRule, held: Roles) -> bool:
    is_for_others = action.execute is not None and not holds_any(held, action.execute)
    return is_for_others or not holds_each(held, action.required)


def _grants(rules: ObjectRules, held: Roles) -> set[str]:
    granted = {op for op, allowed in rules.grants.items() if holds_any(held, allowed)}
    if VIEW_ALL in granted or MODIFY_ALL in granted:
        granted.add("read")
    if MODIFY_ALL in granted:
        granted |= {"update", "delete"}
    return granted


# --- records ------------------------------------------------------------------------------------


def _rows(
    rules: ObjectRules, held: Roles, granted: Grants, parent: Parent, *, may_delete: bool
) -> Rows:
    """The filter of each right that does not extend to every record.

    To change or delete a record one must be able to read it, and to give it away, to change it.
    What one may delete, by all that decides on deletion, one may also give away.
    """
    found: dict[Right, Filter] = {}
    if VIEW_ALL not in granted and MODIFY_ALL not in granted:
        found["read"] = _records(rules, held, "read", parent)
    if MODIFY_ALL not in granted:
        read = found.get("read", EVERY_RECORD)
        update = _records(rules, held, "update", parent)
        found["update"] = joined(read, update)
        delete = _records(rules, held, "delete", parent)
        found["delete"] = joined(read, delete)
        if TRANSFER not in granted:
            ways = (_records(rules, held, TRANSFER, parent), delete if may_delete else NOBODY)
            found[TRANSFER] = joined(read, update, either(*ways))
    return _telling(found)


def _images(rules: ObjectRules, held: Roles, granted: Grants, parent: Parent) -> Rows:
    """What a created or changed record must be: one that the caller might have touched.

    A new record is judged by the rules for creation; where there are none, by those for reading.
    Who is granted to give away every record may give it beyond the rules that have made it theirs,
    not beyond what narrows those.
    """
    if MODIFY_ALL in granted:
        return {}
    is_ruled = any("create" in rule.rights for rule in rules.rows)

    def changed(rules: ObjectRules) -> Filter:
        update = _records(rules, held, "update", parent, is_image=True)
        return (
            update if VIEW_ALL in granted else joined(_records(rules, held, "read", parent), update)
        )

    found: dict[Right, Filter] = {
        "create": _records(rules, held, "create", parent, by="create" if is_ruled else "read"),
        "update": changed(rules),
    }
    if TRANSFER in granted:
        found[TRANSFER] = changed(msgspec.structs.replace(rules, has_row_rules=False))
    return _telling(found)


def _telling(found: Mapping[Right, Filter]) -> Rows:
    """The filters of `found` that say something, that of a transfer beside its update's."""
    usual = {TRANSFER: found.get("update", EVERY_RECORD)}
    return {right: f for right, f in found.items() if f != usual.get(right, EVERY_RECORD)}


def _records(
    rules: ObjectRules,
    held: Roles,
    right: Right,
    parent: Parent,
    *,
    by: Right | None = None,
    is_image: bool = False,
) -> Filter:
    """The records on which there is a right: some rule grants it, and nothing narrows it away.

    `by` is the right that the rules are asked for, where it is another one. `is_image` asks what a
    changed record must be, rather than which ones may be changed.
    """
    asked = by or right
    base = EVERY_RECORD
    if rules.has_row_rules:
        ways = [r.filter for r in rules.rows if asked in r.rights and holds_any(held, r.roles)]
        if rules.parent is not None:
            ways.append(moved(parent(right), (rules.parent,)))
        base = either(*ways)
    return joined(base, _policed(rules, held, right, is_image=is_image), _limit(rules, held))


def _policed(rules: ObjectRules, held: Roles, right: Right, *, is_image: bool) -> Filter:
    """What the row policies of the caller's permission sets leave; everything without any."""
    policies = [p for p in rules.policies if right in p.rights and p.is_for(held)]
    if not policies:
        return EVERY_RECORD
    judges = is_image or right == "create"
    return either(*(policy.check if judges else policy.using for policy in policies))


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


def _masks(rules: ObjectRules, object_: ObjectDef, held: Roles) -> Masks:
    """The masks under which the caller sees fields; those that may not be read are among them."""
    return {
        name: rule.mask.mask
        for name, rule in rules.fields.items()
        if name in object_.fields and rule.mask and not holds_any(held, rule.mask.seeing)
    }


def _may(rule: FieldRule | None, held: Roles, right: Right) -> bool:
    if rule is None:
        return True
    by_right = {"read": rule.read, "create": rule.create}
    return by_right.get(right, rule.update).is_for(held) and holds_each(held, rule.required)
