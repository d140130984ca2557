"""The verbs of tenant administration: who may ask, and the structs of the bus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from objectql.context import Context
from objectql.errors import InvalidRequest, PermissionDenied
from objectql.ids import TenantId
from objectql.kernel.engine import Engine
from objectql.kernel.json import decode_object, encode_json
from objectql.kernel.pipeline import TENANTS, Pipeline
from objectql.kernel.read import Reader
from objectql.kernel.tenancy.admin import TenantAdmin
from objectql.kernel.tenancy.export import TenantExport
from objectql.kernel.tenancy.own_metadata import OwnMetadata
from objectql.kernel.tenancy.usage import usage_of
from objectql.metadata.transfer import encode_own
from objectql.wire.messages import JsonReply, MetaWriteReply, SnapshotReply
from objectql.wire.tenants import (
    TenantChangeRequest,
    TenantCreateRequest,
    TenantDeleteReply,
    TenantDeleteRequest,
    TenantExportReply,
    TenantExportRequest,
    TenantGetRequest,
    TenantListRequest,
    TenantMetadataDeleteRequest,
    TenantMetadataPutRequest,
    TenantMetadataRequest,
    TenantPurgeRequest,
    TenantSnapshotRequest,
    TenantUsageRequest,
)

Q = TypeVar("Q")
R = TypeVar("R")

MAX_PAGE: Final = 1000


class TenantOperations:
    """One method per verb; each refuses callers who are no operators."""

    def __init__(
        self,
        engine: Engine,
        pipeline: Pipeline,
        reader: Reader,
        admin: TenantAdmin,
        metadata: OwnMetadata,
    ) -> None:
        self._engine = engine
        self._pipeline = pipeline
        self._reader = reader
        self.admin = admin
        self._metadata = metadata
        self._export = TenantExport(engine, self.admin, reader)

    async def _run(
        self, request: Q, context: Context, core: Callable[[Q, Context], Awaitable[R]]
    ) -> R:
        async def checked(request: Q, context: Context) -> R:
            if not context.actor.is_operator:
                raise PermissionDenied(operation="administer", object="tenants")
            return await core(request, context)

        return await self._pipeline.run(TENANTS, "*", request, context, checked)

    async def handle_list(self, request: TenantListRequest, context: Context) -> JsonReply:
        """A list of tenants."""

        async def core(request: TenantListRequest, _context: Context) -> JsonReply:
            if not 0 < request.limit <= MAX_PAGE:
                raise InvalidRequest(reason=f"a page holds 1 to {MAX_PAGE} tenants")
            return _json(await self.admin.list(request.after, request.limit))

        return await self._run(request, context, core)

    async def handle_get(self, request: TenantGetRequest, context: Context) -> JsonReply:
        """One tenant."""

        async def core(request: TenantGetRequest, _context: Context) -> JsonReply:
            return _json(await self.admin.get(request.id))

        return await self._run(request, context, core)

    async def handle_usage(self, request: TenantUsageRequest, context: Context) -> JsonReply:
        """What a tenant uses."""

        async def core(request: TenantUsageRequest, context: Context) -> JsonReply:
            usage = usage_of(request.id, context, self.admin, self._engine, self._reader)
            return _json(await usage)

        return await self._run(request, context, core)

    async def handle_create(self, request: TenantCreateRequest, context: Context) -> JsonReply:
        """The new tenant."""

        async def core(request: TenantCreateRequest, context: Context) -> JsonReply:
            return _json(await self.admin.create(request.document, context))

        return await self._run(request, context, core)

    async def handle_change(self, request: TenantChangeRequest, context: Context) -> JsonReply:
        """The changed tenant."""

        async def core(request: TenantChangeRequest, context: Context) -> JsonReply:
            return _json(await self.admin.change(request.id, request.document, context))

        return await self._run(request, context, core)

    async def handle_delete(
        self, request: TenantDeleteRequest, context: Context
    ) -> TenantDeleteReply:
        """The id, when all data are gone."""

        async def core(request: TenantDeleteRequest, context: Context) -> TenantDeleteReply:
            await self.admin.delete(request.id, request.confirm, context)
            return TenantDeleteReply(request.id)

        return await self._run(request, context, core)

    async def handle_export(
        self, request: TenantExportRequest, context: Context
    ) -> TenantExportReply:
        """A page of lines."""
        return await self._run(request, context, self._export.page)

    async def handle_metadata(self, request: TenantMetadataRequest, context: Context) -> JsonReply:
        """What a tenant has of its own."""

        async def core(request: TenantMetadataRequest, _context: Context) -> JsonReply:
            if request.type is None or request.name is None:
                return _json(await self._metadata.describe(request.id))
            document, version = await self._metadata.get(request.id, request.type, request.name)
            return JsonReply(encode_json(document), version)

        return await self._run(request, context, core)

    async def handle_snapshot(
        self, request: TenantSnapshotRequest, context: Context
    ) -> SnapshotReply:
        """What a tenant has of its own, for gateways: nobody asks for another tenant."""

        async def core(request: TenantSnapshotRequest, context: Context) -> SnapshotReply:
            tenant = TenantId(request.tenant)
            if tenant != context.tenant and not context.actor.is_system:
                raise PermissionDenied(operation="read", object="metadata of another tenant")
            known = self._engine.tenant_models.metadata.get(tenant)
            if known is None:
                return SnapshotReply(0)
            is_news = known.digest != request.digest
            return SnapshotReply(known.number, encode_own(known) if is_news else None)

        return await self._pipeline.run("meta", "*", request, context, core)

    async def handle_metadata_put(
        self, request: TenantMetadataPutRequest, context: Context
    ) -> MetaWriteReply:
        """The version of the tenant's metadata in which the document is."""

        async def core(request: TenantMetadataPutRequest, context: Context) -> MetaWriteReply:
            version, changes = await self._metadata.put(
                request.id,
                request.type,
                request.name,
                decode_object(request.document),
                by=context,
                if_version=request.if_version,
            )
            return MetaWriteReply(version, changes)

        return await self._run(request, context, core)

    async def handle_metadata_delete(
        self, request: TenantMetadataDeleteRequest, context: Context
    ) -> MetaWriteReply:
        """The version in which the document is gone."""

        async def core(request: TenantMetadataDeleteRequest, context: Context) -> MetaWriteReply:
            version, changes = await self._metadata.delete(
                request.id, request.type, request.name, by=context, if_version=request.if_version
            )
            return MetaWriteReply(version, changes)

        return await self._run(request, context, core)

    async def handle_metadata_purge(
        self, request: TenantPurgeRequest, context: Context
    ) -> JsonReply:
        """What was deleted for good."""

        async def core(request: TenantPurgeRequest, context: Context) -> JsonReply:
            return _json({"purged": await self._metadata.purge(request.id, by=context)})

        return await self._run(request, context, core)


def _json(value: object) -> JsonReply:
    return JsonReply(encode_json(value))
