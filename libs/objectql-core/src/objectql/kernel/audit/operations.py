"""The verbs of the audit: who may ask, and the structs of the bus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from objectql.context import Context
from objectql.errors import PermissionDenied
from objectql.ids import TenantId
from objectql.kernel.audit.entries import entry_of
from objectql.kernel.audit.security import page_of
from objectql.kernel.audit.verify import Verifier
from objectql.kernel.engine import Engine
from objectql.kernel.identity.directory import check_administrator
from objectql.kernel.json import encode_json
from objectql.kernel.pipeline import Pipeline
from objectql.kernel.tenancy.admin import TenantAdmin
from objectql.wire.audit import AuditListRequest, AuditVerifyReply, AuditVerifyRequest
from objectql.wire.cluster import Commanded
from objectql.wire.messages import PageReply
from objectql.wire.transactions import Done

Q = TypeVar("Q")
R = TypeVar("R")

AUDIT: Final = "audit"
"""The operation, for middleware and observers."""


class AuditOperations:
    """One method per verb: administrators about their tenant, operators about any."""

    def __init__(self, engine: Engine, pipeline: Pipeline, tenants: TenantAdmin) -> None:
        self._engine = engine
        self._pipeline = pipeline
        self._tenants = tenants
        self._verifier = Verifier(engine)

    async def _run(
        self, request: Q, context: Context, core: Callable[[Q, Context], Awaitable[R]]
    ) -> R:
        return await self._pipeline.run(AUDIT, "*", request, context, core)

    async def handle_verify(
        self, request: AuditVerifyRequest, context: Context
    ) -> AuditVerifyReply:
        """A step of a verification, see `Verifier.step`.

        Raises:
            PermissionDenied: the caller is no administrator, or asks about another tenant.
            TenantUnknown: there is no such tenant.

        """
        return await self._run(request, context, self._verify)

    async def handle_list(self, request: AuditListRequest, context: Context) -> PageReply:
        """A page of the security log.

        Raises:
            PermissionDenied, TenantUnknown: as `handle_verify`.
            InvalidQuery, TooManyRecords: as `page_of`.

        """
        return await self._run(request, context, self._list)

    async def handle_commanded(self, request: Commanded, context: Context) -> Done:
        """Keep what the caller commands the cluster, before it is done.

        Raises:
            PermissionDenied: the caller is no operator.

        """
        if not context.actor.is_operator:
            raise PermissionDenied(operation="administer", object="the cluster")
        entry = entry_of(
            "cluster_commanded",
            context,
            self._engine.clock,
            command=request.command,
            parameters=request.parameters,
        )
        await self._engine.system_driver.security_log.record([entry])
        return Done()

    async def _list(self, request: AuditListRequest, context: Context) -> PageReply:
        tenant = await self._asked(request.tenant, context)
        return await page_of(self._engine.system_driver.security_log, tenant, request)

    async def _asked(self, tenant: str | None, context: Context) -> TenantId:
        """The tenant about which the caller asks, and may."""
        if tenant is None:
            check_administrator(context)
            return context.tenant
        if not context.actor.is_operator:
            raise PermissionDenied(operation="administer", object="tenants")
        return (await self._tenants.find(tenant)).id

    async def _verify(self, request: AuditVerifyRequest, context: Context) -> AuditVerifyReply:
        tenant = await self._asked(request.tenant, context)
        reports, place = await self._verifier.step(tenant, request.anchor, request.place)
        return AuditVerifyReply(encode_json(reports), place)
