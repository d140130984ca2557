from __future__ import annotations

from tests.heartbeats import HeldClock, beat

from objectql.bus.port import Envelope
from objectql.wire.cluster import ReplicaHealth, SourceHealth
from objectql.wire.cluster import told as sources_told
from objectql_coordinator.membership import Membership, Source, upgrade_order


async def test_member_is_dead_after_three_seconds_of_silence_and_then_forgotten() -> None:
    clock = HeldClock()
    membership = Membership(clock)
    await membership.hear(beat("kernel", "kernel-1", metadata_version=7, details={"lag_ms": 12}))
    (member,) = membership.members()
    assert (member.status, member.role, member.last_seen_ms) == ("ready", "worker", 0)
    assert (member.metadata_version, member.lag_ms) == (7, 12.0)
    clock.at_s += 3.0
    assert membership.members()[0].status == "ready"
    clock.at_s += 0.1
    assert membership.members()[0].status == "dead"
    assert membership.count_alive() == {"kernel": 0}
    await membership.hear(beat("kernel", "kernel-1"))
    assert membership.members()[0].status == "ready"
    clock.at_s += 60
    assert membership.members() == []


async def test_leader_and_coordinators_that_are_not_heard_are_marked() -> None:
    membership = Membership(HeldClock())
    await membership.hear(beat("coordinator", "c-1"))
    await membership.hear(beat("gateway-rest", "g-1"))
    members = membership.members(("c-1", "c-2"), leader="c-1")
    assert [(m.instance, m.role, m.status) for m in members] == [
        ("c-1", "leader", "ready"),
        ("c-2", "follower", "unheard"),
        ("g-1", "gateway", "ready"),
    ]


async def test_malformed_heartbeat_changes_nothing() -> None:
    membership = Membership(HeldClock())
    await membership.hear(Envelope(subject="oql.v1.hb.x.y", body=b"\xc1"))
    assert membership.members() == []


def told(is_up: bool, *, is_relaying: bool = False, lag_s: float = 0.5) -> dict[str, object]:
    replica = ReplicaHealth(is_in_use=lag_s < 5, lag_s=lag_s)
    health = SourceHealth(
        is_up=is_up, is_relaying=is_relaying, replicas={"east-replica-1": replica}
    )
    return sources_told({"east": health})


async def test_a_source_is_as_well_as_the_kernel_that_sees_it_worst() -> None:
    clock = HeldClock()
    membership = Membership(clock)
    await membership.hear(beat("kernel", "kernel-3", details=told(False)))
    clock.at_s += 4
    await membership.hear(beat("kernel", "kernel-1", details=told(True, is_relaying=True)))
    await membership.hear(beat("kernel", "kernel-2", details=told(False, lag_s=9)))
    await membership.hear(beat("gateway-rest", "gateway-rest-1"))
    assert membership.sources() == {
        "east": Source(
            reached_by=("kernel-1",),
            not_reached_by=("kernel-2",),
            relays=("kernel-1",),
            replicas={"east-replica-1": ReplicaHealth(is_in_use=False, lag_s=9)},
        )
    }


async def test_who_answers_is_replaced_before_who_asks_and_the_leader_last_of_its_kind() -> None:
    clock = HeldClock()
    membership = Membership(clock)
    await membership.hear(beat("kernel", "kernel-3"))
    clock.at_s += 4
    for service in ("gateway-ws", "kernel", "coordinator", "gateway-rest"):
        for number in (1, 2):
            await membership.hear(beat(service, f"{service}-{number}"))
    members = membership.members(("coordinator-1", "coordinator-9"), leader="coordinator-1")
    assert upgrade_order(members) == (
        *("coordinator-2", "coordinator-9", "coordinator-1"),
        *("kernel-1", "kernel-2"),
        *("gateway-rest-1", "gateway-rest-2", "gateway-ws-1", "gateway-ws-2"),
    )
