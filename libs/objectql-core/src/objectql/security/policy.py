"""What `bind`, writes and events ask about a caller: the policy of a set of roles.

For every object it holds one `ObjectAccess`. `bind` makes predicates of its filters and leaves out
what may not be read; writes ask the same filters about the one record; events match them in
memory. Policies that decide alike share a `shape`.
"""

# ruff: noqa: ARG002 - full access answers the same questions without looking
from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from objectql.context import Actor
from objectql.errors import PermissionDenied
from objectql.ids import FieldName
from objectql.metadata.layered import Layered
from objectql.metadata.model import ObjectDef
from objectql.query.ast import Filter
from objectql.query.bound import Predicate
from objectql.query.matching import Lookup, matches
from objectql.query.policy import RuleBinder
from objectql.query.rules import BoundRule, bind_rule
from objectql.query.scope import Schema
from objectql.query.values_in import resolve
from objectql.security.access import Fields, Masks, ObjectAccess
from objectql.security.filters import facts_in
from objectql.security.rules import EXPORT, RIGHTS, Right
from objectql.values import Record

_EVERY_OPERATION = frozenset({*RIGHTS, EXPORT})
_EVERYTHING = ObjectAccess(operations=_EVERY_OPERATION)


class Asker(NamedTuple):
    """Who asks about a record in memory, and when.

    `lookup` finds the records that rules look at by way of lookups, in the caller's tenant.
    """

    actor: Actor
    now_ms: int
    lookup: Lookup
    timezone: str = "UTC"


class FullAccess:
    """The policy of admins and of the system."""

    shape = "full"

    def access(self, object: str) -> ObjectAccess:
        """Everything is allowed."""
        return _EVERYTHING

    def reads_all(self, object: str) -> bool:
        """Everything is allowed."""
        return True

    def check(self, operation: str, object: str) -> None:
        """Everything is allowed."""

    def check_read(self, object: ObjectDef) -> None:
        """Everything is allowed."""

    def allows_action(self, object: str, action: str) -> bool:
        """Everything is allowed."""
        return True

    def check_action(self, object: str, action: str) -> None:
        """Everything is allowed."""

    def allows(self, operation: str, object: str) -> bool:
        """Everything is allowed."""
        return True

    def readable(self, object: ObjectDef) -> frozenset[FieldName] | None:
        """All fields."""
        return None

    def masks(self, object: ObjectDef) -> Masks:
        """None."""
        return _EVERYTHING.masks

    def row_rule(self, object: ObjectDef, binder: RuleBinder) -> Predicate | None:
        """All rows."""
        return None

    def is_unruled(self, object: ObjectDef, right: Right) -> bool:
        """No record is out of reach."""
        return True

    def matches(self, object: ObjectDef, record: Record, asker: Asker) -> bool:
        """All rows."""
        return True

    def visible(self, object: ObjectDef, record: Record) -> Record:
        """All fields."""
        return record

    def facts(self) -> tuple[str, ...]:
        """None decides anything."""
        return ()


