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
from objectql.metadata.offered import offers_right
from objectql.query.ast import Filter
from objectql.query.filter_print import describe_filter
from objectql.security.access import ObjectAccess
from objectql.security.filters import EVERY_RECORD
from objectql.security.rules import (
    EXPORT,
    MODIFY_ALL,
    RIGHTS,
    TRANSFER,
    VIEW_ALL,
    ObjectRules,
    Right,
    Roles,
    holds_any,
)


def permissions_of(scope: Scope) -> dict[str, Any]:
    """What the caller may do with each object that it may touch at all, and with its fields.

    Of what the object does not offer to clients (`metadata.offered`) nothing is told.
    `records` says for each right whether it extends to `all` or only to `some` records, also for
    `transfer`, which is to give another owner to what one may update, or to share it; fields that
    may not be read are not named, and those under a mask are `masked`.
    """
    actor = scope.context.actor
    found: dict[str, Any] = {}
    for name, object_ in scope.model.snapshot.objects.items():
        access = scope.policy.access(name)
        operations: list[Right] = [
            right for right in RIGHTS if right in access.operations and offers_right(object_, right)
        ]
        if not operations:
            continue
        reaching: list[Right] = [*operations, TRANSFER] if "update" in operations else operations
        found[str(name)] = {
            "operations": operations,
            "records": {right: _extent(access, right) for right in reaching},
            "export": EXPORT in access.operations and offers_right(object_, EXPORT),
            "fields": _fields(object_, access),
            "actions": [a for a in object_.actions if scope.policy.allows_action(name, a)],
        }
    return {"user": actor.id, "roles": list(actor.roles), "objects": found}


def _extent(access: ObjectAccess, right: Right) -> str:
    limit = access.image(right) if right == "create" else access.reach(right)
    return "all" if limit is None else "some"


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
    asked: Right | None = next((known for known in (*RIGHTS, TRANSFER) if known == right), None)
    if asked is None:
        known = ", ".join((*RIGHTS, TRANSFER, EXPORT))
        raise InvalidRequest(reason=f"{right[:40]} is not one of {known}")
    object_ = scope.model.object(object_name)
    access = RecordAccess(reader, scope)
    if id_ is not None and not await access.is_within(object_, id_, EVERY_RECORD, "any"):
        raise RecordNotFound(object=object_name, id=id_)
    if not offers_right(object_, right):
        return _told(is_allowed=False, because=[_not_offered(object_, right)])
    if scope.context.actor.is_admin:
        return _told(is_allowed=True, because=["administrators may do everything in their tenant"])
    explanation = _Explanation(scope, access, object_, asked, id_)
    return await explanation.tell()


def _not_offered(object_: ObjectDef, right: str) -> str:
    enable = object_.enable
    methods = ", ".join(enable.api_methods) if enable.api_enabled else ""
    return f"{object_.name} offers no {right} to clients; it offers {methods or 'nothing'}"


async def _explain_export(
    scope: Scope, reader: Reader, object_name: str, id_: str | None
) -> dict[str, Any]:
    """What may be exported is what may be read, by those to whom it is granted."""
    object_ = scope.model.object(object_name)
    if not offers_right(object_, EXPORT):
        return _told(is_allowed=False, because=[_not_offered(object_, EXPORT)])
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
        self._operation: Right = "update" if right == TRANSFER else right
        """The operation on the object that is granted or not."""
        self._id = id_
        self._rules: ObjectRules = scope.model.permissions.rules[object_.name]
        self._held: Roles = scope.model.permissions.held(scope.context.actor)
        self._because: list[str] = []

    async def tell(self) -> dict[str, Any]:
        decided = self._scope.policy.access(self._object.name)
        if not self._explain_grant(is_granted=self._operation in decided.operations):
            return _told(is_allowed=False, because=self._because)
        if self._skips_rules():
            self._because.append("that grant extends to every record")
            return _told(is_allowed=True, because=self._because)
        await self._explain_rules()
        asked = decided.image if self._right == "create" else decided.reach
        rule = asked(self._right)
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
        for name, roles in self._rules.required.get(self._operation, {}).items():
            has = "has" if holds_any(self._held, roles) else "lacks"
            self._because.append(f"the caller {has} the system permission {name}")
        if not is_granted:
            held = ", ".join(sorted(self._held)) or "none that any document names"
            if not self._is_granted():
                self._because.append(f"no role of the caller ({held}) is granted {self._operation}")
            return False
        for name, roles in self._rules.grants.items():
            if name in (*self._granting(), *self._implying()) and holds_any(self._held, roles):
                by = ", ".join(sorted(roles & self._held)) or "everybody"
                self._because.append(f"{name} is granted to {by}")
        return True

    def _is_granted(self) -> bool:
        names = (self._operation, *self._implying())
        granted = [self._rules.grants.get(name, frozenset()) for name in names]
        return any(holds_any(self._held, roles) for roles in granted)

    def _granting(self) -> tuple[str, ...]:
        return ("update", TRANSFER) if self._right == TRANSFER else (self._right,)

    def _implying(self) -> tuple[str, ...]:
        return {"read": (VIEW_ALL, MODIFY_ALL), "create": ()}.get(self._right, (MODIFY_ALL,))

    def _skips_rules(self) -> bool:
        skipping = [self._rules.grants.get(name, frozenset()) for name in self._implying()]
        return any(holds_any(self._held, roles) for roles in skipping)

    async def _explain_rules(self) -> None:
        right: Right = "update" if self._is_granted_everywhere() else self._right
        rights = {right, "delete"} if right == TRANSFER and self._may_delete() else {right}
        for rule in self._rules.rows:
            if rule.kind == "ownership" and TRANSFER not in rights:
                continue
            if not rights & rule.rights:
                verdict = f"does not grant {right}"
            elif not holds_any(self._held, rule.roles):
                verdict = f"is for {', '.join(sorted(rule.roles))}"
            else:
                verdict = await self._verdict(rule.filter)
            self._because.append(f'{rule.kind} rule "{rule.name}" {verdict}')
        for policy in self._rules.policies:
            if {self._operation, *rights} & policy.rights and policy.is_for(self._held):
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

    def _may_delete(self) -> bool:
        """Whether deletion is granted, which is then a way to give away."""
        return "delete" in self._scope.policy.access(self._object.name).operations

    def _is_granted_everywhere(self) -> bool:
        """Whether every record may be given away that may be changed."""
        granted = self._rules.grants.get(TRANSFER, frozenset())
        return self._right == TRANSFER and holds_any(self._held, granted)

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
