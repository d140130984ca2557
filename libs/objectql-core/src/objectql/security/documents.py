"""Permission files to `ObjectRules`, and the sharing model that objects declare.

The files' shape has been checked by `metadata.check_permissions`; problems found here are
conditions that cannot be asked of a database.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from objectql.ids import FieldName
from objectql.metadata import keys as accepted
from objectql.metadata.document import Node
from objectql.metadata.keys import Keys, read_keys
from objectql.metadata.masks import Mask, parse_mask
from objectql.metadata.model import SHARES, FieldDef, ObjectDef, ObjectPermissions
from objectql.metadata.types import Storage
from objectql.query.ast import Compare, Fact, Filter, Op
from objectql.query.tokens import EDIT_SHARES, READ_SHARES
from objectql.rates.bucket import Rate
from objectql.security.conditions import ConditionReader
from objectql.security.filters import EVERY_RECORD, NOBODY, joined
from objectql.security.rules import (
    EVERYBODY,
    EXPORT,
    MODIFY_ALL,
    NO_ROLES,
    PRINCIPALS,
    RIGHTS,
    TRANSFER,
    VIEW_ALL,
    ActionRule,
    FieldRight,
    FieldRule,
    MaskRule,
    ObjectRules,
    Right,
    Roles,
    RowLimit,
    RowRule,
)

_RATE_UNITS = {"requests_per_minute": 60, "requests_per_hour": 3600, "requests_per_day": 86_400}

_NOTHING_SHOWN = parse_mask("****")

_READ: frozenset[Right] = frozenset({"read"})
_UPDATE: frozenset[Right] = frozenset({"update"})
_DELETE: frozenset[Right] = frozenset({"delete"})
_EVERYBODY: Roles = frozenset({EVERYBODY})


def owner_field(object_: ObjectDef) -> FieldName | None:
    """The field that holds the id of a record's owner.

    A field `owner` or `owner_id`; else who created the record. None where the object says that its
    records have no owner that is a user.
    """
    if object_.extra.get("ownership", "user") != "user":
        return None
    for name in ("owner", "owner_id"):
        field = object_.fields.get(FieldName(name))
        if field is not None and field.storage is Storage.TEXT:
            return field.name
    return FieldName("created_by")


def owned_by_caller(object_: ObjectDef) -> Filter:
    """The caller's own records."""
    owner = owner_field(object_)
    return NOBODY if owner is None else Compare((owner,), Op.EQ, Fact("id"))


def model_rules(object_: ObjectDef) -> tuple[RowRule, ...]:
    """What the object's `sharingModel` grants to everybody; nothing where it declares none.

    `controlled_by_parent` is settled by `compile`, which knows the parent's rules.
    """
    own = owned_by_caller(object_)
    match object_.extra.get("sharing_model"):
        case "private":
            return (RowRule("own records", "model", frozenset(RIGHTS), own),)
        case "public_read":
            return (
                RowRule("public read", "model", frozenset({"read"}), EVERY_RECORD),
                RowRule("own records", "model", frozenset(RIGHTS), own),
            )
        case "public_read_write":
            return (RowRule("public read and write", "model", frozenset(RIGHTS), EVERY_RECORD),)
        case _:
            return ()


def with_owner(rules: ObjectRules, object_: ObjectDef) -> ObjectRules:
    """`rules` of which owners may give away what they own, as far as they may change it.

    Where no rule is about records nothing hangs on who owns them, and the grants decide alone.
    """
    if not rules.has_row_rules:
        return rules
    own = RowRule("owner", "ownership", frozenset({TRANSFER}), owned_by_caller(object_))
    return msgspec.structs.replace(rules, rows=(*rules.rows, own))


def parent_field(object_: ObjectDef) -> FieldName | None:
    """The lookup to the parent whose rules are the object's too (`controlled_by_parent`)."""
    if object_.extra.get("sharing_model") != "controlled_by_parent":
        return None
    return next((f.name for f in object_.fields.values() if f.type == "master_detail"), None)


def read_object(object_: ObjectDef) -> ObjectRules:
    """The rules of an object of which no document speaks."""
    model = model_rules(object_)
    parent = parent_field(object_)
    is_ruled = "sharing_model" in object_.extra
    return ObjectRules(object_.name, rows=model, parent=parent, has_row_rules=is_ruled)


