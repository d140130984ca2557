from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectql.clock import SystemClock
from objectql.context import Actor, Context, ReadPolicy
from objectql.drivers.protocol import Driver, Lowered, Page, RecordImage
from objectql.errors import (
    DatabaseFailed,
    DeadlineExceeded,
    ObjectQLError,
    RecordNotFound,
    Unavailable,
)
from objectql.kernel.kernel import Kernel
from objectql.kernel.planning import Prepared, Runnable, Scope, Uses
from objectql.kernel.shared_reads import (
    MAX_READS,
    MAX_ROWS,
    MAX_STATEMENT_S,
    SharedReads,
    seats_for,
)
from objectql.query.plan import Plan, make_plan
from objectql.testing.driver_samples import CUSTOMERS, by_id, equal_to, one_by_id
from objectql.values import Value
from objectql.wire.messages import GetRequest

POINT = make_plan(one_by_id(CUSTOMERS))
ALL = make_plan(by_id(CUSTOMERS, limit=20))
LIST = make_plan(equal_to(CUSTOMERS, "city", limit=20))
NOTHING = cast("Any", None)


def prepared(plan: Plan, pace_s: float | None = 0.0001) -> Prepared:
    """A prepared query of which one read has taken so long."""
    uses = Uses()
    uses.pace_s = pace_s
    driver, lowered = cast("Driver", NOTHING), cast("Lowered", NOTHING)
    return Prepared(plan, driver, lowered, (), NOTHING, b"", uses)


GET = prepared(POINT)
EVERY = prepared(ALL)
FIND = prepared(LIST)


def get(id_: str, tenant: str = "acme") -> Runnable:
    return Runnable(GET, (tenant, id_))


def find(city: str, tenant: str = "acme") -> Runnable:
    return Runnable(FIND, (tenant, city))


def under(*, left_ms: int = 60_000, **demands: Any) -> Scope:
    deadline_ms = SystemClock().now_ms() + left_ms
    return Scope(Context(Actor("ann"), deadline_ms, "r1", **demands), NOTHING, NOTHING)


async def settle() -> None:
    """Let everything happen that needs no further cause."""
    for _ in range(10):
        await asyncio.sleep(0)


class Statement:
    """One that was sent: it has seen `state`, and answers when told to."""

    def __init__(self, params: Sequence[tuple[Value, ...]], state: Mapping[str, int]) -> None:
        self.tenant = str(params[0][0])
        self.ids = tuple(str(one[1]) for one in params if len(one) > 1)
        self.state = dict(state)
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def image(self, id_: str) -> RecordImage | None:
        version = self.state.get(id_)
        return None if version is None else RecordImage(id_.encode(), version)

    def page(self, id_: str) -> Page:
        state = {key: version for key, version in self.state.items() if id_ in {key, "*"}}
        return Page(msgspec.json.encode(state), len(state))


class Source:
    """A data source whose statements end when the test says so."""

    def __init__(self) -> None:
        self.state: dict[str, int] = {}
        self.sent: list[Statement] = []
        self.cannot_answer: str | None = None

    async def _send(self, *params: tuple[Value, ...]) -> Statement:
        statement = Statement(params, self.state)
        self.sent.append(statement)
        await statement.end
        if self.cannot_answer in statement.ids:
            raise DatabaseFailed
        return statement

    async def page(self, run: Runnable, scope: Scope) -> Page:
        del scope
        statement = await self._send(run.params)
        return statement.page("".join(statement.ids) or "*")

    async def record(self, run: Runnable, scope: Scope) -> RecordImage | None:
        del scope
        return (await self._send(run.params)).image(str(run.params[1]))

    async def pages(
        self, run: Runnable, params: Sequence[Sequence[Value]], scope: Scope
    ) -> Sequence[Page]:
        del run, scope
        statement = await self._send(*map(tuple, params))
        return [statement.page(id_) for id_ in statement.ids]

    async def records(
        self, run: Runnable, params: Sequence[Sequence[Value]], scope: Scope
    ) -> Sequence[RecordImage | None]:
        del run, scope
        statement = await self._send(*map(tuple, params))
        return [statement.image(id_) for id_ in statement.ids]

    def finish(self) -> None:
        """End every statement that was sent."""
        for statement in self.sent:
            if not statement.end.done():
                statement.end.set_result(None)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def reads(source: Source) -> SharedReads:
    """One statement at a time; nobody loses patience while a busy machine holds the test up."""
    return SharedReads(source, SystemClock(), beside=1, patience_s=60.0)


