"""Object documents to `ObjectDef`s: several documents of one object are merged first.

Merging goes key by key: of an object, and of each of its fields; other maps (`indexes`,
`actions`) by member; a list replaces a list. The later document wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from objectql.ids import (
    MAX_NAME,
    RESERVED_OBJECTS,
    RESERVED_PREFIXES,
    TENANT_MARK,
    DataSource,
    FieldName,
    ObjectName,
    is_name,
    is_tenants_own,
)
from objectql.metadata import keys as accepted
from objectql.metadata.check_fields import autonumber_fields, check_field, title
from objectql.metadata.check_machines import check_machine
from objectql.metadata.check_required import check_required, check_required_of_object
from objectql.metadata.check_rules import check_rules, rule_nodes
from objectql.metadata.document import TENANT_LAYER, Node
from objectql.metadata.keys import read_keys
from objectql.metadata.model import (
    SHARES,
    ActionDef,
    AuditDef,
    Features,
    FieldDef,
    IndexDef,
    ObjectDef,
    system_fields,
)
from objectql.metadata.types import Storage

MAX_FIELDS = 800
"""Postgres allows 1600 columns; half of them keeps every statement within its parameters."""

_API_METHODS = ("get", "list", "create", "update", "delete", "bulk")
_RESERVED_FIELDS = frozenset(f.name for f in system_fields(soft_delete=True)) | {
    FieldName("tenant_id"),
    FieldName("deleted_by"),
}
_VERBATIM = """ai_context ai sync sharing_model ownership tenancy system_fields access
required_permissions managed_by lifecycle field_groups list_views namespace active abstract
compact_layout title_format record_name keywords triggers hooks permissions views""".split()


class ObjectParts:
    """The documents of one object, merged: each key with the node that won."""

    def __init__(self, name: str, node: Node) -> None:
        self.name = name
        self.node = node
        self.keys: dict[str, Node] = {}
        self.fields: dict[str, tuple[Node, dict[str, Node]]] = {}
        self.indexes: dict[str, Node] = {}
        self.actions: dict[str, Node] = {}
        self.rules: list[Node] = []
        self.layer = node.document.layer

    def add(self, node: Node) -> None:
        """Merge another document of the object over what is here."""
        keys = read_keys(node, accepted.OBJECT)
        for name, member in keys.items():
            if name == "fields":
                self._add_fields(member)
            elif name == "indexes":
                self.indexes |= _named_members(member, "index")
            elif name == "actions":
                self.actions |= _named_members(member, "action")
            elif name in ("validation", "validations"):
                self.rules += rule_nodes(member)
            else:
                self.keys[name] = member

    def _add_fields(self, node: Node) -> None:
        for name, member in _named_members(node, "field").items():
            keys = {} if member.value is None else read_keys(member, accepted.FIELD)
            if keys.get("system") and (name in _RESERVED_FIELDS or name == SHARES):
                continue  # a document that this server has served comes back
            place, before = self.fields.get(name, (member, {}))
            self.fields[name] = (place, before | keys)


def _named_members(node: Node, what: str) -> dict[str, Node]:
    """The members of a map, or of a list whose elements have a `name`."""
    if not node.is_list:
        return node.entries()
    members: dict[str, Node] = {}
    for position, element in enumerate(node.elements()):
        name = _name_of_element(element)
        if name is None:
            if what != "index":
                element.fail(f"{what}_without_name", f"a listed {what} needs a name")
                continue
            name = f"#{position}"
        if name in members:
            element.fail(f"duplicate_{what}", f'the {what} "{name}" is declared twice')
        members.setdefault(name, element)
    return members


def _name_of_element(node: Node) -> str | None:
    if node.is_mapping:
        name = cast("Mapping[str, Any]", node.value).get("name")
        return name if isinstance(name, str) else None
    return None


def build_object(parts: ObjectParts) -> ObjectDef:
    """The object that `parts` describe; references to other objects are not settled yet."""
    keys = parts.keys
    name = parts.name
    _check_object_name(parts)
    values: dict[str, Any] = {"name": ObjectName(name), "package": parts.layer}
    values["label"] = _text(keys, "label") or title(name)
    values["plural_label"] = _text(keys, "plural_label") or f"{values['label']}s"
    values["description"] = _text(keys, "description") or ""
    values["icon"] = _text(keys, "icon")
    values["datasource"] = DataSource(_text(keys, "datasource") or "default")
    values["table"] = _table(keys) or name
    for flag in ("is_system", "require_version"):
        if flag in keys:
            values[flag] = keys[flag].boolean() or False
    values["enable"] = _features(keys["enable"]) if "enable" in keys else Features()
    fields = _fields(parts, soft_delete=values["enable"].trash)
    values["fields"] = fields
    values["name_field"] = _name_field(keys, fields)
    if "audit" in keys:
        values["audit"] = _audit(keys["audit"], fields)
    values["indexes"] = _indexes(parts.indexes, fields)
    values["actions"] = {
        key: action
        for key, node in parts.actions.items()
        if (action := _action(key, node)) is not None
    }
    values["validations"] = check_rules(parts.rules, cast("Mapping[str, FieldDef]", fields))
    values["state_machines"] = _machines(keys, fields)
    if "tags" in keys:
        values["tags"] = tuple(text for text, _ in keys["tags"].texts())
    if "required_permissions" in keys:
        check_required_of_object(keys["required_permissions"])
    values["extra"] = {key: keys[key].value for key in _VERBATIM if key in keys}
    return ObjectDef(**values)


def check_name(node: Node, name: str, what: str) -> bool:
    """Whether `name` may name a `what`; if not, that is reported at `node`."""
    if is_name(name):
        return True
    if len(name) > MAX_NAME:
        node.fail("name_too_long", f"the name of {what} has at most {MAX_NAME} characters")
    else:
        message = f'"{name}" cannot name {what}: use a to z, 0 to 9 and _, a letter first'
        node.fail("bad_name", message)
    return False


def _check_object_name(parts: ObjectParts) -> None:
    node = parts.keys.get("name", parts.node)
    if not check_name(node, parts.name, "an object"):
        return
    if parts.name in RESERVED_OBJECTS:
        node.fail("reserved_object_name", f'"{parts.name}" is a path of the API itself')
    elif parts.name.startswith(RESERVED_PREFIXES):
        node.fail("reserved_object_name", _reserved("an object"))
    elif parts.layer != TENANT_LAYER:
        check_published_name(node, parts.name, "an object")


def check_published_name(node: Node, name: str, what: str) -> None:
    """Report at `node` that a name is a tenant's, where it is."""
    if is_tenants_own(name):
        message = f"names of {what} that end in {TENANT_MARK} are for tenants' own metadata"
        node.fail("reserved_for_tenants", message)


