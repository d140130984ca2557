"""All records of one tenant, page by page, as lines of JSON (NDJSON).

The first line is `{"tenant": {...}}`, then there is `{"webhook": {...}}` for each webhook, without its
secrets; every further one is `{"object": "...", "record": {...}}`, by object and id, deleted records
among them. Pages are read one by one, so that an export of any size
costs the memory of one; it is therefore no snapshot: what changes meanwhile is in it or not.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from objectql.context import Context, system_actor
from objectql.errors import InvalidRequest
from objectql.ids import TenantId
from objectql.kernel.engine import Engine
from objectql.kernel.json import encode_json
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.kernel.tenancy.admin import TenantAdmin, view_of
from objectql.kernel.webhooks.declaration import described
from objectql.query.ast import Query, Sort
from objectql.wire.tenants import TenantExportReply, TenantExportRequest

MAX_BYTES: Final = 512 * 1024
"""Of one page; the bus takes messages of twice that."""

_ROWS: Final = 500
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


class TenantExport:
    """Reads as the system, in the tenant's name."""

    def __init__(self, engine: Engine, admin: TenantAdmin, reader: Reader) -> None:
        self._engine = engine
        self._admin = admin
        self._reader = reader

    async def page(self, request: TenantExportRequest, context: Context) -> TenantExportReply:
        """The lines that follow the request's place.

        Raises:
            TenantUnknown
            InvalidRequest: the place is none.

        """
        tenant = await self._admin.find(request.id)
        actor = system_actor(tenant.id)
        scope = self._reader.scope(msgspec.structs.replace(context, actor=actor))
        names = sorted(map(str, scope.model.snapshot.objects))
        if request.object is None:
            first = [{"tenant": view_of(tenant)}, *await self._webhooks(tenant.id)]
            lines = b"".join(encode_json(line) + b"\n" for line in first)
            return TenantExportReply(lines, names[0] if names else None)
        if request.object not in names:
            raise InvalidRequest(reason=f'the export cannot go on at "{request.object[:100]}"')
        lines, after = await self._lines(request.object, request.after, scope)
        if after is not None:
            return TenantExportReply(lines, request.object, after)
        following = names.index(request.object) + 1
        return TenantExportReply(lines, names[following] if following < len(names) else None)

    async def _webhooks(self, tenant: TenantId) -> list[dict[str, Any]]:
        _, found = await self._engine.system_driver.webhooks.load()
        return [{"webhook": described(one)} for one in found if one.tenant == tenant]

    async def _lines(
        self, object_name: str, after: str | None, scope: Scope
    ) -> tuple[bytes, str | None]:
        """The lines of one page of an object, and the cursor of the next if there is one."""
        rows = _ROWS
        by_id = (Sort(("id",)),)
        deleted = "deleted_at" in scope.model.object(object_name).fields
        while True:
            query = Query(
                object_name, order_by=by_id, limit=rows, after=after, include_deleted=deleted
            )
            page = await self._reader.page(query, scope)
            if len(page.items) <= MAX_BYTES or rows == 1:
                break
            rows = max(1, rows // 4)
        head = b'{"object":' + encode_json(object_name) + b',"record":'
        lines = b"".join(head + bytes(record) + b"}\n" for record in _split(page.items))
        return lines, page.next
