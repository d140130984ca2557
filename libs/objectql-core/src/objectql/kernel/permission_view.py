"""Permissions told to people: what a caller may do, and why a decision is as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from objectql.context import Actor
from objectql.errors import InvalidRequest, RecordNotFound
from objectql.kernel.access import RecordAccess
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.metadata.model import ObjectDef
from objectql.query.ast import Filter
from objectql.query.filter_print import describe_filter
from objectql.security.access import ObjectAccess
from objectql.security.filters import EVERY_RECORD
from objectql.security.rules import (
    EXPORT,
    MODIFY_ALL,
    RIGHTS,
    VIEW_ALL,
    ObjectRules,
    Right,
    Roles,
    holds_any,
)


def permissions_of(scope: Scope) -> dict[str, Any]:
    """What the caller may do with each object that it may touch at all, and with its fields.

    `records` says for each right whether it extends to `all` or only to `some` records; fields
    that may not be read are not named, and those under a mask are `masked`.
    """
    actor = scope.context.actor
    found: dict[str, Any] = {}
    for name, object_ in scope.model.snapshot.objects.items():
        access = scope.policy.access(name)
        operations = [right for right in RIGHTS if right in access.operations]
        if not operations:
            continue
        limited = access.rows.keys() | (access.images.keys() & {"create"})
        found[str(name)] = {
            "operations": operations,
            "records": {right: "some" if right in limited else "all" for right in operations},
            "export": EXPORT in access.operations,
            "fields": _fields(object_, access),
            "actions": [a for a in object_.actions if scope.policy.allows_action(name, a)],
        }
    return {"user": actor.id, "roles": list(actor.roles), "objects": found}


def _fields(object_: ObjectDef, access: ObjectAccess) -> dict[str, Any]:
    readable, updatable, creatable = access.readable, access.updatable, access.creatable
    return {
        str(name): {
            "update": field.is_writable and (updatable is None or name in updatable),
            "create": field.is_writable and (creatable is None or name in creatable),
            **({"masked": True} if name in access.masks else {}),
        }
        for name, field in object_.fields.items()
        if name == "id" or ((readable is None or name in readable) and not field.info.write_only)
    }


async def explain_access(
    scope: Scope, reader: Reader, object_name: str, right: str, id_: str | None
) -> dict[str, Any]:
    """Whether the caller of `scope` may do `right`, on record `id_` if given; and why.

    `because` tells each step in words: the grant, then each rule and whether it is for the caller
    and holds for the record.

    Raises:
        InvalidRequest: there is no such right.
        ObjectUnknown, RecordNotFound: there is no such object, or no such record at all.

    """
    if right == EXPORT:
        return await _explain_export(scope, reader, object_name, id_)
    asked: Right | None = next((known for known in RIGHTS if known == right), None)
    if asked is None:
        raise InvalidRequest(reason=f"{right[:40]} is not one of {', '.join((*RIGHTS, EXPORT))}")
    object_ = scope.model.object(object_name)
    access = RecordAccess(reader, scope)
    if id_ is not None and not await access.is_within(object_, id_, EVERY_RECORD, "any"):
        raise RecordNotFound(object=object_name, id=id_)
    if scope.context.actor.is_admin:
        return _told(is_allowed=True, because=["administrators may do everything in their tenant"])
    explanation = _Explanation(scope, access, object_, asked, id_)
    return await explanation.tell()


async def _explain_export(
    scope: Scope, reader: Reader, object_name: str, id_: str | None
) -> dict[str, Any]:
    """What may be exported is what may be read, by those to whom it is granted."""
    told = await explain_access(scope, reader, object_name, "read", id_)
    is_granted = EXPORT in scope.policy.access(object_name).operations
    if told["allowed"]:
        grant = "is granted" if is_granted else "is not granted"
        told["because"].append(f"{EXPORT} {grant} to the caller")
    return told | {"allowed": is_granted and told["allowed"]}


class _Explanation:
    def __init__(
        self, scope: Scope, access: RecordAccess, object_: ObjectDef, right: Right, id_: str | None
    ) -> None:
        self._scope = scope
        self._access = access
        self._object = object_
        self._right: Right = right
        self._id = id_
        self._rules: ObjectRules = scope.model.permissions.rules[object_.name]
        self._held: Roles = scope.model.permissions.held(scope.context.actor)
        self._because: list[str] = []

    async def tell(self) -> dict[str, Any]:
        decided = self._scope.policy.access(self._object.name)
        if not self._explain_grant(is_granted=self._right in decided.operations):
            return _told(is_allowed=False, because=self._because)
        if self._skips_rules():
            self._because.append("that grant extends to every record")
            return _told(is_allowed=True, because=self._because)
        await self._explain_rules()
        rule = (decided.images if self._right == "create" else decided.rows).get(self._right)
        if rule is None:
            self._because.append("no rule leaves out any record")
            return _told(is_allowed=True, because=self._because)
        if self._id is None or self._right == "create":
            self._because.append("it depends on the record")
            return _told(is_allowed=True, because=self._because, records=describe_filter(rule))
        is_allowed = await self._holds(rule)
        return _told(is_allowed=is_allowed, because=self._because)

    def _explain_grant(self, *, is_granted: bool) -> bool:
        if not self._rules.is_declared:
            what = "is open" if is_granted else "is closed"
            self._because.append(f"no document speaks of {self._object.name}; the server {what}")
            return is_granted
        for name, roles in self._rules.required.get(self._right, {}).items():
            has = "has" if holds_any(self._held, roles) else "lacks"
            self._because.append(f"the caller {has} the system permission {name}")
        if not is_granted:
            held = ", ".join(sorted(self._held)) or "none that any document names"
            if not self._is_granted():
                self._because.append(f"no role of the caller ({held}) is granted {self._right}")
            return False
        for name, roles in self._rules.grants.items():
            if name in (self._right, *self._implying()) and holds_any(self._held, roles):
                by = ", ".join(sorted(roles & self._held)) or "everybody"
                self._because.append(f"{name} is granted to {by}")
        return True

    def _is_granted(self) -> bool:
        names = (self._right, *self._implying())
        granted = [self._rules.grants.get(name, frozenset()) for name in names]
        return any(holds_any(self._held, roles) for roles in granted)

    def _implying(self) -> tuple[str, ...]:
        return {"read": (VIEW_ALL, MODIFY_ALL), "create": ()}.get(self._right, (MODIFY_ALL,))

    def _skips_rules(self) -> bool:
        skipping = [self._rules.grants.get(name, frozenset()) for name in self._implying()]
        return any(holds_any(self._held, roles) for roles in skipping)

    async def _explain_rules(self) -> None:
        for rule in self._rules.rows:
            if self._right not in rule.rights:
                verdict = f"does not grant {self._right}"
            elif not holds_any(self._held, rule.roles):
                verdict = f"is for {', '.join(sorted(rule.roles))}"
            else:
                verdict = await self._verdict(rule.filter)
            self._because.append(f'{rule.kind} rule "{rule.name}" {verdict}')
        for policy in self._rules.policies:
            if self._right in policy.rights and policy.is_for(self._held):
                judged = policy.check if self._right == "create" else policy.using
                verdict = await self._verdict(judged)
                self._because.append(f'row policy "{policy.name}" {verdict}')
        limit = self._rules.limit
        if limit is None:
            return
        mine = [
            (role, f) for role, f in limit.exceptions if holds_any(self._held, frozenset({role}))
        ]
        for role, filter_ in mine:
            verdict = "lifts it" if filter_ is None else await self._verdict(filter_)
            self._because.append(f"row-level security: the exception for {role} {verdict}")
        if not mine:
            verdict = await self._verdict(limit.default)
            self._because.append(f"row-level security: the default rule {verdict}")

    async def _verdict(self, filter_: Filter) -> str:
        if self._id is None or self._right == "create":
            return "may apply"
        return "holds" if await self._holds(filter_) else "does not hold"

    async def _holds(self, filter_: Filter) -> bool:
        assert self._id is not None
        return await self._access.is_within(self._object, self._id, filter_, repr(filter_))


def _told(*, is_allowed: bool, because: list[str], **more: Any) -> dict[str, Any]:
    return {"allowed": is_allowed, "because": because, **more}


def somebody(asker: Actor, user: str, roles: tuple[str, ...], claims: Mapping[str, Any]) -> Actor:
    """Another caller of the asker's tenant, as whom a decision is explained."""
    return Actor(id=user, tenant=asker.tenant, roles=roles, claims=dict(claims))
