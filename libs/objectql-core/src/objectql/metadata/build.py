"""Documents to a snapshot: every problem of all of them is found before any is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from objectql.errors import Issue, MetadataInvalid
from objectql.ids import ObjectName
from objectql.metadata.check_items import check_item
from objectql.metadata.check_machines import check_machine
from objectql.metadata.check_objects import ObjectParts, build_object
from objectql.metadata.check_permission_sets import (
    KIND,
    check_permission_set,
    check_position,
    is_permission_set,
)
from objectql.metadata.check_permissions import check_permissions
from objectql.metadata.check_references import resolve_references
from objectql.metadata.check_rules import rule_nodes
from objectql.metadata.check_webhooks import check_webhook
from objectql.metadata.document import CUSTOM_LAYER, Document, Node, Problems, check_values
from objectql.metadata.field_numbers import holds_numbers, numbers_of
from objectql.metadata.model import (
    SHARES,
    Item,
    ObjectDef,
    ObjectPermissions,
    SeedData,
    shares_field,
)
from objectql.metadata.registry import KINDS, MetadataSnapshot

_MERGED = frozenset({"object", "validation", "data"})
"""Types of which one layer may hold several documents of the same name."""


def build_snapshot(documents: Iterable[Document], version: int) -> MetadataSnapshot:
    """The metadata that `documents` make up, in the order of their layers, `custom` last.

    Raises:
        MetadataInvalid: with every problem, by file and place.

    """
    ordered = sorted(documents, key=lambda document: document.layer == CUSTOM_LAYER)
    builder = _Builder(ordered)
    snapshot = builder.build(version)
    if builder.problems.errors:
        raise MetadataInvalid(issues=tuple(sorted(builder.problems.errors, key=_place)))
    return snapshot


def _place(issue: Issue) -> tuple[str, int, int]:
    return issue.file or "", issue.line or 0, issue.column or 0


class _Builder:
    def __init__(self, documents: list[Document]) -> None:
        self.problems = Problems()
        self._documents = documents
        self._nodes: dict[str, list[Node]] = {}
        taken: dict[tuple[str, str, str], Document] = {}
        for document in documents:
            if holds_numbers(document):
                continue
            node = Node.root(document, self.problems)
            check_values(node)
            key = (document.layer, document.type, document.name)
            if document.type not in KINDS:
                message = f'"{document.type}" is no type of metadata'
                node.fail("unknown_document_type", message, near=document.type, among=KINDS)
            elif key in taken and document.type not in _MERGED:
                message = f"{taken[key].path or document.name} declares the same {document.type}"
                node.fail("duplicate_document", message)
            else:
                taken[key] = document
                self._nodes.setdefault(document.type, []).append(node)

    def build(self, version: int) -> MetadataSnapshot:
        parts = self._object_parts()
        self._add_rules(parts)
        built = {ObjectName(name): build_object(part) for name, part in parts.items()}
        objects = resolve_references(built, parts)
        permissions = self._permissions(objects)
        objects = _with_shares(objects, permissions)
        sets = self._permission_sets(objects)
        objects, workflows = self._workflows(objects)
        others = self._items(objects)
        return MetadataSnapshot(
            version,
            objects,
            permissions=permissions,
            items=(*sets, *workflows, *others),
            seeds=self._seeds(objects),
            documents=tuple(self._documents),
            warnings=tuple(sorted(self.problems.warnings, key=_place)),
            numbers=numbers_of(self._documents),
        )

    def _object_parts(self) -> dict[str, ObjectParts]:
        parts: dict[str, ObjectParts] = {}
        for root in self._nodes.get("object", ()):
            for name, node in _objects_in(root):
                parts.setdefault(name, ObjectParts(name, node)).add(node)
        return parts

    def _add_rules(self, parts: Mapping[str, ObjectParts]) -> None:
        for node in self._nodes.get("validation", ()):
            name = self._object_of(node, parts)
            if name is not None:
                parts[name].rules += rule_nodes(node)

    def _object_of(self, node: Node, known: Mapping[Any, Any]) -> str | None:
        """The object that a document is about: its `object`, or else its name."""
        name, at = node.document.name, node
        if node.is_mapping:
            given = cast("Mapping[str, Any]", node.value).get("object")
            if given is not None:
                at = node.child("object", given)
                name = at.text()
        if name is None or name in known:
            return name
        message = f'there is no object "{name}"'
        at.fail("unknown_reference", message, near=name, among=map(str, known))
        return None

    def _permissions(
        self, objects: Mapping[ObjectName, ObjectDef]
    ) -> dict[ObjectName, ObjectPermissions]:
        found: dict[ObjectName, ObjectPermissions] = {}
        for node in self._nodes.get("permission", ()):
            name = None if is_permission_set(node.document) else self._object_of(node, objects)
            if name is not None:
                permissions = check_permissions(node, objects[ObjectName(name)])
                found[permissions.object] = permissions
        return found

    def _permission_sets(self, objects: Mapping[ObjectName, ObjectDef]) -> list[Item]:
        """The sets, also those in files called `*.permission.yml`."""
        found: dict[str, Item] = {}
        for node in (*self._nodes.get("permission", ()), *self._nodes.get(KIND, ())):
            item = check_permission_set(node, objects) if is_permission_set(node.document) else None
            if item is not None:
                found[item.name] = item
        for node in self._nodes.get("position", ()):
            check_position(node, found)
        return list(found.values())

    def _workflows(
        self, objects: dict[ObjectName, ObjectDef]
    ) -> tuple[dict[ObjectName, ObjectDef], list[Item]]:
        items: dict[str, Item] = {}
        for node in self._nodes.get("workflow", ()):
            item = check_item(node, objects)
            if item is None:
                continue
            items[item.name] = item
            if "states" not in item.content:
                continue
            name = self._object_of(node, objects)
            if name is None:
                continue
            object = objects[ObjectName(name)]
            fields = {str(key): field for key, field in object.fields.items()}
            machine = check_machine(node, fields)
            if machine is None:
                continue
            if machine[0] in object.state_machines:
                message = f"{machine[0]} has a state machine already"
                node.fail("duplicate_state_machine", message)
            machines = {**object.state_machines, machine[0]: machine[1]}
            replaced = msgspec.structs.replace(object, state_machines=machines)
            objects = {**objects, object.name: replaced}
        return objects, list(items.values())

    def _items(self, objects: Mapping[ObjectName, ObjectDef]) -> list[Item]:
        special = {"object", "validation", "permission", KIND, "workflow", "data"}
        items: dict[tuple[str, str], Item] = {}
        for kind, nodes in self._nodes.items():
            for node in nodes if kind not in special else ():
                check = check_webhook if kind == "webhook" else check_item
                item = check(node, objects)
                if item is not None:
                    items[kind, item.name] = item
        return list(items.values())

    def _seeds(self, objects: Mapping[ObjectName, ObjectDef]) -> tuple[SeedData, ...]:
        seeds: list[SeedData] = []
        for node in self._nodes.get("data", ()):
            name = self._object_of(node, objects)
            rows = node.elements() if node.is_list else self._records(node)
            if name is None:
                continue
            object = objects[ObjectName(name)]
            records: list[Mapping[str, Any]] = []
            for row in rows:
                members = row.entries()
                for key, member in members.items():
                    if key not in object.fields and key != "_id":
                        message = f'{name} has no field "{key}"'
                        member.fail("unknown_field", message, near=key, among=object.fields)
                records.append({key: member.value for key, member in members.items()})
            document = node.document
            seeds.append(SeedData(object.name, tuple(records), document.layer, document.path))
        return tuple(seeds)

    def _records(self, node: Node) -> list[Node]:
        members = node.entries()
        for key, member in members.items():
            if key not in ("object", "records", "description"):
                message = f'a data file has no key "{key}"'
                member.fail("unknown_key", message, near=key, among=("object", "records"))
        if "records" in members:
            return members["records"].elements()
        if members:
            node.fail("data_without_records", "a data file is a list of rows, or has `records`")
        return []


def _with_shares(
    objects: dict[ObjectName, ObjectDef], permissions: Mapping[ObjectName, ObjectPermissions]
) -> dict[ObjectName, ObjectDef]:
    """`objects` where those with a rule for sharing by hand can keep what is shared."""
    found = dict(objects)
    for name, each in permissions.items():
        if each.shares_by_hand and SHARES not in found[name].fields:
            fields = {**found[name].fields, SHARES: shares_field()}
            found[name] = msgspec.structs.replace(found[name], fields=fields)
    return found


def _objects_in(node: Node) -> list[tuple[str, Node]]:
    """The objects of a document: itself, or each member of a map of objects."""
    if not node.is_mapping:
        node.entries()
        return []
    members = node.entries()
    if members and "fields" not in members and all(_has_fields(m.value) for m in members.values()):
        return list(members.items())
    name = members["name"].text() if "name" in members else node.document.name
    return [] if name is None else [(name, node)]


def _has_fields(value: object) -> bool:
    return isinstance(value, Mapping) and "fields" in value
