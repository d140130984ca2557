"""Leaders that are killed, frozen, cut off and suspended, time after time."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import cycle, islice
from typing import NamedTuple

import pytest
from tests.coordinators import (
    SESSION_S,
    Coordinator,
    common_leader,
    leaders_by_epoch,
    wait_for,
)
from tests.proxies import Proxy

from objectql_devstack import DataStack

TIMES = int(os.environ.get("OQL_ELECTIONS", "0"))  # noqa: TID251 - a switch of the tests
"""How often, in the long run."""

FEW_TIMES = 4

IS_FOLLOWED_WITHIN_S = SESSION_S + 2
"""A leader that is gone, on a machine that does nothing else."""

SLOW_S = 10
"""What a busy machine may take beyond that."""


class Wired(NamedTuple):
    """A coordinator, and its wire to ZooKeeper."""

    process: Coordinator
    wire: Proxy


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Wired]]:
    folder = tmp_path_factory.mktemp("elections")
    with ExitStack() as stack:
        data = stack.enter_context(DataStack.start(folder / "stack", {"nats", "zookeeper"}))
        made: list[Wired] = []
        for number in (1, 2, 3):
            name, wire = f"coordinator-{number}", stack.enter_context(Proxy())
            wire.target = int(data.zookeeper.rpartition(":")[2])
            address = f"127.0.0.1:{wire.port}"
            process = Coordinator(name, data, log=folder / f"{name}.log", zookeeper=address)
            stack.callback(process.stop)
            process.start()
            made.append(Wired(process, wire))
        yield made


def leader_of(three: list[Wired], within_s: float = 60) -> tuple[Wired, int]:
    """The leader on which all agree, and its epoch."""
    everyone = [one.process for one in three]
    name = wait_for(lambda: common_leader(everyone), within_s)
    return next(one for one in three if one.process.name == name), everyone[0].view()["epoch"]


def is_led_by_another(rest: list[Coordinator], gone: Coordinator) -> bool:
    """Whether all the rest agree on somebody else than who is gone."""
    return common_leader(rest) not in {None, gone.name}


def is_followed(three: list[Wired], *, times: int, within_s: float) -> None:
    """Take the leader away in one way after the other; see another lead, later ones in later epochs."""
    for way in islice(cycle(("kill", "freeze", "cut")), times):
        leader, epoch = leader_of(three)
        gone, rest = leader.process, [one.process for one in three if one is not leader]
        if way == "kill":
            gone.send(signal.SIGKILL)
        elif way == "freeze":
            gone.send(signal.SIGSTOP)
        else:
            leader.wire.is_cut = True
        is_other = partial(is_led_by_another, rest, gone)
        wait_for(is_other, within_s)
        assert rest[0].view()["epoch"] > epoch
        if way == "kill":
            gone.end()
            gone.start()
        elif way == "freeze":
            gone.send(signal.SIGCONT)
            # Whatever it knew before it slept, it never again speaks as the leader of then.
            assert gone.view()["leader"] != gone.name
        else:
            assert gone.view()["leader"] is None
            leader.wire.is_cut = False
    leader_of(three)
    led = leaders_by_epoch(one.process for one in three)
    assert len(led) > times
    assert all(len(leaders) == 1 for leaders in led.values()), led


def is_paused(leader: Coordinator) -> bool:
    """Whether it knows that it may not be the leader any more."""
    view = leader.view()
    return view["leader"] is None and view["zookeeper"] in {"suspended", "lost"}


def is_suspended_and_leads_again(three: list[Wired], *, times: int, within_s: float) -> None:
    """Break the leader's connection inside its session: it pauses, and leads on in its epoch."""
    leader, epoch = leader_of(three)
    for _ in range(times):
        leader.wire.is_refusing = True
        leader.wire.drop()
        wait_for(partial(is_paused, leader.process), within_s)
        leader.wire.is_refusing = False
        again, epoch_again = leader_of(three, within_s)
        # Whose machine was too slow has lost its session, and somebody leads in a later epoch.
        assert again is leader or epoch_again > epoch
        leader, epoch = again, epoch_again
    led = leaders_by_epoch(one.process for one in three)
    assert all(len(leaders) == 1 for leaders in led.values()), led


@pytest.mark.servers
@pytest.mark.faults
@pytest.mark.timeout(180)
def test_a_leader_that_is_gone_is_followed_in_a_later_epoch(three: list[Wired]) -> None:
    is_followed(three, times=FEW_TIMES, within_s=IS_FOLLOWED_WITHIN_S + SLOW_S)


@pytest.mark.servers
@pytest.mark.faults
@pytest.mark.timeout(180)
def test_a_suspended_leader_pauses_and_leads_on_in_its_epoch(three: list[Wired]) -> None:
    is_suspended_and_leads_again(three, times=FEW_TIMES, within_s=IS_FOLLOWED_WITHIN_S + SLOW_S)


@pytest.mark.servers
@pytest.mark.faults
@pytest.mark.timeout(180)
def test_a_leader_steps_down_for_operators_and_another_one_leads(three: list[Wired]) -> None:
    leader, epoch = leader_of(three)
    path = "/cluster/step-down"
    assert leader.process.command(path)[0] == 401
    status, refused = leader.process.command(path, "admin")
    assert (status, refused["code"]) == (403, "PERMISSION_DENIED")
    follower = next(one.process for one in three if one is not leader)
    status, refused = follower.command(path, "system")
    assert (status, refused["code"]) == (400, "INVALID_REQUEST")
    assert leader.process.name in refused["detail"]
    assert leader_of(three) == (leader, epoch)

    assert leader.process.command(path, "system") == (202, {"epoch": epoch})
    everyone = [one.process for one in three]
    wait_for(partial(is_led_by_another, everyone, leader.process), SLOW_S)
    assert leader_of(three)[1] > epoch


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_leader_that_is_gone_is_followed_in_time_every_time(three: list[Wired]) -> None:
    is_followed(three, times=TIMES or 100, within_s=IS_FOLLOWED_WITHIN_S)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_leader_is_suspended_every_time_and_leads_again(three: list[Wired]) -> None:
    is_suspended_and_leads_again(three, times=TIMES or 100, within_s=IS_FOLLOWED_WITHIN_S)
