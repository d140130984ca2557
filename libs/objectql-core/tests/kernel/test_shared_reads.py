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
from objectql.errors import DeadlineExceeded, ObjectQLError, RecordNotFound, Unavailable
from objectql.kernel.kernel import Kernel
from objectql.kernel.planning import Prepared, Runnable, Scope, Uses
from objectql.kernel.shared_reads import MAX_IDS, SharedReads
from objectql.query.plan import make_plan
from objectql.testing.driver_samples import CUSTOMERS, by_id, one_by_id
from objectql.wire.messages import GetRequest

POINT = make_plan(one_by_id(CUSTOMERS))
LIST = make_plan(by_id(CUSTOMERS, limit=20))
NOTHING = cast("Any", None)
GET = Prepared(POINT, cast("Driver", NOTHING), cast("Lowered", NOTHING), (), NOTHING, b"", Uses())
FIND = Prepared(LIST, cast("Driver", NOTHING), cast("Lowered", NOTHING), (), NOTHING, b"", Uses())


def get(id_: str, tenant: str = "acme") -> Runnable:
    return Runnable(GET, (tenant, id_))


def under(*, left_ms: int = 60_000, **demands: Any) -> Scope:
    deadline_ms = SystemClock().now_ms() + left_ms
    return Scope(Context(Actor("ann"), deadline_ms, "r1", **demands), NOTHING, NOTHING)


async def settle() -> None:
    """Let everything happen that needs no further cause."""
    for _ in range(10):
        await asyncio.sleep(0)


class Statement:
    """One that was sent: it has seen `state`, and answers when told to."""

    def __init__(self, tenant: str, ids: tuple[str, ...], state: Mapping[str, int]) -> None:
        self.tenant = tenant
        self.ids = ids
        self.state = dict(state)
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def image(self, id_: str) -> RecordImage | None:
        version = self.state.get(id_)
        return None if version is None else RecordImage(id_.encode(), version)


class Source:
    """A data source whose statements end when the test says so."""

    def __init__(self) -> None:
        self.state: dict[str, int] = {}
        self.sent: list[Statement] = []

    async def _send(self, run: Runnable, ids: Sequence[str]) -> Statement:
        statement = Statement(str(run.params[0]), tuple(ids), self.state)
        self.sent.append(statement)
        await statement.end
        return statement

    async def page(self, run: Runnable, scope: Scope) -> Page:
        del scope
        statement = await self._send(run, ())
        return Page(msgspec.json.encode(statement.state), len(statement.state))

    async def record(self, run: Runnable, scope: Scope) -> RecordImage | None:
        del scope
        id_ = str(run.params[1])
        return (await self._send(run, (id_,))).image(id_)

    async def records(
        self, run: Runnable, ids: Sequence[str], scope: Scope
    ) -> Mapping[str, RecordImage]:
        del scope
        statement = await self._send(run, ids)
        found = {id_: statement.image(id_) for id_ in ids}
        return {id_: image for id_, image in found.items() if image is not None}

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
    return SharedReads(source, SystemClock())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 3)),
        st.tuples(st.just("list"), st.just(0)),
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
            work = reads.record(get(f"c{number}"), under())
            begun.append((f"c{number}", dict(source.state), asyncio.create_task(work)))
        elif step == "list":
            run = Runnable(FIND, ("acme",))
            begun.append(
                ("", dict(source.state), asyncio.create_task(reads.page(run, under())))  # type: ignore[arg-type]
            )
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
        if not id_:
            seen = msgspec.json.decode(task.result().items)
            assert all(seen.get(i, 0) >= version for i, version in known.items())
            continue
        image: RecordImage | None = task.result()
        version = 0 if image is None else image.version
        assert known.get(id_, 0) <= version <= source.state.get(id_, 0)
        assert image is None or image.json == id_.encode()
    assert not reads.is_busy


async def test_a_read_alone_is_sent_at_once_and_those_behind_it_leave_together(
    reads: SharedReads, source: Source
) -> None:
    source.state = {f"c{n}": n for n in range(10)}
    asked = [asyncio.create_task(reads.record(get(f"c{n % 12}"), under())) for n in range(24)]
    await settle()
    assert [s.ids for s in source.sent] == [("c0",)]
    source.finish()
    await settle()
    assert len(source.sent) == 2
    assert sorted(source.sent[1].ids) == sorted(f"c{n}" for n in range(12))
    source.finish()
    answers = await asyncio.gather(*asked)
    assert [image and image.version for image in answers] == [*range(10), None, None] * 2
    assert reads.counts() == (24, 2)


async def test_equal_lists_share_an_answer_and_others_do_not(
    reads: SharedReads, source: Source
) -> None:
    tenants = ["acme", "acme", "zoo", "acme"]
    asked = [asyncio.create_task(reads.page(Runnable(FIND, (t,)), under())) for t in tenants]
    await settle()
    assert [s.tenant for s in source.sent] == ["acme", "zoo"]
    source.finish()
    await settle()
    assert [s.tenant for s in source.sent] == ["acme", "zoo", "acme"]
    source.finish()
    await asyncio.gather(*asked)


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
    first, second, third = (asyncio.create_task(reads.record(get("c1"), under())) for _ in range(3))
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
    source.finish()
    await settle()
    batch = source.sent[1]
    for task in asked[1:]:
        task.cancel()
    await settle()
    assert batch.end.cancelled()
    assert not reads.is_busy


async def test_a_failure_reaches_everybody_who_waits_for_it_and_nobody_else(
    reads: SharedReads, source: Source
) -> None:
    asked = [asyncio.create_task(reads.record(get(f"c{n}"), under())) for n in range(4)]
    await settle()
    source.finish()
    await settle()
    later = asyncio.create_task(reads.record(get("c9"), under()))
    await settle()
    source.sent[1].end.set_exception(Unavailable(what="it"))
    await settle()
    source.finish()
    answers = await asyncio.gather(*asked, later, return_exceptions=True)
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
    reads: SharedReads, source: Source
) -> None:
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
    asked = [
        asyncio.create_task(reads.record(get(f"c{n}"), under())) for n in range(2 * MAX_IDS + 2)
    ]
    await settle()
    assert [len(s.ids) for s in source.sent] == [1, MAX_IDS, MAX_IDS]
    for _ in range(2):
        source.finish()
        await settle()
    await asyncio.gather(*asked)


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
