"""The decision log, who writes it, and recovery, over a model of ZooKeeper and of kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from objectql.bus.port import Envelope
from objectql.clock import SystemClock
from objectql.context import Context, system_actor
from objectql.errors import (
    DeadlineExceeded,
    InvalidRequest,
    TransactionDecided,
    TransactionUnavailable,
    TransactionUnknown,
    Unavailable,
)
from objectql.ids import DataSource, TenantId, uuid7
from objectql.txn.names import UNNAMED_KERNEL, Outcome, PartName, kernel_name
from objectql.txn.recovery import GRACE_MS, KEEP_ABORTS_MS
from objectql.wire import codec
from objectql.wire.messages import Heartbeat
from objectql.wire.transactions import (
    DecideRequest,
    Decision,
    DecisionRequest,
    FinishedRequest,
    FinishReply,
    FinishRequest,
    PreparedReply,
    PreparedRequest,
    SourcesReply,
)
from objectql_coordinator.deciding import Deciding
from objectql_coordinator.decision_log import DecisionLog
from objectql_coordinator.owners import SILENT_AFTER_S, Owners
from objectql_coordinator.recovery import SETTLE_MS, Recovery
from objectql_coordinator.resolving import Resolving
from objectql_coordinator.zookeeper import (
    Node,
    NodeMissing,
    NodeTaken,
    VersionChanged,
    ZooKeeperFailed,
)

EAST, WEST = DataSource("east"), DataSource("west")
ACME = TenantId("acme")
NOW_MS = 1_700_000_000_000
LATER_MS = NOW_MS + 30_000
INSTANCE, STARTED_MS = "kernel-1", NOW_MS - 1
KERNEL = kernel_name(INSTANCE, STARTED_MS)
SILENT_MS = round(SILENT_AFTER_S * 1000)
CONTEXT = Context(actor=system_actor(), deadline_ms=LATER_MS, request_id="r")


class Clock(SystemClock):
    def __init__(self) -> None:
        self.ms = NOW_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000


@dataclass
class FakeZooKeeper:
    """Nodes, and the version of the epoch node."""

    epoch: int = 7
    nodes: dict[str, bytes] = field(default_factory=dict[str, bytes])
    is_away: bool = False
    loses_answers: bool = False

    def _enter(self) -> None:
        if self.is_away:
            raise ZooKeeperFailed("away")

    async def ensure(self, path: str) -> None:
        self._enter()

    async def sync(self, path: str) -> None:
        self._enter()

    async def children(self, path: str) -> list[str]:
        self._enter()
        return [node.rsplit("/", 1)[-1] for node in self.nodes if node.startswith(f"{path}/")]

    async def read(self, path: str) -> Node:
        self._enter()
        if path not in self.nodes:
            raise NodeMissing(path)
        return Node(self.nodes[path], 0)

    async def delete(self, path: str) -> None:
        self._enter()
        self.nodes.pop(path, None)

    async def create_fenced(self, path: str, value: bytes, *, epoch_path: str, epoch: int) -> None:
        self._enter()
        assert epoch_path == "/oql/epoch"
        if epoch != self.epoch:
            raise VersionChanged(path)
        if path in self.nodes:
            raise NodeTaken(path)
        self.nodes[path] = value
        if self.loses_answers:
            self.loses_answers = False
            raise ZooKeeperFailed("the connection broke")


@dataclass
class FakeKernels:
    """What is prepared, by source; `away` do not answer."""

    parts: dict[DataSource, set[str]] = field(
        default_factory=lambda: {EAST: set[str](), WEST: set[str]()}
    )
    committed: set[str] = field(default_factory=set[str])
    finished: list[tuple[str, Outcome]] = field(default_factory=list[tuple[str, Outcome]])
    away: set[DataSource] = field(default_factory=set[DataSource])
    on_finish: Callable[[], None] = lambda: None

    async def call(
        self, verb: str, request: msgspec.Struct, context: Context, reply_type: type[Any]
    ) -> Any:
        del reply_type
        assert context.actor.is_system
        match request:
            case PreparedRequest(source):
                self._enter(source)
                return PreparedReply(tuple(sorted(self.parts[source])))
            case FinishRequest(name, outcome):
                source = DataSource(name.rsplit(":", 1)[-1])
                self._enter(source)
                self.on_finish()
                self.finished.append((name, outcome))
                was_there = name in self.parts[source]
                self.parts[source].discard(name)
                if was_there and outcome == "commit":
                    self.committed.add(name)
                return FinishReply(outcome == "abort" or name in self.committed, was_there)
            case _:
                assert verb == "sources"
                return SourcesReply((EAST, WEST))

    def _enter(self, source: DataSource) -> None:
        if source in self.away:
            raise Unavailable(what=source)


class Leading:
    leading_epoch: int | None = 7


@dataclass
class Coordinator:
    clock: Clock
    zookeeper: FakeZooKeeper
    kernels: FakeKernels
    leading: Leading
    log: DecisionLog
    deciding: Deciding
    recovery: Recovery
    owners: Owners
    resolving: Resolving

    async def hear_kernel(self) -> None:
        """A heartbeat of the kernel that prepares everything."""
        beat = Heartbeat("kernel", INSTANCE, "1", STARTED_MS, self.clock.ms, "ready", "")
        await self.owners.hear(Envelope("", codec.encode(beat)))

    async def look(self) -> None:
        """One round of recovery, to its end."""
        await self.recovery.look()
        await self.recovery.swept()

    def prepared(
        self, *, epoch: int = 7, deadline_ms: int = LATER_MS, kernel: str = KERNEL
    ) -> DecideRequest:
        """A transaction with both parts prepared."""
        request = DecideRequest(uuid7(), ACME, epoch, deadline_ms, (EAST, WEST), kernel)
        for source in (EAST, WEST):
            self.kernels.parts[source].add(part(request, source))
        return request

    async def decide(self, request: DecideRequest) -> Outcome:
        return (await self.deciding.handle_decide(request, CONTEXT)).outcome


def part(request: DecideRequest, source: DataSource) -> str:
    facts = (request.epoch, request.deadline_ms, request.kernel, request.id, request.tenant)
    return PartName(*facts, source).text


@pytest.fixture
async def leader() -> Coordinator:
    clock, zookeeper, kernels, leading = Clock(), FakeZooKeeper(), FakeKernels(), Leading()
    log = DecisionLog(zookeeper, root="/oql", epoch_path="/oql/epoch")
    deciding = Deciding(log, leading, clock)
    owners = Owners(clock)
    recovery = Recovery(log, kernels, leading, clock, owners, every_s=1)
    resolving = Resolving(log, recovery, clock)
    return Coordinator(
        clock, zookeeper, kernels, leading, log, deciding, recovery, owners, resolving
    )


# --- deciding ------------------------------------------------------------------------------------


async def test_a_decision_is_in_the_log_when_it_is_told(leader: Coordinator) -> None:
    request = leader.prepared()
    assert await leader.decide(request) == "commit"
    [value] = leader.zookeeper.nodes.values()
    decision = msgspec.msgpack.decode(value, type=Decision)
    assert (decision.outcome, decision.id, decision.sources) == ("commit", request.id, (EAST, WEST))
    assert decision.part(WEST).text == part(request, WEST)


async def test_who_asks_again_hears_the_same(leader: Coordinator) -> None:
    request = leader.prepared()
    await leader.decide(request)
    assert await leader.decide(request) == "commit"
    leader.clock.ms = LATER_MS + 1
    assert await leader.decide(request) == "commit"
    assert len(leader.zookeeper.nodes) == 1


async def test_a_decision_whose_writing_was_not_confirmed_is_asked_for_again(
    leader: Coordinator,
) -> None:
    request = leader.prepared()
    leader.zookeeper.loses_answers = True
    with pytest.raises(TransactionUnavailable):
        await leader.decide(request)
    assert await leader.decide(request) == "commit"


async def test_a_leader_that_is_none_any_more_decides_nothing(leader: Coordinator) -> None:
    request = leader.prepared()
    leader.zookeeper.epoch = 8  # another has claimed it, and this one has not heard of that
    with pytest.raises(TransactionUnavailable, match="another"):
        await leader.decide(request)
    leader.leading.leading_epoch = None
    with pytest.raises(TransactionUnavailable, match="does not lead"):
        await leader.decide(request)
    assert leader.zookeeper.nodes == {}


async def test_a_question_that_is_too_late_is_not_decided(leader: Coordinator) -> None:
    request = leader.prepared(deadline_ms=NOW_MS)
    with pytest.raises(DeadlineExceeded):
        await leader.decide(request)
    assert leader.zookeeper.nodes == {}


async def test_what_is_no_id_names_no_node(leader: Coordinator) -> None:
    with pytest.raises(InvalidRequest):
        await leader.deciding.handle_decision(DecisionRequest("../epoch"), CONTEXT)


async def test_a_decision_is_told_until_it_is_in_force_everywhere(leader: Coordinator) -> None:
    request = leader.prepared()
    await leader.decide(request)
    asked = DecisionRequest(request.id)
    decision = (await leader.deciding.handle_decision(asked, CONTEXT)).decision
    assert decision is not None
    assert (decision.tenant, decision.outcome) == (ACME, "commit")
    await leader.deciding.handle_finished(FinishedRequest((request.id,)), CONTEXT)
    assert (await leader.deciding.handle_decision(asked, CONTEXT)).decision is None


# --- recovery ------------------------------------------------------------------------------------


async def test_what_is_at_work_is_left_alone(leader: Coordinator) -> None:
    leader.prepared()
    decided = leader.prepared()
    await leader.decide(decided)
    leader.clock.ms = NOW_MS + SETTLE_MS - 1
    await leader.look()
    assert leader.kernels.finished == []
    assert leader.recovery.in_doubt == 2


async def test_what_others_have_prepared_is_never_touched(leader: Coordinator) -> None:
    leader.kernels.parts[EAST].add("citus_0_1")
    leader.clock.ms += 10**9
    await leader.look()
    assert leader.kernels.finished == []


async def test_a_decision_is_brought_into_force_and_then_forgotten(leader: Coordinator) -> None:
    request = leader.prepared()
    await leader.decide(request)
    leader.clock.ms += SETTLE_MS
    await leader.look()
    names = {part(request, EAST), part(request, WEST)}
    assert leader.kernels.committed == names
    assert leader.zookeeper.nodes
    await leader.look()
    assert leader.zookeeper.nodes == {}
    assert leader.recovery.recovered == {"commit": 2}


async def test_a_decision_is_kept_while_a_source_is_away_and_the_others_go_on(
    leader: Coordinator,
) -> None:
    request = leader.prepared()
    await leader.decide(request)
    leader.clock.ms += SETTLE_MS
    leader.kernels.away = {EAST}
    for _ in range(3):
        await leader.look()
    assert leader.kernels.committed == {part(request, WEST)}
    assert leader.zookeeper.nodes
    assert leader.recovery.oldest_in_doubt_s >= SETTLE_MS / 1000
    leader.kernels.away = set()
    await leader.look()
    await leader.look()
    assert leader.kernels.committed == {part(request, EAST), part(request, WEST)}
    assert leader.zookeeper.nodes == {}


@pytest.mark.parametrize("cause", ["late", "earlier epoch"])
async def test_an_abort_is_written_down_before_the_first_part_is_rolled_back(
    leader: Coordinator, cause: str
) -> None:
    request = leader.prepared(epoch=7 if cause == "late" else 6)
    if cause == "late":
        leader.clock.ms = LATER_MS + GRACE_MS + 1
    logged: list[int] = []
    leader.kernels.on_finish = lambda: logged.append(len(leader.zookeeper.nodes))
    await leader.look()
    assert logged == [1, 1]
    assert leader.kernels.parts == {EAST: set(), WEST: set()}
    assert leader.kernels.committed == set()
    assert await leader.decide(request) == "abort"
    assert leader.log.written == {"late" if cause == "late" else "leaderless": 1}


@pytest.mark.parametrize("was_heard", [True, False])
async def test_the_parts_of_a_kernel_that_is_silent_are_given_up_before_their_deadline(
    leader: Coordinator, *, was_heard: bool
) -> None:
    request = leader.prepared()
    if was_heard:
        await leader.hear_kernel()
    await leader.look()
    leader.clock.ms += SILENT_MS
    await leader.look()
    assert leader.kernels.finished == []
    leader.clock.ms += 1
    await leader.look()
    assert leader.kernels.parts == {EAST: set(), WEST: set()}
    assert await leader.decide(request) == "abort"
    assert leader.log.written == {"orphaned": 1}


async def test_the_parts_of_a_kernel_that_is_heard_are_left_alone(leader: Coordinator) -> None:
    leader.prepared()
    for _ in range(5):
        await leader.look()
        leader.clock.ms += SILENT_MS
        await leader.hear_kernel()
    await leader.look()
    assert leader.kernels.finished == []


async def test_a_leader_that_heard_nobody_for_long_waits_for_heartbeats(
    leader: Coordinator,
) -> None:
    await leader.hear_kernel()
    leader.prepared()
    leader.clock.ms += 5 * SILENT_MS  # the bus was away
    await leader.look()
    leader.clock.ms += SILENT_MS
    await leader.hear_kernel()
    leader.clock.ms += 1
    await leader.look()
    assert leader.kernels.finished == []


async def test_a_decision_that_was_quicker_than_recovery_stands(leader: Coordinator) -> None:
    request = leader.prepared(epoch=6)
    await leader.decide(request)
    leader.clock.ms += SETTLE_MS
    await leader.look()
    assert leader.kernels.committed == {part(request, EAST), part(request, WEST)}


async def test_an_abort_is_kept_past_every_question(leader: Coordinator) -> None:
    leader.prepared(epoch=6)
    await leader.look()
    leader.clock.ms = LATER_MS + KEEP_ABORTS_MS
    await leader.look()
    assert len(leader.zookeeper.nodes) == 1
    leader.clock.ms += 1
    await leader.look()
    assert leader.zookeeper.nodes == {}


async def test_who_does_not_lead_touches_nothing(leader: Coordinator) -> None:
    leader.prepared(epoch=6)
    leader.leading.leading_epoch = None
    await leader.look()
    assert leader.kernels.finished == []
    assert leader.recovery.in_doubt == 0


async def test_a_leader_that_was_overtaken_gives_nothing_up(leader: Coordinator) -> None:
    leader.prepared(epoch=6)
    leader.zookeeper.epoch = 8
    await leader.look()
    assert leader.kernels.finished == []


async def test_what_a_kernel_of_an_earlier_version_has_prepared_is_ended_like_all_the_rest(
    leader: Coordinator,
) -> None:
    decided, silent, left = (leader.prepared(kernel=UNNAMED_KERNEL) for _ in range(3))
    late = leader.prepared(kernel=UNNAMED_KERNEL, epoch=6)
    assert part(silent, EAST) == f"oql:7:{LATER_MS}:{silent.id}:acme:east"
    await leader.decide(decided)
    await leader.look()
    leader.clock.ms += SILENT_MS + 1
    await leader.look()
    assert leader.kernels.committed == {part(decided, EAST), part(decided, WEST)}
    assert await leader.decide(late) == "abort"
    assert leader.kernels.parts[EAST] == {part(silent, EAST), part(left, EAST)}  # they are in time
    leader.clock.ms = LATER_MS + GRACE_MS + 1
    await leader.look()
    assert leader.kernels.parts == {EAST: set(), WEST: set()}


@pytest.mark.parametrize("value", [b"\xc1", codec.encode({"outcome": "maybe"})])
async def test_a_decision_that_cannot_be_read_is_reported_once_and_holds_up_nothing_else(
    leader: Coordinator, caplog: pytest.LogCaptureFixture, value: bytes
) -> None:
    unreadable, decided = leader.prepared(epoch=6), leader.prepared()
    leader.zookeeper.nodes[f"/oql/transactions/{unreadable.id}"] = value
    await leader.decide(decided)
    leader.clock.ms = LATER_MS + KEEP_ABORTS_MS + 1
    for _ in range(3):
        await leader.look()
    assert leader.kernels.committed == {part(decided, EAST), part(decided, WEST)}
    assert leader.kernels.parts[EAST] == {part(unreadable, EAST)}
    assert list(leader.zookeeper.nodes.values()) == [value]
    assert [line.message for line in caplog.records].count("decision_unreadable") == 1
    assert [one.state for one in await leader.resolving.unfinished()] == ["unreadable"]
    with pytest.raises(TransactionUnavailable, match="cannot be read"):
        await leader.decide(unreadable)


# --- operators -----------------------------------------------------------------------------------


async def test_what_is_not_in_force_everywhere_is_listed_with_where_it_waits(
    leader: Coordinator,
) -> None:
    decided, undecided = leader.prepared(), leader.prepared()
    await leader.decide(decided)
    leader.clock.ms += SETTLE_MS
    leader.kernels.away = {EAST}
    await leader.look()
    await leader.look()
    found = {one.id: one for one in await leader.resolving.unfinished()}
    assert found[decided.id].state == "committing"
    assert found[decided.id].sources == (EAST,)
    assert found[undecided.id].state == "undecided"
    assert found[undecided.id].sources == (WEST,)
    assert found[undecided.id].tenant == ACME
    leader.kernels.away = set()
    await leader.look()
    await leader.look()
    assert [one.id for one in await leader.resolving.unfinished()] == [undecided.id]


async def test_the_oldest_is_listed_first(leader: Coordinator) -> None:
    ids = [leader.prepared().id for _ in range(3)]
    await leader.look()
    leader.clock.ms = SystemClock().now_ms() + 5_000
    found = await leader.resolving.unfinished()
    assert [one.id for one in found] == ids
    assert found[0].age_s >= 5


async def test_an_operator_gives_up_what_is_undecided_and_a_late_question_hears_it(
    leader: Coordinator,
) -> None:
    request = leader.prepared()
    await leader.look()
    for _ in range(2):  # it may be repeated
        decision = await leader.resolving.resolve(request.id, "abort", epoch=7)
        assert decision.outcome == "abort"
    assert [one.state for one in await leader.resolving.unfinished()] == ["aborting"]
    assert await leader.decide(request) == "abort"
    await leader.look()
    assert leader.kernels.parts == {EAST: set(), WEST: set()}
    assert leader.kernels.committed == set()
    await leader.look()
    assert await leader.resolving.unfinished() == []


async def test_an_operator_takes_back_no_decision(leader: Coordinator) -> None:
    request = leader.prepared()
    await leader.decide(request)
    await leader.look()
    with pytest.raises(TransactionDecided, match="commit"):
        await leader.resolving.resolve(request.id, "abort", epoch=7)
    standing = await leader.resolving.resolve(request.id, "commit", epoch=7)
    assert standing.outcome == "commit"


async def test_an_operator_commits_nothing_that_is_undecided(leader: Coordinator) -> None:
    request = leader.prepared()
    await leader.look()
    for outcome in ("commit", "", "forget"):
        with pytest.raises(InvalidRequest):
            await leader.resolving.resolve(request.id, outcome, epoch=7)
    with pytest.raises(TransactionUnknown):
        await leader.resolving.resolve(uuid7(), "abort", epoch=7)
    with pytest.raises(InvalidRequest):
        await leader.resolving.resolve("../epoch", "abort", epoch=7)
    assert leader.zookeeper.nodes == {}


async def test_an_operator_of_a_leader_that_was_overtaken_gives_nothing_up(
    leader: Coordinator,
) -> None:
    request = leader.prepared()
    await leader.look()
    leader.zookeeper.epoch = 8
    with pytest.raises(VersionChanged):
        await leader.resolving.resolve(request.id, "abort", epoch=7)
    assert leader.zookeeper.nodes == {}
