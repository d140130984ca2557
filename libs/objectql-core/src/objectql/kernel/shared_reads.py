"""Reads that arrive together share statements.

Two things are shared. Equal reads (same prepared plan, parameters and demands on freshness) have
one answer. Reads of one plan that differ only in literals by which an index finds their records
(`query.plan.varying_params`) become one statement for all of them: gets of other ids, lists and
groups of other categories.

A read never waits while little like it is under way: it leaves at the end of this turn of the event
loop, together with what one message or one wake-up brought. Two statements of a kind run beside
each other, so that the database works on one while the answers of the other go out; reads that
arrive meanwhile wait for one to end and leave together, so under load the batches grow by
themselves and an idle kernel adds no delay. Should the statements under way be stuck (a frozen
connection), those behind them have little patience.

Reading one's writes. A read joins only a statement that has *not been sent yet*. Whatever was
acknowledged before the read began was therefore committed before the statement's snapshot is
taken, exactly as if the read had sent it itself. Joining a statement under way would be cheaper
and wrong: its snapshot may be older than a write that the reader has seen acknowledged.

Tenants and rules cannot mix: the tenant, the facts of the caller that rules ask for and all other
literals are parameters too, and only reads with equal ones meet.

Statements stay short. One does the work of its reads one after the other, so reads that take long
are better off beside each other: how many share a statement follows from how long one has taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar, cast

import msgspec

from objectql.clock import Clock
from objectql.drivers.protocol import Page, RecordImage
from objectql.errors import DatabaseFailed, DeadlineExceeded, NotSupported
from objectql.kernel.fetch import SharingFetch
from objectql.kernel.planning import Runnable, Scope
from objectql.values import Value

T = TypeVar("T")
Params: TypeAlias = tuple[Value, ...]

MAX_READS: Final = 64
"""In one statement: beyond that the share of a read in its statement's cost hardly falls."""

MAX_ROWS: Final = 4_000
"""Of all pages of one statement together: some megabytes."""

MAX_STATEMENT_S: Final = 0.02
"""What a shared statement is to take, by what its reads have taken so far."""

BESIDE: Final = 2
"""Statements of one kind that run at once before reads wait for the end of one: with one alone,
database and kernel take turns and both are idle half the time. Equal reads that cannot be put
together with others run one at a time: a second statement would do the first one's work again."""

PATIENCE_S: Final = 0.025
"""How long reads wait for statements ahead of them, doubled for each that is under way: more than
a shared statement is to take, while of slow reads only few run at once."""

_BY_ONE: Final = (DatabaseFailed, NotSupported)
"""Failures that one read of a statement may have caused: a number too large, say."""


class Counts(NamedTuple):
    """Since the start: reads asked for outside transactions, and statements sent for them."""

    reads: int
    statements: int


