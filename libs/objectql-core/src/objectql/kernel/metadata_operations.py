"""The kernel's operations on metadata in the structs of the bus: one method per verb.

Callers read what their tenant has, the published metadata with its own over it; what is published
belongs to all tenants, so only an administrator of the cluster changes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from objectql.context import Context
from objectql.errors import MetadataNotFound, PermissionDenied
from objectql.kernel.engine import Engine
from objectql.kernel.json import decode_object, encode_json
from objectql.kernel.metadata import MetadataPublisher
from objectql.kernel.metadata_view import shown_definition, shown_item
from objectql.kernel.pipeline import Pipeline
from objectql.metadata.model import ObjectDef, ObjectPermissions
from objectql.metadata.registry import Definition, MetadataSnapshot, singular
from objectql.metadata.transfer import encode_snapshot
from objectql.metadata.views import get_view
from objectql.wire.messages import (
    JsonReply,
    MetaDeleteRequest,
    MetaGetRequest,
    MetaListRequest,
    MetaPutRequest,
    MetaTypesRequest,
    MetaWriteReply,
    SnapshotReply,
    SnapshotRequest,
    ViewRequest,
)


class MetadataOperations:
    """See the head of this module."""

    def __init__(self, engine: Engine, pipeline: Pipeline, publisher: MetadataPublisher) -> None:
        self.engine = engine
        self.pipeline = pipeline
        self.publisher = publisher
        self._encoded: tuple[int, bytes] | None = None

    async def handle_meta_types(self, request: MetaTypesRequest, context: Context) -> JsonReply:
        """A list of `{type, count}`."""

        async def core(_request: MetaTypesRequest, context: Context) -> JsonReply:
            snapshot = self.engine.model_of(context.tenant).snapshot
            found = [
                {"type": type_, "count": len(self.engine.registry.list(type_, snapshot))}
                for type_ in snapshot.types()
            ]
            return self._json(found)

        return await self.pipeline.run("meta", "*", request, context, core)

    async def handle_meta_list(self, request: MetaListRequest, context: Context) -> JsonReply:
        """The documents of one type."""

        async def core(request: MetaListRequest, context: Context) -> JsonReply:
            model = self.engine.model_of(context.tenant)
            definitions = self.engine.registry.list(request.type, model.snapshot)
            policy = model.policy(context.actor)
            return self._json(
                [
                    shown_definition(
                        self.document(request.type, _name(definition), model.snapshot),
                        definition,
                        policy,
                        model.snapshot.objects,
                    )
                    for definition in definitions
                    if request.package is None or definition.package == request.package
                ]
            )

        return await self.pipeline.run("meta", "*", request, context, core)

    async def handle_meta_get(self, request: MetaGetRequest, context: Context) -> JsonReply:
        """One document; `found` is false when there is none."""

        async def core(request: MetaGetRequest, context: Context) -> JsonReply:
            model = self.engine.model_of(context.tenant)
            definition = self.engine.registry.get(request.type, request.name, model.snapshot)
            if definition is None:
                return JsonReply(b"null", model.version, found=False)
            document = self.document(request.type, request.name, model.snapshot)
            policy, objects = model.policy(context.actor), model.snapshot.objects
            visible = shown_definition(document, definition, policy, objects)
            is_published = self.engine.registry.get(request.type, request.name) is definition
            return JsonReply(encode_json(visible), model.version if is_published else 0)

        return await self.pipeline.run("meta", "*", request, context, core)

    async def handle_meta_put(self, request: MetaPutRequest, context: Context) -> MetaWriteReply:
        """The version in which the document is."""

        async def core(request: MetaPutRequest, context: Context) -> MetaWriteReply:
            _check_administrator(context, "change", request.type)
            publication = await self.publisher.put(
                singular(request.type),
                request.name,
                decode_object(request.document),
                if_version=request.if_version,
                allow_destructive=request.allow_destructive,
                by=context,
            )
            return MetaWriteReply(publication.version, publication.changes)

        return await self.pipeline.run("meta", "*", request, context, core)

    async def handle_meta_delete(
        self, request: MetaDeleteRequest, context: Context
    ) -> MetaWriteReply:
        """The version in which the document is gone."""

        async def core(request: MetaDeleteRequest, context: Context) -> MetaWriteReply:
            _check_administrator(context, "delete", request.type)
            publication = await self.publisher.delete(
                singular(request.type),
                request.name,
                if_version=request.if_version,
                allow_destructive=request.allow_destructive,
                by=context,
            )
            return MetaWriteReply(publication.version, publication.changes)

        return await self.pipeline.run("meta", "*", request, context, core)

    async def handle_view(self, request: ViewRequest, context: Context) -> JsonReply:
        """The stored or generated view of an object."""

        async def core(request: ViewRequest, context: Context) -> JsonReply:
            model = self.engine.model_of(context.tenant)
            view = self.view(request.object, request.type, model.snapshot)
            policy = model.policy(context.actor)
            if policy.shape != "full":
                view = shown_item(view, policy, model.snapshot.objects)
            return self._json(view)

        return await self.pipeline.run("meta", "*", request, context, core)

    async def handle_snapshot(self, request: SnapshotRequest, context: Context) -> SnapshotReply:
        """All metadata, unless the caller has this version."""

        async def core(request: SnapshotRequest, _context: Context) -> SnapshotReply:
            version = self.engine.model.version
            if request.known == version:
                return SnapshotReply(version)
            if self._encoded is None or self._encoded[0] != version:
                self._encoded = (version, encode_snapshot(self.engine.model.snapshot))
            return SnapshotReply(version, self._encoded[1])

        return await self.pipeline.run("meta", "*", request, context, core)

    def document(
        self, type_: str, name: str, snapshot: MetadataSnapshot | None = None
    ) -> dict[str, Any]:
        """The document of a definition, registered by code or in `snapshot`; None is the published.

        Raises:
            MetadataNotFound: there is none.

        """
        snapshot = snapshot or self.engine.model.snapshot
        found = self.engine.registry.get(type_, name, snapshot)
        if found is None:
            names = [_name(each) for each in self.engine.registry.list(type_, snapshot)]
            near = tuple(get_close_matches(name, names, n=2))
            raise MetadataNotFound(type=singular(type_), name=name, suggestions=near)
        if isinstance(found, ObjectDef | ObjectPermissions):
            return snapshot.document(type_, name)
        return {"name": found.name, **found.content}

    def view(
        self, object_name: str, type_: str = "list", snapshot: MetadataSnapshot | None = None
    ) -> dict[str, Any]:
        """The stored or generated view, by `snapshot` or by what is published.

        Raises:
            ObjectUnknown: there is no such object.
            MetadataNotFound: there are no views of that type.

        """
        if type_ not in ("list", "form"):
            raise MetadataNotFound(type="view", name=type_, suggestions=("list", "form"))
        return get_view(snapshot or self.engine.model.snapshot, object_name, type_)

    def _json(self, value: dict[str, Any] | Sequence[dict[str, Any]]) -> JsonReply:
        return JsonReply(encode_json(value), self.engine.model.version)


def _name(definition: Definition) -> str:
    return definition.object if isinstance(definition, ObjectPermissions) else definition.name


def _check_administrator(context: Context, operation: str, type_: str) -> None:
    """All tenants share the published metadata, so an admin of one of them may not change it."""
    if not context.actor.is_owner:
        raise PermissionDenied(operation=operation, object=f"metadata of type {type_}")
