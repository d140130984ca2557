"""What a caller's permissions mean for writes: for keys, for records and for the reply.

Object permissions are checked where a write begins. Here it is settled, inside its transaction,
whether the caller may touch this record, may leave it as it will be, and may point to where it
points. Records are asked for by the filters of `security`, in SQL, under the write's own locks.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Literal

import msgspec

from objectql.context import Actor
from objectql.errors import Issue, PermissionDenied, RecordNotFound, ValidationFailed
from objectql.ids import FieldName, ObjectName
from objectql.kernel.change import Change
from objectql.kernel.model import Model
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.metadata.masks import Mask
from objectql.metadata.model import ObjectDef
from objectql.query.ast import Compare, Filter, Op, Query
from objectql.security.access import ObjectAccess
from objectql.security.documents import owner_field
from objectql.security.policy import AccessRules, OneRule
from objectql.values import Value

_raw = msgspec.json.Decoder(dict[str, msgspec.Raw])


def check_keys(
    policy: AccessRules,
    object_: ObjectDef,
    right: Literal["create", "update"],
    data: Mapping[str, Any],
) -> frozenset[str]:
    """The fields that do not exist for the caller: unknown keys, as far as they are told.

    Raises:
        PermissionDenied: some keys of `data` may be read but not written; with their names.
        ValidationFailed: a new record would have a mask for a value.

    """
    access = policy.access(object_.name)
    if access.masks and right == "create":
        _refuse_masks(access.masks, object_, data)
    writable = access.creatable if right == "create" else access.updatable
    if writable is None:
        return frozenset()
    hidden = frozenset[str]()
    if access.readable is not None:
        hidden = frozenset(object_.fields) - access.readable - {"id"}
    denied = [
        key
        for key in data
        if key in object_.fields and key not in writable and key not in hidden and key != "id"
    ]
    denied = [key for key in denied if object_.fields[FieldName(key)].is_writable]
    if denied:
        raise PermissionDenied(operation=right, object=object_.name, fields=tuple(denied))
    return hidden


def returned_masks(
    policy: AccessRules, object_: ObjectDef, data: Mapping[str, Any], previous: Mapping[str, Any]
) -> frozenset[str]:
    """The fields whose value in `data` is the mask under which the caller has read `previous`.

    Who reads a record and sends it back has not given them another value.

    Raises:
        ValidationFailed: some value is the mask of another one; with their names.

    """
    masks = policy.masks(object_)
    returned = frozenset(
        name
        for name, mask in masks.items()
        if data.get(name) is not None and data[name] == mask.of(previous.get(name))
    )
    _refuse_masks(masks, object_, {k: v for k, v in data.items() if k not in returned})
    return returned


def _refuse_masks(
    masks: Mapping[FieldName, Mask], object_: ObjectDef, data: Mapping[str, Any]
) -> None:
    issues = tuple(
        Issue(path=name, code="masked_value", message="this is a mask and no value")
        for name, mask in masks.items()
        if mask.may_have_made(data.get(name))
    )
    if issues:
        raise ValidationFailed(object=object_.name, issues=issues)


def kept_fields(policy: AccessRules, object_: ObjectDef) -> frozenset[str]:
    """The fields that replacing a record leaves as they are: those that the caller may not set."""
    updatable = policy.access(object_.name).updatable
    return frozenset() if updatable is None else frozenset(object_.fields) - updatable


def shown(
    change: Change, name: ObjectName, policy: AccessRules, model: Model, actor: Actor
) -> Change:
    """`change` with its formulas, and no more of its record than the caller may read."""
    access = policy.access(name)
    computed = model.computed(name)
    if "read" not in access.operations:
        record = b'{"id":%s,"version":%d}' % (msgspec.json.encode(change.id), change.version)
    elif access.readable is None and not access.masks and computed is None:
        return change
    else:
        record = change.record
        if computed is not None:
            record = computed.added(record, access, actor)
        if access.readable is not None or access.masks:
            record = msgspec.json.encode(visible_members(access, _raw.decode(record)))
    return msgspec.structs.replace(change, record=record)


def visible_members(
    access: ObjectAccess, members: Mapping[str, msgspec.Raw]
) -> dict[str, msgspec.Raw]:
    """What the caller may see of a whole record, whose values stay the text that they are."""
    readable = access.readable
    visible = {k: v for k, v in members.items() if readable is None or k in readable or k == "id"}
    for name, mask in access.masks.items():
        if name in visible:
            value = msgspec.json.decode(visible[name])
            visible[name] = msgspec.Raw(msgspec.json.encode(mask.of(value)))
    return visible


def gives_away(
    object_: ObjectDef,
    given: Container[str],
    values: Mapping[str, Any],
    previous: Mapping[str, Any],
) -> bool:
    """Whether the record gets another owner because the caller says so.

    `given` are the fields that the caller sets, `values` what they become; hooks assign as they
    like.
    """
    owner = owner_field(object_)
    return (
        owner is not None
        and owner in given
        and owner in values
        and values[owner] != previous.get(owner)
    )


class RecordAccess:
    """Questions about single records inside one transaction."""

    def __init__(self, reader: Reader, scope: Scope) -> None:
        self._reader = reader
        self._scope = scope

    async def check_target(
        self,
        object_: ObjectDef,
        id_: str,
        right: Literal["update", "delete", "transfer"],
        *,
        what: str | None = None,
    ) -> None:
        """Return if the caller has `right` on the record as it is stored; `what` to say otherwise.

        Raises:
            RecordNotFound: the caller may not even see it.
            PermissionDenied: the caller may only see it.

        """
        access = self._scope.policy.access(object_.name)
        rule = access.reach(right)
        if rule is None or await self.is_within(object_, id_, rule, f"{right} rows"):
            return
        read = access.reach("read")
        if read is not None and not await self.is_within(object_, id_, read, "read rows"):
            raise RecordNotFound(object=object_.name, id=id_)
        raise PermissionDenied(operation=what or right, object=object_.name)

    async def check_image(
        self, object_: ObjectDef, id_: str, right: Literal["create", "update", "transfer"]
    ) -> None:
        """Return if the caller may leave the record as it has just been written.

        Raises:
            PermissionDenied: it is beyond the caller's rules now.

        """
        rule = self._scope.policy.access(object_.name).image(right)
        if rule is not None and not await self.is_within(object_, id_, rule, f"{right} images"):
            raise PermissionDenied(operation=right, object=object_.name)

    async def check_condition(
        self, object_: ObjectDef, id_: str, condition: Filter, action: str
    ) -> None:
        """Return if the record satisfies the condition on running `action`.

        Raises:
            PermissionDenied: it does not.

        """
        if not await self.is_within(object_, id_, condition, f"action {action}"):
            raise PermissionDenied(operation=f"execute {action} on", object=object_.name)

    async def check_references(
        self, object_: ObjectDef, values: Mapping[str, Value], previous: Mapping[str, Any]
    ) -> None:
        """Return if every record that `values` newly point to may be read.

        Raises:
            ValidationFailed: some may not; they are told like records that do not exist.

        """
        issues: list[Issue] = []
        for name, value in values.items():
            field = object_.fields.get(FieldName(name))
            if field is None or field.reference is None or value == previous.get(name):
                continue
            if self._scope.policy.reads_all(field.reference) or not value:
                continue
            pointed = value if isinstance(value, list) else [value]
            if not await self._are_readable(field.reference, [str(id_) for id_ in pointed]):
                message = "there is no such record"
                issues.append(Issue(path=name, code="reference_not_found", message=message))
        if issues:
            raise ValidationFailed(object=object_.name, issues=tuple(issues))

    async def _are_readable(self, object_name: str, ids: list[str]) -> bool:
        if not self._scope.policy.allows("read", object_name):
            return False
        where = Compare(("id",), Op.IN, tuple(dict.fromkeys(ids)))
        query = Query(object=object_name, fields=(("id",),), where=where)
        rows = await self._reader.rows(query, self._scope)
        return len(rows) == len(set(ids))

    async def is_within(self, object_: ObjectDef, id_: str, rule: Filter, what: str) -> bool:
        policy = OneRule(rule, f"{self._scope.policy.shape} {what} of {object_.name}")
        query = Query(
            object=object_.name,
            fields=(("id",),),
            where=Compare(("id",), Op.EQ, id_),
            limit=1,
        )
        scope = self._scope._replace(policy=policy)
        return bool(await self._reader.rows(query, scope))
