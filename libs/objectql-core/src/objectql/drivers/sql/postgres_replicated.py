"""A Postgres source with hot standbys that take some of its reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import asyncpg  # noqa: TID251 - this package is the home of the database drivers

from objectql.clock import Clock
from objectql.drivers.pool import ManagedPool
from objectql.drivers.protocol import Capabilities, Freshness, ReadCounts
from objectql.drivers.sql.answers import Run, Source
from objectql.drivers.sql.postgres import DEFAULT_SOURCE, PostgresDriver, PostgresSettings
from objectql.drivers.sql.postgres_connect import open_connection
from objectql.drivers.sql.postgres_position import OF_PRIMARY, Positions
from objectql.drivers.sql.postgres_replicas import (
    CONNECT_TIMEOUT_S,
    PostgresReplica,
    PostgresReplicas,
    ReplicaSettings,
)
from objectql.drivers.sql.replicas import PrimaryLog
from objectql.ids import DataSource

T = TypeVar("T")


class _NoReplica(Exception):
    """No replica is fresh enough, or none could answer."""


class ReplicatedPostgresDriver(PostgresDriver):
    """See `Driver`. Writes and transactions are the primary's; so are reads without `freshness`."""

    def __init__(
        self,
        settings: PostgresSettings,
        replicas: Mapping[str, ReplicaSettings],
        *,
        name: DataSource = DEFAULT_SOURCE,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(settings, name=name, clock=clock)
        primary_log = PrimaryLog()
        self._replicas = PostgresReplicas(
            [
                PostgresReplica(replica, its, primary_log, self._clock, role=lambda: self._role)
                for replica, its in replicas.items()
            ],
            Positions(self._connect_to_measure, OF_PRIMARY, self._clock),
            primary_log,
            self._calls,
            self._clock,
        )

    @property
    def capabilities(self) -> Capabilities:
        """See `Driver`."""
        return Capabilities(replicas=True)

    @property
    def replica_pools(self) -> tuple[ManagedPool, ...]:
        """The connections to the replicas, for the process's `PoolManager`."""
        return tuple(replica.pool for replica in self._replicas.members)

    async def _connect_to_measure(self) -> asyncpg.Connection:
        """Soon or not at all: writers wait for it after their commit."""
        return await open_connection(
            self._settings.url,
            name=self.name,
            timeout_s=CONNECT_TIMEOUT_S,
            statement_cache=self._settings.statement_cache,
        )

    async def connect(self) -> None:
        """See `Driver`."""
        await super().connect()
        try:
            await self._replicas.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """See `Driver`."""
        await self._replicas.close()
        await super().close()

    async def _answer(
        self,
        read: Callable[[Source], Awaitable[T]],
        tenant: str,
        deadline_ms: int | None,
        freshness: Freshness | None,
    ) -> T:
        """See `PostgresReads`."""
        if freshness is not None:
            run = self._replica_run(tenant, deadline_ms, freshness)
            with suppress(_NoReplica):
                return await read(Source(run, is_replica=True))
        return await super()._answer(read, tenant, deadline_ms, None)

    def _replica_run(self, tenant: str, deadline_ms: int | None, freshness: Freshness) -> Run:
        """Runs statements on replicas; `_NoReplica` where the primary is to be asked."""
        deadline = self._deadline(deadline_ms)
        shown = self._shown(tenant)

        async def run(text: str, args: Sequence[object]) -> Sequence[Sequence[Any]]:
            rows = await self._replicas.rows(text, args, deadline, freshness, shown)
            if rows is None:
                raise _NoReplica
            return rows

        return run

    async def position(self) -> int | None:
        """See `Driver`. Writers that ask at the same time share one statement."""
        return await self._replicas.position()

    def read_counts(self) -> ReadCounts:
        """See `Driver`."""
        return ReadCounts(self._reads, self._replicas.status(), dict(self._replicas.waits))