async def under_way(reads: SharedReads) -> asyncio.Task[RecordImage | None]:
    """A get, its statement sent and not ended."""
    task = asyncio.create_task(reads.record(get("c0"), under()))
    await settle()
    return task


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 3)),
        st.tuples(st.just("list"), st.integers(0, 2)),
        st.tuples(st.just("list all"), st.just(0)),
        st.tuples(st.just("write"), st.integers(0, 2)),
        st.tuples(st.just("finish"), st.integers(0, 5)),
        st.tuples(st.just("fail"), st.integers(0, 5)),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(steps=STEPS)
def test_in_any_order_of_events_every_read_sees_what_was_acknowledged_before_it(
    steps: list[tuple[str, int]],
) -> None:
    asyncio.run(play(steps))


async def page_of(reads: SharedReads, run: Runnable) -> dict[str, int]:
    return msgspec.json.decode((await reads.page(run, under())).items)


async def play(steps: list[tuple[str, int]]) -> None:
    source = Source()
    reads = SharedReads(source, SystemClock())
    begun: list[tuple[str, dict[str, int], asyncio.Task[Any]]] = []
    cancelled: set[asyncio.Task[Any]] = set()
    failed = 0
    for step, number in steps:
        under_way = [s for s in source.sent if not s.end.done()]
        if step == "write":
            id_ = f"c{number}"
            source.state[id_] = source.state.get(id_, 0) + 1
        elif step in {"finish", "fail"} and under_way:
            statement = under_way[number % len(under_way)]
            if step == "finish":
                statement.end.set_result(None)
            else:
                failed += 1
                statement.end.set_exception(Unavailable(what="it"))
        elif step == "cancel" and begun:
            task = begun[number % len(begun)][2]
            if task.cancel():
                cancelled.add(task)
        elif step == "read":
            id_ = f"c{number}"
            work = reads.record(get(id_), under())
            begun.append((id_, dict(source.state), asyncio.create_task(work)))
        elif step.startswith("list"):
            id_ = f"c{number}" if step == "list" else "*"
            run = find(id_) if step == "list" else Runnable(EVERY, ("acme",))
            known = {k: v for k, v in source.state.items() if id_ in {k, "*"}}
            begun.append((id_, known, asyncio.create_task(page_of(reads, run))))
        await settle()
    for _ in range(len(steps) + 1):
        source.finish()
        await settle()
    for id_, known, task in begun:
        assert task.done()
        if task.cancelled():
            assert task in cancelled
            continue
        if task.exception() is not None:
            assert isinstance(task.exception(), Unavailable)
            assert failed
            continue
        if isinstance(task.result(), dict):
            assert all(task.result().get(i, 0) >= version for i, version in known.items())
            assert id_ == "*" or set(task.result()) <= {id_}
            continue
        image: RecordImage | None = task.result()
        version = 0 if image is None else image.version
        assert known.get(id_, 0) <= version <= source.state.get(id_, 0)
        assert image is None or image.json == id_.encode()
    assert not reads.is_busy


async def test_reads_of_one_turn_leave_at_once_and_those_behind_them_leave_together(
    reads: SharedReads, source: Source
) -> None:
    source.state = {f"c{n}": n for n in range(10)}
    asked = [asyncio.create_task(reads.record(get(f"c{n}"), under())) for n in range(3)]
    await settle()
    assert [s.ids for s in source.sent] == [("c0", "c1", "c2")]
    for n in range(24):
        asked.append(asyncio.create_task(reads.record(get(f"c{n % 12}"), under())))
        await asyncio.sleep(0)
    await settle()
    assert len(source.sent) == 1
    source.finish()
    await settle()
    assert [s.ids for s in source.sent[1:]] == [tuple(f"c{n}" for n in range(12))]
    source.finish()
    answers = await asyncio.gather(*asked)
    expected = [0, 1, 2, *[*range(10), None, None] * 2]
    assert [image and image.version for image in answers] == expected
    assert reads.counts() == (27, 2)


