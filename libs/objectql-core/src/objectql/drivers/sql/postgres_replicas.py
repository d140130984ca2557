"""Reads from hot standbys of a Postgres primary, and the watch over them.

Every `PROBE_EVERY_S` the primary and each replica tell how far they are; `replicas` decides from
that who may answer. A replica that fails is left out at once and its connections are cut, so that
reads waiting for it go to the primary instead of waiting out their deadline.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from objectql.clock import Clock
from objectql.drivers.pool import ConnectionPool, Connector, PoolSettings
from objectql.drivers.protocol import Freshness, ReplicaStatus
from objectql.drivers.sql.postgres_calls import Deadline, PostgresCalls
from objectql.drivers.sql.postgres_connect import close_connection, open_connection
from objectql.drivers.sql.postgres_position import OF_REPLICA, Positions, measure
from objectql.drivers.sql.postgres_walls import TenantConnection
from objectql.drivers.sql.replicas import EjectionReason, PrimaryLog, Standing, choose
from objectql.errors import DeadlineExceeded, ObjectQLError, Unavailable

PROBE_EVERY_S: Final = 0.25

CONNECT_TIMEOUT_S: Final = 1.0
"""With the time of a probe it stays within the 2 s in which a dead replica must be out."""

_LOOK_AGAIN_S: Final = 0.005
"""How often a reader that waits for a replica to catch up looks again."""

log = logging.getLogger(__name__)

Rows = Sequence[Sequence[Any]]


class ReplicaSettings(msgspec.Struct, frozen=True):
    """One hot standby; `url` must lead to one server, whose positions are measured.

    A replica that is more than `max_lag_s` behind is not used under any policy.
    """

    url: str
    pool: PoolSettings = PoolSettings(min_size=0)
    max_lag_s: float = 60.0
    statement_cache: int = 1024


class Link(NamedTuple):
    """A connection to a replica: since when, and to which run of its server."""

    connection: TenantConnection
    opened_at_s: float
    life: str


class PostgresReplica:
    """One hot standby: its pool, its standing, its counters."""

    def __init__(
        self,
        name: str,
        settings: ReplicaSettings,
        primary: PrimaryLog,
        clock: Clock,
        *,
        role: Callable[[], str | None],
    ) -> None:
        """`role` is what connections that read put on, see `postgres_walls`."""
        self.name = name
        self._role = role
        self.standing = Standing(primary, max_lag_s=settings.max_lag_s)
        self.reads = 0
        self.ejections: Counter[str] = Counter()
        self._settings = settings
        self._clock = clock
        self._links: set[Link] = set()
        connector = Connector[Link](
            connect=self._connect_link,
            close=self._close_link,
            ping=self._ping,
            is_open=lambda link: not link.connection.is_closed(),
        )
        self.pool = ConnectionPool(name, connector, settings.pool, clock)
        self._positions = Positions(self._connect, OF_REPLICA, clock)

    async def watch(self) -> None:
        """Probe until cancelled."""
        while True:
            await self.probe()
            await self._clock.sleep(PROBE_EVERY_S)

    async def probe(self) -> None:
        """Measure once, and leave the replica out or take it back."""
        try:
            await self.measure()
        except Unavailable:
            self.eject("unreachable")
            return
        reason = self.standing.probed()
        if reason is not None:
            self.eject(reason)
        elif self.standing.passed():
            log.info("replica_admitted", extra={"replica": self.name})

    async def measure(self) -> None:
        """Bring the standing up to date; shared by all who ask in one moment."""
        self.standing.note(await self._positions.read())

    def eject(self, reason: EjectionReason) -> None:
        """Leave it out and end what runs on it, so that it is asked of the primary."""
        if self.standing.eject():
            self.ejections[reason] += 1
            log.warning("replica_ejected", extra={"replica": self.name, "reason": reason})
            for link in self._links:
                link.connection.terminate()

    def is_known_over(self, link: Link) -> bool:
        """Whether the standing was measured during the life of this very connection.

        A server that restarts, or recovers from a crash of one of its processes, cuts every
        connection, and may come back with less replayed than it had.
        """
        measured = self.standing.measured
        return measured.life == link.life and measured.at_s >= link.opened_at_s

    async def close(self) -> None:
        """End all connections."""
        await self._positions.close()
        await self.pool.close()

    def status(self, now_s: float) -> ReplicaStatus:
        """How it does."""
        return ReplicaStatus(
            name=self.name,
            is_in=self.standing.is_in,
            age_s=max(0.0, now_s - self.standing.covered_at),
            lag_bytes=self.standing.lag_bytes,
            reads=self.reads,
            ejections=dict(self.ejections),
        )

    async def _connect(self) -> TenantConnection:
        return await open_connection(
            self._settings.url,
            name=self.name,
            timeout_s=CONNECT_TIMEOUT_S,
            statement_cache=self._settings.statement_cache,
            role=self._role(),
        )

    async def _connect_link(self) -> Link:
        connection = await self._connect()
        try:
            measured = await measure(connection, OF_REPLICA, self._clock)
        except BaseException:
            connection.terminate()
            raise
        self.standing.note(measured)
        link = Link(connection, measured.at_s, measured.life)
        self._links.add(link)
        return link

    async def _close_link(self, link: Link) -> None:
        self._links.discard(link)
        await close_connection(link.connection)

    async def _ping(self, link: Link) -> None:
        await measure(link.connection, OF_REPLICA, self._clock)


class PostgresReplicas:
    """All replicas of one data source."""

    def __init__(
        self,
        replicas: Sequence[PostgresReplica],
        primary: Positions,
        primary_log: PrimaryLog,
        calls: PostgresCalls,
        clock: Clock,
    ) -> None:
        self.members = tuple(replicas)
        self.waits: Counter[str] = Counter()
        self._standings = tuple(replica.standing for replica in self.members)
        self._primary = primary
        self._log = primary_log
        self._calls = calls
        self._clock = clock
        self._turn = 0
        self._watches: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Measure once, so that reads can be shared from the start, and watch from then on.

        A replica that is away does not keep the source from opening.
        """
        await self.position()
        for replica in self.members:
            await replica.pool.open()
            await replica.probe()
        self._watches = [
            asyncio.create_task(self._watch_primary(), name="primary-position"),
            *(asyncio.create_task(r.watch(), name=f"watch-{r.name}") for r in self.members),
        ]

    async def close(self) -> None:
        """Stop watching and end all connections."""
        for watch in self._watches:
            watch.cancel()
        if self._watches:
            await asyncio.wait(self._watches)
        self._watches = []
        await self._primary.close()
        for replica in self.members:
            await replica.close()

    async def position(self) -> int | None:
        """A position at or after all that was committed before this call; None if unknown."""
        try:
            measured = await self._primary.read()
        except Unavailable:
            return None
        self._log.note(measured.at_s, measured.position)
        return measured.position

    async def _watch_primary(self) -> None:
        while True:
            await self.position()
            await self._clock.sleep(PROBE_EVERY_S)

    def status(self) -> tuple[ReplicaStatus, ...]:
        """How each does."""
        now_s = self._clock.monotonic_s()
        return tuple(replica.status(now_s) for replica in self.members)

    async def rows(
        self,
        text: str,
        args: Sequence[object],
        deadline: Deadline,
        wanted: Freshness,
        tenant: str | None,
    ) -> Rows | None:
        """The rows of a read from a replica that is fresh enough; None: the primary is to be asked.

        Whatever else than its deadline keeps a replica from answering, the primary may not mind: a
        conflict with the replay, a table that has not arrived there yet, a lost connection.

        Raises:
            DeadlineExceeded, PoolExhausted

        """
        replica = self._choose(wanted)
        if replica is None:
            replica = await self._catch_up(wanted, deadline)
        if replica is None:
            return None
        try:
            link = replica.pool.acquire_now() or await replica.pool.acquire(deadline.left_s())
        except Unavailable:
            replica.eject("lost")
            return None
        is_sound = False
        try:
            now_s = self._clock.monotonic_s()
            if not (replica.is_known_over(link) and replica.standing.may_answer(wanted, now_s)):
                is_sound = True
                return None
            rows = await self._calls.rows_of(link.connection, tenant, text, args, deadline)
            is_sound = True
            replica.reads += 1
            return rows
        except DeadlineExceeded:
            raise
        except Unavailable:
            replica.eject("lost")
            return None
        except ObjectQLError:
            is_sound = True
            return None
        finally:
            replica.pool.release(link, discard=not is_sound)

    def _choose(self, wanted: Freshness) -> PostgresReplica | None:
        index = choose(self._standings, wanted, self._clock.monotonic_s(), self._turn)
        if index is None:
            return None
        self._turn = index + 1
        return self.members[index]

    async def _catch_up(self, wanted: Freshness, deadline: Deadline) -> PostgresReplica | None:
        """Ask the replicas anew whether they have come as far as the token, for a while."""
        if wanted.position is None or not any(standing.is_in for standing in self._standings):
            return None
        left_s = deadline.left_s()
        wait_s = wanted.wait_s if left_s is None else min(wanted.wait_s, left_s / 2)
        until_s = self._clock.monotonic_s() + wait_s
        while True:
            asked = [replica.measure() for replica in self.members if replica.standing.is_in]
            await asyncio.gather(*asked, return_exceptions=True)
            found = self._choose(wanted)
            if found is not None or self._clock.monotonic_s() >= until_s:
                self.waits["primary" if found is None else "replica"] += 1
                return found
            await self._clock.sleep(_LOOK_AGAIN_S)
