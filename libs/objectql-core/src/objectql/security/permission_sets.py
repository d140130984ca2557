"""Permission sets: added to the rules of each object, whatever its own file says.

A set is held by who has a role of its name, or a role of the name of a position that hands it out;
a set that `is_default` by everybody. So all that a set grants is granted to roles, like everything
else, and sets only widen each other. Shape: ObjectStack's `PermissionSet` (its specification, sect.
security); where it is silent, the decisions are in ADR 0016.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

import msgspec

from objectql.ids import FieldName
from objectql.metadata import keys as accepted
from objectql.metadata.check_permission_sets import EVERY_OBJECT, KIND, is_permission_set
from objectql.metadata.document import Document, Node, Problems
from objectql.metadata.keys import read_keys
from objectql.metadata.model import Item, ObjectDef
from objectql.metadata.registry import MetadataSnapshot
from objectql.query.ast import Compare, Fact, Filter, Op
from objectql.security.conditions import ConditionReader
from objectql.security.documents import owned_by_caller, owner_field
from objectql.security.filters import EVERY_RECORD, NOBODY, either
from objectql.security.rules import (
    EVERYBODY,
    EXPORT,
    NO_ROLES,
    RIGHTS,
    TRANSFER,
    ActionRule,
    FieldRight,
    FieldRule,
    ObjectRules,
    Required,
    Right,
    Roles,
    RowPolicy,
    RowRule,
)

_GRANTS: Final = {
    "allow_create": "create",
    "allow_read": "read",
    "allow_edit": "update",
    "allow_delete": "delete",
    "view_all_records": "view_all",
    "modify_all_records": "modify_all",
    "allow_export": EXPORT,
    "allow_transfer": TRANSFER,
}
_EVERYTHING: Final = ("view_all_records", "modify_all_records")
_SCOPED: Final[Mapping[str, tuple[Right, ...]]] = {
    "read_scope": ("read",),
    "write_scope": ("update", "delete"),
}
_COLLEAGUES: Final = {
    "own_and_reports": "reports",
    "unit": "unit_members",
    "unit_and_below": "unit_and_below_members",
}
"""The fact of the caller that lists the users whose records a scope reaches beside the own."""
_GIVEN_AWAY: Final[frozenset[Right]] = frozenset({TRANSFER})
_ABOVE: Final = ("own_and_reports",)
"""The scopes of those who stand above the owner, and may give away what their reports own."""
_OPERATIONS: Final[Mapping[str, tuple[Right, ...]]] = {
    "select": ("read",),
    "insert": ("create",),
    "update": ("update",),
    "delete": ("delete",),
    "all": RIGHTS,
}


class PermissionSet(NamedTuple):
    """A set as it was written; keys are canonical. `holders` are the roles that have it."""

    name: str
    holders: Roles
    objects: Mapping[str, Mapping[str, Node]]
    fields: Mapping[str, Mapping[str, Node]]
    policies: tuple[Mapping[str, Node], ...]
    system_permissions: frozenset[str]

    def on(self, object_: ObjectDef) -> Mapping[str, Node]:
        """What it says about `object_` as a whole.

        What it says about every object does not reach one that is `access: {default: private}`,
        unless it is about every record.
        """
        found = self.objects.get(object_.name)
        if found is not None:
            return found
        wildcard = self.objects.get(EVERY_OBJECT, {})
        if _is_private(object_) and not any(_is_true(wildcard.get(key)) for key in _EVERYTHING):
            return {}
        return wildcard


class PermissionSets:
    """The sets of a snapshot."""

    def __init__(self, snapshot: MetadataSnapshot, problems: Problems) -> None:
        positions = _positions(snapshot)
        self._sets = [
            _read(node, name, frozenset({name}) | positions.get(name, NO_ROLES))
            for name, node in _nodes(snapshot, problems)
        ]

    def holders(self, names: Collection[str]) -> Required:
        """Of each of the system permissions `names`, the roles that have it."""
        return {
            name: frozenset(
                role
                for each in self._sets
                if name in each.system_permissions
                for role in each.holders
            )
            for name in names
        }

    def added_to(
        self, rules: ObjectRules, object_: ObjectDef, reader: ConditionReader
    ) -> ObjectRules:
        """`rules` of `object_` with what sets grant and what system permissions it requires."""
        spoken = [(each, found) for each in self._sets if (found := each.on(object_))]
        grants: dict[str, Roles] = dict(rules.grants)
        for each, said in spoken:
            for key, operation in _GRANTS.items():
                if _is_true(said.get(key)):
                    grants[operation] = grants.get(operation, NO_ROLES) | each.holders
        rules = msgspec.structs.replace(
            rules,
            is_declared=rules.is_declared or bool(spoken),
            fields=self._fields(rules, object_),
            policies=tuple(self._policies(object_, reader)),
            required=self._required(object_),
            actions=self._actions(rules, object_),
        )
        scopes = [rule for each, said in spoken for rule in _scopes(each, said, object_)]
        if scopes and not rules.has_row_rules:
            scopes += _unscoped(rules, spoken)
            rules = msgspec.structs.replace(rules, has_row_rules=True)
        return msgspec.structs.replace(rules, grants=grants, rows=(*rules.rows, *scopes))

    # --- fields, actions and what they require ----------------------------------------------------

    def _fields(self, rules: ObjectRules, object_: ObjectDef) -> dict[FieldName, FieldRule]:
        found = dict(rules.fields)
        for name, field in object_.fields.items():
            said = [
                (each.holders, each.fields[key])
                for each in self._sets
                if (key := f"{object_.name}.{name}") in each.fields
            ]
            required = self.holders(_texts(field.extra.get("required_permissions")))
            if not said and not required:
                continue
            rule = found.get(name, FieldRule())
            readable = [(h, _is_true(keys.get("readable"), default=True)) for h, keys in said]
            editable = [(h, _is_true(keys.get("editable"))) for h, keys in said]
            found[name] = msgspec.structs.replace(
                rule,
                read=_widened(rule.read, readable),
                update=_widened(rule.update, editable),
                create=_widened(rule.create, editable),
                required=required,
            )
        return found

    def _actions(self, rules: ObjectRules, object_: ObjectDef) -> dict[str, ActionRule]:
        found = dict(rules.actions)
        for name, action in object_.actions.items():
            if action.required_permissions:
                required = self.holders(action.required_permissions)
                rule = found.get(name, ActionRule())
                found[name] = msgspec.structs.replace(rule, required=required)
        return found

    def _required(self, object_: ObjectDef) -> dict[Right, Required]:
        given = object_.extra.get("required_permissions")
        if not given:
            return {}
        if not isinstance(given, Mapping):
            required = self.holders(_texts(given))
            return dict.fromkeys(RIGHTS, required)
        members = {
            accepted.REQUIRED.spellings[key]: value
            for key, value in cast("Mapping[str, Any]", given).items()
        }
        return {right: self.holders(_texts(members.get(right))) for right in RIGHTS}

    # --- records ------------------------------------------------------------------------------------

    def _policies(self, object_: ObjectDef, reader: ConditionReader) -> Iterator[RowPolicy]:
        for each in self._sets:
            for keys in each.policies:
                if keys["object"].value != object_.name:
                    continue
                using = reader.expression(keys["using"]) if "using" in keys else NOBODY
                check = reader.expression(keys["check"]) if "check" in keys else using
                if not _is_true(keys.get("enabled"), default=True):
                    continue
                positions = frozenset(
                    _texts(keys["positions"].value if "positions" in keys else ())
                )
                yield RowPolicy(
                    str(keys["name"].value),
                    frozenset(_OPERATIONS[str(keys["operation"].value)]),
                    each.holders,
                    positions or frozenset({EVERYBODY}),
                    using,
                    check,
                )


def _read(node: Node, name: str, holders: Roles) -> PermissionSet:
    keys = read_keys(node, accepted.PERMISSION_SET)
    objects = keys["objects"].entries() if "objects" in keys else {}
    fields = keys["fields"].entries() if "fields" in keys else {}
    policies = keys["row_level_security"].elements() if "row_level_security" in keys else []
    system = keys["system_permissions"].value if "system_permissions" in keys else ()
    is_default = _is_true(keys.get("is_default"))
    return PermissionSet(
        name,
        holders | {EVERYBODY} if is_default else holders,
        {name: read_keys(member, accepted.SET_GRANTS) for name, member in objects.items()},
        {name: read_keys(member, accepted.SET_FIELD) for name, member in fields.items()},
        tuple([read_keys(policy, accepted.ROW_POLICY) for policy in policies]),
        frozenset(_texts(system)),
    )


def _nodes(snapshot: MetadataSnapshot, problems: Problems) -> Iterator[tuple[str, Node]]:
    """The sets, each as it was written, with the places of its parts."""
    written = {
        (document.layer, str(document.content.get("name", document.name))): document
        for document in snapshot.documents
        if is_permission_set(document)
    }
    for item in snapshot.list(KIND):
        assert isinstance(item, Item)
        document = written.get((item.package or "", item.name)) or Document(
            item.package or "", KIND, item.name, item.content
        )
        yield item.name, Node.root(document, problems)


def _positions(snapshot: MetadataSnapshot) -> dict[str, Roles]:
    """Of each set that positions hand out, the positions."""
    found: dict[str, Roles] = {}
    for position in snapshot.list("position"):
        assert isinstance(position, Item)
        for key in ("permission_sets", "permissionSets"):
            for name in _texts(position.content.get(key)):
                found[name] = found.get(name, NO_ROLES) | {position.name}
    return found


def _is_private(object_: ObjectDef) -> bool:
    access: Any = object_.extra.get("access")
    return isinstance(access, Mapping) and cast("Any", access).get("default") == "private"


def _is_true(node: Node | None, *, default: bool = False) -> bool:
    return default if node is None else node.value is True


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(each) for each in value or ())


def _widened(right: FieldRight, said: list[tuple[Roles, bool]]) -> FieldRight:
    """`right` with what sets say of it to their holders."""
    return FieldRight(
        right.named,
        right.allowed.union(*(holders for holders, allows in said if allows)),
        right.withheld.union(*(holders for holders, allows in said if not allows)),
    )


def _scopes(each: PermissionSet, said: Mapping[str, Node], object_: ObjectDef) -> Iterator[RowRule]:
    """Records that the set grants rights on whatever the other rules say."""
    for key, rights in _SCOPED.items():
        granted = frozenset[Right](right for right in rights if _grants(said, right))
        if key in said and granted:
            scope = str(said[key].value)
            reach = _reach(scope, object_)
            if scope in _ABOVE and "update" in granted:
                granted = granted | _GIVEN_AWAY
            yield RowRule(f"{each.name}: {scope}", "scope", granted, reach, each.holders)


def _grants(said: Mapping[str, Node], right: Right) -> bool:
    return any(_is_true(said.get(key)) for key, named in _GRANTS.items() if named == right)


def _reach(scope: str, object_: ObjectDef) -> Filter:
    if scope == "org":
        return EVERY_RECORD
    owner = owner_field(object_)
    own = owned_by_caller(object_)
    if owner is None or scope not in _COLLEAGUES:
        return own
    return either(own, Compare((owner,), Op.IN, Fact(_COLLEAGUES[scope])))


def _unscoped(
    rules: ObjectRules, spoken: list[tuple[PermissionSet, Mapping[str, Node]]]
) -> Iterator[RowRule]:
    """Where scopes are the only rules: who is granted a right without one has it on every record."""
    for key, rights in _SCOPED.items():
        for right in rights:
            sets = (e.holders for e, said in spoken if _grants(said, right) and key not in said)
            roles = rules.grants.get(right, NO_ROLES).union(*sets)
            yield RowRule("without a scope", "scope", frozenset({right}), EVERY_RECORD, roles)
