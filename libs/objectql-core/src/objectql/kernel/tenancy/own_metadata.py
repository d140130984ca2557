"""Metadata that single tenants have of their own: published, taken back, purged.

What it may say is checked by `metadata.overlay`. A publication makes columns and tables first and
is stored after that, in one transaction with the tenant, whose version tells every kernel; one that
dies between leaves columns that nobody sees, which the next finds. It holds the right to publish
metadata, so that what is published does not change under it.

Nothing is lost by a publication: fields and objects that are no longer declared keep their values,
unseen, until they are purged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from objectql.context import Context
from objectql.drivers.protocol import Driver
from objectql.drivers.tenants import Tenant
from objectql.errors import (
    Issue,
    MetadataInvalid,
    MetadataNotFound,
    TenantUnknown,
    Unavailable,
    VersionConflict,
)
from objectql.ids import DataSource, ObjectName, TenantId, is_tenants_own
from objectql.kernel.audit.entries import entry_of
from objectql.kernel.engine import DEFAULT_SOURCE, Engine
from objectql.kernel.meanings import check_meanings
from objectql.kernel.metadata import MetadataPublisher
from objectql.kernel.schema_sync import kept_in, sync_tables
from objectql.kernel.tenancy.directory import TenantDirectory
from objectql.metadata.document import Document
from objectql.metadata.overlay import (
    TenantMetadata,
    build_overlay,
    fitting_overlay,
    own_document,
    own_fields,
)
from objectql.metadata.registry import MetadataSnapshot, singular
from objectql.metadata.slots import Columns, allocate, kind_of_slot, own_table, retired
from objectql.metadata.tenant_snapshot import TenantSnapshot
from objectql.values import instant_of_ms

PURGE_AFTER_MS: Final = 120_000
"""Longer than the longest deadline: until then what has begun may still write there."""

MAX_BYTES: Final = 256 * 1024
"""Of all documents of a tenant; every kernel holds them."""


class OwnMetadata:
    """What the administration API asks. Its caller has checked who asks."""

    def __init__(
        self, engine: Engine, directory: TenantDirectory, publisher: MetadataPublisher
    ) -> None:
        self._engine = engine
        self._directory = directory
        self._publisher = publisher

    async def describe(self, id_: str) -> dict[str, Any]:
        """All documents, why some are asleep, and what is retired.

        Raises:
            TenantUnknown: there is no such tenant.

        """
        tenant = await self._find(id_)
        metadata = self._metadata_of(tenant)
        base = self._engine.model.snapshot
        asleep = fitting_overlay(base, tenant.id, metadata).asleep
        return {
            "version": metadata.number,
            "items": [
                {"type": d.type, "name": d.name, "document": d.content} for d in metadata.documents
            ],
            "asleep": msgspec.to_builtins(asleep),
            "retired": [
                {"object": name, "field": slot.field, "since": instant_of_ms(slot.retired_ms or 0)}
                for name, columns in metadata.slots.items()
                for slot in retired(columns).values()
            ],
        }

    async def get(self, id_: str, type_: str, name: str) -> tuple[Any, int]:
        """One document as it was written, and the number of the newest publication.

        Raises:
            TenantUnknown, MetadataNotFound

        """
        metadata = self._metadata_of(await self._find(id_))
        document = _documents(metadata).get((singular(type_), name))
        if document is None:
            raise MetadataNotFound(type=type_[:100], name=name[:100])
        return document.content, metadata.number

    async def put(
        self,
        id_: str,
        type_: str,
        name: str,
        content: Any,
        *,
        by: Context,
        if_version: int | None = None,
    ) -> tuple[int, tuple[str, ...]]:
        """Publish a document, over the one of that type and name; the number and what was done.

        Raises:
            TenantUnknown
            MetadataInvalid: with every problem.
            VersionConflict: the tenant's metadata are no longer at `if_version`.
            WriteConflict: the tenant was changed at the same time.

        """
        key = (singular(type_), name)
        async with self._publisher.settled() as base:
            tenant, metadata = await self._at(id_, if_version, key)
            documents = {**_documents(metadata), key: own_document(*key, content)}
            return await self._publish(base, tenant, metadata, documents, key, by)

    async def delete(
        self, id_: str, type_: str, name: str, *, by: Context, if_version: int | None = None
    ) -> tuple[int, tuple[str, ...]]:
        """Take a document back; what it declared is retired.

        Raises:
            As `put`, and MetadataNotFound.

        """
        key = (singular(type_), name)
        async with self._publisher.settled() as base:
            tenant, metadata = await self._at(id_, if_version, key)
            documents = _documents(metadata)
            if documents.pop(key, None) is None:
                raise MetadataNotFound(type=type_[:100], name=name[:100])
            return await self._publish(base, tenant, metadata, documents, key, by)

    async def purge(self, id_: str, *, by: Context) -> tuple[str, ...]:
        """Delete for good the values of what has been retired for `PURGE_AFTER_MS`; of what.

        Raises:
            TenantUnknown
            WriteConflict: the tenant was changed at the same time.

        """
        async with self._publisher.settled() as base:
            tenant = await self._find(id_)
            metadata = self._metadata_of(tenant)
            snapshot = fitting_overlay(base, tenant.id, metadata)
            before_ms = self._engine.clock.now_ms() - PURGE_AFTER_MS
            purged: list[str] = []
            left: dict[str, Any] = {}
            for name, columns in metadata.slots.items():
                gone = {
                    column: slot.field
                    for column, slot in retired(columns).items()
                    if (slot.retired_ms or 0) <= before_ms
                }
                is_declared = ObjectName(name) in snapshot.objects
                if not is_declared and len(gone) < len(columns):
                    gone = {}  # an object goes as a whole, and one that is asleep stays
                await self._clear(tenant.id, snapshot, name, tuple(gone))
                left[name] = {c: slot for c, slot in columns.items() if c not in gone}
                purged += [f"{name}.{field}" for field in gone.values()]
            if purged:
                await self._engine.forget_kept_answers()  # declared anew, it is as it was before
                slots = {n: c for n, c in left.items() if c or ObjectName(n) in snapshot.own}
                number = metadata.number + 1
                changed = msgspec.structs.replace(metadata, number=number, slots=slots)
                await self._save(tenant, changed, by, purged=purged)
            return tuple(purged)

    # --- the steps -----------------------------------------------------------------------------

    async def _find(self, id_: str) -> Tenant:
        await self._directory.converge()
        tenant = self._directory.tenants.get(TenantId(id_))
        if tenant is None or tenant.deleting_since is not None:
            raise TenantUnknown(id=id_)
        return tenant

    def _metadata_of(self, tenant: Tenant) -> TenantMetadata:
        return self._engine.tenant_models.metadata.get(tenant.id, TenantMetadata())

    async def _at(
        self, id_: str, if_version: int | None, key: tuple[str, str]
    ) -> tuple[Tenant, TenantMetadata]:
        tenant = await self._find(id_)
        if not tenant.is_ready:
            raise Unavailable(what="the storage of the tenant")
        metadata = self._metadata_of(tenant)
        if if_version is not None and if_version != metadata.number:
            raise VersionConflict(object=key[0], id=key[1], current_version=metadata.number)
        return tenant, metadata

    async def _publish(
        self,
        base: MetadataSnapshot,
        tenant: Tenant,
        before: TenantMetadata,
        documents: Mapping[tuple[str, str], Document],
        changed: tuple[str, str],
        by: Context,
    ) -> tuple[int, tuple[str, ...]]:
        asleep = {issue.file for issue in fitting_overlay(base, tenant.id, before).asleep}
        asleep.discard("/".join(changed))
        awake = tuple(d for d in documents.values() if f"{d.type}/{d.name}" not in asleep)
        new = TenantMetadata(before.number + 1, awake)
        snapshot = self._checked(base, tenant.id, new, tuple(documents.values()))
        taken: dict[str, Columns] = {str(name): {} for name in snapshot.own}
        taken.update(before.slots)
        slots = {
            name: columns if f"object/{name}" in asleep else self._slots(name, columns, snapshot)
            for name, columns in taken.items()
        }
        snapshot = build_overlay(base, tenant.id, msgspec.structs.replace(new, slots=slots))
        steps: list[str] = []
        if self._engine.settings.sync_schema:
            for name in self._engine.drivers:
                plan = await sync_tables(self._driver(name, tenant.id), kept_in(snapshot, name))
                steps += [step.description for step in plan.steps]
        stored = TenantMetadata(new.number, tuple(documents.values()), slots)
        told = "stored" if changed in documents else "removed"
        await self._save(tenant, stored, by, **{told: [f"{changed[0]}/{changed[1]}"]})
        return stored.number, tuple(steps)

    def _checked(
        self,
        base: MetadataSnapshot,
        tenant: TenantId,
        metadata: TenantMetadata,
        documents: Sequence[Document],
    ) -> TenantSnapshot:
        snapshot = build_overlay(base, tenant, metadata)
        issues = list(check_meanings(snapshot))
        if len(msgspec.json.encode(documents)) > MAX_BYTES:
            message = f"the metadata of a tenant have at most {MAX_BYTES} bytes"
            issues.append(Issue("", "too_large", message))
        if DEFAULT_SOURCE not in self._engine.drivers and snapshot.own.keys() - base.objects.keys():
            message = f'objects of tenants are kept in "{DEFAULT_SOURCE}", which is not there'
            issues.append(Issue("", "unknown_datasource", message))
        if issues:
            raise MetadataInvalid(issues=tuple(issues))
        return snapshot

    def _slots(self, name: str, taken: Columns, snapshot: TenantSnapshot) -> Columns:
        object_ = snapshot.own.get(ObjectName(name))
        fields = () if object_ is None else own_fields(object_)
        kinds = [(f.name, kind_of_slot(f, lambda o: snapshot.object(o).table)) for f in fields]
        return allocate(taken, kinds, self._engine.clock.now_ms())

    async def _save(
        self, tenant: Tenant, metadata: TenantMetadata, by: Context, **told: object
    ) -> None:
        clock = self._engine.clock
        number, now = metadata.number, instant_of_ms(clock.now_ms())
        changed = msgspec.structs.replace(tenant, metadata=number, updated_at=now)
        record = entry_of("metadata_published", by, clock, of=tenant.id, version=number, **told)
        await self._directory.save(changed, record, metadata=metadata)

    async def _clear(
        self,
        tenant: TenantId,
        snapshot: TenantSnapshot,
        name: str,
        columns: tuple[str, ...],
    ) -> None:
        """Delete the values in `columns` of the tenant's records; all of an object that is gone."""
        object_ = snapshot.objects.get(ObjectName(name))
        if not columns:
            return
        if object_ is None:
            driver = self._driver(DEFAULT_SOURCE, tenant)
            await driver.drop_object(ObjectName(name), own_table(tenant, name))
        else:
            driver = self._driver(object_.datasource, tenant)
            await driver.clear_columns(tenant, object_, columns)

    def _driver(self, source: DataSource, tenant: TenantId) -> Driver:
        placed = self._engine.placed.get(source)
        return self._engine.drivers[source] if placed is None else placed.of(tenant)


async def drop_own_tables(engine: Engine, tenant: TenantId) -> None:
    """Drop the tables that `tenant` has among the shared ones, retired ones too; repeatable."""
    metadata = engine.tenant_models.metadata.get(tenant, TenantMetadata())
    for name in metadata.slots:
        if is_tenants_own(name):
            driver = engine.drivers[DEFAULT_SOURCE]
            await driver.drop_object(ObjectName(name), own_table(tenant, name))


def _documents(metadata: TenantMetadata) -> dict[tuple[str, str], Document]:
    return {(document.type, document.name): document for document in metadata.documents}
