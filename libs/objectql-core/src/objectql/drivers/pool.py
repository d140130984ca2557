"""A bounded pool of connections, whatever a connection is, and the set of all pools of a process.

The warm path (`acquire_now`, `release`) is plain Python without a task, a lock or a timer. Idle
connections are taken newest first, so that few stay warm and the rest fall to the reaper; waiters
are served first in, first out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Generic, Protocol, TypeVar

import msgspec

from objectql.clock import Clock, SystemClock
from objectql.drivers.budget import ConnectionBudget
from objectql.errors import ObjectQLError, PoolExhausted, Unavailable

C = TypeVar("C")


class PoolSettings(msgspec.Struct, frozen=True):
    """Bounds of one pool; times in seconds."""

    min_size: int = 1
    max_size: int = 16
    acquire_timeout_s: float = 5.0
    idle_timeout_s: float = 300.0
    ping_after_s: float = 30.0
    """A connection that was idle for longer is asked whether it lives before it is given out."""


class PoolStatistics(msgspec.Struct, frozen=True):
    """Gauges (`size` to `waiting`) and counters since the start."""

    size: int
    idle: int
    acquired: int
    waiting: int
    max_size: int
    acquires_total: int
    connects_total: int
    discards_total: int
    timeouts_total: int


class Connector(msgspec.Struct, Generic[C], frozen=True):
    """How the pool makes, probes and ends connections.

    `connect` and `ping` raise `ObjectQLError` when the source does not answer. `is_open` is a
    cheap look at local state. `close` must not raise. `trait` is what a connection is prepared
    for; whoever wants that gets it if it is idle.
    """

    connect: Callable[[], Awaitable[C]]
    close: Callable[[C], Awaitable[None]]
    ping: Callable[[C], Awaitable[None]]
    is_open: Callable[[C], bool]
    trait: Callable[[C], str] | None = None


class ConnectionPool(Generic[C]):
    """At most `max_size` connections; the caller returns each with `release`."""

    def __init__(
        self,
        name: str,
        connector: Connector[C],
        settings: PoolSettings | None = None,
        clock: Clock | None = None,
        budget: ConnectionBudget | None = None,
    ) -> None:
        """`budget` bounds the connections of this and other pools together."""
        self.name = name
        self.settings = settings or PoolSettings()
        self._budget = budget
        self._connector = connector
        self._clock = clock or SystemClock()
        self._idle: deque[tuple[C, float]] = deque()
        self._waiters: deque[asyncio.Future[C | None]] = deque()
        self._size = 0
        self._acquired = 0
        self._closed = False
        self._drained = asyncio.Event()
        self._drained.set()
        self._endings: set[asyncio.Task[None]] = set()
        self._reaper: asyncio.Task[None] | None = None
        self._acquires = self._connects = self._discards = self._timeouts = 0

    async def open(self) -> None:
        """Make `min_size` connections. A pool that needs none need not be opened.

        Raises:
            Unavailable: the source does not answer; then nothing stays open.

        """
        self._closed = False
        try:
            while self._size < self.settings.min_size:
                self._put_idle(await self._connect())
        except BaseException:
            await self.close()
            raise

    def acquire_now(self, trait: str | None = None) -> C | None:
        """A warm connection if one is idle and fresh, else None.

        Of several the newest that has `trait`, else the one that is idle for longest: so callers
        with different traits do not take turns on one.
        """
        if self._closed or not self._idle:
            return None
        at = -1 if trait is None else self._place_of(trait)
        connection, since = self._idle[at]
        stale = self._clock.monotonic_s() - since > self.settings.ping_after_s
        if stale or not self._connector.is_open(connection):
            return None
        del self._idle[at]
        self._hand_out()
        return connection

    def _place_of(self, trait: str) -> int:
        read = self._connector.trait
        if read is not None:
            for at in range(len(self._idle) - 1, -1, -1):
                if read(self._idle[at][0]) == trait:
                    return at
        return 0

    async def acquire(self, timeout_s: float | None = None) -> C:
        """A connection, within `timeout_s` (default: the setting) seconds.

        Raises:
            PoolExhausted: none became free in time.
            Unavailable: the pool is closed, or a new connection could not be made.

        """
        connection = self.acquire_now()
        if connection is not None:
            return connection
        limit = self.settings.acquire_timeout_s
        limit = limit if timeout_s is None else min(limit, timeout_s)
        try:
            async with asyncio.timeout(max(limit, 0.0)):
                return await self._acquire_slowly()
        except TimeoutError as exc:
            self._timeouts += 1
            raise PoolExhausted(pool=self.name) from exc

    async def _acquire_slowly(self) -> C:
        has_waited = False
        while True:
            if self._closed:
                raise Unavailable(what=self.name)
            while self._idle:
                connection, since = self._idle.pop()
                if await self._is_alive(connection, since):
                    self._hand_out()
                    return connection
            if self._size < self.settings.max_size:
                connection = await self._connect()
                self._hand_out()
                return connection
            handed = await self._wait(first=has_waited)
            if handed is not None:
                return handed
            has_waited = True

    async def _is_alive(self, connection: C, since: float) -> bool:
        """Whether a connection taken from the idle ones is good; a bad one is discarded."""
        try:
            if not self._connector.is_open(connection):
                raise Unavailable(what=self.name)
            if self._clock.monotonic_s() - since > self.settings.ping_after_s:
                await self._connector.ping(connection)
        except ObjectQLError:
            self._discard(connection)
            return False
        except BaseException:
            self._discard(connection)
            raise
        return True

    async def _wait(self, *, first: bool) -> C | None:
        """A connection handed over by `release` (counted as acquired), or None: look again.

        A caller that looked again in vain goes back to the head of the queue.
        """
        waiter: asyncio.Future[C | None] = asyncio.get_running_loop().create_future()
        self._waiters.appendleft(waiter) if first else self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # handed over in the same instant
                handed = waiter.result()
                if handed is None:
                    self._wake_one()
                else:
                    self.release(handed)
            else:
                self._waiters.remove(waiter)
            raise

    def release(self, connection: C, *, discard: bool = False) -> None:
        """Give a connection back; `discard` one whose state is unknown."""
        if self._budget is not None and self._budget.is_short:
            discard = True
        if discard or self._closed or not self._connector.is_open(connection):
            self._give_back()
            self._discard(connection)
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._acquires += 1
                waiter.set_result(connection)
                return
        self._give_back()
        self._put_idle(connection)

    @contextlib.asynccontextmanager
    async def lease(self, timeout_s: float | None = None) -> AsyncGenerator[C, None]:
        """A connection for a block; discarded when the block is cancelled or fails oddly."""
        connection = await self.acquire(timeout_s)
        discard = True
        try:
            yield connection
            discard = False
        except ObjectQLError:
            discard = False
            raise
        finally:
            self.release(connection, discard=discard)

    async def close(self, timeout_s: float = 10.0) -> None:
        """Refuse new callers, wait for the connections in use, close all. May be called twice."""
        self._closed = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        while self._idle:
            self._discard(self._idle.pop()[0])
        with contextlib.suppress(TimeoutError):  # what still runs is discarded on its release
            await asyncio.wait_for(self._drained.wait(), timeout_s)
        while self._endings:
            await asyncio.wait(self._endings)

    async def check_health(self, timeout_s: float = 2.0) -> None:
        """Ping through one connection.

        Raises:
            Unavailable, PoolExhausted

        """
        connection = await self.acquire(timeout_s)
        discard = True
        try:
            await self._connector.ping(connection)
            discard = False
        finally:
            self.release(connection, discard=discard)

    def statistics(self) -> PoolStatistics:
        """The pool now."""
        return PoolStatistics(
            size=self._size,
            idle=len(self._idle),
            acquired=self._acquired,
            waiting=sum(not waiter.done() for waiter in self._waiters),
            max_size=self.settings.max_size,
            acquires_total=self._acquires,
            connects_total=self._connects,
            discards_total=self._discards,
            timeouts_total=self._timeouts,
        )

    def reap(self) -> int:
        """Close connections idle for longer than the timeout, down to `min_size`; how many."""
        limit = self._clock.monotonic_s() - self.settings.idle_timeout_s
        count = 0
        while self._idle and self._size > self.settings.min_size and self._idle[0][1] < limit:
            self._discard(self._idle.popleft()[0])
            count += 1
        return count

    def idle_since(self) -> float | None:
        """See `BudgetedPool`."""
        return self._idle[0][1] if self._idle else None

    def shed(self) -> None:
        """See `BudgetedPool`."""
        self._discard(self._idle.popleft()[0])

    async def _reap(self) -> None:
        while self._size:
            await self._clock.sleep(max(self.settings.idle_timeout_s / 4, 0.1))
            self.reap()
        self._reaper = None

    async def _connect(self) -> C:
        self._size += 1  # before the wait, so that `max_size` holds
        try:
            connection = await self._connect_in_budget()
        except BaseException:
            self._size -= 1
            self._wake_one()
            raise
        self._connects += 1
        if self._reaper is None and not self._closed:
            self._reaper = asyncio.create_task(self._reap(), name=f"pool-reaper-{self.name}")
        return connection

    async def _connect_in_budget(self) -> C:
        if self._budget is None:
            return await self._connector.connect()
        await self._budget.take()
        try:
            connection = await self._connector.connect()
        except BaseException:
            self._budget.give()
            raise
        self._budget.join(self)
        return connection

    def _put_idle(self, connection: C) -> None:
        self._idle.append((connection, self._clock.monotonic_s()))

    def _hand_out(self) -> None:
        self._acquired += 1
        self._acquires += 1
        self._drained.clear()

    def _give_back(self) -> None:
        self._acquired -= 1
        if not self._acquired:
            self._drained.set()

    def _discard(self, connection: C) -> None:
        self._size -= 1
        self._discards += 1
        ending = asyncio.ensure_future(self._connector.close(connection))
        self._endings.add(ending)
        ending.add_done_callback(self._ended)
        self._wake_one()

    def _ended(self, ending: asyncio.Task[None]) -> None:
        self._endings.discard(ending)
        if self._budget is not None:
            self._budget.give()
            if not self._size:
                self._budget.leave(self)

    def _wake_one(self) -> None:
        """Let the first waiter look again: there is room for a new connection."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


