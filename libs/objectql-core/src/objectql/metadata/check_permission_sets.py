"""Permission sets and the positions that hand them out: shape, and the names of objects and fields.

What a policy's expression means is read by `security`; here it must only be a text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from objectql.ids import FieldName, ObjectName
from objectql.metadata import keys as accepted
from objectql.metadata.check_fields import expression
from objectql.metadata.check_items import check_item
from objectql.metadata.document import Document, Node
from objectql.metadata.keys import read_keys
from objectql.metadata.model import Item, ObjectDef

KIND = "permission_set"
EVERY_OBJECT = "*"
SCOPES = ("own", "own_and_reports", "unit", "unit_and_below", "org")
OPERATIONS = ("select", "insert", "update", "delete", "all")

Objects = Mapping[ObjectName, ObjectDef]


def is_permission_set(document: Document) -> bool:
    """Whether it is one, by its type or, of a `*.permission.yml`, by being about several objects."""
    content = document.content
    if document.type == KIND or not isinstance(content, Mapping):
        return document.type == KIND
    return document.type == "permission" and "objects" in content and "object" not in content


def check_permission_set(node: Node, objects: Objects) -> Item | None:
    """The set as an item; None if the document is no mapping."""
    item = check_item(node, objects)
    if item is None:
        return None
    keys = read_keys(node, accepted.PERMISSION_SET)
    if "objects" in keys:
        for name, member in keys["objects"].entries().items():
            if name != EVERY_OBJECT:
                _find_object(member, name, objects)
            _check_grants(member)
    if "fields" in keys:
        for name, member in keys["fields"].entries().items():
            _check_field(member, name, objects)
    if "system_permissions" in keys:
        keys["system_permissions"].texts()
    if "is_default" in keys:
        keys["is_default"].boolean()
    if "row_level_security" in keys:
        for policy in keys["row_level_security"].elements():
            _check_policy(policy, objects)
    return msgspec.structs.replace(item, type=KIND)


def check_position(node: Node, sets: Collection[str]) -> None:
    """`permission_sets` of a position name sets that there are."""
    members = node.entries() if node.is_mapping else {}
    for key in ("permission_sets", "permissionSets"):
        for name, element in members[key].texts() if key in members else ():
            if name not in sets:
                message = f'there is no permission set "{name}"'
                element.fail("unknown_permission_set", message, near=name, among=sets)


def _find_object(node: Node, name: str, objects: Objects) -> ObjectDef | None:
    found = objects.get(ObjectName(name))
    if found is None:
        message = f'there is no object "{name}"'
        node.fail("unknown_reference", message, near=name, among=objects)
    return found


def _check_grants(node: Node) -> None:
    for name, member in read_keys(node, accepted.SET_GRANTS).items():
        if name.endswith("_scope"):
            member.choice(SCOPES)
        else:
            member.boolean()


def _check_field(node: Node, name: str, objects: Objects) -> None:
    """A field is called `object.field`."""
    object_name, _, field = name.partition(".")
    object_ = _find_object(node, object_name, objects)
    if object_ is not None and FieldName(field) not in object_.fields:
        message = f'{object_name} has no field "{field}"'
        node.fail("unknown_field", message, near=field, among=object_.fields)
    for member in read_keys(node, accepted.SET_FIELD).values():
        member.boolean()


def _check_policy(node: Node, objects: Objects) -> None:
    keys = read_keys(node, accepted.ROW_POLICY)
    if not node.is_mapping:
        return
    for name in ("name", "object", "operation"):
        if name not in keys:
            node.fail("rule_incomplete", f'a row policy needs "{name}"')
    if "name" in keys:
        keys["name"].text()
    if "object" in keys and (name := keys["object"].text()) is not None:
        _find_object(keys["object"], name, objects)
    operation = keys["operation"].choice(OPERATIONS) if "operation" in keys else None
    for name in ("using", "check"):
        if name in keys:
            expression(keys[name])
    if "enabled" in keys:
        keys["enabled"].boolean()
    if "positions" in keys:
        keys["positions"].texts()
    if "using" not in keys and not (operation == "insert" and "check" in keys):
        needed = '"check" or "using"' if operation == "insert" else '"using"'
        node.fail("rule_incomplete", f"a row policy for {operation} needs {needed}")
