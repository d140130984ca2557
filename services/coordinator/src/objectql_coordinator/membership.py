"""Who is alive: every process by its heartbeats on the bus, coordinators also by ZooKeeper."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import msgspec

from objectql.bus.port import Envelope
from objectql.clock import Clock
from objectql.wire import codec
from objectql.wire.cluster import ReplicaHealth, SourceHealth
from objectql.wire.messages import Heartbeat

log = logging.getLogger(__name__)

DEAD_AFTER_S = 3.0
FORGOTTEN_AFTER_S = 60.0

_ROLES = {"kernel": "worker", "coordinator": "follower"}

_ANSWERS_FIRST = ("coordinator", "kernel")
"""Who answers is upgraded before who asks: a newer one understands all that older ones say, and what
is new to say is only said by who comes later. Gateways only ask."""


class Member(msgspec.Struct, frozen=True):
    """One process as `GET /cluster` shows it. `last_seen_ms` is how long ago, not when."""

    service: str
    instance: str
    role: str
    version: str
    status: str
    address: str
    last_seen_ms: int | None
    started_ms: int = 0
    metadata_version: int = 0
    load: float = 0.0
    lag_ms: float | None = None
    details: dict[str, Any] = {}


class Source(msgspec.Struct, frozen=True):
    """A data source as the kernels that are alive see it.

    `relays` are those that publish its events: one, or for seconds after a fault none. `replicas` are
    as the kernel sees them that sees them worst.
    """

    reached_by: tuple[str, ...] = ()
    not_reached_by: tuple[str, ...] = ()
    relays: tuple[str, ...] = ()
    replicas: dict[str, ReplicaHealth] = {}


def upgrade_order(members: Iterable[Member]) -> tuple[str, ...]:
    """In which order processes are to be replaced, one when the one before is ready again.

    Coordinators, kernels, gateways; of the coordinators the leader last, so that it changes once.
    """

    def rank(member: Member) -> tuple[int, str, bool, str]:
        known = member.service in _ANSWERS_FIRST
        kind = _ANSWERS_FIRST.index(member.service) if known else len(_ANSWERS_FIRST)
        return kind, member.service, member.role == "leader", member.instance

    alive = [member for member in members if member.status != "dead"]
    return tuple(member.instance for member in sorted(alive, key=rank))


class Membership:
    """The processes heard lately. One that is silent for 3 s is dead, after a minute forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard: dict[tuple[str, str], tuple[Heartbeat, float]] = {}

    async def hear(self, envelope: Envelope) -> None:  # noqa: RUF029 - a listener is a coroutine
        """Take note of a heartbeat."""
        try:
            beat = codec.decode(Heartbeat, envelope.body)
        except msgspec.MsgspecError as exc:
            log.warning("heartbeat_malformed", extra={"reason": str(exc)})
            return
        self._heard[beat.service, beat.instance] = (beat, self._clock.monotonic_s())

    def members(
        self, coordinators: tuple[str, ...] = (), leader: str | None = None
    ) -> list[Member]:
        """Every process known, by service and instance.

        `coordinators` have a session with ZooKeeper, whether they are heard on the bus or not.
        """
        now_s = self._clock.monotonic_s()
        self._heard = {
            key: (beat, at_s)
            for key, (beat, at_s) in self._heard.items()
            if now_s - at_s < FORGOTTEN_AFTER_S
        }
        found = [_member(beat, now_s - at_s, leader) for beat, at_s in self._heard.values()]
        found += [
            Member(
                service="coordinator",
                instance=instance,
                role="leader" if instance == leader else "follower",
                version="",
                status="unheard",
                address="",
                last_seen_ms=None,
            )
            for instance in coordinators
            if ("coordinator", instance) not in self._heard
        ]
        return sorted(found, key=lambda member: (member.service, member.instance))

    def sources(self) -> dict[str, Source]:
        """Every data source by its name, put together from what kernels tell of theirs."""
        found: dict[str, Source] = {}
        for member in self.members():
            if member.service == "kernel" and member.status != "dead":
                told = msgspec.convert(member.details.get("sources", {}), dict[str, SourceHealth])
                for name, health in told.items():
                    found[name] = _with(found.get(name, Source()), member.instance, health)
        return found

    def count_alive(self) -> dict[str, int]:
        """How many processes of each service are alive."""
        counts: dict[str, int] = {}
        for member in self.members():
            counts.setdefault(member.service, 0)
            counts[member.service] += member.status != "dead"
        return counts


def _with(source: Source, kernel: str, told: SourceHealth) -> Source:
    replicas = dict(source.replicas)
    for name, seen in told.replicas.items():
        before = replicas.get(name, ReplicaHealth(is_in_use=True, lag_s=0.0))
        replicas[name] = ReplicaHealth(
            is_in_use=before.is_in_use and seen.is_in_use, lag_s=max(before.lag_s, seen.lag_s)
        )
    return Source(
        reached_by=(*source.reached_by, kernel) if told.is_up else source.reached_by,
        not_reached_by=source.not_reached_by if told.is_up else (*source.not_reached_by, kernel),
        relays=(*source.relays, kernel) if told.is_relaying else source.relays,
        replicas=replicas,
    )


def _member(beat: Heartbeat, silent_s: float, leader: str | None) -> Member:
    role = _ROLES.get(beat.service, "gateway" if beat.service.startswith("gateway") else "worker")
    if beat.service == "coordinator" and beat.instance == leader:
        role = "leader"
    lag_ms = beat.details.get("lag_ms")
    return Member(
        service=beat.service,
        instance=beat.instance,
        role=role,
        version=beat.version,
        status="dead" if silent_s > DEAD_AFTER_S else beat.status,
        address=beat.address,
        last_seen_ms=round(silent_s * 1000),
        started_ms=beat.started_ms,
        metadata_version=beat.metadata_version,
        load=beat.load,
        lag_ms=float(lag_ms) if isinstance(lag_ms, int | float) else None,
        details=beat.details,
    )
