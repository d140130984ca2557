"""How many records a tenant may have.

Nobody counts at a write, and no counter is a row that all writers share: a kernel counts the
records of a tenant that has a quota when its count is older than `FRESH_S`, or than twenty times
what the counting took, and adds what it creates meanwhile. So a tenant may have more than its
quota by what other kernels have created since, and by what was under way when it was counted; it
is never refused a record that it may have by a count that is older than `SURE_S`. Counting reads
like the tenant itself, from its own share of the connections. Records in the trash do not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from objectql.context import Context, system_actor
from objectql.errors import QuotaExceeded
from objectql.ids import TenantId, uuid7
from objectql.kernel.engine import Engine
from objectql.kernel.read import Reader
from objectql.query.ast import Query

FRESH_S: Final = 1.0
SURE_S: Final = 0.1

_PACE: Final = 20
_COUNTING_MS: Final = 30_000


class _Count:
    """What is known of one tenant."""

    __slots__ = ("counted_s", "records", "taken", "took_s")

    def __init__(self) -> None:
        self.counted_s = float("-inf")
        self.took_s = 0.0
        self.records = 0
        self.taken = 0
        """Records created here since the count was begun."""


class RecordQuota:
    """`ready` before a transaction, `take` for every record in it."""

    def __init__(self, engine: Engine, reader: Reader, limits: Mapping[TenantId, int]) -> None:
        """`limits` holds the tenants that have a quota; it is looked at anew each time."""
        self._engine = engine
        self._reader = reader
        self._limits = limits
        self._counts: dict[TenantId, _Count] = {}
        self._counting: dict[TenantId, asyncio.Task[None]] = {}

    def binds(self, context: Context) -> bool:
        """Whether the caller may create only so many records."""
        return context.tenant in self._limits and not context.actor.is_system

    async def ready(self, context: Context) -> None:
        """Return when the tenant's records are known well enough to create some."""
        if not self.binds(context):
            return
        limit = self._limits[context.tenant]
        count = self._counts.get(context.tenant)
        if count is not None:
            is_full = count.records + count.taken >= limit
            good_s = max(SURE_S if is_full else FRESH_S, _PACE * count.took_s)
            if self._engine.clock.monotonic_s() - count.counted_s < good_s:
                return
        counting = self._counting.get(context.tenant)
        if counting is None:
            counting = asyncio.ensure_future(self._count(context.tenant))
            self._counting[context.tenant] = counting
            counting.add_done_callback(lambda _: self._counting.pop(context.tenant, None))
        await asyncio.shield(counting)

    def take(self, context: Context, records: int) -> None:
        """Return if so many records more are within the quota.

        Raises:
            QuotaExceeded: they are not.

        """
        count = self._counts.get(context.tenant)
        if not self.binds(context) or count is None:  # or the quota is newer than this request
            return
        limit = self._limits[context.tenant]
        if count.records + count.taken + records > limit:
            raise QuotaExceeded(quota="records", limit=limit)
        count.taken += records

    async def _count(self, tenant: TenantId) -> None:
        clock = self._engine.clock
        count = self._counts.setdefault(tenant, _Count())
        started_s, before = clock.monotonic_s(), count.taken
        context = Context(
            actor=system_actor(tenant),
            deadline_ms=clock.now_ms() + _COUNTING_MS,
            request_id=uuid7(),
        )
        scope = self._reader.scope(context)
        records = 0
        for name in scope.model.snapshot.objects:
            query = Query(name, fields=(("id",),), limit=0, count="exact")
            records += (await self._reader.fetch(query, scope)).total or 0
        count.records = records
        count.taken -= before
        count.counted_s = clock.monotonic_s()
        count.took_s = count.counted_s - started_s