def _text(keys: Mapping[str, Node], key: str) -> str | None:
    return keys[key].text() if key in keys else None


def _table(keys: Mapping[str, Node]) -> str | None:
    table = _text(keys, "table")
    if table is not None and not check_name(keys["table"], table, "a table"):
        return None
    if table is not None and table.startswith(RESERVED_PREFIXES):
        keys["table"].fail("reserved_table_name", _reserved("a table"))
        return None
    if table is not None:
        check_published_name(keys["table"], table, "a table")
    return table


def _reserved(what: str) -> str:
    prefixes = ", ".join(RESERVED_PREFIXES)
    return f"names of {what} that start with {prefixes} belong to the system"


def _features(node: Node) -> Features:
    values: dict[str, Any] = {}
    for key, member in read_keys(node, accepted.FEATURES).items():
        if key == "api_methods":
            values[key] = tuple(
                method for e in member.elements() if (method := e.choice(_API_METHODS)) is not None
            )
        elif (flag := member.boolean()) is not None:
            values[key] = flag
    return Features(**values)


def _audit(node: Node, fields: Mapping[FieldName, FieldDef]) -> AuditDef:
    values: dict[str, Any] = {}
    for key, member in read_keys(node, accepted.AUDIT).items():
        if key == "retention_days":
            days = member.count()
            if days == 0:
                member.fail("bad_retention", "entries are kept for one day or more")
            values[key] = days or None
            continue
        names = member.texts()
        for name, place in names:
            if name not in fields or fields[FieldName(name)].system:
                known = [name for name, field in fields.items() if not field.system]
                place.fail("unknown_field", f'there is no field "{name}"', near=name, among=known)
        values[key] = tuple(FieldName(name) for name, _ in names if name in fields)
    return AuditDef(**values)


def _fields(parts: ObjectParts, *, soft_delete: bool) -> dict[FieldName, FieldDef]:
    first, *others = system_fields(soft_delete=soft_delete)
    fields = {first.name: first}
    for name, (place, keys) in parts.fields.items():
        if name in _RESERVED_FIELDS or name == "_id":
            place.fail("system_field_redeclared", f"every object has {name} already")
            continue
        if not check_name(place, name, "a field"):
            continue
        if parts.layer != TENANT_LAYER:
            check_published_name(place, name, "a field")
        field = check_field(name, keys, place)
        if field is not None:
            fields[field.name] = field
    for name, (_, keys) in parts.fields.items():
        _check_autonumber(fields.get(FieldName(name)), keys, fields)
    if not parts.fields:
        at = parts.keys.get("name", parts.node)
        at.fail("object_without_fields", f"{parts.name} has no fields")
    if len(fields) > MAX_FIELDS:
        parts.node.fail("too_many_fields", f"an object has at most {MAX_FIELDS} fields")
    return fields | {field.name: field for field in others}


