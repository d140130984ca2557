"""Published metadata: immutable snapshots, and the registry that swaps them.

A request takes one snapshot and keeps it to the end. Look-ups are one dictionary access; the
indexes (by package, by tag, dependents, inverse look-ups) are built once per snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeAlias, cast

from objectql.errors import Issue, MetadataNotFound, ObjectUnknown
from objectql.ids import ObjectName
from objectql.metadata.document import Document
from objectql.metadata.encode import object_document
from objectql.metadata.field_numbers import ObjectNumbers
from objectql.metadata.model import FieldDef, Item, ObjectDef, ObjectPermissions, SeedData

Definition: TypeAlias = "ObjectDef | ObjectPermissions | Item"

KINDS = """object data validation permission workflow view form report page menu app translation
field hook seed mapping dashboard action dataset flow job datasource external_catalog api
email_template doc book position capability agent tool skill permission_set
webhook""".split()
"""The types of documents; the file name says which (`invoice.object.yml`)."""

PLURALS = {
    **{f"{kind}s": kind for kind in KINDS},
    "capabilities": "capability",
    "apis": "api",
    "data": "data",
}


def singular(type: str) -> str:
    """The type of `type` in the singular: `objects` as `object`."""
    return type if type in KINDS else PLURALS.get(type, type)


class Dependent:
    """Something that refers to an object; `how` is `lookup`, `summary`, `permission`, ..."""

    __slots__ = ("how", "name", "type")

    def __init__(self, type: str, name: str, how: str) -> None:
        self.type = type
        self.name = name
        self.how = how

    def __repr__(self) -> str:
        return f"{self.type}:{self.name} ({self.how})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dependent) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


class MetadataSnapshot:
    """All metadata at one version. Nothing in it ever changes."""

    def __init__(
        self,
        version: int,
        objects: Mapping[ObjectName, ObjectDef],
        *,
        permissions: Mapping[ObjectName, ObjectPermissions] | None = None,
        items: Iterable[Item] = (),
        seeds: tuple[SeedData, ...] = (),
        documents: tuple[Document, ...] = (),
        warnings: tuple[Issue, ...] = (),
        numbers: Mapping[ObjectName, ObjectNumbers] | None = None,
    ) -> None:
        self.version = version
        self.edition: int | str = version
        """What keys of caches hold: differs where anything does that this snapshot says."""
        self.objects = objects
        self.permissions: Mapping[ObjectName, ObjectPermissions] = permissions or {}
        self.items = tuple(items)
        self.seeds = seeds
        self._documents = documents
        self.warnings = warnings
        self.numbers: Mapping[ObjectName, ObjectNumbers] = numbers or {}
        self._types: Mapping[str, Mapping[str, Definition]] = self._by_type()
        self._packages: Mapping[str, tuple[tuple[str, str], ...]] = self._by_package()
        self._tags: Mapping[str, tuple[ObjectDef, ...]] = _grouped(
            (tag, o) for o in objects.values() for tag in o.tags
        )
        self._inverse: Mapping[ObjectName, tuple[tuple[ObjectDef, FieldDef], ...]] = _grouped(
            (field.reference, (object, field))
            for object in objects.values()
            for field in object.fields.values()
            if field.reference is not None
        )
        self._dependents: Mapping[str, tuple[Dependent, ...]] = _grouped(self._references())

    @property
    def documents(self) -> tuple[Document, ...]:
        """What it was built from."""
        return self._documents

    def object(self, name: str) -> ObjectDef:
        """The object called `name`.

        Raises:
            ObjectUnknown: there is none.

        """
        try:
            return self.objects[ObjectName(name)]
        except KeyError:
            near = tuple(get_close_matches(name, self.objects, n=2))
            raise ObjectUnknown(object=name, suggestions=near) from None

    def get(self, type: str, name: str) -> Definition | None:
        """The definition of that type (singular or plural) and name, if there is one."""
        members = self._types.get(type) or self._types.get(singular(type))
        return members.get(name) if members else None

    def list(self, type: str) -> tuple[Definition, ...]:
        """All definitions of a type, in the order of loading."""
        return tuple(self._types.get(singular(type), {}).values())

    def types(self) -> tuple[str, ...]:
        """The types that have at least one definition, sorted."""
        return tuple(sorted(self._types))

    def by_package(self, package: str) -> tuple[tuple[str, str], ...]:
        """Type and name of what `package` defines."""
        return self._packages.get(package, ())

    def by_tag(self, tag: str) -> tuple[ObjectDef, ...]:
        return self._tags.get(tag, ())

    def dependents(self, name: str) -> tuple[Dependent, ...]:
        """What refers to the object `name`."""
        return self._dependents.get(name, ())

    def inverse_lookups(self, object: str) -> tuple[tuple[ObjectDef, FieldDef], ...]:
        """Each field, with its object, that points to records of `object`."""
        return self._inverse.get(ObjectName(object), ())

    def document(self, type: str, name: str) -> dict[str, Any]:
        """The definition as JSON values, with every default filled in.

        Raises:
            MetadataNotFound: there is no such definition.

        """
        found = self.get(type, name)
        if isinstance(found, ObjectDef):
            return object_document(found)
        if isinstance(found, ObjectPermissions):
            return {"object": found.object, **found.document}
        if isinstance(found, Item):
            return {"name": found.name, **found.content}
        names = self._types.get(singular(type), {})
        near = tuple(get_close_matches(name, names, n=2))
        raise MetadataNotFound(type=singular(type), name=name, suggestions=near)

    def _by_type(self) -> dict[str, dict[str, Definition]]:
        types: dict[str, dict[str, Definition]] = {}
        if self.objects:
            types["object"] = {str(name): object for name, object in self.objects.items()}
        if self.permissions:
            types["permission"] = {str(name): p for name, p in self.permissions.items()}
        for item in self.items:
            types.setdefault(item.type, {})[item.name] = item
        return types

    def _by_package(self) -> dict[str, tuple[tuple[str, str], ...]]:
        return _grouped(
            (definition.package, (type, name))
            for type, members in self._types.items()
            for name, definition in members.items()
            if definition.package is not None
        )

    def _references(self) -> Iterable[tuple[str, Dependent]]:
        for object in self.objects.values():
            for field in object.fields.values():
                name = f"{object.name}.{field.name}"
                if field.reference is not None:
                    yield field.reference, Dependent("field", name, "lookup")
                if field.summary is not None:
                    yield field.summary.object, Dependent("field", name, "summary")
        for permissions in self.permissions.values():
            yield permissions.object, Dependent("permission", permissions.object, "permission")
        for item in self.items:
            target = item.content.get("object")
            if isinstance(target, str):
                yield target, Dependent(item.type, item.name, item.type)


def _grouped(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, tuple[Any, ...]]:
    groups: dict[Any, list[Any]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in groups.items()}


EMPTY = MetadataSnapshot(0, {})
OnPublish: TypeAlias = "Callable[[MetadataSnapshot, MetadataSnapshot], None]"


class MetadataRegistry:
    """The snapshot in force, and the items that code registers beside it.

    Plugins and components register items at run time; they are found before those of the
    snapshot. Every index entry of an item is known from the item itself, so replacing or removing
    it costs what it is, not what the registry holds.
    """

    def __init__(self, snapshot: MetadataSnapshot = EMPTY) -> None:
        self._snapshot = snapshot
        self._listeners: list[OnPublish] = []
        self._items: dict[tuple[str, str], Item] = {}
        self._packages: dict[str, dict[tuple[str, str], None]] = {}
        self._tags: dict[str, dict[tuple[str, str], None]] = {}

    @property
    def snapshot(self) -> MetadataSnapshot:
        return self._snapshot

    def publish(self, snapshot: MetadataSnapshot) -> None:
        """Put `snapshot` in force, then tell the listeners (old, new), in order of subscription."""
        old, self._snapshot = self._snapshot, snapshot
        for listener in tuple(self._listeners):
            listener(old, snapshot)

    def on_publish(self, listener: OnPublish) -> Callable[[], None]:
        """Call `listener(old, new)` after each publication; the result unsubscribes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def get(
        self, type: str, name: str, snapshot: MetadataSnapshot | None = None
    ) -> Definition | None:
        """The registered item, or else what the snapshot in force holds, or the given one."""
        found = self._items.get((type, name)) or self._items.get((singular(type), name))
        return found or (snapshot or self._snapshot).get(type, name)

    def list(self, type: str, snapshot: MetadataSnapshot | None = None) -> tuple[Definition, ...]:
        """Everything of a type; a registered item stands in for one of the same name."""
        kind = singular(type)
        own = {name: item for (t, name), item in self._items.items() if t == kind}
        published = (d for d in (snapshot or self._snapshot).list(kind) if _name(d) not in own)
        return (*published, *own.values())

    def find_by_tag(self, tag: str) -> tuple[Definition, ...]:
        """Objects and registered items that carry `tag`."""
        return (
            *self._snapshot.by_tag(tag),
            *(self._items[key] for key in self._tags.get(tag, ())),
        )

    def register(self, item: Item) -> None:
        """Add `item`, or put it in the place of the one of the same type and name."""
        self.unregister(item.type, item.name)
        key = (item.type, item.name)
        self._items[key] = item
        if item.package is not None:
            self._packages.setdefault(item.package, {})[key] = None
        for tag in _tags(item):
            self._tags.setdefault(tag, {})[key] = None

    def unregister(self, type: str, name: str) -> bool:
        """Remove a registered item; whether there was one."""
        key = (singular(type), name)
        item = self._items.pop(key, None)
        if item is None:
            return False
        if item.package is not None:
            _discard(self._packages, item.package, key)
        for tag in _tags(item):
            _discard(self._tags, tag, key)
        return True

    def unregister_package(self, package: str) -> int:
        """Remove what `package` has registered; how many items that were."""
        keys = tuple(self._packages.get(package, ()))
        for type, name in keys:
            self.unregister(type, name)
        return len(keys)


def _name(definition: Definition) -> str:
    return definition.object if isinstance(definition, ObjectPermissions) else definition.name


def _tags(item: Item) -> tuple[str, ...]:
    tags = item.content.get("tags")
    if not isinstance(tags, list):
        return ()
    return tuple(tag for tag in cast("list[Any]", tags) if isinstance(tag, str))


def _discard(
    index: dict[str, dict[tuple[str, str], None]], entry: str, key: tuple[str, str]
) -> None:
    members = index[entry]
    del members[key]
    if not members:
        del index[entry]