class SharedReads:
    """See the head of this module; reads inside a transaction go straight to `inner`."""

    def __init__(
        self,
        inner: SharingFetch,
        clock: Clock,
        *,
        beside: int = BESIDE,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._inner = inner
        self._pages: _Lanes[Page] = _Lanes(clock, inner.page, inner.pages, beside, patience_s)
        self._records: _Lanes[RecordImage | None] = _Lanes(
            clock, inner.record, inner.records, beside, patience_s
        )

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
        return await self._pages.ride(run, scope, rows=run.prepared.plan.query.limit or 1)

    async def record(self, run: Runnable, scope: Scope) -> RecordImage | None:
        """See `Fetch`."""
        if scope.session is not None:
            return await self._inner.record(run, scope)
        return await self._records.ride(run, scope, rows=1)


One: TypeAlias = Callable[[Runnable, Scope], Awaitable[T]]
Each: TypeAlias = Callable[[Runnable, Sequence[Params], Scope], Awaitable[Sequence[T]]]


def seats_for(run: Runnable, rows: int) -> int:
    """How many different reads like `run`, each of so many rows, one statement may hold."""
    pace_s = run.prepared.uses.pace_s
    if pace_s is None or not run.prepared.plan.varying:
        return 1
    return min(MAX_READS, MAX_ROWS // rows, int(MAX_STATEMENT_S / max(pace_s, 1e-6)))


def _key(run: Runnable, scope: Scope, varying: Sequence[int]) -> Hashable:
    """What reads must have in common. Values in one place are of one type, by the plan."""
    context = scope.context
    # A prepared plan lives at least as long as the reads of it that wait here.
    return (
        id(run.prepared),
        context.tenant,  # a parameter of every plan as well; that need not be relied on
        varying,
        tuple([_hashable(v) for at, v in enumerate(run.params) if at not in varying]),
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
        self.passengers: dict[Hashable, tuple[Params, list[asyncio.Future[T]]]] = {}
        self.aboard = 0
        self.deadline_ms = 0
        self.task: asyncio.Task[None] | None = None

    def board(self, who: Hashable, params: Params, deadline_ms: int) -> asyncio.Future[T]:
        """A seat: the future of the answer."""
        seat: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.passengers.setdefault(who, (params, []))[1].append(seat)
        self.aboard += 1
        self.deadline_ms = max(self.deadline_ms, deadline_ms)
        return seat

    def leave(self) -> None:
        """One read less; a statement that nobody waits for any more is cancelled."""
        self.aboard -= 1
        if self.aboard == 0 and self.task is not None:
            self.task.cancel()

    async def fly(self, one: One[T], each: Each[T]) -> None:
        """Send the statement and hand the answers out.

        A failure is everybody's, unless it may be that of one: then each is sent alone.
        """
        # It must last for whoever waits longest; those with less time watch their own clock.
        context = msgspec.structs.replace(self.scope.context, deadline_ms=self.deadline_ms)
        scope = self.scope._replace(context=context)
        every, waiting = zip(*self.passengers.values(), strict=True)
        try:
            for seats, answer in zip(
                waiting, await self._ask(every, scope, one, each), strict=True
            ):
                for seat in _empty(seats):
                    if isinstance(answer, BaseException):
                        seat.set_exception(answer)
                    else:
                        seat.set_result(answer)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is those that wait who get it
            for seats in waiting:
                for seat in _empty(seats):
                    seat.set_exception(exc)
        finally:
            for seats in waiting:
                for seat in _empty(seats):
                    seat.cancel()

    async def _ask(
        self, every: Sequence[Params], scope: Scope, one: One[T], each: Each[T]
    ) -> Sequence[T | BaseException]:
        if len(every) == 1:
            return [await one(Runnable(self.run.prepared, every[0]), scope)]
        try:
            return await each(self.run, every, scope)
        except _BY_ONE:
            alone = (one(Runnable(self.run.prepared, params), scope) for params in every)
            return await asyncio.gather(*alone, return_exceptions=True)


class _Lane(Generic[T]):
    """Reads of one key: how many statements are under way, and the flight that boards next."""

    def __init__(self) -> None:
        self.under_way = 0
        self.next: _Flight[T] | None = None
        self.departure: asyncio.Handle | None = None


class _Lanes(Generic[T]):
    """All lanes of one kind of read, which is sent by `one`, or `each` where there are many."""

    def __init__(
        self, clock: Clock, one: One[T], each: Each[T], beside: int, patience_s: float
    ) -> None:
        self._clock = clock
        self._beside = beside
        self._patience_s = patience_s
        self._one = one
        self._each = each
        self._lanes: dict[Hashable, _Lane[T]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.reads = 0
        self.statements = 0

    @property
    def is_busy(self) -> bool:
        return bool(self._lanes)

    async def ride(self, run: Runnable, scope: Scope, *, rows: int) -> T:
        """The answer of a read of so many rows, from a statement sent after this call."""
        self.reads += 1
        deadline_ms = scope.context.deadline_ms
        left_s = (deadline_ms - self._clock.now_ms()) / 1000
        if left_s <= 0:
            raise DeadlineExceeded
        seats = seats_for(run, rows)
        varying = run.prepared.plan.varying if seats > 1 else ()
        key = _key(run, scope, varying)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
        flight = lane.next
        if flight is None:
            flight = lane.next = _Flight(run, scope)
            lane.departure = self._plan_departure(key, lane, self._beside if seats > 1 else 1)
        who = tuple([_hashable(run.params[at]) for at in varying])
        seat = flight.board(who, run.params, deadline_ms)
        if len(flight.passengers) >= seats > 1:
            self._depart(key, lane)
        timer = asyncio.get_running_loop().call_later(left_s, _expire, seat)
        try:
            return await seat
        finally:
            timer.cancel()
            flight.leave()

    def _plan_departure(self, key: Hashable, lane: _Lane[T], beside: int) -> asyncio.Handle:
        """When the next flight leaves at the latest."""
        loop = asyncio.get_running_loop()
        if lane.under_way < beside:
            return loop.call_soon(self._depart, key, lane)
        patience_s = self._patience_s * 2 ** min(lane.under_way, 5)
        return loop.call_later(patience_s, self._depart, key, lane)

    def _depart(self, key: Hashable, lane: _Lane[T]) -> None:
        """Send the statement of the next flight; a lane without any is closed."""
        flight, lane.next = lane.next, None
        if lane.departure is not None:
            lane.departure.cancel()
            lane.departure = None
        if flight is not None and flight.aboard:
            lane.under_way += 1
            self.statements += 1
            flight.task = asyncio.create_task(flight.fly(self._one, self._each))
            self._tasks.add(flight.task)

            def landed(task: asyncio.Task[None]) -> None:
                self._tasks.discard(task)
                lane.under_way -= 1
                self._depart(key, lane)

            flight.task.add_done_callback(landed)
        elif lane.under_way == 0:
            del self._lanes[key]


def _empty(seats: Iterable[asyncio.Future[T]]) -> list[asyncio.Future[T]]:
    return [seat for seat in seats if not seat.done()]


def _expire(seat: asyncio.Future[T]) -> None:
    if not seat.done():
        seat.set_exception(DeadlineExceeded())
