"""All permission documents of a snapshot as rules, object by object; and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from objectql.errors import Issue
from objectql.ids import ObjectName
from objectql.metadata.document import Document, Node, Problems
from objectql.metadata.registry import MetadataSnapshot
from objectql.metadata.tenant_snapshot import TenantSnapshot
from objectql.security.conditions import ConditionReader
from objectql.security.documents import read_object, read_permission_file, with_owner
from objectql.security.permission_sets import PermissionSets
from objectql.security.rules import ObjectRules


def read_rules(snapshot: MetadataSnapshot) -> dict[ObjectName, ObjectRules]:
    """The rules of every object; conditions that have no meaning hold for nobody.

    Of a tenant's snapshot only those of the objects that the tenant has changed or added.
    """
    return _Reading(snapshot).rules


def check_rules(snapshot: MetadataSnapshot) -> tuple[Issue, ...]:
    """What the loader cannot see: conditions that no database can answer, with their places."""
    return tuple(_Reading(snapshot).problems.errors)


class _Reading:
    def __init__(self, snapshot: MetadataSnapshot) -> None:
        self.problems = Problems()
        self._snapshot = snapshot
        sources = _sources(snapshot)
        sets = PermissionSets(snapshot, self.problems)
        self.rules: dict[ObjectName, ObjectRules] = {}
        objects = snapshot.own if isinstance(snapshot, TenantSnapshot) else snapshot.objects
        for name, object_ in objects.items():
            reader = ConditionReader(object_, snapshot)
            permissions = snapshot.permissions.get(name)
            if permissions is None:
                rules = read_object(object_)
            else:
                document = sources.get(name) or Document(
                    permissions.package or "", "permission", name, permissions.document
                )
                node = Node.root(document, self.problems)
                rules = read_permission_file(node, permissions, object_, reader)
            self.rules[name] = with_owner(sets.added_to(rules, object_, reader), object_)


def _sources(snapshot: MetadataSnapshot) -> dict[str, Document]:
    """The documents as they were written, with the places of their parts."""
    found: dict[str, Document] = {}
    for document in snapshot.documents:
        if document.type == "permission":
            content = cast("Mapping[str, Any]", document.content)
            found[str(content.get("object", document.name))] = document
    return found
