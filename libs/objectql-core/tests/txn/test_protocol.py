"""Every world that the protocol can reach, and what never happens in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal, NamedTuple, TypeAlias

import pytest

from objectql.ids import DataSource, TenantId
from objectql.txn import protocol, recovery
from objectql.txn.names import Outcome, PartName
from objectql.txn.protocol import (
    Answer,
    Ask,
    Decided,
    Effect,
    Event,
    Expired,
    Finish,
    Finished,
    Prepare,
    Prepared,
    Refused,
    Txn,
    begin,
    step,
)
from objectql.txn.recovery import decide, recover

PARTS = frozenset({"east", "west"})
DEADLINE_MS = 1_000
EPOCH = 7

Part: TypeAlias = Literal["working", "prepared", "committed", "gone"]
"""`gone`: rolled back, or lost with the kernel's connection."""


class World(NamedTuple):
    """A moment. Messages once sent may arrive at any time, any number of times, or never."""

    txn: Txn | None  # None: the kernel has died
    parts: tuple[tuple[str, Part], ...]
    log: Outcome | None
    sent: frozenset[Effect | Event]
    told: frozenset[str]
    is_late: bool = False  # the deadline has passed, with all the grace that there is
    is_new_epoch: bool = False
    ever: frozenset[Outcome] = frozenset()  # what the log has ever said

    @property
    def now_ms(self) -> int:
        return DEADLINE_MS + recovery.GRACE_MS + 1 if self.is_late else 0

    def part(self, name: str, state: Part) -> World:
        parts = dict(self.parts) | {name: state}
        return self._replace(parts=tuple(sorted(parts.items())))

    def after(self, *messages: Effect | Event) -> World:
        """The same with messages on their way; answers have arrived at once."""
        answers = {message.state for message in messages if isinstance(message, Answer)}
        others = {message for message in messages if not isinstance(message, Answer)}
        return self._replace(sent=self.sent | others, told=self.told | answers)

    def recorded(self, outcome: Outcome) -> World:
        return self._replace(log=outcome, ever=self.ever | {outcome})

    def dead(self) -> World:
        """Without the kernel: what was not prepared goes with its connections."""
        world = self._replace(txn=None, sent=self.sent - {Prepare(part) for part in PARTS})
        for name, state in self.parts:
            if state == "working":
                world = world.part(name, "gone")
        return world


Step: TypeAlias = Callable[[Txn, Event], tuple[Txn, tuple[Effect, ...]]]


def first_world() -> World:
    txn, effects = begin(PARTS)
    world = World(txn, tuple((p, "working") for p in sorted(PARTS)), None, frozenset(), frozenset())
    return world.after(*effects)


def next_worlds(world: World, run: Step) -> Iterator[World]:
    """Whatever may happen next, one thing at a time."""
    yield world.dead()
    yield world._replace(is_late=True)
    yield world._replace(is_new_epoch=True)
    yield from kernel_hears(world, Expired(), run)
    for message in world.sent:
        match message:
            case Prepare(part) if dict(world.parts)[part] == "working":
                yield world.part(part, "prepared").after(Prepared(part))
                yield world.part(part, "prepared").after(Refused(part))  # the answer was lost
                yield world.part(part, "gone").after(Refused(part))
            case Finish(part, outcome):
                yield finish(world, part, outcome)
            case Ask():
                yield from leader_hears(world)
            case Prepared() | Refused() | Decided() | Finished():
                yield from kernel_hears(world, message, run)
            case _:
                pass
    yield from leader_looks(world)


def kernel_hears(world: World, event: Event, run: Step) -> Iterator[World]:
    if world.txn is None:
        return
    txn, effects = run(world.txn, event)
    yield world._replace(txn=txn).after(*effects)
    for done in range(len(effects) + 1):  # it dies after `done` effects
        yield world._replace(txn=txn).after(*effects[:done]).dead()


def leader_hears(world: World) -> Iterator[World]:
    outcome = decide(world.log, deadline_ms=DEADLINE_MS, now_ms=world.now_ms)
    if outcome is not None:
        written = world.recorded(outcome)
        yield written  # and it dies before it answers
        yield written.after(Decided(outcome))


def leader_looks(world: World) -> Iterator[World]:
    """Recovery, and forgetting; any leader may do that at any time."""
    part = PartName(EPOCH, DEADLINE_MS, "k", "t", TenantId("acme"), DataSource("east"))
    epoch = EPOCH + world.is_new_epoch
    for name, state in world.parts:
        if state != "prepared":
            continue
        # A kernel that lives may be taken for dead, so every part may be taken for an orphan.
        match recover(part, world.log, epoch=epoch, now_ms=world.now_ms, is_orphan=True):
            case "orphaned" | "leaderless" | "late":
                yield world.recorded("abort")
                yield world.recorded("abort").after(Finish(name, "abort"))
            case "commit" | "abort" as outcome:
                yield world.after(Finish(name, outcome))
            case None:
                pass
    states = {state for _, state in world.parts}
    if world.log == "commit" and states == {"committed"}:
        yield world._replace(log=None)
    if world.log == "abort" and world.is_late:
        yield world._replace(log=None)


