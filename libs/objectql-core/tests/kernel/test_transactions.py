"""Batches over two databases: what a kernel does, whatever the coordinator says."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from objectql.clock import SystemClock
from objectql.context import Context, system_actor
from objectql.drivers.protocol import Driver
from objectql.drivers.sql.postgres_session import PostgresSession
from objectql.errors import (
    OutcomeUnknown,
    TransactionAborted,
    TransactionUnavailable,
    TransactionUnknown,
    Unavailable,
)
from objectql.ids import DataSource, TenantId
from objectql.kernel.kernel import Kernel
from objectql.kernel.result_cache.cache import ResultCache
from objectql.kernel.result_cache.store import MemoryStore
from objectql.txn.names import Outcome, PartName
from objectql.wire.messages import BatchOperation, BatchReply, BatchRequest, GetRequest
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
        "far": {"datasource": "east", "fields": {"n": {"type": "number"}}},
    },
}
SYSTEM = Context(system_actor(), SystemClock().now_ms() + 86_400_000, "r")


class Coordinator:
    """Says what it is told to; None: it does not answer."""

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
                return Decision(self.outcome, id, request.tenant, *facts)
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
            PartName(7, 1, "gone", TenantId("default"), DataSource("east")).text, "commit"
        ),
        SYSTEM,
    )
    assert not reply.is_finished


async def test_the_standing_of_a_batch_in_one_source_is_found_too(kernel: Kernel) -> None:
    reply = await kernel.batch(BatchRequest(both().operations[:1]))
    assert await state(kernel, reply) == "committed"
