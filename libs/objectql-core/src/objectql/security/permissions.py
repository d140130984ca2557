"""Object permissions: roles to operations, compiled once per set of roles.

Without a permission file nobody but admins may touch an object, unless the server is told to
allow by default (development). The system may do everything; `admin` everything in its tenant.
"""

# ruff: noqa: ARG002 - the full policy answers the same questions without looking
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal, TypeAlias

from objectql.context import Actor
from objectql.errors import PermissionDenied
from objectql.ids import FieldName, ObjectName
from objectql.metadata.model import ObjectDef, ObjectPermissions
from objectql.query.bound import Predicate
from objectql.query.policy import RuleBinder

DefaultAccess: TypeAlias = Literal["deny", "allow"]

VIEW_ALL = "view_all"
MODIFY_ALL = "modify_all"


class FullAccess:
    """The policy of admins and of the system."""

    shape = "full"

    def check(self, operation: str, object: str) -> None:
        """Everything is allowed."""

    def check_read(self, object: ObjectDef) -> None:
        """Everything is allowed."""

    def check_action(self, object: str, action: str) -> None:
        """Everything is allowed."""

    def allows(self, operation: str, object: str) -> bool:
        """Everything is allowed."""
        return True

    def readable(self, object: ObjectDef) -> frozenset[FieldName] | None:
        """All fields."""
        return None

    def row_rule(self, object: ObjectDef, binder: RuleBinder) -> Predicate | None:
        """All rows."""
        return None


class RolePolicy:
    """What a set of roles may do. `shape` is equal for policies that decide alike."""

    def __init__(
        self,
        permissions: Mapping[ObjectName, ObjectPermissions],
        roles: frozenset[str],
        default: DefaultAccess,
    ) -> None:
        self._is_open = default == "allow"
        self._known = frozenset(permissions)
        self._granted: dict[str, frozenset[str]] = {}
        self._actions: dict[str, frozenset[str]] = {}
        for name, permission in permissions.items():
            granted = {op for op, allowed in permission.grants.items() if roles & set(allowed)}
            if VIEW_ALL in granted or MODIFY_ALL in granted:
                granted.add("read")
            if MODIFY_ALL in granted:
                granted |= {"update", "delete"}
            self._granted[name] = frozenset(granted)
            self._actions[name] = frozenset(
                action for action, allowed in permission.actions.items() if roles & set(allowed)
            )
        self._restricted: dict[str, frozenset[str]] = {
            name: frozenset(permission.actions) for name, permission in permissions.items()
        }
        self.shape = self._digest()

    def allows(self, operation: str, object: str) -> bool:
        """Whether the roles may do `operation` (create, read, update, delete) to `object`."""
        granted = self._granted.get(object)
        return self._is_open if granted is None else operation in granted

    def check(self, operation: str, object: str) -> None:
        """Return if the roles may do it.

        Raises:
            PermissionDenied: they may not.

        """
        if not self.allows(operation, object):
            raise PermissionDenied(operation=operation, object=object)

    def check_read(self, object: ObjectDef) -> None:
        """`check("read", object.name)`."""
        if not self.allows("read", object.name):
            raise PermissionDenied(operation="read", object=object.name)

    def check_action(self, object: str, action: str) -> None:
        """Return if the roles may run `action`.

        An action that the permission file names is for the roles named there; any other needs the
        permission to update the object. Global actions that no file names need no permission of
        their own: the writes that they make are checked.

        Raises:
            PermissionDenied: they may not.

        """
        if action in self._restricted.get(object, frozenset[str]()):
            is_allowed = action in self._actions[object]
        elif object in self._known:
            is_allowed = self.allows("update", object)
        else:
            is_allowed = self._is_open or object == "global"
        if not is_allowed:
            raise PermissionDenied(operation=f"execute {action} on", object=object)

    def readable(self, object: ObjectDef) -> frozenset[FieldName] | None:
        """All fields: field permissions are not compiled here."""
        return None

    def row_rule(self, object: ObjectDef, binder: RuleBinder) -> Predicate | None:
        """All rows of the tenant: record rules are not compiled here."""
        return None

    def _digest(self) -> str:
        parts = [f"{self._is_open}"]
        parts += [f"{name}:{','.join(sorted(ops))}" for name, ops in sorted(self._granted.items())]
        return hashlib.blake2b("|".join(parts).encode(), digest_size=12).hexdigest()


AccessRules: TypeAlias = FullAccess | RolePolicy

FULL_ACCESS = FullAccess()


class PermissionCompiler:
    """Policies of one metadata version, each compiled once per set of roles.

    At most `capacity` sets are kept; role lists come from tokens and are not bounded by us.
    """

    def __init__(
        self,
        permissions: Mapping[ObjectName, ObjectPermissions],
        *,
        default: DefaultAccess = "deny",
        capacity: int = 1024,
    ) -> None:
        self._permissions = permissions
        self._default: DefaultAccess = default
        self._capacity = capacity
        self._policies: dict[tuple[str, ...], RolePolicy] = {}
        named = (roles for p in permissions.values() for roles in p.grants.values())
        acting = (roles for p in permissions.values() for roles in p.actions.values())
        self._mentioned = {r for roles in (*named, *acting) for r in roles}

    def policy(self, actor: Actor) -> AccessRules:
        """What `actor` may do."""
        if actor.is_admin:
            return FULL_ACCESS
        policy = self._policies.get(actor.roles)
        if policy is None:
            roles = frozenset(actor.roles) & self._mentioned
            policy = RolePolicy(self._permissions, roles, self._default)
            if len(self._policies) >= self._capacity:
                self._policies.clear()
            self._policies[actor.roles] = policy
        return policy
