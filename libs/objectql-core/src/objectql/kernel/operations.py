"""The kernel's operations in the structs of the bus: one method per verb.

A service only translates; whatever an operation means is settled below this class. Each method
takes a request and the context of who asks, and goes through the pipeline.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from objectql.context import Context
from objectql.errors import PermissionDenied
from objectql.ids import ObjectName
from objectql.kernel.access import shown
from objectql.kernel.actions import ActionRunner
from objectql.kernel.api import DataApi
from objectql.kernel.audit.entries import entry_of
from objectql.kernel.audit.operations import AuditOperations
from objectql.kernel.audit.recorder import Recorder
from objectql.kernel.batch import BatchRunner
from objectql.kernel.bulk import BulkRunner
from objectql.kernel.change import Change, idempotency_of
from objectql.kernel.consistency import Consistency
from objectql.kernel.engine import Engine
from objectql.kernel.explain import explain_read
from objectql.kernel.exports import export_page
from objectql.kernel.history import HistoryReader
from objectql.kernel.identity.identity import Identity
from objectql.kernel.json import decode_json, decode_object, encode_json
from objectql.kernel.live import LiveQueries
from objectql.kernel.metadata import MetadataPublisher
from objectql.kernel.metadata_operations import MetadataOperations
from objectql.kernel.permission_view import explain_access, permissions_of, somebody
from objectql.kernel.pipeline import Pipeline
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.kernel.search import search
from objectql.kernel.shares import check_shareable, told_shares
from objectql.kernel.tenancy.admin import TenantAdmin
from objectql.kernel.tenancy.directory import TenantDirectory
from objectql.kernel.tenancy.operations import TenantOperations
from objectql.kernel.tenancy.own_metadata import OwnMetadata
from objectql.kernel.tenancy.places import PlaceKeeper
from objectql.kernel.tenancy.quotas import RecordQuota
from objectql.kernel.transactions.parts import Parts
from objectql.kernel.transactions.status import TransactionStatus
from objectql.kernel.webhooks.operations import Webhooks
from objectql.kernel.write import OwnTransactions, Writer
from objectql.metadata.model import SHARES
from objectql.metadata.offered import check_offered
from objectql.wire.live import (
    LiveBindReply,
    LiveBindRequest,
    StandingReply,
    StandingRequest,
    UnpublishedReply,
    UnpublishedRequest,
)
from objectql.wire.messages import (
    ActionRequest,
    AggregateRequest,
    BatchReply,
    BatchRequest,
    BulkReply,
    BulkRequest,
    CloneRequest,
    CountReply,
    CreateRequest,
    DeleteReply,
    DeleteRequest,
    ExplainAccessRequest,
    ExplainRequest,
    ExportReply,
    ExportRequest,
    FindRequest,
    GetRequest,
    HistoryRequest,
    JsonReply,
    PageReply,
    PermissionsRequest,
    RecordReply,
    SearchRequest,
    ShareRequest,
    SharesRequest,
    UpdateRequest,
    WhereWriteRequest,
)
from objectql.wire.transactions import TransactionReply, TransactionRequest

SUBSCRIBE: Final = "subscribe"
"""The operation of the questions about live queries."""


class Operations(MetadataOperations):
    """Every operation, over one engine."""

    def __init__(self, engine: Engine) -> None:
        self.tenants = TenantDirectory(engine)
        self.refusals = Recorder(lambda: engine.system_driver.security_log, engine.clock)
        pipeline = Pipeline(
            engine.middleware, engine.clock, self.tenants, self._denied, self._check_offered
        )
        places = PlaceKeeper(engine, self.tenants)
        super().__init__(engine, pipeline, MetadataPublisher(engine, places))
        self.reader = Reader(engine)
        quota = RecordQuota(engine, self.reader, self.tenants.record_limits)
        self.writer = Writer(engine, self.reader, quota)
        self.identity = Identity(
            lambda: engine.system_driver.identity,
            engine.settings.identity,
            engine.clock,
            self.pipeline,
            self.refusals,
        )
        admin = TenantAdmin(engine, self.tenants, places, self.publisher, self.identity.void_tenant)
        own_metadata = OwnMetadata(engine, self.tenants, self.publisher)
        self.tenancy = TenantOperations(engine, self.pipeline, self.reader, admin, own_metadata)
        self.audit = AuditOperations(engine, self.pipeline, admin)
        self.webhooks = Webhooks(engine, self.pipeline, self.reader, self.tenants, self.identity)
        self._history = HistoryReader(engine, self.reader)
        self._live = LiveQueries(engine, self.reader.planner, self.tenants.admit)
        self._consistency = Consistency(engine)
        self._bulk = BulkRunner(engine, self.reader, self.writer)
        self.parts = Parts(engine)
        self._status = TransactionStatus(engine)
        self._batch = BatchRunner(engine, self.reader, self.writer, self._status)
        self._actions = ActionRunner(engine, self.reader, self.writer)

    def _denied(self, operation: str, object_name: str, context: Context) -> None:
        clock, which = self.engine.clock, {"operation": operation, "object": object_name}
        entry = entry_of("access_denied", context, clock, **which)
        self.refusals.refused(entry, context.actor.id)

    def _check_offered(self, operation: str, object_name: str, context: Context) -> None:
        if context.actor.is_system:  # the application, which embeds the kernel
            return
        objects = self.engine.model_of(context.tenant).snapshot.objects
        check_offered(objects.get(ObjectName(object_name)), operation)

    def api(self, scope: Scope, depth: int = 0) -> DataApi:
        """Data operations of a caller, each write in a transaction of its own."""
        if scope.may_lag:  # what it writes it must see, and it has no token
            scope = scope._replace(may_lag=False)
        return DataApi(self.reader, scope, OwnTransactions(self.writer, scope), depth)

    # --- reads ---

    async def handle_find(self, request: FindRequest, context: Context) -> PageReply:
        """A page of records."""
        name = request.query.object
        return await self.pipeline.run("find", name, request, context, self._find)

    async def handle_aggregate(self, request: AggregateRequest, context: Context) -> PageReply:
        """A page of groups."""
        name = request.query.object
        return await self.pipeline.run("aggregate", name, request, context, self._find)

    async def _find(self, request: FindRequest | AggregateRequest, context: Context) -> PageReply:
        scope = self.reader.scope(context, may_lag=True)
        return await self.reader.find(request, scope, self.api(scope, 1))

    async def handle_export(self, request: ExportRequest, context: Context) -> ExportReply:
        """A page of all records that a query names, for those who may take them away."""
        name = request.query.object
        return await self.pipeline.run("export", name, request, context, self._export)

    async def _export(self, request: ExportRequest, context: Context) -> ExportReply:
        scope = self.reader.scope(context, may_lag=True)
        return await export_page(request, scope, self.reader, self.api(scope, 1))

    async def handle_get(self, request: GetRequest, context: Context) -> RecordReply:
        """One record."""
        return await self.pipeline.run("get", request.object, request, context, self._get)

    async def _get(self, request: GetRequest, context: Context) -> RecordReply:
        scope = self.reader.scope(context, may_lag=True)
        return await self.reader.get(request, scope, self.api(scope, 1))

    async def handle_explain(self, request: ExplainRequest, context: Context) -> JsonReply:
        """What becomes of a query."""
        name = request.query.object
        return await self.pipeline.run("explain", name, request, context, self._explain)

    async def _explain(self, request: ExplainRequest, context: Context) -> JsonReply:
        scope = self.reader.scope(context)
        stages = await explain_read(request, scope, self.reader.planner, self.engine.clock)
        return self._json(stages)

    async def handle_history(self, request: HistoryRequest, context: Context) -> PageReply:
        """What became of a record."""
        return await self.pipeline.run("history", request.object, request, context, self._past)

    async def _past(self, request: HistoryRequest, context: Context) -> PageReply:
        scope = self.reader.scope(context)
        return await self._history.page(request, scope, self.api(scope, 1))

    async def handle_shares(self, request: SharesRequest, context: Context) -> JsonReply:
        """With whom a record is shared by hand."""
        return await self.pipeline.run("shares", request.object, request, context, self._shares)

    async def _shares(self, request: SharesRequest, context: Context) -> JsonReply:
        scope = self.reader.scope(context)
        check_shareable(scope.model.object(request.object))
        asked = GetRequest(request.object, request.id, fields=((SHARES,),))
        reply = await self.reader.get(asked, scope, self.api(scope, 1))
        return self._json(told_shares(reply.record))

    async def handle_search(self, request: SearchRequest, context: Context) -> JsonReply:
        """Hits in several objects."""
        return await self.pipeline.run("search", "*", request, context, self._search)

    async def _search(self, request: SearchRequest, context: Context) -> JsonReply:
        return await search(request, self.reader.scope(context, may_lag=True), self.reader)

    # --- live queries ---

    async def handle_live_bind(self, request: LiveBindRequest, context: Context) -> LiveBindReply:
        """What a subscription is to the caller."""

        async def core(request: LiveBindRequest, context: Context) -> LiveBindReply:
            return self._live.bind(request, self.reader.scope(context))

        return await self.pipeline.run(SUBSCRIBE, request.query.object, request, context, core)

    async def handle_live_unpublished(
        self, request: UnpublishedRequest, context: Context
    ) -> UnpublishedReply:
        """The changes of an object that are not in the event stream yet."""

        async def core(request: UnpublishedRequest, context: Context) -> UnpublishedReply:
            return await self._live.unpublished(request, self.reader.scope(context))

        return await self.pipeline.run(SUBSCRIBE, request.object, request, context, core)

    async def handle_live_standing(
        self, request: StandingRequest, context: Context
    ) -> StandingReply:
        """The tenants whose listeners must hear no more."""

        async def core(request: StandingRequest, _context: Context) -> StandingReply:
            return await self._live.standing(request)

        return await self.pipeline.run(SUBSCRIBE, "*", request, context, core)

    # --- writes ---

    async def handle_create(self, request: CreateRequest, context: Context) -> RecordReply:
        """The new record."""
        return await self.pipeline.run("create", request.object, request, context, self._create)

    async def _create(self, request: CreateRequest, context: Context) -> RecordReply:
        change = await self.writer.create(request, context)
        return await self._record_reply(request.object, change, context)

    async def handle_update(self, request: UpdateRequest, context: Context) -> RecordReply:
        """The changed record."""
        return await self.pipeline.run("update", request.object, request, context, self._update)

    async def _update(self, request: UpdateRequest, context: Context) -> RecordReply:
        change = await self.writer.update(request, context)
        return await self._record_reply(request.object, change, context)

    async def handle_share(self, request: ShareRequest, context: Context) -> JsonReply:
        """Share a record by hand, or no more; with whom it is shared now."""
        return await self.pipeline.run("share", request.object, request, context, self._share)

    async def _share(self, request: ShareRequest, context: Context) -> JsonReply:
        scope = self.reader.scope(context)
        object_ = scope.model.object(request.object)
        change = await self.writer.in_unit(
            object_,
            scope,
            idempotency_of(
                scope, "share", request.object, request.id, request.principal, request.level
            ),
            "updated",
            lambda unit: unit.share(request.object, request.id, request.principal, request.level),
        )
        token = await self._consistency.token_of_objects((object_.name,), context.tenant)
        reply = self._json(told_shares(change.record))
        return msgspec.structs.replace(reply, consistency_token=token)

    async def handle_delete(self, request: DeleteRequest, context: Context) -> DeleteReply:
        """The id of the deleted record."""
        return await self.pipeline.run("delete", request.object, request, context, self._delete)

    async def _delete(self, request: DeleteRequest, context: Context) -> DeleteReply:
        change = await self.writer.delete(request, context)
        token = await self._consistency.token_of_objects((request.object,), context.tenant)
        return DeleteReply(request.id, change.version, token)

    async def handle_bulk(self, request: BulkRequest, context: Context) -> BulkReply:
        """One result per row."""
        return await self.pipeline.run("bulk", request.object, request, context, self._write_rows)

    async def _write_rows(self, request: BulkRequest, context: Context) -> BulkReply:
        self._check_offered(request.operation, request.object, context)
        reply = await self._bulk.run(request, context)
        token = await self._consistency.token_of_objects((request.object,), context.tenant)
        return msgspec.structs.replace(reply, consistency_token=token)

    async def handle_write_where(self, request: WhereWriteRequest, context: Context) -> CountReply:
        """How many records were changed or deleted."""
        return await self.pipeline.run(
            request.operation, request.object, request, context, self._write_where
        )

    async def _write_where(self, request: WhereWriteRequest, context: Context) -> CountReply:
        self._check_offered("bulk", request.object, context)
        reply = await self._bulk.write_where(request, context)
        token = await self._consistency.token_of_objects((request.object,), context.tenant)
        return msgspec.structs.replace(reply, consistency_token=token)

    async def handle_batch(self, request: BatchRequest, context: Context) -> BatchReply:
        """The results of an ordered list of operations."""
        return await self.pipeline.run("batch", "*", request, context, self._run_batch)

    async def _run_batch(self, request: BatchRequest, context: Context) -> BatchReply:
        for each in request.operations:
            self._check_offered(each.action, each.object, context)
        reply = await self._batch.run(request, context)
        token = await self._consistency.token_of_objects(
            (o.object for o in request.operations), context.tenant
        )
        return msgspec.structs.replace(reply, consistency_token=token)

    async def handle_transaction(
        self, request: TransactionRequest, context: Context
    ) -> TransactionReply:
        """How a transaction of the caller's tenant stands."""

        async def core(request: TransactionRequest, context: Context) -> TransactionReply:
            return await self._status.of(request.id, context.tenant)

        return await self.pipeline.run("transaction", "*", request, context, core)

    async def handle_clone(self, request: CloneRequest, context: Context) -> RecordReply:
        """The new copy of a record."""
        return await self.pipeline.run("create", request.object, request, context, self._clone)

    async def _clone(self, request: CloneRequest, context: Context) -> RecordReply:
        scope = self.reader.scope(context)
        object_ = scope.model.object(request.object)
        if not object_.enable.clone:
            raise PermissionDenied(operation="clone", object=request.object)
        original = await self.reader.get(GetRequest(request.object, request.id), scope)
        stored = cast("dict[str, Any]", decode_json(original.record))
        access = scope.policy.access(object_.name)
        creatable = access.creatable
        copied = {
            field.name: stored[field.name]
            for field in object_.stored_fields
            if field.is_writable
            and not field.unique
            and field.name in stored
            and (creatable is None or field.name in creatable)
            and field.name not in access.masks
        }
        data = encode_json({**copied, **decode_object(request.overrides)})
        return await self._create(CreateRequest(request.object, data), context)

    async def handle_action(self, request: ActionRequest, context: Context) -> JsonReply:
        """What the action returns."""
        return await self.pipeline.run("action", request.object, request, context, self._run_action)

    async def _run_action(self, request: ActionRequest, context: Context) -> JsonReply:
        reply = await self._actions.run(request, context)
        token = await self._consistency.token_of_all()
        return msgspec.structs.replace(reply, consistency_token=token)

    async def _record_reply(
        self, object_name: str, change: Change, context: Context
    ) -> RecordReply:
        token = await self._consistency.token_of_objects((object_name,), context.tenant)
        model = self.engine.model_of(context.tenant)
        name = model.object(object_name).name
        change = shown(change, name, model.policy(context.actor), model, context.actor)
        return RecordReply(
            change.record, change.id, change.version, change.dropped, change.warnings, token
        )

    # --- permissions ---

    async def handle_permissions(self, request: PermissionsRequest, context: Context) -> JsonReply:
        """What the caller may do."""

        async def core(_request: PermissionsRequest, context: Context) -> JsonReply:
            return self._json(permissions_of(self.reader.scope(context)))

        return await self.pipeline.run("meta", "*", request, context, core)

    async def handle_explain_access(
        self, request: ExplainAccessRequest, context: Context
    ) -> JsonReply:
        """A decision about the caller, or about another user, and its reasons."""

        async def core(request: ExplainAccessRequest, context: Context) -> JsonReply:
            actor = context.actor
            if not actor.is_admin or actor.scopes is not None:
                raise PermissionDenied(
                    operation="explain the permissions on", object=request.object
                )
            if request.user is not None:
                roles = request.roles
                if roles is None:
                    directory = self.identity.directory
                    roles = (await directory.known_user(actor.tenant, request.user)).roles
                actor = somebody(actor, request.user, roles, request.claims)
            scope = self.reader.scope(msgspec.structs.replace(context, actor=actor))
            told = await explain_access(
                scope, self.reader, request.object, request.operation, request.id
            )
            return self._json(told)

        return await self.pipeline.run("meta", request.object, request, context, core)