class RolePolicy:
    """What a set of roles may do. `shape` is equal for policies that decide alike."""

    def __init__(
        self,
        access: Mapping[str, ObjectAccess],
        schema: Schema,
        *,
        is_open: bool,
        base: RolePolicy | None = None,
    ) -> None:
        """`base` says what holds for the objects that `access` does not name."""
        self._access = access if base is None else Layered(access, base._access)
        self._schema = schema
        self._bound: dict[str, BoundRule] = {}
        self._unruled: dict[tuple[str, Right], bool] = {}
        self._is_open = is_open
        self._unknown = ObjectAccess(_EVERY_OPERATION if is_open else frozenset())
        self.shape = _digest(access, is_open=is_open)
        facts = set(_facts(access.values()))
        if base is not None:
            self.shape = f"{base.shape}+{self.shape}"
            facts |= set(base._facts)
        self._facts = tuple(sorted(facts))

    def access(self, object: str) -> ObjectAccess:
        """What may be done to `object`."""
        return self._access.get(object, self._unknown)

    def allows(self, operation: str, object: str) -> bool:
        """Whether the roles may do `operation` (a right, or `export`) to `object`."""
        return operation in self.access(object).operations

    def check(self, operation: str, object: str) -> None:
        """Return if the roles may do it, on some record at least.

        Raises:
            PermissionDenied: they may not.

        """
        if not self.allows(operation, object):
            raise PermissionDenied(operation=operation, object=object)

    def check_read(self, object: ObjectDef) -> None:
        """`check("read", object.name)`."""
        self.check("read", object.name)

    def allows_action(self, object: str, action: str) -> bool:
        """Whether the roles may run `action`, on some record at least.

        An action that the permission file names is for the roles named there; any other needs the
        permission to update the object. Global actions that no file names need no permission of
        their own: the writes that they make are checked.
        """
        access = self.access(object)
        if action in access.barred_actions:
            return False
        if action in access.actions:
            return True
        if access.is_declared:
            return "update" in access.operations
        return self._is_open or object == "global"

    def check_action(self, object: str, action: str) -> None:
        """Return if `allows_action`.

        Raises:
            PermissionDenied: otherwise.

        """
        if not self.allows_action(object, action):
            raise PermissionDenied(operation=f"execute {action} on", object=object)

    def readable(self, object: ObjectDef) -> Fields:
        """The fields that may be read; None means all."""
        return self.access(object.name).readable

    def masks(self, object: ObjectDef) -> Masks:
        """What is shown of fields that may not be read in full."""
        return self.access(object.name).masks

    def row_rule(self, object: ObjectDef, binder: RuleBinder) -> Predicate | None:
        """What a record must satisfy to be seen; None means nothing."""
        rule = self.access(object.name).rows.get("read")
        return None if rule is None else binder.filter(rule)

    def is_unruled(self, object: ObjectDef, right: Right) -> bool:
        """Whether a write of that kind needs no look at any record, nor at what lookups lead to.

        Of a `transfer` the latter is the business of the update that it is.
        """
        key = (object.name, right)
        found = self._unruled.get(key)
        if found is None:
            access = self.access(object.name)
            found = right not in access.rows and right not in access.images
            if right in ("create", "update"):
                found = found and all(self.reads_all(target) for target in _targets(object))
            self._unruled[key] = found
        return found

    def reads_all(self, object: str) -> bool:
        """Whether every record of `object` may be read."""
        access = self.access(object)
        return "read" in access.operations and "read" not in access.rows

    def matches(self, object: ObjectDef, record: Record, asker: Asker) -> bool:
        """Whether the caller may see `record`, a whole one: what SQL says of a stored one."""
        access = self.access(object.name)
        rule = access.rows.get("read")
        if rule is None or "read" not in access.operations:
            return "read" in access.operations
        bound = self._bound.get(object.name)
        if bound is None:
            bound = self._bound[object.name] = bind_rule(rule, object, self._schema)
        params = resolve(
            bound.params,
            (),
            tenant=asker.actor.tenant,
            actor=asker.actor,
            now_ms=asker.now_ms,
            timezone=asker.timezone,
        )
        return matches(bound.predicate, record, params, asker.lookup)

    def visible(self, object: ObjectDef, record: Record) -> Record:
        """What the caller may see of `record`."""
        access = self.access(object.name)
        readable, masks = access.readable, access.masks
        if readable is None and not masks:
            return record
        return {
            name: masks[FieldName(name)].of(value) if name in masks else value
            for name, value in record.items()
            if readable is None or name in readable or name == "id"
        }

    def facts(self) -> tuple[str, ...]:
        """The facts of the caller that decide beside the `shape`, in order."""
        return self._facts


def _digest(accesses: Mapping[str, ObjectAccess], *, is_open: bool) -> str:
    """Deterministic over processes: the text of structs and sorted sets."""
    parts = [f"{is_open}"]
    parts += [f"{name}:{_text(access)}" for name, access in sorted(accesses.items())]
    return hashlib.blake2b("|".join(parts).encode(), digest_size=12).hexdigest()


def _targets(object: ObjectDef) -> Iterator[str]:
    return (field.reference for field in object.fields.values() if field.reference is not None)


def _facts(accesses: Iterable[ObjectAccess]) -> Iterator[str]:
    """The facts that any filter names."""
    for access in accesses:
        for filters in (access.rows, access.images, access.action_conditions):
            for filter_ in filters.values():
                yield from facts_in(filter_)


def _text(access: ObjectAccess) -> str:
    """`access` as text in which sets and mappings have an order."""
    names = (
        access.operations,
        access.readable,
        access.updatable,
        access.creatable,
        access.actions,
        access.barred_actions,
    )
    filters = (access.rows, access.images, access.action_conditions)
    return repr(
        (
            access.is_declared,
            [None if each is None else sorted(each) for each in names],
            sorted((str(name), repr(mask)) for name, mask in access.masks.items()),
            [sorted((str(name), repr(f)) for name, f in each.items()) for each in filters],
        )
    )


AccessRules: TypeAlias = FullAccess | RolePolicy

FULL_ACCESS = FullAccess()


class OneRule(FullAccess):
    """Full access to the records that satisfy one filter: how writes ask about a record."""

    def __init__(self, filter_: Filter, shape: str) -> None:
        self._filter = filter_
        self.shape = shape

    def row_rule(self, object: ObjectDef, binder: RuleBinder) -> Predicate | None:
        """The filter."""
        return binder.filter(self._filter)
