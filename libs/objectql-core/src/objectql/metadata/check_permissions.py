"""Permission files: shape, roles, and the names of fields and actions.

What a condition means is compiled by `security`; here it must only be one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from objectql.context import ADMIN_ROLE, SYSTEM_ROLE
from objectql.ids import FieldName, ObjectName
from objectql.metadata import keys as accepted
from objectql.metadata.check_fields import expression
from objectql.metadata.conditions import check_condition, check_field_name
from objectql.metadata.document import Node
from objectql.metadata.keys import read_keys
from objectql.metadata.masks import parse_mask
from objectql.metadata.model import SHARES, FieldDef, ObjectDef, ObjectPermissions
from objectql.metadata.types import Storage

_CONDITION_TYPES = ("simple", "complex", "lookup", "formula")
_RECORDED = ("permission_grant", "permission_revoke", "access_denied")
_NOT_KEPT = {
    "retention_days": "security logs are kept as long as the installation says, and histories as "
    'long as "audit" of the object says',
    "alerts": "nobody is alerted",
}
_SHARING_TYPES = ("criteria", "manual", "team", "owner")


def check_permissions(node: Node, object: ObjectDef) -> ObjectPermissions:
    """What the permission file at `node` grants on `object`."""
    keys = read_keys(node, accepted.PERMISSION)
    roles = _Roles(keys.get("roles"))
    fields, actions = object.fields, object.actions
    grants: dict[str, tuple[str, ...]] = {}
    if "object_permissions" in keys:
        members = read_keys(keys["object_permissions"], accepted.GRANTS)
        grants = {operation: roles.read(member) for operation, member in members.items()}
    if "field_permissions" in keys:
        for name, member in keys["field_permissions"].entries().items():
            _known(member, name, fields, "unknown_field", "field")
            for grant in read_keys(member, accepted.FIELD_GRANTS).values():
                roles.read(grant)
    may_execute: dict[str, tuple[str, ...]] = {}
    if "action_permissions" in keys:
        for name, member in keys["action_permissions"].entries().items():
            _known(member, name, actions, "unknown_action", "action")
            parts = read_keys(member, accepted.ACTION_GRANT)
            may_execute[name] = roles.read(parts["execute"]) if "execute" in parts else ()
            if "conditions" in parts:
                for condition in parts["conditions"].elements():
                    check_condition(condition, fields)
            if "rate_limit" in parts:
                for limit in read_keys(parts["rate_limit"], accepted.RATE_LIMIT).values():
                    if limit.count() == 0:
                        limit.fail("rate_of_nothing", "a limit lets at least one request pass")
    if "record_rules" in keys:
        _check_record_rules(keys["record_rules"], accepted.RECORD_RULE, fields)
    if "sharing_rules" in keys:
        _check_record_rules(keys["sharing_rules"], accepted.SHARING_RULE, fields)
    if "row_level_security" in keys:
        _check_row_security(keys["row_level_security"], fields, roles)
    if "view_permissions" in keys:
        # A restriction that nothing keeps is worse than none: its author relies on it.
        for name, member in keys["view_permissions"].entries().items():
            message = f'views have no permissions of their own; "{name}" would restrict nothing'
            member.fail("unsupported", message)
    if "audit" in keys:
        _check_audit(keys["audit"])
    if "field_masking" in keys:
        _check_masks(keys["field_masking"], object, roles)
    return ObjectPermissions(
        object=ObjectName(object.name),
        grants=grants,
        shares_by_hand=_shares_by_hand(keys.get("sharing_rules"), object),
        actions=may_execute,
        document={key: member.value for key, member in keys.items()},
        package=node.document.layer,
    )


class _Roles:
    """The roles that a file declares; a file without `roles` may name any."""

    def __init__(self, node: Node | None) -> None:
        self._declared = None if node is None else {text for text, _ in node.texts()}

    def read(self, node: Node) -> tuple[str, ...]:
        names: list[str] = []
        for name, element in node.texts():
            names.append(name)
            known = self._declared
            if known is not None and name not in known | {ADMIN_ROLE, SYSTEM_ROLE, "*"}:
                message = f'"{name}" is not among the roles of this file'
                element.fail("unknown_role", message, near=name, among=known)
        return tuple(names)


def _known(node: Node, name: str, names: Collection[str], code: str, what: str) -> None:
    if name not in names:
        node.fail(code, f'there is no {what} "{name}"', near=name, among=names)


def _check_record_rules(node: Node, keys: accepted.Keys, fields: Collection[str]) -> None:
    names: set[str] = set()
    for rule in node.elements():
        parts = read_keys(rule, keys)
        if not rule.is_mapping:
            continue
        name = parts["name"].text() if "name" in parts else None
        if name is None:
            rule.fail("rule_without_name", "a rule needs a name")
        elif name in names:
            parts["name"].fail("duplicate_rule", f'the rule "{name}" is declared twice')
        names.add(name or "")
        if "permissions" in parts:
            for right in read_keys(parts["permissions"], accepted.RULE_RIGHTS).values():
                right.boolean()
        if "type" in parts:
            parts["type"].choice(_SHARING_TYPES)
        if "condition" in parts:
            check_row_condition(parts["condition"], fields)
        elif keys is accepted.RECORD_RULE:
            rule.fail("rule_incomplete", 'a record rule needs a "condition"')


def _shares_by_hand(node: Node | None, object: ObjectDef) -> bool:
    """Whether some rule lets records be shared by hand."""
    if node is None or not node.is_list:
        return False
    kinds = [
        each.child("type", each.value["type"])
        for each in node.elements()
        if each.is_mapping and each.value.get("type") == "manual"
    ]
    if kinds and SHARES in object.fields:
        message = f"what is shared is kept in {SHARES}, which {object.name} declares for itself"
        kinds[0].fail("system_field_redeclared", message)
    return bool(kinds)


def check_row_condition(node: Node, fields: Collection[str] | None) -> None:
    """A condition on rows: the common grammar, or one of the four written with a `type`."""
    if not node.is_mapping or "type" not in node.value:
        check_condition(node, fields)
        return
    members = node.entries()
    kind = members["type"].choice(_CONDITION_TYPES)
    rest: dict[str, Any] = {k: v.value for k, v in members.items() if k != "type"}
    if kind == "simple":
        check_condition(Node(rest, node.document, node.path, node.problems), fields)
    elif kind == "formula":
        if "formula" in members:
            expression(members["formula"])
        else:
            node.fail("rule_incomplete", 'a formula condition needs a "formula"')
    elif kind == "lookup":
        for part in ("object", "via", "condition"):
            if part not in members:
                node.fail("rule_incomplete", f'a lookup condition needs "{part}"')
        if "via" in members:
            check_field_name(members["via"], fields)
        if "condition" in members:
            check_row_condition(members["condition"], None)
    elif kind == "complex":
        if "expression" in members:
            _check_infix(members["expression"], fields)
        else:
            node.fail("rule_incomplete", 'a complex condition needs an "expression"')


def _check_infix(node: Node, fields: Collection[str] | None) -> None:
    """Conditions with `and` or `or` between them; a list inside is a group."""
    elements = node.elements()
    for index, element in enumerate(elements):
        if index % 2:
            element.choice(("and", "or"))
        elif element.is_list:
            _check_infix(element, fields)
        else:
            check_row_condition(element, fields)
    if elements and len(elements) % 2 == 0:
        node.fail("expression_unbalanced", "a condition must follow the last and/or")


def _check_row_security(node: Node, fields: Collection[str], roles: _Roles) -> None:
    keys = read_keys(node, accepted.ROW_SECURITY)
    if "enabled" in keys:
        keys["enabled"].boolean()
    if "default_rule" in keys:
        check_row_condition(keys["default_rule"], fields)
    if "exceptions" not in keys:
        return
    for exception in keys["exceptions"].elements():
        members = exception.entries()
        if "role" not in members:
            exception.fail("rule_incomplete", 'an exception needs a "role"')
            continue
        roles.read(exception.child("role", [members["role"].value]))
        if "condition" in members:
            check_row_condition(members["condition"], fields)


def _check_audit(node: Node) -> None:
    """What access is recorded; whoever reads the file must be able to rely on all that it says."""
    keys = read_keys(node, accepted.AUDIT_OF_ACCESS)
    if "enabled" in keys and keys["enabled"].boolean() is False:
        keys["enabled"].fail("unsupported", "access that is denied is always recorded")
    if "events" in keys:
        for event, element in keys["events"].texts():
            if event not in _RECORDED:
                element.fail("unsupported", f'"{event}" is not recorded')
    for key, message in _NOT_KEPT.items():
        if key in keys:
            keys[key].fail("unsupported", message)


def _check_masks(node: Node, object: ObjectDef, roles: _Roles) -> None:
    for name, member in node.entries().items():
        _known(member, name, object.fields, "unknown_field", "field")
        keys = read_keys(member, accepted.MASK)
        if "mask_format" in keys:
            _check_mask(keys["mask_format"], object.fields.get(FieldName(name)))
        else:
            member.fail("rule_incomplete", 'a mask needs a "mask_format"')
        if "visible_to" in keys:
            roles.read(keys["visible_to"])


def _check_mask(node: Node, field: FieldDef | None) -> None:
    text = node.text()
    if text is None or field is None:
        return
    try:
        mask = parse_mask(text)
    except ValueError as exc:
        node.fail("mask_unusable", str(exc))
        return
    if field.name == "id" or not field.is_stored:
        node.fail("mask_unusable", f'"{field.name}" cannot be masked')
    elif mask.told and field.storage is not Storage.TEXT:
        node.fail("mask_unusable", f'"{field.name}" is no text of which a part could be shown')
