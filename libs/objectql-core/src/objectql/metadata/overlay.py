"""What a tenant has of its own, checked against the published metadata and laid over it.

Documents are of two types. An `object` of a published name gives fields to that object; one of a
new name is an object of the tenant alone. A `permission` is for an object of the tenant. Names that
the tenant gives end in `__c` (fields of its own objects do not need to), so nothing that is
published can ever collide with them. Nothing published is changed: whatever else a document says is
a problem. Slots are given by `slots`; an object here may still be without.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec

from objectql.errors import Issue, MetadataInvalid
from objectql.ids import TENANT_MARK, ObjectName, TenantId, is_tenants_own
from objectql.metadata import keys as accepted
from objectql.metadata.check_fields import check_field
from objectql.metadata.check_objects import ObjectParts, build_object, check_name
from objectql.metadata.check_permissions import check_permissions
from objectql.metadata.check_references import resolve_references
from objectql.metadata.document import TENANT_LAYER, Document, Node, Problems, check_values
from objectql.metadata.keys import read_keys
from objectql.metadata.model import FieldDef, ObjectDef, ObjectPermissions
from objectql.metadata.registry import MetadataSnapshot
from objectql.metadata.slots import Slots, own_table, with_slots
from objectql.metadata.tenant_snapshot import TenantSnapshot

TYPES: Final = ("object", "permission")
MAX_DOCUMENTS: Final = 200
MAX_OWN_FIELDS: Final = 100
"""Of one published object: with one of each kind, what the tables of all tenants grow by."""

_OBJECT_KEYS: Final = frozenset(
    """name label plural_label description icon name_field require_version enable fields indexes
    validation validations state_machine state_machines tags ai_context sharing_model field_groups
    compact_layout title_format record_name keywords audit""".split()
)
"""Of an object of the tenant: nothing that says where it is kept, or that runs code."""

_NOT_FOR_SHARED: Final = frozenset({"autonumber", "formula", "summary", "master_detail"})
"""Types that a field of a published object cannot have: what they compute or delete is not the
tenant's alone."""