async def test_two_statements_run_beside_each_other_before_a_third_waits(source: Source) -> None:
    reads = SharedReads(source, SystemClock(), patience_s=60.0)
    asked: list[asyncio.Task[RecordImage | None]] = []
    for n in range(4):
        asked.append(asyncio.create_task(reads.record(get(f"c{n}"), under())))
        await settle()
    assert [s.ids for s in source.sent] == [("c0",), ("c1",)]
    source.sent[0].end.set_result(None)
    await settle()
    assert [s.ids for s in source.sent[2:]] == [("c2", "c3")]
    source.finish()
    await asyncio.gather(*asked)


async def test_lists_that_differ_in_a_literal_share_a_statement_and_have_their_own_answers(
    reads: SharedReads, source: Source
) -> None:
    source.state = {f"c{n}": n for n in range(5)}
    cities = ["c0", "c1", "c2", "c1", "nowhere"]
    asked = [asyncio.create_task(page_of(reads, find(city))) for city in cities]
    await settle()
    assert [s.ids for s in source.sent] == [("c0", "c1", "c2", "nowhere")]
    source.finish()
    assert await asyncio.gather(*asked) == [{"c0": 0}, {"c1": 1}, {"c2": 2}, {"c1": 1}, {}]
    assert reads.counts() == (5, 1)


async def test_equal_lists_share_an_answer_and_those_of_another_tenant_do_not(
    reads: SharedReads, source: Source
) -> None:
    tenants = ["acme", "acme", "zoo", "acme"]
    asked = [asyncio.create_task(reads.page(Runnable(EVERY, (t,)), under())) for t in tenants]
    await settle()
    assert [s.tenant for s in source.sent] == ["acme", "zoo"]
    source.finish()
    await asyncio.gather(*asked)


@pytest.mark.parametrize("pace_s", [None, MAX_STATEMENT_S, 10.0])
async def test_reads_that_are_slow_or_of_unknown_pace_run_beside_each_other(
    reads: SharedReads, source: Source, pace_s: float | None
) -> None:
    slow = prepared(LIST, pace_s)
    asked = [
        asyncio.create_task(reads.page(Runnable(slow, ("acme", f"c{n % 3}")), under()))
        for n in range(4)
    ]
    await settle()
    assert [s.ids for s in source.sent] == [("c0",), ("c1",), ("c2",)]  # the fourth equals one
    source.finish()
    await asyncio.gather(*asked)


