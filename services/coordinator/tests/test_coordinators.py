"""Three coordinator processes on real ZooKeeper and NATS, killed, frozen and cut off."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from objectql.clock import SystemClock
from objectql_coordinator.leadership import Leadership
from objectql_coordinator.zookeeper import NodeTaken, VersionChanged, ZooKeeper
from objectql_devstack import DataStack

pytestmark = [pytest.mark.servers, pytest.mark.faults, pytest.mark.timeout(120)]

SESSION_S = 2.0
FAILOVER_S = SESSION_S + 4.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Coordinator:
    """One process; its pages are read over HTTP."""

    def __init__(self, name: str, stack: DataStack) -> None:
        self.name = name
        self.port = free_port()
        self._environ = {
            "PATH": os.environ["PATH"],  # noqa: TID251 - the child needs a path
            "OQL_COORDINATOR_INSTANCE": name,
            "OQL_COORDINATOR_BUS__URL": stack.nats_url,
            "OQL_COORDINATOR_ZOOKEEPER__HOSTS": stack.zookeeper,
            "OQL_COORDINATOR_ZOOKEEPER__SESSION_TIMEOUT_S": str(SESSION_S),
            "OQL_COORDINATOR_HTTP__PORT": str(self.port),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "objectql_coordinator"],
            env=self._environ,
            stderr=subprocess.DEVNULL,
        )

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self) -> int:
        assert self._process is not None
        return self._process.wait(timeout=30)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def view(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/cluster"
        with urllib.request.urlopen(url, timeout=2) as answer:
            return json.load(answer)


def wait_for(what: Callable[[], Any], within_s: float) -> Any:
    """What `what` returns, as soon as it is true."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        with suppress(OSError):
            if found := what():
                return found
    raise AssertionError(f"not within {within_s} s")


def common_leader(coordinators: list[Coordinator]) -> str | None:
    """The leader, once all agree on one and on its epoch."""
    views = [c.view() for c in coordinators]
    leaders = {(v["leader"], v["epoch"]) for v in views}
    return views[0]["leader"] if len(leaders) == 1 else None


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[DataStack]:
    with DataStack.start(tmp_path / "stack", {"nats", "zookeeper"}) as started:
        yield started


@pytest.fixture
def three(stack: DataStack) -> Iterator[list[Coordinator]]:
    coordinators = [Coordinator(f"coordinator-{n}", stack) for n in (1, 2, 3)]
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


def test_frozen_leader_is_replaced_and_does_not_lead_when_it_wakes(
    three: list[Coordinator],
) -> None:
    first = wait_for(lambda: common_leader(three), 30)
    frozen = next(c for c in three if c.name == first)
    rest = [c for c in three if c is not frozen]
    epoch = rest[0].view()["epoch"]
    frozen.send(signal.SIGSTOP)
    second = wait_for(lambda: (n := common_leader(rest)) != first and n, FAILOVER_S)
    frozen.send(signal.SIGCONT)
    seen: dict[int, set[str]] = {}

    def agreed() -> bool:
        for coordinator in three:
            view = coordinator.view()
            if view["leader"] is not None:
                seen.setdefault(view["epoch"], set()).add(view["leader"])
        return common_leader(three) == second

    wait_for(agreed, FAILOVER_S)
    assert all(len(leaders) == 1 for leaders in seen.values()), seen
    assert epoch not in seen  # the one who slept never again spoke as leader of its epoch


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