class TenantMetadata(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """All that a tenant has of its own, as it is stored. `number` counts the publications, from 1."""

    number: int = 0
    documents: tuple[Document, ...] = ()
    slots: Slots = {}

    @cached_property
    def digest(self) -> str:
        """Equal where documents and slots are."""
        content = msgspec.json.encode((self.documents, self.slots))
        return hashlib.blake2b(content, digest_size=12).hexdigest()


def own_document(type_: str, name: str, content: Any) -> Document:
    """A document of a tenant."""
    return Document(TENANT_LAYER, type_, name, content)


def build_overlay(
    base: MetadataSnapshot, tenant: TenantId, metadata: TenantMetadata
) -> TenantSnapshot:
    """What `tenant` sees.

    Raises:
        MetadataInvalid: with every problem.

    """
    return _build(base, tenant, metadata)


def _build(
    base: MetadataSnapshot,
    tenant: TenantId,
    metadata: TenantMetadata,
    closed: Collection[str] = (),
) -> TenantSnapshot:
    builder = _Builder(base, tenant, metadata, closed)
    snapshot = builder.build()
    if builder.problems.errors:
        raise MetadataInvalid(issues=tuple(builder.problems.errors))
    return snapshot


def fitting_overlay(
    base: MetadataSnapshot, tenant: TenantId, metadata: TenantMetadata
) -> TenantSnapshot:
    """What `tenant` sees where `base` was published after its metadata.

    Documents that do not fit any more sleep: they are left out until they do. The snapshot's
    `asleep` says why. What sleeping permissions are about is permitted to nobody.
    """
    asleep: list[Issue] = []
    permissions = {d.name for d in metadata.documents if d.type == "permission"}
    while True:
        awake = {d.name for d in metadata.documents if d.type == "permission"}
        try:
            snapshot = _build(base, tenant, metadata, closed=permissions - awake)
        except MetadataInvalid as exc:
            asleep += exc.issues
            files = {issue.file for issue in exc.issues}
            left = tuple(d for d in metadata.documents if f"{d.type}/{d.name}" not in files)
            assert len(left) < len(metadata.documents), "every problem has its document"
            metadata = msgspec.structs.replace(metadata, documents=left)
        else:
            snapshot.asleep = tuple(asleep)
            return snapshot


class _Builder:
    def __init__(
        self,
        base: MetadataSnapshot,
        tenant: TenantId,
        metadata: TenantMetadata,
        closed: Collection[str],
    ) -> None:
        """`closed` are objects whose permissions are not known."""
        self.problems = Problems()
        self._closed = closed
        self._base = base
        self._tenant = tenant
        self._metadata = metadata
        self._nodes = [Node.root(document, self.problems) for document in metadata.documents]

    def build(self) -> TenantSnapshot:
        if len(self._nodes) > MAX_DOCUMENTS:
            self._nodes[-1].fail("too_many_documents", f"a tenant has at most {MAX_DOCUMENTS}")
        for node in self._nodes:
            check_values(node)
            if node.document.type not in TYPES:
                message = f"a tenant has no {node.document.type} of its own"
                node.fail("not_for_tenants", message, near=node.document.type, among=TYPES)
        objects = self._objects()
        slots = self._metadata.slots
        placed = {name: with_slots(o, slots.get(name, {})) for name, o in objects.items()}
        return TenantSnapshot(
            self._base,
            self._tenant,
            self._metadata.digest,
            placed,
            permissions=self._permissions(placed),
            documents=self._metadata.documents,
            warnings=tuple(self.problems.warnings),
        )

    def _of_type(self, type_: str) -> list[Node]:
        return [node for node in self._nodes if node.document.type == type_]

    def _objects(self) -> dict[ObjectName, ObjectDef]:
        new: dict[str, ObjectParts] = {}
        extensions: dict[str, ObjectParts] = {}
        for node in self._of_type("object"):
            name = node.document.name
            if not node.is_mapping:
                node.entries()
                continue
            parts = ObjectParts(name, node)
            if ObjectName(name) in self._base.objects:
                extensions[name] = self._read(parts, node, frozenset({"name", "fields"}))
            elif is_tenants_own(name):
                new[name] = self._read(parts, node, _OBJECT_KEYS)
            else:
                message = f'there is no object "{name}"; one of your own ends in {TENANT_MARK}'
                among = map(str, self._base.objects)
                node.fail("unknown_object", message, near=name, among=among)
        built = {ObjectName(name): self._new_object(parts) for name, parts in new.items()}
        fields = {name: self._own_fields(parts) for name, parts in extensions.items()}
        bare = {
            ObjectName(name): msgspec.structs.replace(
                self._base.object(name), fields=found, actions={}
            )
            for name, found in fields.items()
        }
        resolved = resolve_references(
            {**built, **bare}, {**new, **extensions}, among=self._base.objects
        )
        return {
            name: object_ if name in built else _extended(self._base.object(name), object_.fields)
            for name, object_ in resolved.items()
        }

    def _read(self, parts: ObjectParts, node: Node, allowed: frozenset[str]) -> ObjectParts:
        for key, member in read_keys(node, accepted.OBJECT).items():
            if key not in allowed:
                member.fail("not_for_tenants", f'"{key}" is not a tenant\'s to say')
        own_name = parts.node.entries().get("name")
        if own_name is not None and own_name.value != parts.name:
            message = f'the document is called "{own_name.value}" and was sent as "{parts.name}"'
            own_name.fail("name_mismatch", message)
        parts.add(node)
        return parts

    def _new_object(self, parts: ObjectParts) -> ObjectDef:
        object_ = build_object(parts)
        return msgspec.structs.replace(object_, table=own_table(self._tenant, parts.name))

    def _own_fields(self, parts: ObjectParts) -> Mapping[Any, FieldDef]:
        if len(parts.fields) > MAX_OWN_FIELDS:
            message = f"a tenant gives an object at most {MAX_OWN_FIELDS} fields"
            parts.node.fail("too_many_fields", message)
        found: dict[Any, FieldDef] = {}
        for name, (place, keys) in parts.fields.items():
            if not is_tenants_own(name):
                message = (
                    f'the name of a field of your own ends in {TENANT_MARK}: "{name}" does not'
                )
                place.fail("not_a_tenants_name", message)
            elif check_name(place, name, "a field"):
                field = check_field(name, keys, place)
                if field is not None:
                    self._check_own_field(field, keys, place)
                    found[field.name] = field
        if not parts.fields:
            parts.node.fail("object_without_fields", f"there are no fields for {parts.name}")
        return found

    def _check_own_field(self, field: FieldDef, keys: Mapping[str, Node], place: Node) -> None:
        object_name = place.document.name
        if field.type in _NOT_FOR_SHARED:
            node = keys.get("type", place)
            node.fail("not_for_tenants", f"a {field.type} is for objects of your own")
        if field.reference is not None and field.delete_behavior != "set_null":
            node = keys.get("delete_behavior", place)
            message = f"what is deleted does not decide about records of {object_name}"
            node.fail("not_for_tenants", message)

    def _permissions(
        self, objects: Mapping[ObjectName, ObjectDef]
    ) -> dict[ObjectName, ObjectPermissions]:
        closed = [name for name in objects if name in self._closed]
        found = {name: ObjectPermissions(name) for name in closed}
        for node in self._of_type("permission"):
            name = ObjectName(node.document.name)
            if not is_tenants_own(name) or name not in objects:
                message = f'"{name}" is not an object of your own'
                node.fail("not_for_tenants", message, near=name, among=map(str, objects))
                continue
            permissions = check_permissions(node, objects[name])
            if permissions.object != name:
                node.fail("name_mismatch", f"the document is about {permissions.object}")
            found[name] = permissions
        return found


def _extended(base: ObjectDef, fields: Mapping[Any, FieldDef]) -> ObjectDef:
    """`base` with `fields` after its own, and before the columns that every object has."""
    head = {name: field for name, field in base.fields.items() if not field.system or name == "id"}
    return msgspec.structs.replace(base, fields={**head, **fields, **base.fields})


def own_fields(object_: ObjectDef) -> Sequence[FieldDef]:
    """The stored fields that the tenant has given the object; they need slots."""
    is_own = is_tenants_own(object_.name)
    return [
        field
        for field in object_.stored_fields
        if not field.system and (is_own or is_tenants_own(field.name))
    ]
