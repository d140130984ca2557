"""Who may do what: permission documents compiled once per metadata version and set of roles.

Deny by default: an object of which no document speaks is for administrators only, unless the
server is told to allow by default (development). `admin` may do everything in its tenant, the
system everything. Roles, users and teams that no document names make no difference, so callers
who differ only in those share a policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, TypeAlias

from objectql.context import Actor
from objectql.errors import ObjectQLError
from objectql.ids import ObjectName
from objectql.metadata.layered import Layered
from objectql.metadata.model import ObjectDef
from objectql.metadata.registry import MetadataSnapshot
from objectql.metadata.tenant_snapshot import TenantSnapshot
from objectql.query.ast import Filter
from objectql.query.rules import bind_rule
from objectql.query.tokens import user_fact
from objectql.security.access import ObjectAccess, compile_access
from objectql.security.filters import EVERY_RECORD, NOBODY, moved
from objectql.security.policy import FULL_ACCESS, AccessRules, RolePolicy
from objectql.security.reading import read_rules
from objectql.security.rules import PRINCIPALS, TRANSFER, ObjectRules, Right, Roles

DefaultAccess: TypeAlias = Literal["deny", "allow"]


class PermissionCompiler:
    """Policies of one metadata version, each compiled once per set of roles that matter.

    At most `capacity` sets are kept; role lists come from tokens and are not bounded by us.
    """

    def __init__(
        self,
        snapshot: MetadataSnapshot,
        *,
        default: DefaultAccess = "deny",
        capacity: int = 1024,
        base: PermissionCompiler | None = None,
    ) -> None:
        """`base` is that of the published metadata where `snapshot` is a tenant's."""
        self._snapshot = snapshot
        self._base = base
        own = read_rules(snapshot)
        self.rules: Mapping[ObjectName, ObjectRules] = (
            own if base is None else Layered(own, base.rules)
        )
        self._is_open = default == "allow"
        self._capacity = capacity
        self._by_roles: dict[tuple[str, ...], RolePolicy] = {}
        self._policies: dict[Roles, RolePolicy] = {}
        mentioned = frozenset(role for rules in own.values() for role in _mentioned(rules))
        self._mentioned = mentioned if base is None else mentioned | base._mentioned
        prefixes = tuple(f"{kind}:" for kind in PRINCIPALS)
        self._has_principals = any(role.startswith(prefixes) for role in self._mentioned)

    def policy(self, actor: Actor) -> AccessRules:
        """What `actor` may do."""
        if actor.is_admin:
            return FULL_ACCESS
        if self._has_principals:
            return self._policy(self.held(actor))
        policy = self._by_roles.get(actor.roles)
        if policy is None:
            policy = self._policy(self.held(actor))
            if len(self._by_roles) >= self._capacity:
                self._by_roles.clear()
            self._by_roles[actor.roles] = policy
        return policy

    def held(self, actor: Actor) -> Roles:
        """The roles of `actor` that documents name; itself and its teams as `user:` and `team:`."""
        held = set(actor.roles)
        if self._has_principals:
            teams = user_fact(actor, "teams")
            held.add(f"user:{actor.id}")
            held |= {f"team:{team}" for team in (teams if isinstance(teams, list) else ())}
        return self._mentioned & held

    def _policy(self, held: Roles) -> RolePolicy:
        found = self._policies.get(held)
        if found is None:
            if len(self._policies) >= self._capacity:
                self._policies.clear()
            compilation = _Compilation(self._snapshot, self.rules, held, is_open=self._is_open)
            found = RolePolicy(
                compilation.of(self._own_objects()),
                self._snapshot,
                is_open=self._is_open,
                base=self._base and self._base._policy(self._base._mentioned & held),
            )
            self._policies[held] = found
        return found

    def _own_objects(self) -> Mapping[ObjectName, ObjectDef]:
        snapshot = self._snapshot
        return snapshot.own if isinstance(snapshot, TenantSnapshot) else snapshot.objects


class _Compilation:
    """The access of one set of roles to all objects, parents before those that they control."""

    def __init__(
        self,
        snapshot: MetadataSnapshot,
        rules: Mapping[ObjectName, ObjectRules],
        held: Roles,
        *,
        is_open: bool,
    ) -> None:
        self._snapshot = snapshot
        self._rules = rules
        self._held = held
        self._is_open = is_open
        self._done: dict[str, ObjectAccess] = {}
        self._doing: set[str] = set()

    def of(self, objects: Mapping[ObjectName, ObjectDef]) -> dict[str, ObjectAccess]:
        return {str(name): self._access(object_) for name, object_ in objects.items()}

    def _access(self, object_: ObjectDef) -> ObjectAccess:
        if object_.name not in self._done:
            self._doing.add(object_.name)
            self._done[object_.name] = compile_access(
                self._rules[object_.name],
                object_,
                self._held,
                is_open=self._is_open,
                parent=lambda right: self._of_parent(object_, right),
            )
            self._doing.discard(object_.name)
        return self._done[object_.name]

    def _of_parent(self, object_: ObjectDef, right: Right) -> Filter:
        """The parent's records on which there is a right; children are changed with the parent."""
        lookup = self._rules[object_.name].parent
        target = None if lookup is None else object_.fields[lookup].reference
        if lookup is None or target is None or target in self._doing:
            return NOBODY
        parent = self._access(self._snapshot.object(target))
        operation: Right = "read" if right == "read" else "update"
        if operation not in parent.operations:
            return NOBODY
        asked: Right = right if right == TRANSFER else operation
        found = parent.rows.get(asked, EVERY_RECORD)
        try:
            bind_rule(moved(found, (lookup,)), object_, self._snapshot)
        except ObjectQLError:  # a chain of parents that is longer than a path may be
            return NOBODY
        return found


def _mentioned(rules: ObjectRules) -> Iterator[str]:
    """Every role that a decision may hang on."""
    sets: list[Iterable[str] | None] = [*rules.grants.values()]
    sets += [row.roles for row in rules.rows]
    for policy in rules.policies:
        sets += [policy.holders, policy.positions]
    for action in rules.actions.values():
        sets += [action.execute, *action.required.values()]
    for field in rules.fields.values():
        for right in (field.read, field.update, field.create):
            sets += [right.named, right.allowed, right.withheld]
        sets += field.required.values()
        sets.append(None if field.mask is None else field.mask.seeing)
    for required in rules.required.values():
        sets += required.values()
    if rules.limit is not None:
        sets.append([role for role, _ in rules.limit.exceptions])
    for roles in sets:
        yield from roles or ()
