"""Reads that arrive together share statements.

Two things are shared. Equal reads (same prepared plan, parameters and demands on freshness) have
one answer. Point reads that differ only in the id become one statement for all the ids.

A read never waits when nothing like it is under way: it goes out at once, in its caller's task, as
if nobody shared anything. Reads that arrive meanwhile wait for it to end and leave together in one
statement, so under load the batches grow by themselves and an idle kernel adds no delay. Should
the statement under way be stuck (a frozen connection), those behind it have little patience.

Reading one's writes. A read joins only a statement that has *not been sent yet*. Whatever was
acknowledged before the read began was therefore committed before the statement's snapshot is
taken, exactly as if the read had sent it itself. Joining a statement under way would be cheaper
and wrong: its snapshot may be older than a write that the reader has seen acknowledged.

Tenants and rules cannot mix: the tenant, the facts of the caller that rules ask for and all
literals but the id are parameters, and only reads with equal ones meet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeVar, cast

import msgspec

from objectql.clock import Clock
from objectql.drivers.protocol import Page, RecordImage
from objectql.errors import DeadlineExceeded
from objectql.kernel.fetch import PointFetch
from objectql.kernel.planning import Runnable, Scope
from objectql.values import Value

T = TypeVar("T")

MAX_IDS: Final = 64
"""Ids in one statement: beyond that the share of a read in its statement's cost hardly falls."""

PATIENCE_S: Final = 0.025
"""How long reads wait for statements ahead of them, doubled for each that is under way: many times
what a point read takes, while of a slow list only few run at once."""


class Counts(NamedTuple):
    """Since the start: reads asked for outside transactions, and statements sent for them."""

    reads: int
    statements: int