def _check_autonumber(
    field: FieldDef | None, keys: Mapping[str, Node], fields: Mapping[FieldName, FieldDef]
) -> None:
    if field is None or field.type != "autonumber" or "format" not in keys:
        return
    for name in autonumber_fields(field.format or ""):
        if name not in fields:
            message = f'"{{{name}}}" is neither a date part nor a field'
            keys["format"].fail("autonumber_token", message, near=name, among=fields)


def _name_field(keys: Mapping[str, Node], fields: Mapping[FieldName, FieldDef]) -> FieldName | None:
    name = _text(keys, "name_field")
    if name is None:
        return next((n for n in (FieldName("name"), FieldName("title")) if n in fields), None)
    field = fields.get(FieldName(name))
    if field is None:
        message = f'there is no field "{name}"'
        keys["name_field"].fail("unknown_name_field", message, near=name, among=fields)
        return None
    if field.info.write_only:
        keys["name_field"].fail("unreadable_name_field", f"{name} can never be read")
    return field.name


def _indexes(
    members: Mapping[str, Node], fields: Mapping[FieldName, FieldDef]
) -> tuple[IndexDef, ...]:
    indexes: list[IndexDef] = []
    taken: dict[tuple[str, ...], str] = {}
    for key, node in members.items():
        keys = read_keys(node, accepted.INDEX)
        columns = _index_fields(node, keys, fields)
        name = (_text(keys, "name") or key).replace("#", "index_")
        if key.startswith("#") and columns:
            name = "_".join(columns)[:MAX_NAME]
        elif not key.startswith("#"):
            check_name(node, name, "an index")
        unique = (keys["unique"].boolean() or False) if "unique" in keys else False
        if columns in taken:
            node.fail("duplicate_index", f"the index {taken[columns]} has the same fields")
        if columns:
            taken[columns] = name
            indexes.append(IndexDef(name=name, fields=columns, unique=unique))
    return tuple(indexes)


def _index_fields(
    node: Node, keys: Mapping[str, Node], fields: Mapping[FieldName, FieldDef]
) -> tuple[FieldName, ...]:
    if "fields" not in keys:
        if node.is_mapping:
            node.fail("index_without_fields", "an index needs fields")
        return ()
    found: list[FieldName] = []
    texts = keys["fields"].texts()
    if not texts and keys["fields"].is_list and not keys["fields"].value:
        keys["fields"].fail("index_without_fields", "an index needs fields")
    for text, element in texts:
        field = fields.get(FieldName(text)) or _SYSTEM.get(FieldName(text))
        if field is None:
            message = f'there is no field "{text}"'
            element.fail("unknown_index_field", message, near=text, among=fields)
        elif not field.is_stored or field.storage is Storage.JSON:
            element.fail("index_on_unstored_field", f"{text} is not kept in a column to sort by")
        elif field.name in found:
            element.fail("duplicate_index_field", f"{text} stands here twice")
        else:
            found.append(field.name)
    return tuple(found)


_SYSTEM = {field.name: field for field in system_fields(soft_delete=True)}


def _action(name: str, node: Node) -> ActionDef | None:
    if not check_name(node, name, "an action"):
        return None
    keys = {} if node.value is None else read_keys(node, accepted.ACTION)
    values: dict[str, Any] = {"name": name, "label": _text(keys, "label") or title(name)}
    if "type" in keys:
        values["type"] = keys["type"].choice(("record", "global")) or "record"
    for key in ("description", "icon", "confirm_text", "return_type"):
        if key in keys and (text := keys[key].text()) is not None:
            values[key] = text
    for key in ("internal", "transaction"):
        if key in keys:
            values[key] = keys[key].boolean() or False
    if "params" in keys:
        values["params"] = _params(keys["params"])
    if "required_permissions" in keys:
        values["required_permissions"] = check_required(keys["required_permissions"])
    return ActionDef(**values)


def _params(node: Node) -> dict[str, FieldDef]:
    params: dict[str, FieldDef] = {}
    for name, member in _named_members(node, "param").items():
        if not check_name(member, name, "a parameter"):
            continue
        keys = {} if member.value is None else read_keys(member, accepted.FIELD)
        param = check_field(name, keys, member)
        if param is None:
            continue
        if param.info.computed:
            member.fail("computed_param", f"a {param.type} cannot be a parameter")
        params[name] = param
    return params


def _machines(
    keys: Mapping[str, Node], fields: Mapping[FieldName, FieldDef]
) -> dict[str, dict[str, Any]]:
    by_name = cast("Mapping[str, FieldDef]", fields)
    machines: list[tuple[Node, str | None]] = []
    if "state_machine" in keys:
        machines.append((keys["state_machine"], None))
    if "state_machines" in keys:
        machines += [(m, name) for name, m in keys["state_machines"].entries().items()]
    found: dict[str, dict[str, Any]] = {}
    for node, name in machines:
        machine = check_machine(node, by_name, name)
        if machine is None:
            continue
        if machine[0] in found:
            node.fail("duplicate_state_machine", f"{machine[0]} has a state machine already")
        found[machine[0]] = machine[1]
    return found