class ManagedPool(Protocol):
    """What the manager needs of a pool, whatever its connections are."""

    @property
    def name(self) -> str: ...
    def statistics(self) -> PoolStatistics: ...
    async def check_health(self) -> None: ...
    async def close(self) -> None: ...


class PoolManager:
    """Every pool of the process under one bound on the number of connections.

    A pool registers with the size it wants; it gets what the bound has left, at least one.
    """

    def __init__(self, max_connections: int = 64) -> None:
        self.max_connections = max_connections
        self._pools: dict[str, ManagedPool] = {}
        self._granted: dict[str, int] = {}

    def grant(self, name: str, settings: PoolSettings) -> PoolSettings:
        """`settings` with sizes that fit under the bound; the grant ends with `forget`.

        Raises:
            PoolExhausted: the bound is used up.

        """
        left = self.max_connections - sum(self._granted.values())
        if left < 1:
            raise PoolExhausted(pool=name)
        size = min(settings.max_size, left)
        self._granted[name] = size
        smallest = min(settings.min_size, size)
        return msgspec.structs.replace(settings, min_size=smallest, max_size=size)

    def register(self, pool: ManagedPool) -> None:
        """Include `pool` in `statistics`, `check_health` and `close`."""
        self._pools[pool.name] = pool

    def forget(self, name: str) -> None:
        """Give the grant of `name` back."""
        self._pools.pop(name, None)
        self._granted.pop(name, None)

    def statistics(self) -> Mapping[str, PoolStatistics]:
        """By pool name."""
        return {name: pool.statistics() for name, pool in self._pools.items()}

    async def check_health(self) -> Mapping[str, bool]:
        """Whether each pool's source answers."""
        answers: dict[str, bool] = {}
        for name, pool in self._pools.items():
            try:
                await pool.check_health()
                answers[name] = True
            except ObjectQLError:
                answers[name] = False
        return answers

    async def close(self) -> None:
        """Close every pool."""
        for name in tuple(self._pools):
            await self._pools[name].close()
            self.forget(name)