class SharedReads:
    """See the head of this module; reads inside a transaction go straight to it."""

    def __init__(self, inner: PointFetch, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._pages: _Lanes[Page] = _Lanes(clock)
        self._records: _Lanes[RecordImage | None] = _Lanes(clock)

    def counts(self) -> Counts:
        """How much was shared so far."""
        pages, records = self._pages, self._records
        return Counts(pages.reads + records.reads, pages.statements + records.statements)

    @property
    def is_busy(self) -> bool:
        """Whether any read is under way."""
        return self._pages.is_busy or self._records.is_busy

    async def page(self, run: Runnable, scope: Scope) -> Page:
        """See `Fetch`."""
        if scope.session is not None:
            return await self._inner.page(run, scope)
        return await self._pages.ride(_key(run, run.params, scope), "", run, scope, self._page)

    async def record(self, run: Runnable, scope: Scope) -> RecordImage | None:
        """See `Fetch`."""
        if scope.session is not None:
            return await self._inner.record(run, scope)
        point, params = run.prepared.plan.point, run.params
        if point is None:
            return await self._records.ride(_key(run, params, scope), "", run, scope, self._first)
        id_ = params[point]
        assert isinstance(id_, str), "ids are text"
        shared = (*params[:point], *params[point + 1 :])
        return await self._records.ride(_key(run, shared, scope), id_, run, scope, self._points)

    async def _page(self, run: Runnable, ids: tuple[str, ...], scope: Scope) -> Mapping[str, Page]:
        return dict.fromkeys(ids, await self._inner.page(run, scope))

    async def _first(
        self, run: Runnable, ids: tuple[str, ...], scope: Scope
    ) -> Mapping[str, RecordImage | None]:
        return dict.fromkeys(ids, await self._inner.record(run, scope))

    async def _points(
        self, run: Runnable, ids: tuple[str, ...], scope: Scope
    ) -> Mapping[str, RecordImage | None]:
        if len(ids) == 1:
            return {ids[0]: await self._inner.record(run, scope)}
        found = await self._inner.records(run, ids, scope)
        return {id_: found.get(id_) for id_ in ids}


Send = Callable[[Runnable, tuple[str, ...], Scope], Awaitable[Mapping[str, T]]]
"""Sends one statement for a read with each of the ids, and answers for every id."""


def _key(run: Runnable, shared: Sequence[Value], scope: Scope) -> Hashable:
    """What reads must have in common. Values in one place are of one type, by the plan."""
    context = scope.context
    # A prepared plan lives at least as long as the reads of it that wait here.
    return (
        id(run.prepared),
        tuple(map(_hashable, shared)),
        context.consistency_token,
        context.recent_token,
        context.read_policy,
        context.max_lag_ms,
        scope.may_lag,
    )


def _hashable(value: Value) -> Hashable:
    return tuple(map(_hashable, value)) if isinstance(value, list) else cast("Hashable", value)


class _Flight(Generic[T]):
    """Reads that leave together in one statement; `run` and `scope` are those of the first."""

    def __init__(self, run: Runnable, scope: Scope) -> None:
        self.run = run
        self.scope = scope
        self.passengers: dict[str, list[asyncio.Future[T]]] = {}
        self.aboard = 0
        self.deadline_ms = 0
        self.task: asyncio.Task[None] | None = None

    def board(self, id_: str, deadline_ms: int) -> asyncio.Future[T]:
        """A seat: the future of the answer."""
        seat: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.passengers.setdefault(id_, []).append(seat)
        self.aboard += 1
        self.deadline_ms = max(self.deadline_ms, deadline_ms)
        return seat

    def leave(self) -> None:
        """One read less; a statement that nobody waits for any more is cancelled."""
        self.aboard -= 1
        if self.aboard == 0 and self.task is not None:
            self.task.cancel()

    async def fly(self, send: Send[T]) -> None:
        """Send the statement and hand the answers out; a failure is everybody's."""
        # It must last for whoever waits longest; those with less time watch their own clock.
        context = msgspec.structs.replace(self.scope.context, deadline_ms=self.deadline_ms)
        scope = self.scope._replace(context=context)
        seats = self.passengers
        try:
            answers = await send(self.run, tuple(seats), scope)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is those that wait who get it
            for seat in _empty(seats):
                seat.set_exception(exc)
        else:
            for id_, waiting in seats.items():
                for seat in waiting:
                    if not seat.done():
                        seat.set_result(answers[id_])
        finally:
            for seat in _empty(seats):
                seat.cancel()


class _Lane(Generic[T]):
    """Reads of one key: how many statements are under way, and the flight that boards next."""

    def __init__(self) -> None:
        self.under_way = 1
        self.next: _Flight[T] | None = None
        self.timer: asyncio.TimerHandle | None = None


class _Lanes(Generic[T]):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lanes: dict[Hashable, _Lane[T]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.reads = 0
        self.statements = 0

    @property
    def is_busy(self) -> bool:
        return bool(self._lanes)

    async def ride(self, key: Hashable, id_: str, run: Runnable, scope: Scope, send: Send[T]) -> T:
        """The answer of a read, from a statement sent after this call."""
        self.reads += 1
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
            self.statements += 1
            try:
                return (await send(run, (id_,), scope))[id_]
            finally:
                self._land(key, lane, send)
        deadline_ms = scope.context.deadline_ms
        left_s = (deadline_ms - self._clock.now_ms()) / 1000
        if left_s <= 0:
            raise DeadlineExceeded
        loop = asyncio.get_running_loop()
        flight = lane.next
        if flight is None:
            flight = lane.next = _Flight(run, scope)
            patience_s = PATIENCE_S * 2 ** min(lane.under_way, 5)
            lane.timer = loop.call_later(patience_s, self._depart, key, lane, send)
        seat = flight.board(id_, deadline_ms)
        if len(flight.passengers) >= MAX_IDS:
            self._depart(key, lane, send)
        timer = loop.call_later(left_s, _expire, seat)
        try:
            return await seat
        finally:
            timer.cancel()
            flight.leave()

    def _depart(self, key: Hashable, lane: _Lane[T], send: Send[T]) -> None:
        """Send the statement of the next flight."""
        flight, lane.next = lane.next, None
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        if flight is None or not flight.aboard:
            return
        lane.under_way += 1
        self.statements += 1
        flight.task = asyncio.create_task(flight.fly(send))
        self._tasks.add(flight.task)

        def landed(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._land(key, lane, send)

        flight.task.add_done_callback(landed)

    def _land(self, key: Hashable, lane: _Lane[T], send: Send[T]) -> None:
        """A statement has ended: the next flight leaves, or the lane is closed."""
        lane.under_way -= 1
        self._depart(key, lane, send)
        if lane.under_way == 0:
            del self._lanes[key]


def _empty(seats: Mapping[str, list[asyncio.Future[T]]]) -> list[asyncio.Future[T]]:
    return [seat for waiting in seats.values() for seat in waiting if not seat.done()]


def _expire(seat: asyncio.Future[T]) -> None:
    if not seat.done():
        seat.set_exception(DeadlineExceeded())