def finish(world: World, part: str, outcome: Outcome) -> World:
    state = dict(world.parts)[part]
    if outcome == "abort":
        assert state != "committed", world
        return world.part(part, "gone") if state == "prepared" else world
    assert state in {"prepared", "committed"}, world
    return world.part(part, "committed").after(Finished(part))


def check(world: World) -> None:
    states = {state for _, state in world.parts}
    assert "committed" not in states or "gone" not in states, world
    assert "committed" not in states or "commit" in world.ever, world
    assert world.ever != {"commit", "abort"}, world
    assert "committed" not in world.told or states == {"committed"}, world
    assert "aborted" not in world.told or "commit" not in world.ever, world
    assert len(world.told) <= 1, world


@cache
def explore(run: Step = step) -> set[World]:
    start = first_world()
    seen, todo = {start}, [start]
    while todo:
        world = todo.pop()
        check(world)
        for after in next_worlds(world, run):
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return seen


def test_no_reachable_world_has_two_outcomes() -> None:
    seen = explore()
    assert len(seen) > 1_000  # an exploration that silently explores nothing proves nothing
    assert {state for world in seen for state in world.told} == {"committed", "aborted", "in_doubt"}


def test_from_every_world_the_transaction_ends_when_the_leader_goes_on() -> None:
    for world in explore():
        late = world.dead()._replace(is_late=True)
        for _ in range(3):
            for name, state in late.parts:
                if state == "prepared":
                    part = PartName(EPOCH, DEADLINE_MS, "k", "t", TenantId("a"), DataSource(name))
                    verdict = recover(part, late.log, epoch=EPOCH, now_ms=late.now_ms)
                    assert verdict is not None
                    late = late.recorded("abort") if late.log is None else late
                    late = finish(late, name, late.log or "abort")
        check(late)
        assert "prepared" not in dict(late.parts).values(), late


def answers_before_the_parts_have_committed(
    txn: Txn, event: Event
) -> tuple[Txn, tuple[Effect, ...]]:
    after, effects = step(txn, event)
    if isinstance(event, Decided) and event.outcome == "commit":
        return after, (Answer("committed"), *effects)
    return after, effects


def gives_up_after_it_has_asked(txn: Txn, event: Event) -> tuple[Txn, tuple[Effect, ...]]:
    if isinstance(event, Expired) and txn.outcome is None:
        return step(protocol.Txn(txn.parts, txn.prepared), event)
    return step(txn, event)


def asks_when_one_part_is_prepared(txn: Txn, event: Event) -> tuple[Txn, tuple[Effect, ...]]:
    after, effects = step(txn, event)
    if isinstance(event, Prepared) and txn.outcome is None:
        return protocol.Txn(txn.parts, after.prepared, is_asked=True), (Ask(),)
    return after, effects


@pytest.mark.parametrize(
    "wrong",
    [
        answers_before_the_parts_have_committed,
        gives_up_after_it_has_asked,
        asks_when_one_part_is_prepared,
    ],
)
def test_the_exploration_finds_a_protocol_that_is_wrong(wrong: Step) -> None:
    with pytest.raises(AssertionError):
        explore(wrong)


@pytest.mark.parametrize(("recorded"), ["commit", "abort"])
def test_what_is_recorded_wins_over_every_question(recorded: Outcome) -> None:
    assert decide(recorded, deadline_ms=1000, now_ms=0) == recorded
    assert decide(recorded, deadline_ms=1000, now_ms=9999) == recorded


def test_nothing_is_decided_for_a_question_that_comes_too_late() -> None:
    assert decide(None, deadline_ms=1000, now_ms=999) == "commit"
    assert decide(None, deadline_ms=1000, now_ms=1000) is None


def test_a_live_part_of_this_epoch_is_left_alone() -> None:
    part = PartName(EPOCH, DEADLINE_MS, "k", "t", TenantId("acme"), DataSource("east"))
    until_ms = DEADLINE_MS + recovery.GRACE_MS
    assert recover(part, None, epoch=EPOCH, now_ms=until_ms) is None
    assert recover(part, None, epoch=EPOCH, now_ms=until_ms + 1) == "late"
    assert recover(part, None, epoch=EPOCH + 1, now_ms=0) == "leaderless"
    assert recover(part, None, epoch=EPOCH, now_ms=0, is_orphan=True) == "orphaned"
    assert recover(part, "commit", epoch=EPOCH, now_ms=0, is_orphan=True) == "commit"
    assert recover(part, "commit", epoch=EPOCH + 1, now_ms=until_ms + 1) == "commit"


def test_an_abort_is_kept_past_every_question_and_a_commit_until_it_is_in_force() -> None:
    kept_ms = 1000 + recovery.KEEP_ABORTS_MS
    forgettable = recovery.is_forgettable
    assert not forgettable("abort", is_finished=True, deadline_ms=1000, now_ms=kept_ms)
    assert forgettable("abort", is_finished=False, deadline_ms=1000, now_ms=kept_ms + 1)
    assert not forgettable("commit", is_finished=False, deadline_ms=1000, now_ms=kept_ms + 1)
    assert forgettable("commit", is_finished=True, deadline_ms=1000, now_ms=0)
