"""What operators have a coordinator do: who may, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jwt
import msgspec
import pytest
from tests.coordinators import SECRET
from tests.heartbeats import HeldClock, beat

from objectql.clock import SystemClock
from objectql.context import Actor
from objectql.errors import Unavailable
from objectql.ids import TenantId
from objectql.service.auth import TokenVerifier
from objectql.service.health import Asked
from objectql.service.settings import AuthSettings
from objectql.wire.transactions import Decision
from objectql_coordinator.management import TOLD_FOR_S, Management
from objectql_coordinator.membership import Member, Membership
from objectql_coordinator.resolving import Resolving, Unfinished
from objectql_coordinator.zookeeper import VersionChanged


class Leading:
    """Leads in epoch 7, until it is told that it does not."""

    leader: str | None = "coordinator-1"
    leading_epoch: int | None = 7

    def resign(self) -> None:
        self.leading_epoch = None


class NoTransactions(Resolving):
    """Resolves whatever it is asked, by a log that may have another writer."""

    def __init__(self) -> None:
        self.is_overtaken = False

    async def unfinished(self) -> list[Unfinished]:
        return []

    async def resolve(self, id: str, outcome: str, *, epoch: int) -> Decision:
        if self.is_overtaken:
            raise VersionChanged
        assert (outcome, epoch) == ("abort", 7)
        return Decision("abort", id, TenantId("acme"), epoch, 1, ())


class Commanded:
    """Management beside members; `done` is what it has recorded and done, in order."""

    def __init__(self) -> None:
        self.clock = HeldClock()
        self.membership = Membership(self.clock)
        self.leading = Leading()
        self.resolving = NoTransactions()
        self.done: list[str] = []
        self.is_recorded = True
        self._management = Management(
            self.leading,
            self.membership,
            self.resolving,
            TokenVerifier(AuthSettings(jwt_secret=SECRET), clock=SystemClock()),
            drain=self._drain,
            record=self._record,
            clock=self.clock,
        )

    async def _drain(self, member: Member, actor: Actor) -> None:
        self.done.append(f"drain {member.service} {member.instance} by {actor.id}")

    async def _record(self, command: str, parameters: Mapping[str, str], actor: Actor) -> None:
        if not self.is_recorded:
            raise Unavailable(what="kernel")
        self.done.append(f"record {command} {dict(parameters)} by {actor.id}")

    async def command(
        self, name: str, *, role: str = "system", **parameters: str
    ) -> tuple[int, dict[str, Any]]:
        claims = {"sub": "op", "roles": [role], "exp": int(time.time()) + 600}
        token = jwt.encode(claims, SECRET, algorithm="HS256")
        page = await self._management.commands[name](Asked(token, parameters))
        return page.status, msgspec.json.decode(page.body)

    async def refused(self, name: str, *, role: str = "system", **parameters: str) -> str:
        """The code by which a command is refused."""
        status, problem = await self.command(name, role=role, **parameters)
        assert status >= 400
        assert status == problem["status"]
        return problem["code"]


DRAIN, RESOLVE = "POST /cluster/drain", "POST /cluster/resolve"
STEP_DOWN, TRANSACTIONS = "POST /cluster/step-down", "GET /cluster/transactions"


@pytest.mark.parametrize("name", [DRAIN, RESOLVE, STEP_DOWN, TRANSACTIONS])
async def test_an_administrator_of_a_tenant_is_no_operator(name: str) -> None:
    commanded = Commanded()
    assert await commanded.refused(name, role="admin") == "PERMISSION_DENIED"
    assert commanded.done == []


@pytest.mark.parametrize("name", [RESOLVE, STEP_DOWN, TRANSACTIONS])
async def test_who_does_not_lead_refuses_and_says_who_does(name: str) -> None:
    commanded = Commanded()
    commanded.leading.leading_epoch = None
    commanded.leading.leader = "coordinator-2"
    status, problem = await commanded.command(name)
    assert (status, problem["code"]) == (400, "INVALID_REQUEST")
    assert "coordinator-2 does" in problem["detail"]
    assert commanded.done == []


async def test_a_process_is_drained_while_another_of_its_service_is_ready() -> None:
    commanded = Commanded()
    hear = commanded.membership.hear
    await hear(beat("kernel", "kernel-1"))
    await hear(beat("kernel", "kernel-2", status="starting"))
    assert await commanded.refused(DRAIN, member="kernel-1") == "INVALID_REQUEST"
    await hear(beat("kernel", "kernel-2"))
    for seen in ("ready", "draining", "drained"):
        await hear(beat("kernel", "kernel-1", status=seen))
        answer = {"member": "kernel-1", "status": seen}
        assert await commanded.command(DRAIN, member="kernel-1") == (202, answer)
    once = ["record drain {'member': 'kernel-1'} by op", "drain kernel kernel-1 by op"]
    assert commanded.done == once * 3


async def test_the_last_one_is_kept_while_the_others_do_not_yet_say_that_they_leave() -> None:
    commanded = Commanded()
    for name in ("kernel-1", "kernel-2"):
        await commanded.membership.hear(beat("kernel", name))
    assert (await commanded.command(DRAIN, member="kernel-1"))[0] == 202
    assert await commanded.refused(DRAIN, member="kernel-2") == "INVALID_REQUEST"
    assert (await commanded.command(DRAIN, member="kernel-1"))[0] == 202  # it may not have heard
    await commanded.membership.hear(beat("kernel", "kernel-1", started_ms=9))  # a new one
    assert (await commanded.command(DRAIN, member="kernel-2"))[0] == 202


async def test_who_was_told_and_stays_ready_has_not_heard() -> None:
    commanded = Commanded()
    for name in ("kernel-1", "kernel-2"):
        await commanded.membership.hear(beat("kernel", name))
    assert (await commanded.command(DRAIN, member="kernel-1"))[0] == 202
    commanded.clock.at_s += TOLD_FOR_S
    for name in ("kernel-1", "kernel-2"):
        await commanded.membership.hear(beat("kernel", name))
    assert (await commanded.command(DRAIN, member="kernel-2"))[0] == 202


async def test_nobody_is_drained_who_is_not_alive_or_not_named() -> None:
    commanded = Commanded()
    await commanded.membership.hear(beat("kernel", "kernel-1"))
    commanded.clock.at_s += 4
    await commanded.membership.hear(beat("kernel", "kernel-2"))
    for name in ("kernel-1", "kernel-9"):
        assert await commanded.refused(DRAIN, member=name) == "MEMBER_NOT_FOUND"
    assert await commanded.refused(DRAIN) == "MEMBER_NOT_FOUND"
    assert commanded.done == []


async def test_a_process_is_drained_and_a_leader_steps_down_though_nobody_can_record_it() -> None:
    commanded = Commanded()
    commanded.is_recorded = False
    await commanded.membership.hear(beat("kernel", "kernel-1"))
    await commanded.membership.hear(beat("kernel", "kernel-2"))
    assert (await commanded.command(DRAIN, member="kernel-1"))[0] == 202
    assert commanded.done == ["drain kernel kernel-1 by op"]
    assert await commanded.command(STEP_DOWN) == (202, {"epoch": 7})
    assert commanded.leading.leading_epoch is None


async def test_nothing_is_resolved_before_it_is_recorded_who_wants_it() -> None:
    commanded = Commanded()
    commanded.is_recorded = False
    assert await commanded.refused(RESOLVE, id="t", outcome="abort") == "SERVICE_UNAVAILABLE"
    commanded.is_recorded = True
    told = (202, {"id": "t", "outcome": "abort"})
    assert await commanded.command(RESOLVE, id="t", outcome="abort") == told
    assert commanded.done == ["record resolve {'id': 't', 'outcome': 'abort'} by op"]


async def test_a_leader_that_was_overtaken_resolves_nothing() -> None:
    commanded = Commanded()
    commanded.resolving.is_overtaken = True
    code = await commanded.refused(RESOLVE, id="t", outcome="abort")
    assert code == "TRANSACTION_UNAVAILABLE"
