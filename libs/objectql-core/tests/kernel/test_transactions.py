"""Batches over two databases: what a kernel does, whatever the coordinator says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from objectql.clock import SystemClock
from objectql.context import Context, ReadPolicy, system_actor
from objectql.drivers.protocol import Driver, Isolation
from objectql.drivers.sql.postgres_session import PostgresSession
from objectql.errors import (
    DeadlineExceeded,
    HookAborted,
    OutcomeUnknown,
    RecordsInDoubt,
    TooManySources,
    TransactionAborted,
    TransactionUnavailable,
    TransactionUnknown,
    Unavailable,
)
from objectql.ids import DataSource, TenantId
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.kernel.result_cache.cache import ResultCache
from objectql.kernel.result_cache.store import MemoryStore
from objectql.plugins.context import HookAbort, HookContext
from objectql.query.ast import Query
from objectql.txn.names import Outcome, PartName
from objectql.wire.messages import (
    BatchOperation,
    BatchReply,
    BatchRequest,
    FindRequest,
    GetRequest,
)
from objectql.wire.transactions import (
    DecideRequest,
    Decision,
    FinishRequest,
    PreparedRequest,
    TransactionRequest,
)

pytestmark = pytest.mark.servers

APP: dict[str, Any] = {
    "name": "bank",
    "objects": {
        "near": {"fields": {"n": {"type": "number", "min": 0}, "far": {"type": "text"}}},
        "aside": {"fields": {"n": {"type": "number"}}},
        "far": {"datasource": "east", "fields": {"n": {"type": "number"}}},
    },
}
SYSTEM = Context(system_actor(), SystemClock().now_ms() + 86_400_000, "r")


class Coordinator:
    """Says what it is told to; None: it does not answer."""

    kernel = "k"

    def __init__(self) -> None:
        self.outcome: Outcome | None = "commit"
        self.leads = True
        self.asked: list[DecideRequest] = []
        self.ended: list[str] = []

    def epoch(self) -> int:
        if not self.leads:
            raise TransactionUnavailable(reason="no coordinator leads")
        return 7

    async def decide(self, request: DecideRequest) -> Outcome:
        self.asked.append(request)
        if self.outcome is None:
            raise Unavailable(what="the coordinator")
        return self.outcome

    async def decision(self, id: str) -> Decision | None:
        for request in self.asked:
            if request.id == id and id not in self.ended and self.outcome is not None:
                facts = (request.epoch, request.deadline_ms, request.sources)
                return Decision(self.outcome, id, request.tenant, *facts, kernel=request.kernel)
        return None

    def finished(self, id: str) -> None:
        self.ended.append(id)


@pytest.fixture
def coordinator() -> Coordinator:
    return Coordinator()


@pytest.fixture
def drivers(make_postgres: Callable[..., Driver]) -> list[Driver]:
    return [make_postgres("template0"), make_postgres("template0", "east")]


@pytest.fixture
async def kernel(drivers: list[Driver], coordinator: Coordinator) -> AsyncGenerator[Kernel]:
    kernel = Kernel([APP, *drivers], cache=ResultCache(MemoryStore()))
    kernel.engine.coordinator = coordinator
    await kernel.start()
    await kernel.create("near", {"id": "a", "n": 100})
    await kernel.create("aside", {"id": "b", "n": 1})
    yield kernel
    for driver in drivers:  # what a test has left behind would keep the database from being dropped
        for name in await driver.transactions.prepared():
            await driver.transactions.finish(name, "abort")
    await kernel.stop()


def both(amount: int = 30) -> BatchRequest:
    """Make a record in the east, and name it in the other database."""
    values = {"n": {"$inc": -amount}, "far": {"$ref": 0}}
    return BatchRequest(
        (
            BatchOperation("far", "create", None, json.dumps({"n": amount}).encode()),
            BatchOperation("near", "update", "a", json.dumps(values).encode()),
        )
    )


async def near(kernel: Kernel) -> Any:
    return json.loads((await kernel.handle_get(GetRequest("near", "a"), SYSTEM)).record)


async def state(kernel: Kernel, reply: BatchReply) -> str:
    asked = TransactionRequest(reply.transaction_id)
    return (await kernel.handle_transaction(asked, SYSTEM)).state


async def prepared(kernel: Kernel) -> list[str]:
    found: list[str] = []
    for source in ("default", "east"):
        reply = await kernel.parts.handle_prepared(PreparedRequest(DataSource(source)), SYSTEM)
        found += reply.names
    return found


async def test_both_parts_are_in_force_when_it_is_answered(
    kernel: Kernel, coordinator: Coordinator, ask: Any
) -> None:
    reply = await kernel.batch(both())
    assert reply.state == "committed"
    assert await prepared(kernel) == []
    assert (await near(kernel))["far"] == reply.results[0].id
    assert await kernel.count("far") == 1
    assert coordinator.ended == [reply.transaction_id]
    assert coordinator.asked[0].sources == ("east", "default")
    assert await state(kernel, reply) == "committed"
    other = Context(ask("admin", tenant=TenantId("other")).actor, SYSTEM.deadline_ms, "r")
    with pytest.raises(TransactionUnknown):
        await kernel.handle_transaction(TransactionRequest(reply.transaction_id), other)


async def test_nothing_is_done_when_it_is_given_up_or_nobody_leads(
    kernel: Kernel, coordinator: Coordinator, ask: Any
) -> None:
    coordinator.leads = False
    with pytest.raises(TransactionUnavailable):
        await kernel.batch(both())
    assert coordinator.asked == []
    coordinator.leads, coordinator.outcome = True, "abort"
    with pytest.raises(TransactionAborted) as caught:
        await kernel.batch(both(), context=ask("admin", key="k"))
    assert await prepared(kernel) == []
    assert ((await near(kernel))["n"], await kernel.count("far")) == (100, 0)
    found = await kernel.handle_transaction(TransactionRequest(caught.value.id), SYSTEM)
    assert (found.state, found.sources) == ("aborted", ("east", "default"))
    coordinator.outcome = "commit"
    assert (await kernel.batch(both(), context=ask("admin", key="k"))).state == "committed"
    assert kernel.engine.transactions == {"unavailable": 1, "given_up": 1, "committed": 1}


async def test_what_cannot_be_prepared_is_given_up_without_asking(
    kernel: Kernel, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = PostgresSession.prepare

    async def prepare_east(session: PostgresSession, name: str) -> None:
        if name.endswith(":default"):
            raise Unavailable(what="the database")
        await prepare(session, name)

    monkeypatch.setattr(PostgresSession, "prepare", prepare_east)
    with pytest.raises(Unavailable):
        await kernel.batch(both())
    assert coordinator.asked == []
    assert await prepared(kernel) == []
    assert ((await near(kernel))["n"], await kernel.count("far")) == (100, 0)


async def test_one_outcome_and_one_effect_though_the_decision_was_not_heard(
    kernel: Kernel, coordinator: Coordinator, ask: Any
) -> None:
    coordinator.outcome = None
    assert (await near(kernel))["n"] == 100  # and it is kept
    deadline_ms = SystemClock().now_ms() + 1500
    brief = Context(ask("admin").actor, deadline_ms, "r", idempotency_key="k")
    doubted = await kernel.batch(both(), context=brief)
    assert doubted.state == "in_doubt"
    assert len(await prepared(kernel)) == 2
    assert await state(kernel, doubted) == "in_doubt"
    assert coordinator.ended == []
    with pytest.raises(OutcomeUnknown):
        await kernel.batch(both(), context=ask("admin", key="k"))

    coordinator.outcome = "commit"  # recovery goes on
    east, west = sorted(await prepared(kernel), key=lambda name: not name.endswith("east"))
    for name in (east, east):
        reply = await kernel.parts.handle_finish(FinishRequest(name, "commit"), SYSTEM)
        assert reply.is_finished
    assert await state(kernel, doubted) == "in_doubt"
    again = await kernel.batch(both(), context=ask("admin", key="k"))
    assert (again.state, again.transaction_id) == ("in_doubt", doubted.transaction_id)
    await kernel.parts.handle_finish(FinishRequest(west, "commit"), SYSTEM)
    assert await state(kernel, doubted) == "committed"
    assert (await near(kernel))["n"] == 70  # not what was kept
    again = await kernel.batch(both(), context=ask("admin", key="k"))
    assert (again.state, again.results) == ("committed", doubted.results)
    assert await kernel.count("far") == 1
    reply = await kernel.parts.handle_finish(
        FinishRequest(
            PartName(7, 1, "k", "gone", TenantId("default"), DataSource("east")).text, "commit"
        ),
        SYSTEM,
    )
    assert not reply.is_finished


async def test_the_standing_of_a_batch_in_one_source_is_found_too(kernel: Kernel) -> None:
    reply = await kernel.batch(BatchRequest(both().operations[:1]))
    assert await state(kernel, reply) == "committed"


async def test_a_batch_over_more_sources_than_allowed_does_nothing(
    drivers: list[Driver], coordinator: Coordinator
) -> None:
    kernel = Kernel([APP, *drivers], settings=KernelSettings(max_batch_sources=1))
    kernel.engine.coordinator = coordinator
    await kernel.start()
    try:
        await kernel.create("near", {"id": "a", "n": 100})
        with pytest.raises(TooManySources):
            await kernel.batch(both())
        assert coordinator.asked == []
        assert (await near(kernel))["n"] == 100
    finally:
        await kernel.stop()


async def test_nothing_is_prepared_for_longer_than_a_minute_or_without_time_to_decide(
    kernel: Kernel, coordinator: Coordinator, ask: Any
) -> None:
    began_ms = SystemClock().now_ms()
    await kernel.batch(both(), context=SYSTEM)  # which has a day
    ended_ms = SystemClock().now_ms()
    assert began_ms <= coordinator.asked[0].deadline_ms - 60_000 <= ended_ms
    brief = Context(ask("admin").actor, SystemClock().now_ms() + 120, "r")
    with pytest.raises(DeadlineExceeded):
        await kernel.batch(both(), context=brief)
    assert len(coordinator.asked) == 1
    assert await prepared(kernel) == []


async def doubted(kernel: Kernel, coordinator: Coordinator, ask: Any) -> list[str]:
    """The parts of a batch of which nobody hears the outcome."""
    coordinator.outcome = None
    brief = Context(ask("admin").actor, SystemClock().now_ms() + 800, "r")
    assert (await kernel.batch(both(), context=brief)).state == "in_doubt"
    return await prepared(kernel)


def atomic(within_s: float) -> Context:
    deadline_ms = SystemClock().now_ms() + round(within_s * 1000)
    return Context(system_actor(), deadline_ms, "r", read_policy=ReadPolicy.ATOMIC)


async def test_an_atomic_read_is_refused_while_what_it_reads_is_in_doubt_and_others_go_on(
    kernel: Kernel, coordinator: Coordinator, ask: Any
) -> None:
    await doubted(kernel, coordinator, ask)
    for request in (GetRequest("near", "a"), GetRequest("far", "none")):
        with pytest.raises(RecordsInDoubt) as refused:
            await kernel.handle_get(request, atomic(0.4))
        assert refused.value.object == request.object
    found = await kernel.handle_get(GetRequest("aside", "b"), atomic(60))
    assert json.loads(found.record)["n"] == 1
    assert (await near(kernel))["n"] == 100
    other = Context(
        ask("admin", tenant=TenantId("other")).actor,
        atomic(60).deadline_ms,
        "r",
        read_policy=ReadPolicy.ATOMIC,
    )
    assert (await kernel.handle_find(FindRequest(Query("near")), other)).items == b"[]"


async def test_an_atomic_read_waits_and_sees_what_the_transaction_has_done(
    kernel: Kernel, coordinator: Coordinator, ask: Any
) -> None:
    parts = await doubted(kernel, coordinator, ask)
    one = asyncio.create_task(kernel.handle_get(GetRequest("near", "a"), atomic(60)))
    all_ = asyncio.create_task(kernel.handle_find(FindRequest(Query("far")), atomic(60)))
    await kernel.parts.handle_finish(FinishRequest(parts[0], "commit"), SYSTEM)
    await asyncio.wait([one, all_], return_when=asyncio.FIRST_COMPLETED)
    assert (one.done(), all_.done()) in {(True, False), (False, True)}
    await kernel.parts.handle_finish(FinishRequest(parts[1], "commit"), SYSTEM)
    assert json.loads((await one).record)["n"] == 70
    assert (await all_).count == 1


@pytest.mark.parametrize("is_across", [False, True])
@pytest.mark.parametrize(
    ("isolation", "left"), [("read_committed", 0), ("repeatable_read", 0), ("serializable", 1)]
)
async def test_batches_that_each_rely_on_what_the_other_changes_are_kept_apart_when_serializable(
    kernel: Kernel, isolation: Isolation, left: int, *, is_across: bool
) -> None:
    """Write skew: one of two doctors must stay on call, and each sees the other one there."""
    await kernel.create("aside", {"id": "c", "n": 1})
    both_have_looked = asyncio.Barrier(2)
    looks = 0

    async def one_stays(ctx: HookContext) -> None:
        nonlocal looks
        assert ctx.api is not None
        on_call = sum(row["n"] for row in await ctx.api.find("aside"))
        looks += 1
        if looks <= both_have_looked.parties:
            await both_have_looked.wait()
        if on_call < both_have_looked.parties:
            raise HookAbort("nobody else is on call")

    kernel.engine.hooks.register("beforeUpdate", "aside", one_stays)

    async def leave(id: str) -> bool:
        operations = [BatchOperation("aside", "update", id, b'{"n": 0}')]
        if is_across:
            operations.append(BatchOperation("far", "create", None, b'{"n": 1}'))
        try:
            await kernel.batch(BatchRequest(tuple(operations), isolation=isolation))
        except HookAborted:
            return False
        return True

    went = await asyncio.gather(leave("b"), leave("c"))
    assert went.count(True) == len(went) - left
    records = [await kernel.get("aside", id) for id in "bc"]
    assert sum(record["n"] for record in records if record is not None) == left
    assert await kernel.count("far") == (went.count(True) if is_across else 0)