def read_permission_file(
    node: Node, permissions: ObjectPermissions, object_: ObjectDef, reader: ConditionReader
) -> ObjectRules:
    """The rules of the permission file at `node`."""
    keys = read_keys(node, accepted.PERMISSION)
    own = read_object(object_)
    record = [_row_rule(n, accepted.RECORD_RULE, reader) for n in _elements(keys, "record_rules")]
    sharing = _elements(keys, "sharing_rules")
    shared = [rule for node in sharing for rule in _sharing_rules(node, object_, reader)]
    declared = [*(rule for rule in record if rule is not None), *shared]
    return msgspec.structs.replace(
        own,
        is_declared=True,
        grants=_file_grants(permissions),
        fields=_field_rules(keys, object_),
        rows=(*own.rows, *declared),
        has_row_rules=bool(own.has_row_rules or record or sharing),
        limit=_row_limit(keys.get("row_level_security"), reader),
        actions=_action_rules(keys, permissions, reader),
    )


def _file_grants(permissions: ObjectPermissions) -> dict[str, Roles]:
    """The grants of a file. Where it does not speak of exports, they are for all its readers."""
    grants = {name: frozenset(roles) for name, roles in permissions.grants.items()}
    if EXPORT not in grants:
        readers = (grants.get(name, NO_ROLES) for name in ("read", VIEW_ALL, MODIFY_ALL))
        grants[EXPORT] = NO_ROLES.union(*readers)
    return grants


def _elements(keys: Mapping[str, Node], name: str) -> list[Node]:
    return keys[name].elements() if name in keys else []


def _roles(node: Node | None) -> Roles:
    return NO_ROLES if node is None else frozenset(text for text, _ in node.texts())


def _field_rules(keys: Mapping[str, Node], object_: ObjectDef) -> dict[FieldName, FieldRule]:
    """Field permissions and masks."""
    found: dict[FieldName, FieldRule] = {}
    for name, member in _entries(keys, "field_permissions"):
        parts = {k: _roles(n) for k, n in read_keys(member, accepted.FIELD_GRANTS).items()}
        update = FieldRight(parts.get("update"))
        create = FieldRight(parts["create"]) if "create" in parts else update
        found[FieldName(name)] = FieldRule(FieldRight(parts.get("read")), update, create)
    for name, member in _entries(keys, "field_masking"):
        parts = read_keys(member, accepted.MASK)
        rule = found.get(FieldName(name), FieldRule())
        mask = _mask(parts["mask_format"], object_.fields.get(FieldName(name)))
        seeing = _roles(parts.get("visible_to"))
        found[FieldName(name)] = msgspec.structs.replace(rule, mask=MaskRule(mask, seeing))
    return found


def _mask(node: Node, field: FieldDef | None) -> Mask:
    """The mask, without pieces where an older version has let through what it cannot show."""
    try:
        mask = parse_mask(str(node.value))
    except ValueError:
        return _NOTHING_SHOWN
    is_text = field is not None and field.storage is Storage.TEXT
    return mask if is_text or not mask.told else _NOTHING_SHOWN


def _entries(keys: Mapping[str, Node], name: str) -> list[tuple[str, Node]]:
    return list(keys[name].entries().items()) if name in keys else []


def _rights(parts: Mapping[str, Node]) -> frozenset[Right]:
    """The rights that a rule names; one that names none grants reading."""
    if "permissions" in parts:
        members = read_keys(parts["permissions"], accepted.RULE_RIGHTS)
        return frozenset(right for right in RIGHTS if right in members and members[right].value)
    level = parts["access_level"].value if "access_level" in parts else "read"
    if level == "full":
        return _READ | _UPDATE | _DELETE
    return _READ | _UPDATE if level in ("edit", "read_write", "write") else _READ


def _is_enabled(parts: Mapping[str, Node]) -> bool:
    return "enabled" not in parts or parts["enabled"].value is not False


def _named(parts: Mapping[str, Node]) -> str:
    return str(parts["name"].value) if "name" in parts else ""


def _row_rule(node: Node, keys: Keys, reader: ConditionReader) -> RowRule | None:
    parts = read_keys(node, keys)
    filter_ = reader.read(parts["condition"]) if "condition" in parts else NOBODY
    if not _is_enabled(parts):
        return None
    return RowRule(_named(parts), "record", _rights(parts), filter_)