@pytest.mark.parametrize(
    ("pace_s", "limit", "seats"),
    [(0.0, 20, MAX_READS), (MAX_STATEMENT_S / 5, 20, 5), (0.0, MAX_ROWS // 3, 3), (0.0, 9_999, 0)],
)
def test_statements_hold_as_many_reads_as_stay_short(pace_s: float, limit: int, seats: int) -> None:
    assert seats_for(Runnable(prepared(LIST, pace_s), ("acme", "c0")), limit) == seats


async def test_a_read_that_cannot_be_answered_fails_alone(
    reads: SharedReads, source: Source
) -> None:
    source.state = {f"c{n}": n for n in range(5)}
    source.cannot_answer = "c2"
    asked = [asyncio.create_task(page_of(reads, find(f"c{n}"))) for n in range(4)]
    for _ in range(2):
        await settle()
        source.finish()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert answers[:2] == [{"c0": 0}, {"c1": 1}]
    assert isinstance(answers[2], DatabaseFailed)
    assert answers[3] == {"c3": 3}
    assert not reads.is_busy


@pytest.mark.parametrize(
    "demands",
    [
        {"consistency_token": "default:0/1"},
        {"read_policy": ReadPolicy.PRIMARY},
        {"read_policy": ReadPolicy.BOUNDED, "max_lag_ms": 10},
    ],
)
async def test_reads_of_other_tenants_and_demands_never_meet(
    reads: SharedReads, source: Source, demands: dict[str, Any]
) -> None:
    asked = [
        asyncio.create_task(reads.record(get("c1"), under())),
        asyncio.create_task(reads.record(get("c1", "zoo"), under())),
        asyncio.create_task(reads.record(get("c1"), under(**demands))),
    ]
    await settle()
    assert len(source.sent) == 3
    source.finish()
    await asyncio.gather(*asked)


async def test_a_read_that_is_cancelled_takes_nobody_with_it(
    reads: SharedReads, source: Source
) -> None:
    source.state = {"c1": 1}
    first = await under_way(reads)
    second, third = (asyncio.create_task(reads.record(get("c1"), under())) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert len(source.sent) == 2  # the two behind it go on
    second.cancel()
    await settle()
    source.finish()
    image = await third
    assert image is not None
    assert image.version == 1


async def test_a_statement_that_nobody_waits_for_any_more_is_cancelled(
    reads: SharedReads, source: Source
) -> None:
    asked = [asyncio.create_task(reads.record(get(f"c{n}"), under())) for n in range(3)]
    await settle()
    for task in asked:
        task.cancel()
    await settle()
    assert source.sent[0].end.cancelled()
    assert not reads.is_busy


async def test_reads_whose_callers_are_gone_before_the_turn_ends_are_not_sent(
    reads: SharedReads, source: Source
) -> None:
    task = asyncio.create_task(reads.record(get("c1"), under()))
    asyncio.get_running_loop().call_soon(task.cancel)
    await settle()
    assert task.cancelled()
    assert not source.sent
    assert not reads.is_busy


async def test_a_failure_reaches_everybody_who_waits_for_it_and_nobody_else(
    reads: SharedReads, source: Source
) -> None:
    first = await under_way(reads)
    asked = [asyncio.create_task(reads.record(get(f"c{n}"), under())) for n in range(1, 4)]
    await settle()
    source.finish()
    await settle()
    later = asyncio.create_task(reads.record(get("c9"), under()))
    await settle()
    source.sent[1].end.set_exception(Unavailable(what="it"))
    await settle()
    source.finish()
    answers = await asyncio.gather(first, *asked, later, return_exceptions=True)
    assert [isinstance(a, ObjectQLError) for a in answers] == [False, True, True, True, False]


async def test_whoever_waits_watches_the_own_deadline(reads: SharedReads, source: Source) -> None:
    first = asyncio.create_task(reads.record(get("c1"), under()))
    await settle()
    with pytest.raises(DeadlineExceeded):
        await reads.record(get("c2"), under(left_ms=5))
    with pytest.raises(DeadlineExceeded):
        await reads.record(get("c2"), under(left_ms=-5))
    assert not first.done()
    source.finish()
    await first


async def test_a_statement_that_is_stuck_does_not_hold_up_those_behind_it(
    source: Source,
) -> None:
    reads = SharedReads(source, SystemClock(), beside=1)
    source.state = {"c2": 2}
    stuck = asyncio.create_task(reads.record(get("c1"), under()))
    await settle()
    behind = asyncio.create_task(reads.record(get("c2"), under()))
    async with asyncio.timeout(10):
        while len(source.sent) < 2:
            await asyncio.sleep(0.001)
    source.sent[1].end.set_result(None)
    image = await behind
    assert image is not None
    assert image.version == 2
    assert not stuck.done()
    source.finish()
    await stuck


async def test_a_full_statement_leaves_without_waiting(reads: SharedReads, source: Source) -> None:
    first = await under_way(reads)
    asked = [
        asyncio.create_task(reads.record(get(f"c{n}"), under())) for n in range(2 * MAX_READS + 1)
    ]
    await settle()
    assert [len(s.ids) for s in source.sent] == [1, MAX_READS, MAX_READS]
    for _ in range(2):
        source.finish()
        await settle()
    await asyncio.gather(first, *asked)


async def test_gets_that_arrive_together_answer_as_if_each_came_alone(
    kernel: Kernel, ask: Any
) -> None:
    for n in range(5):
        await kernel.create("account", {"id": f"a{n}", "name": f"N {n}", "balance": n})
    await kernel.create("contact", {"id": "c1", "name": "C", "account": "a1"})
    requests = [
        *(GetRequest("account", f"a{n % 7}") for n in range(21)),
        *(GetRequest("account", id_) for id_ in ("é", "nul\0", "", "@me", "x" * 300)),
        *(GetRequest("account", "a1", fields=(("name",),)) for _ in range(3)),
        *(GetRequest("contact", "c1") for _ in range(3)),
    ]
    context = ask("admin")

    async def outcome(request: GetRequest) -> object:
        try:
            reply = await kernel.handle_get(request, context)
            return msgspec.structs.replace(reply, timing=None)  # how long it took may differ
        except ObjectQLError as exc:
            return exc.code

    alone = [await outcome(request) for request in requests]
    together = await asyncio.gather(*map(outcome, requests))
    assert together == alone
    assert alone[5] == RecordNotFound.code
