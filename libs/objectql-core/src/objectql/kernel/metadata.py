"""Metadata in force: publishing packages and single items, and following other workers.

The store of the default data source is the truth. A publication validates the whole merged
snapshot, makes the tables match (additive changes only, unless told), replaces the documents and
raises the version, under a lease, so that two workers that start at once do it once. The rest of
the cluster is told; whoever misses that sees the version move (`converge`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol, TypeAlias, cast

import msgspec

from objectql.context import Context, system_actor
from objectql.drivers.protocol import SchemaStep
from objectql.drivers.security_log import SecurityEntry
from objectql.drivers.stores import MetadataStore, StoredItem
from objectql.errors import (
    Issue,
    MetadataInvalid,
    MetadataNotFound,
    ObjectQLError,
    SchemaChangeRefused,
    Unavailable,
    VersionConflict,
)
from objectql.events import MetadataPublished
from objectql.ids import ObjectName
from objectql.kernel.audit.entries import entry_of
from objectql.kernel.documents import documents_of, stored_items
from objectql.kernel.engine import Engine
from objectql.kernel.meanings import check_meanings
from objectql.kernel.schema_sync import kept_in, lose_data, sync_tables
from objectql.metadata.build import build_snapshot
from objectql.metadata.document import CUSTOM_LAYER, Document
from objectql.metadata.field_numbers import LAYER as NUMBERS
from objectql.metadata.field_numbers import allocate, documents_for, holds_numbers
from objectql.metadata.loader import LoadedPackage
from objectql.metadata.model import ObjectDef
from objectql.metadata.registry import MetadataSnapshot

log = logging.getLogger(__name__)

Announce: TypeAlias = Callable[[int], Awaitable[None]]
"""Tells the cluster that a version was published; a lost announcement costs half a second."""

ItemKey: TypeAlias = tuple[str, str, str]

_MAX_NAMED: Final = 50
"""Documents that the security log names of one publication."""

_LEASE = "metadata:publish"
_LEASE_TTL_S = 30.0
_LEASE_PAUSE_S = 0.1
_PATIENCE_S = _LEASE_TTL_S * 2


class Publication(msgspec.Struct, frozen=True):
    """The version in force after a publication, and the schema steps that it took."""

    version: int
    changes: tuple[str, ...] = ()


class Places(Protocol):
    """The tables of tenants that have their own, see `tenancy.places`.

    What fails there fails for that tenant alone, and is no failure of the publication.
    """

    async def migrate(self, snapshot: MetadataSnapshot, loses: ObjectDef | None = None) -> None: ...
    async def drop_objects(self, objects: Sequence[ObjectDef]) -> None: ...


class MetadataPublisher:
    """Publishes into the store and swaps the engine's model."""

    def __init__(self, engine: Engine, places: Places, *, announce: Announce | None = None) -> None:
        self._engine = engine
        self._places = places
        self.announce = announce
        self._swapping = asyncio.Lock()

    @property
    def _store(self) -> MetadataStore:
        return self._engine.system_driver.metadata

    async def converge(self) -> bool:
        """Take over what is published if it is newer than what is in force; whether it was."""
        if await self._store.current_version() <= self._engine.model.version:
            return False
        async with self._swapping:
            return await self._take_over()

    @asynccontextmanager
    async def settled(self, *, is_patient: bool = True) -> AsyncGenerator[MetadataSnapshot]:
        """The newest metadata, in force here, which nobody replaces until the block ends.

        Raises:
            Unavailable: somebody is publishing, for longer than the patient wait.

        """
        async with self._publishing(_PATIENCE_S if is_patient else 0.0):
            await self._take_over()
            yield self._engine.model.snapshot

    async def _take_over(self) -> bool:
        version, items = await self._store.load()
        if version <= self._engine.model.version:
            return False
        await self._put_in_force(build_snapshot(documents_of(items), version))
        return True

    async def publish_packages(self, packages: Sequence[LoadedPackage]) -> Publication:
        """Make the store's layers of `packages` equal to what was loaded.

        Where they already are, only tables are checked and the stored version comes into force.
        A destructive change is left undone, and logged: data outlives the metadata that named it.

        Raises:
            MetadataInvalid: what all layers make up together is wrong; with every problem.
        """
        layers = {package.name for package in packages}
        loaded = [document for package in packages for document in package.items]
        async with self._publishing():
            version, stored = await self._store.load()
            wanted = {_key(item): item for item in stored_items(loaded)}
            held = {_key(item): item for item in stored if item.layer in layers}
            put = [i for k, i in wanted.items() if k not in held or held[k].content != i.content]
            gone = [key for key in held if key not in wanted]
            others = documents_of(item for item in stored if item.layer not in layers)
            snapshot, numbers = self._numbered(
                [*loaded, *others], version, is_changed=bool(put or gone)
            )
            put += numbers
            changes, refused = await self._sync_schema(snapshot)
            for step in refused:
                log.warning("schema_change_refused", extra={"change": step.description})
            if put or gone:  # else whoever has published this has seen to places
                await self._places.migrate(snapshot)
            return await self._publish(snapshot, put, gone, version, changes)

    async def put(
        self,
        type_: str,
        name: str,
        content: object,
        *,
        if_version: int | None = None,
        allow_destructive: bool = False,
        by: Context | None = None,
    ) -> Publication:
        """Store a document in the custom layer, over what packages declare, and publish.

        Raises:
            MetadataInvalid: with every problem.
            SchemaChangeRefused: it would lose data and that was not asked for.
            VersionConflict: the metadata is no longer at `if_version`.
        """
        _check_name(type_, name, content)
        document = Document(CUSTOM_LAYER, type_, name, content)
        item = stored_items([document])[0]
        async with self._publishing():
            version, stored = await self._store.load()
            _check_version(if_version, version, type_, name)
            rest = documents_of(i for i in stored if _key(i) != _key(item))
            snapshot, numbers = self._numbered([*rest, document], version)
            changes = await self._sync_custom(
                snapshot, name if allow_destructive and type_ == "object" else None
            )
            return await self._publish(snapshot, [item, *numbers], [], version, changes, by)

    async def delete(
        self,
        type_: str,
        name: str,
        *,
        if_version: int | None = None,
        allow_destructive: bool = False,
        by: Context | None = None,
    ) -> Publication:
        """Remove a document of the custom layer; what packages declare comes back.

        The table of an object that nothing declares any more stays, unless `allow_destructive`.

        Raises:
            MetadataNotFound: the custom layer has no such document.
            MetadataInvalid: something still refers to it.
            VersionConflict: the metadata is no longer at `if_version`.
        """
        key = (CUSTOM_LAYER, type_, name)
        async with self._publishing():
            version, stored = await self._store.load()
            if all(_key(item) != key for item in stored):
                raise MetadataNotFound(type=type_, name=name)
            _check_version(if_version, version, type_, name)
            before = self._engine.model.snapshot
            rest = documents_of(item for item in stored if _key(item) != key)
            snapshot, numbers = self._numbered(rest, version)
            publication = await self._publish(snapshot, numbers, [key], version, (), by)
            orphans = [o for n, o in before.objects.items() if n not in snapshot.objects]
            if allow_destructive:
                for object_ in orphans:
                    await self._engine.driver(object_).drop_object(
                        object_.name, object_.table or object_.name
                    )
                await self._places.drop_objects(orphans)
            return publication

    # --- the steps of a publication ----------------------------------------------------------

    @asynccontextmanager
    async def _publishing(self, patience_s: float = _PATIENCE_S) -> AsyncGenerator[None]:
        """One publication at a time in the cluster."""
        leases, holder = self._engine.system_driver.leases, self._engine.settings.node
        clock = self._engine.clock
        async with self._swapping:
            give_up_s = clock.monotonic_s() + patience_s
            while not await leases.acquire(_LEASE, holder, _LEASE_TTL_S):
                if clock.monotonic_s() >= give_up_s:
                    raise Unavailable(what="the right to publish metadata")
                await clock.sleep(_LEASE_PAUSE_S)
            renewing = asyncio.create_task(self._renew())
            try:
                yield
            finally:
                renewing.cancel()
                await asyncio.wait([renewing])
                await leases.release(_LEASE, holder)

    async def _renew(self) -> None:
        """Keep the lease: the tables of many tenants may take longer than it lives."""
        while True:
            await self._engine.clock.sleep(_LEASE_TTL_S / 3)
            with suppress(ObjectQLError):  # one that is lost is told by the store's version
                await self._engine.system_driver.leases.acquire(
                    _LEASE, self._engine.settings.node, _LEASE_TTL_S
                )

    def _numbered(
        self, documents: Sequence[Document], version: int, *, is_changed: bool = True
    ) -> tuple[MetadataSnapshot, list[StoredItem]]:
        """What `documents` make up after `version`, and the items that keep its new numbers."""
        snapshot = self._build(documents, version + is_changed)
        numbers = allocate(snapshot.objects.values(), snapshot.numbers)
        new = {n: each for n, each in numbers.items() if snapshot.numbers.get(n) != each}
        if not new:
            return snapshot, []
        added = documents_for(new)
        kept = [d for d in documents if not (holds_numbers(d) and d.name in new)]
        return self._build([*kept, *added], version + 1), list(stored_items(added))

    def _build(self, documents: Iterable[Document], version: int) -> MetadataSnapshot:
        snapshot = build_snapshot(documents, version)
        issues = tuple(
            Issue(
                path=f"{object_.name}.datasource",
                code="unknown_datasource",
                message=f'no data source is called "{object_.datasource}"',
            )
            for object_ in snapshot.objects.values()
            if object_.datasource not in self._engine.drivers
        )
        issues += check_meanings(snapshot)
        if issues:
            raise MetadataInvalid(issues=issues)
        return snapshot

    async def _sync_schema(
        self, snapshot: MetadataSnapshot
    ) -> tuple[tuple[str, ...], tuple[SchemaStep, ...]]:
        """Make the tables match; what was done, and what was refused."""
        done: list[str] = []
        refused: list[SchemaStep] = []
        if self._engine.settings.sync_schema:
            for name, driver in self._engine.drivers.items():
                plan = await sync_tables(driver, kept_in(snapshot, name))
                done += [step.description for step in plan.steps]
                refused += plan.refused
        return tuple(done), tuple(refused)

    async def _sync_custom(
        self, snapshot: MetadataSnapshot, may_lose: str | None
    ) -> tuple[str, ...]:
        """As `_sync_schema`, in places too, refusing the whole change where it newly loses data.

        `may_lose` names the one object whose data the caller has given up.
        """
        if not self._engine.settings.sync_schema:
            return ()
        object_ = snapshot.objects.get(ObjectName(may_lose)) if may_lose else None
        if object_ is not None:
            lost = await lose_data(self._engine.driver(object_), object_)
        else:
            lost = ()
            issues: list[Issue] = []
            for name, driver in self._engine.drivers.items():
                now = kept_in(self._engine.model.snapshot, name)
                old = {s.description for s in (await driver.plan_schema(now)).refused}
                plan = await driver.plan_schema(kept_in(snapshot, name))
                issues += [
                    Issue(path="", code="destructive_change", message=step.description)
                    for step in plan.refused
                    if step.description not in old
                ]
            if issues:
                raise SchemaChangeRefused(issues=tuple(issues))
        changes, _ = await self._sync_schema(snapshot)
        await self._places.migrate(snapshot, object_)
        return lost + changes

    async def _publish(
        self,
        snapshot: MetadataSnapshot,
        put: Sequence[StoredItem],
        remove: Sequence[ItemKey],
        version: int,
        changes: tuple[str, ...],
        by: Context | None = None,
    ) -> Publication:
        """`by` is who asked for it; None: the system, of packages."""
        if put or remove:
            record = self._entry(put, remove, snapshot.version, by)
            stored = await self._store.publish(
                put, remove, expected_version=version, record=[record]
            )
            assert stored == snapshot.version, "publications are numbered one by one"
            log.info("metadata_published", extra={"version": stored, "changes": len(changes)})
        await self._put_in_force(snapshot)
        if (put or remove) and self.announce is not None:
            await self.announce(snapshot.version)
        return Publication(snapshot.version, changes)

    def _entry(
        self,
        put: Sequence[StoredItem],
        remove: Sequence[ItemKey],
        version: int,
        by: Context | None,
    ) -> SecurityEntry:
        """Of documents by their names: what is in them is in the documents' own versions."""
        context = by or Context(actor=system_actor(), deadline_ms=0, request_id="")
        stored = [f"{item.type}/{item.name}" for item in put if item.layer != NUMBERS]
        told = {
            "stored": stored,
            "removed": [f"{type_}/{name}" for _, type_, name in remove],
        }
        named = {what: names[:_MAX_NAMED] for what, names in told.items() if names}
        return entry_of(
            "metadata_published",
            context,
            self._engine.clock,
            version=version,
            documents=len(stored) + len(remove),
            **named,
        )

    async def _put_in_force(self, snapshot: MetadataSnapshot) -> None:
        self._engine.registry.publish(snapshot)
        await self._engine.events.emit(MetadataPublished(version=snapshot.version))


def _key(item: StoredItem) -> ItemKey:
    return item.layer, item.type, item.name


def _check_version(expected: int | None, version: int, type_: str, name: str) -> None:
    if expected is not None and expected != version:
        raise VersionConflict(object=type_, id=name, current_version=version)


def _check_name(type_: str, name: str, content: object) -> None:
    """Return unless the document calls itself otherwise than the request does.

    Raises:
        MetadataInvalid: it does; publishing it would leave an object without its table.

    """
    own = (
        cast("Mapping[str, object]", content).get("name") if isinstance(content, Mapping) else None
    )
    if own is not None and own != name:
        message = f'the document is called "{own}" and was sent as "{name}"'
        issue = Issue(path="name", code="name_mismatch", message=message, file=f"{type_}/{name}")
        raise MetadataInvalid(issues=(issue,))
