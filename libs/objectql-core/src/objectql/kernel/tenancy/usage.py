"""What a tenant uses: records and bytes per object, and requests.

Records are counted when somebody asks. Bytes are an estimate: the average length, as JSON, of the
first records of an object times their number; indexes, histories and what the database adds are
not in it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from objectql.context import Context, system_actor
from objectql.drivers.tenants import Quotas
from objectql.kernel.engine import Engine
from objectql.kernel.read import Reader
from objectql.kernel.tenancy.admin import TenantAdmin
from objectql.query.ast import Query
from objectql.values import instant_of_ms

SAMPLE: Final = 100


class ObjectUsage(msgspec.Struct, frozen=True):
    """Of one object."""

    records: int
    bytes: int
    """An estimate."""


class RequestUsage(msgspec.Struct, frozen=True):
    """Operations of kernels; a batch is one."""

    today: int
    """Since midnight, UTC."""
    yesterday: int


class TenantUsage(msgspec.Struct, frozen=True):
    """What a tenant uses, and what it may."""

    id: str
    at: str
    records: int
    bytes: int
    """An estimate."""
    requests: RequestUsage
    objects: dict[str, ObjectUsage]
    quotas: Quotas


async def usage_of(
    id_: str, context: Context, admin: TenantAdmin, engine: Engine, reader: Reader
) -> TenantUsage:
    """The usage of one tenant; objects without records are left out.

    Raises:
        TenantUnknown: there is none.

    """
    tenant = await admin.find(id_)
    actor = system_actor(tenant.id)
    scope = reader.scope(msgspec.structs.replace(context, actor=actor))
    objects: dict[str, ObjectUsage] = {}
    for name in sorted(map(str, scope.model.snapshot.objects)):
        page = await reader.fetch(Query(name, limit=SAMPLE, count="exact"), scope)
        total = page.total or 0
        if total:
            each = len(page.items) / min(total, SAMPLE)
            objects[name] = ObjectUsage(total, round(each * total))
    return TenantUsage(
        id=tenant.id,
        at=instant_of_ms(engine.clock.now_ms()),
        records=sum(used.records for used in objects.values()),
        bytes=sum(used.bytes for used in objects.values()),
        requests=RequestUsage(*await engine.tally.days(tenant.id)),
        objects=objects,
        quotas=tenant.quotas,
    )