def _sharing_rules(node: Node, object_: ObjectDef, reader: ConditionReader) -> list[RowRule]:
    """A sharing rule: the records of its condition, for those with whom it shares.

    `owner` shares records with their owners, `team` those whose `team_field` is one of the
    caller's teams, `manual` those that somebody has shared with the caller, to be read or also
    edited; a condition narrows each.
    """
    parts = read_keys(node, accepted.SHARING_RULE)
    filters = [reader.read(parts["condition"])] if "condition" in parts else []
    kind = parts["type"].value if "type" in parts else "criteria"
    match kind:
        case "manual":
            filters.append(_shared(READ_SHARES))
        case "owner":
            filters.append(owned_by_caller(object_))
        case "team":
            at = parts.get("team_field", node)
            path = str(at.value if at is not node else "team").split(".")
            filters.append(reader.checked(Compare(tuple(path), Op.IN, Fact("teams")), at))
        case "criteria" if filters:
            pass
        case _:
            filters = [NOBODY]
    if not _is_enabled(parts):
        return []
    name, rights = _named(parts), _rights(parts)
    roles = _shared_with(parts.get("shared_with"))
    if kind != "manual":
        return [RowRule(name, "sharing", rights, joined(*filters), roles)]
    if "permissions" not in parts and "access_level" not in parts:
        rights = _READ | _UPDATE
    edited = joined(*filters, _shared(EDIT_SHARES))
    return [
        RowRule(name, "sharing", rights & _READ, joined(*filters), roles),
        RowRule(name, "sharing", rights & _UPDATE, edited, roles),
    ]


def _shared(fact: str) -> Filter:
    return Compare((SHARES,), Op.IN, Fact(fact))


def _shared_with(node: Node | None) -> Roles:
    """The roles, users (`user:<id>`) and teams (`team:<id>`) with whom something is shared."""
    if node is None or not node.is_mapping:
        return _EVERYBODY
    members = node.entries()
    kind = str(members["type"].value) if "type" in members else "role"
    names: list[str] = []
    for key in ("roles", "users", "teams", "positions", "value", "values"):
        given = members[key].value if key in members else ()
        names += [given] if isinstance(given, str) else [str(name) for name in given or ()]
    prefix = f"{kind}:" if kind in PRINCIPALS else ""
    return frozenset(prefix + name for name in names)


def _row_limit(node: Node | None, reader: ConditionReader) -> RowLimit | None:
    """What `row_level_security` narrows everybody to; without a default it is nothing at all."""
    if node is None:
        return None
    keys = read_keys(node, accepted.ROW_SECURITY)
    default = reader.read(keys["default_rule"]) if "default_rule" in keys else NOBODY
    exceptions: list[tuple[str, Filter | None]] = []
    for element in _elements(keys, "exceptions"):
        members = element.entries()
        role = str(members["role"].value) if "role" in members else ""
        if "bypass" in members and members["bypass"].value is True:
            exceptions.append((role, None))
        elif "condition" in members:
            exceptions.append((role, reader.read(members["condition"])))
    if "enabled" not in keys or keys["enabled"].value is not True:
        return None
    return RowLimit(default, tuple(exceptions))


def _action_rules(
    keys: Mapping[str, Node], permissions: ObjectPermissions, reader: ConditionReader
) -> dict[str, ActionRule]:
    found = {name: ActionRule(frozenset(roles)) for name, roles in permissions.actions.items()}
    if "action_permissions" not in keys:
        return found
    for name, member in keys["action_permissions"].entries().items():
        parts = read_keys(member, accepted.ACTION_GRANT)
        if name not in found:
            continue
        conditions = [reader.read(each) for each in _elements(parts, "conditions")]
        condition = joined(*conditions) if "conditions" in parts else None
        found[name] = ActionRule(found[name].execute, condition, _rates(parts.get("rate_limit")))
    return found


def _rates(node: Node | None) -> tuple[Rate, ...]:
    """What a `rate_limit` says, shortest time first; the file's check has refused what is no number."""
    if node is None:
        return ()
    keys = read_keys(node, accepted.RATE_LIMIT)
    counts = {seconds: keys[name].count() for name, seconds in _RATE_UNITS.items() if name in keys}
    return tuple(Rate(count / seconds, count) for seconds, count in counts.items() if count)
