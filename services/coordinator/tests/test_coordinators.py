"""Three coordinator processes on real ZooKeeper and NATS, killed, frozen and cut off."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.coordinators import SESSION_S, Coordinator, common_leader, wait_for

from objectql.clock import SystemClock
from objectql_coordinator.leadership import Leadership
from objectql_coordinator.zookeeper import NodeTaken, VersionChanged, ZooKeeper
from objectql_devstack import DataStack

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.timeout(120)]

FAILOVER_S = SESSION_S + 4.0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[DataStack]:
    with DataStack.start(tmp_path / "stack", {"nats", "zookeeper"}) as started:
        yield started


@pytest.fixture
def three(stack: DataStack, tmp_path: Path) -> Iterator[list[Coordinator]]:
    coordinators = [
        Coordinator(f"coordinator-{n}", stack, log=tmp_path / f"coordinator-{n}.log")
        for n in (1, 2, 3)
    ]
    for coordinator in coordinators:
        coordinator.start()
    yield coordinators
    for coordinator in coordinators:
        coordinator.stop()


def test_leader_that_is_killed_is_followed_within_the_session_timeout(
    three: list[Coordinator],
) -> None:
    first = wait_for(lambda: common_leader(three), 30)
    wait_for(
        lambda: len([m for m in three[0].view()["members"] if m["status"] == "ready"]) == 3, 20
    )
    epoch = three[0].view()["epoch"]
    leader = next(c for c in three if c.name == first)
    rest = [c for c in three if c is not leader]
    leader.send(signal.SIGKILL)
    second = wait_for(lambda: (n := common_leader(rest)) != first and n, FAILOVER_S)
    view = rest[0].view()
    assert second in {c.name for c in rest}
    assert view["epoch"] > epoch
    roles = {m["instance"]: m["role"] for m in view["members"]}
    assert roles[second] == "leader"
    wait_for(
        lambda: {m["instance"]: m["status"] for m in rest[0].view()["members"]}[first] == "dead", 10
    )

    leaver = next(c for c in rest if c.name == second)
    last = next(c for c in rest if c is not leaver)
    leaver.send(signal.SIGTERM)  # a leader that ends in good order is followed at once
    wait_for(lambda: last.view()["leader"] == last.name, 2)
    assert leaver.end() == 0


def test_without_zookeeper_there_is_no_leader_and_with_it_there_is_one_again(
    stack: DataStack, three: list[Coordinator]
) -> None:
    def known() -> set[str]:
        return {member["instance"] for member in three[0].view()["members"]}

    everyone = {coordinator.name for coordinator in three}
    # Those of the test before are members until their sessions have ended.
    wait_for(lambda: common_leader(three) and known() == everyone, 30)
    stack.kill("zookeeper")
    wait_for(lambda: all(c.view()["leader"] is None for c in three), FAILOVER_S)
    view = three[0].view()
    assert view["stale"]
    assert view["zookeeper"] in {"suspended", "lost"}
    wait_for(
        lambda: len([m for m in three[0].view()["members"] if m["status"] == "ready"]) == 0, 10
    )
    assert known() == everyone
    stack.restart("zookeeper")
    wait_for(lambda: common_leader(three), 20)


async def test_fenced_node_is_written_once_and_never_by_a_leader_of_the_past(
    stack: DataStack,
) -> None:
    leaderships: list[Leadership] = []
    store = ZooKeeper(
        stack.zookeeper,
        session_timeout_s=2.0,
        on_state=lambda event: leaderships[0].tell(event),  # noqa: PLW0108 - made just below
    )
    leadership = Leadership(store, "one", root="/fence", session_timeout_s=2.0, clock=SystemClock())
    leaderships.append(leadership)
    store.start()
    running = asyncio.ensure_future(leadership.run())
    async with asyncio.timeout(20):
        while leadership.leading_epoch is None:
            await asyncio.sleep(0)
    epoch = leadership.leading_epoch
    await store.create_fenced("/fence/t1", b"commit", epoch_path=leadership.epoch_path, epoch=epoch)
    with pytest.raises(NodeTaken):
        await store.create_fenced(
            "/fence/t1", b"abort", epoch_path=leadership.epoch_path, epoch=epoch
        )
    with pytest.raises(VersionChanged):
        await store.create_fenced(
            "/fence/t2", b"commit", epoch_path=leadership.epoch_path, epoch=epoch - 1
        )
    assert (await store.read("/fence/t1")).value == b"commit"
    running.cancel()
    await store.stop()
