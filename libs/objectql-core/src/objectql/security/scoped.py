"""The policy of a caller whose credentials are good for some operations only.

What a scope (`object:operation`, `*` for all of either) does not name is refused as if the roles did
not allow it, and nothing is allowed that the roles do not allow.
"""

from __future__ import annotations

import hashlib
from typing import Final, TypeAlias

import msgspec

from objectql.errors import PermissionDenied
from objectql.ids import FieldName
from objectql.metadata.model import ObjectDef
from objectql.query.bound import Predicate
from objectql.query.policy import RuleBinder
from objectql.security.access import Masks, ObjectAccess
from objectql.security.policy import AccessRules, Asker, FullAccess
from objectql.security.rules import Right
from objectql.values import Record

Scopes: TypeAlias = tuple[str, ...]

_CAPACITY: Final = 1024


class ScopedPolicy(FullAccess):
    """`inner` as far as `scopes` reach. Every method of the base is answered anew here."""

    def __init__(self, inner: AccessRules, scopes: Scopes) -> None:
        self._inner = inner
        self._scopes = frozenset(scopes)
        self._access: dict[str, ObjectAccess] = {}
        text = " ".join(sorted(self._scopes))
        self.shape = f"{inner.shape}/{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"

    def _reaches(self, operation: str, object: str) -> bool:
        named = (f"{object}:{operation}", f"{object}:*", f"*:{operation}", "*:*")
        return not self._scopes.isdisjoint(named)

    def access(self, object: str) -> ObjectAccess:
        """What may be done to `object`."""
        found = self._access.get(object)
        if found is None:
            access = self._inner.access(object)
            operations = frozenset(op for op in access.operations if self._reaches(op, object))
            found = msgspec.structs.replace(access, operations=operations)
            self._access[object] = found
        return found

    def reads_all(self, object: str) -> bool:
        """Whether every record of `object` may be read."""
        return self._reaches("read", object) and self._inner.reads_all(object)

    def allows(self, operation: str, object: str) -> bool:
        """Whether both the scopes and the roles allow it."""
        return self._reaches(operation, object) and self._inner.allows(operation, object)

    def check(self, operation: str, object: str) -> None:
        """Return if `allows`.

        Raises:
            PermissionDenied: otherwise.

        """
        if not self._reaches(operation, object):
            raise PermissionDenied(operation=operation, object=object)
        self._inner.check(operation, object)

    def check_read(self, object: ObjectDef) -> None:
        """`check("read", object.name)`."""
        self.check("read", object.name)

    def allows_action(self, object: str, action: str) -> bool:
        """Whether the roles may run `action` and the scopes name `execute`."""
        return self._reaches("execute", object) and self._inner.allows_action(object, action)

    def check_action(self, object: str, action: str) -> None:
        """Return if the roles may run `action` and the scopes name `execute`.

        Raises:
            PermissionDenied: otherwise.

        """
        if not self._reaches("execute", object):
            raise PermissionDenied(operation=f"execute {action} on", object=object)
        self._inner.check_action(object, action)

    def readable(self, object: ObjectDef) -> frozenset[FieldName] | None:
        """The fields that the roles may read."""
        return self._inner.readable(object)

    def masks(self, object: ObjectDef) -> Masks:
        """What the roles see of fields that they may not read in full."""
        return self._inner.masks(object)

    def row_rule(self, object: ObjectDef, binder: RuleBinder) -> Predicate | None:
        """The rows that the roles may see."""
        return self._inner.row_rule(object, binder)

    def is_unruled(self, object: ObjectDef, right: Right) -> bool:
        """Whether a write needs no look at any record, nor at what lookups lead to."""
        targets = (field.reference for field in object.fields.values())
        return self._inner.is_unruled(object, right) and (
            right not in ("create", "update")
            or all(t is None or self.reads_all(t) for t in targets)
        )

    def matches(self, object: ObjectDef, record: Record, asker: Asker) -> bool:
        """Whether the caller may see `record`."""
        return self._reaches("read", object.name) and self._inner.matches(object, record, asker)

    def visible(self, object: ObjectDef, record: Record) -> Record:
        """What the roles may see of `record`."""
        return self._inner.visible(object, record)

    def facts(self) -> tuple[str, ...]:
        """The facts that decide for the roles."""
        return self._inner.facts()


class ScopedPolicies:
    """The scoped policies in use, each made once; at most `_CAPACITY` are kept."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, Scopes], ScopedPolicy] = {}

    def narrowed(self, policy: AccessRules, scopes: Scopes | None) -> AccessRules:
        """`policy` within `scopes`; as it is for callers without."""
        if scopes is None:
            return policy
        key = (policy.shape, scopes)
        found = self._made.get(key)
        if found is None:
            if len(self._made) >= _CAPACITY:
                self._made.clear()
            found = self._made[key] = ScopedPolicy(policy, scopes)
        return found
