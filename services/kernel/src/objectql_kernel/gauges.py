"""What a worker measures about itself, read at a steady pace.

Outboxes are counted only by the worker that relays them, those of tenants' places too: one count
per data source in the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping

from objectql.drivers.pool import PoolManager
from objectql.drivers.protocol import ReadCounts
from objectql.errors import ObjectQLError
from objectql.ids import DataSource
from objectql.kernel.kernel import Kernel
from objectql.service.run import Process
from objectql.wire.cluster import ReplicaHealth, SourceHealth
from objectql_kernel.changes import Changes
from objectql_kernel.settings import KernelSettings
from objectql_kernel.shared_cache import SharedCache

EVERY_S = 2.0


class Gauges:
    """Copies statistics of the engine into the process's metrics."""

    def __init__(
        self,
        process: Process[KernelSettings],
        kernel: Kernel,
        pools: PoolManager,
        changes: Changes,
        cache: SharedCache | None,
    ) -> None:
        self._process = process
        self._kernel = kernel
        self._pools = pools
        self._changes = changes
        self._cache = cache
        self.sources: dict[str, SourceHealth] = {}
        """The data sources as last read."""

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.read()
            await self._process.clock.sleep(EVERY_S)

    async def read(self) -> None:
        """One reading."""
        metrics = self._process.metrics
        metrics.set("oql_metadata_version", self._kernel.engine.model.version)
        answering = await self._pools.check_health()
        for source, is_up in answering.items():
            metrics.set("oql_source_up", float(is_up), source)
        self.sources = {name: self._health(name, answering) for name in self._changes.relays}
        for source, pool in self._pools.statistics().items():
            metrics.set("oql_pool_connections", pool.acquired, source, "acquired")
            metrics.set("oql_pool_connections", pool.idle, source, "idle")
            metrics.set("oql_pool_waiting", pool.waiting, source)
        for source, relay in self._changes.relays.items():
            metrics.set("oql_relay_leading", float(relay.is_leading), source)
            pending, oldest_s = await self._outbox(source) if relay.is_leading else (0, 0.0)
            metrics.set("oql_outbox_pending_events", pending, source)
            metrics.set("oql_outbox_oldest_seconds", oldest_s, source)
        for source, driver in self._kernel.engine.drivers.items():
            self._count_reads(source, driver.read_counts())
        if self._cache is not None:
            self._cache.measure(metrics)
        self._count()

    def _health(self, source: str, answering: Mapping[str, bool]) -> SourceHealth:
        replicas = self._kernel.engine.drivers[DataSource(source)].read_counts().replicas
        return SourceHealth(
            is_up=answering.get(source, True),  # what has no pool is in this process
            is_relaying=self._changes.relays[DataSource(source)].is_leading,
            replicas={r.name: ReplicaHealth(is_in_use=r.is_in, lag_s=r.age_s) for r in replicas},
        )

    def _count_reads(self, source: str, counts: ReadCounts) -> None:
        set_, count_to = self._process.metrics.set, self._process.metrics.count_to
        if not counts.replicas:
            return
        count_to("oql_replica_reads_total", counts.primary, source, "primary")
        for by, number in counts.waits.items():
            count_to("oql_replica_token_waits_total", number, source, by)
        for replica in counts.replicas:
            name = replica.name
            set_("oql_replica_in_use", float(replica.is_in), source, name)
            set_("oql_replica_lag_seconds", replica.age_s, source, name)
            set_("oql_replica_lag_bytes", replica.lag_bytes, source, name)
            count_to("oql_replica_reads_total", replica.reads, source, name)
            for reason, number in replica.ejections.items():
                count_to("oql_replica_ejections_total", number, source, name, reason)

    async def _outbox(self, source: DataSource) -> tuple[int, float]:
        try:
            return await self._changes.counts(source)
        except ObjectQLError:  # the source is away, which `oql_source_up` tells
            return 0, 0.0

    def _count(self) -> None:
        count_to = self._process.metrics.count_to
        plans = self._kernel.reader.planner.statistics()
        count_to("oql_events_published_total", self._changes.published)
        count_to("oql_plan_cache_hits_total", plans.hits)
        count_to("oql_plan_cache_misses_total", plans.misses)
        for outcome, number in self._kernel.engine.transactions.items():
            count_to("oql_transactions_total", number, outcome)
