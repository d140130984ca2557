"""Wires a coordinator together.

`GET /cluster` is served by every coordinator, leader or not, and also while ZooKeeper is down: the
members then come from the bus alone, there is no leader, and the answer says that it is stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from objectql import failpoints
from objectql.bus.client import KernelClient, RetryPolicy
from objectql.bus.server import BusServer
from objectql.context import Actor, Context
from objectql.ids import uuid7
from objectql.service.auth import TokenVerifier
from objectql.service.commands import DRAIN, tell
from objectql.service.health import Page, PageServer, json_page
from objectql.service.run import Process
from objectql.wire.cluster import Commanded
from objectql.wire.subjects import HEARTBEATS, coordinator_rpc, heartbeat, parts_rpc
from objectql.wire.transactions import Done
from objectql_coordinator.deciding import Deciding
from objectql_coordinator.decision_log import DecisionLog
from objectql_coordinator.leadership import Leadership
from objectql_coordinator.management import Management
from objectql_coordinator.membership import Member, Membership, upgrade_order
from objectql_coordinator.owners import Owners
from objectql_coordinator.recovery import Recovery
from objectql_coordinator.resolving import Resolving
from objectql_coordinator.settings import CoordinatorSettings
from objectql_coordinator.zookeeper import Access, ZooKeeper

RECORD_WITHIN_MS: Final = 2_000
"""How long a command waits for its place in the security log."""


async def build(process: Process[CoordinatorSettings]) -> None:
    """Start election, membership and the HTTP pages."""
    settings = process.settings
    failpoints.arm(settings.failpoints)
    membership = Membership(process.clock)
    zookeeper = ZooKeeper(
        settings.zookeeper.hosts,
        session_timeout_s=settings.zookeeper.session_timeout_s,
        access=Access(
            settings.zookeeper.ca,
            settings.zookeeper.certificate,
            settings.zookeeper.key,
            settings.zookeeper.user,
            settings.zookeeper.password,
        ),
        on_state=lambda event: leadership.tell(event),  # noqa: PLW0108 - made just below
    )
    leadership = Leadership(
        zookeeper,
        process.instance,
        root=settings.zookeeper.root,
        session_timeout_s=settings.zookeeper.session_timeout_s,
        clock=process.clock,
    )

    async def cluster() -> Page:  # noqa: RUF029 - a route is a coroutine
        return json_page(cluster_view(leadership, membership))

    def observe_details() -> dict[str, Any]:
        process.metrics.set("oql_election_epoch", leadership.epoch)
        process.metrics.set("oql_transactions_in_doubt", recovery.in_doubt)
        process.metrics.set("oql_transactions_oldest_seconds", recovery.oldest_in_doubt_s)
        for cause, number in decisions.written.items():
            process.metrics.count_to("oql_decisions_total", number, cause)
        for outcome, number in recovery.recovered.items():
            process.metrics.count_to("oql_parts_recovered_total", number, outcome)
        for service, count in membership.count_alive().items():
            process.metrics.set("oql_members", count, service)
        is_leading = leadership.leading_epoch is not None
        return {"role": "leader" if is_leading else "follower", "epoch": leadership.epoch}

    zk = settings.zookeeper
    decisions = DecisionLog(zookeeper, root=zk.root, epoch_path=leadership.epoch_path)
    deciding = Deciding(decisions, leadership, process.clock)
    kernels = KernelClient(
        process.bus,
        clock=process.clock,
        subject=parts_rpc,
        retry=RetryPolicy(),  # a frozen kernel is asked too
        read_verbs=frozenset(("sources", "prepared", "finish")),
        keys=process.context_keys,
    )
    owners = Owners(process.clock)
    recovery = Recovery(
        decisions, kernels, leadership, process.clock, owners, every_s=settings.recovery_every_s
    )
    server = BusServer(
        process.bus,
        deciding.verbs(),
        service="coordinator",
        queue="coordinator",
        subject=partial(coordinator_rpc, process.instance),
        version=process.version,
        clock=process.clock,
        observe=process.metrics.observe_request,
        keys=process.context_keys,
    )

    async def drain_member(member: Member, actor: Actor) -> None:
        await tell(
            process.bus,
            DRAIN,
            service=member.service,
            instance=member.instance,
            actor=actor,
            clock=process.clock,
            keys=process.context_keys,
        )

    async def record(command: str, parameters: Mapping[str, str], actor: Actor) -> None:
        deadline_ms = process.clock.now_ms() + RECORD_WITHIN_MS
        context = Context(actor=actor, deadline_ms=deadline_ms, request_id=uuid7())
        await kernels.call("commanded", Commanded(command, dict(parameters)), context, Done)

    async def drain() -> None:
        await server.drain(settings.drain_s)

    pages = PageServer(
        {
            "/cluster": cluster,
            "/live": process.health.live_page,
            "/ready": process.health.ready_page,
        },
        Management(
            leadership,
            membership,
            Resolving(decisions, recovery, process.clock),
            TokenVerifier(settings.auth, clock=process.clock),
            drain=drain_member,
            record=record,
            clock=process.clock,
        ).commands,
    )
    await pages.start(settings.http.host, settings.http.port)
    process.address = f"http://{settings.http.host}:{pages.port}"
    process.details = observe_details
    process.metrics.read("oql_leader", lambda: float(leadership.leading_epoch is not None))
    process.health.add_check(
        "zookeeper", lambda: None if leadership.link == "connected" else leadership.link
    )
    await process.bus.subscribe(HEARTBEATS, membership.hear)
    await process.bus.subscribe(heartbeat("kernel", "*"), owners.hear)
    await server.start()
    zookeeper.start()
    process.start(leadership.run())
    process.start(recovery.run())
    process.on_drain(drain)
    process.on_drain(zookeeper.stop)
    process.on_stop(pages.close)


def cluster_view(leadership: Leadership, membership: Membership) -> dict[str, Any]:
    """The document of `GET /cluster`."""
    leader = leadership.leader
    members = membership.members(leadership.instances, leader)
    return {
        "leader": leader,
        "epoch": leadership.epoch,
        "stale": leadership.link != "connected",
        "zookeeper": leadership.link,
        "members": members,
        "upgrade_order": upgrade_order(members),
        "sources": membership.sources(),
    }
