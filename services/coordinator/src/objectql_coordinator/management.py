"""What an operator may have the cluster do, over HTTP.

- `POST /cluster/step-down`, on the coordinator that leads: another one is to lead.
- `POST /cluster/drain?member=…`, on any: that process ends its work and stays, to be ended.
- `GET /cluster/transactions`, on the one that leads: those that are not in force everywhere.
- `POST /cluster/resolve?id=…&outcome=…`, likewise: give up what nobody has decided (`resolving`).

Commands stand in the security log of who gave them, before anything is resolved in any case. Whoever asks needs a token with the role `system`; without settings for tokens everybody is refused.
Errors are RFC 9457 problems with the codes of `objectql.errors`, as everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from objectql.clock import Clock
from objectql.context import Actor
from objectql.errors import InvalidRequest, MemberUnknown, ObjectQLError, PermissionDenied
from objectql.ids import uuid7
from objectql.service.auth import TokenVerifier
from objectql.service.health import Asked, Command, Page
from objectql_coordinator.deciding import unavailable
from objectql_coordinator.membership import Member, Membership
from objectql_coordinator.resolving import Resolving
from objectql_coordinator.zookeeper import ZooKeeperFailed

log = logging.getLogger(__name__)

Work: TypeAlias = Callable[[Actor, Mapping[str, str]], Awaitable[dict[str, Any]]]

Drain: TypeAlias = Callable[[Member, Actor], Awaitable[None]]
"""Tells a process to drain, if it hears of it."""

Record: TypeAlias = Callable[[str, Mapping[str, str], Actor], Awaitable[None]]
"""Puts a command with its parameters into the security log of who gives it."""


TOLD_FOR_S: Final = 5.0
"""How long a process that was told to drain counts as leaving, whatever it says: a heartbeat may be old
by a second, and a process be dead for three. Then it has not heard, and may be the last one."""


class Leading(Protocol):
    """What is asked of `Leadership`."""

    @property
    def leader(self) -> str | None: ...
    @property
    def leading_epoch(self) -> int | None: ...
    def resign(self) -> None: ...


class Management:
    """The commands of one coordinator."""

    def __init__(
        self,
        leadership: Leading,
        membership: Membership,
        resolving: Resolving,
        verifier: TokenVerifier,
        *,
        drain: Drain,
        record: Record,
        clock: Clock,
    ) -> None:
        self._leadership = leadership
        self._membership = membership
        self._resolving = resolving
        self._verifier = verifier
        self._drain = drain
        self._record = record
        self._clock = clock
        self._told_s: dict[tuple[str, int], float] = {}
        """When processes were last told to drain, by name and start."""

    @property
    def commands(self) -> dict[str, Command]:
        """As `PageServer` takes them; what changes something is answered 202 when it has begun."""
        return {
            "POST /cluster/step-down": self._guarded("step_down", self.step_down),
            "POST /cluster/drain": self._guarded("drain", self.drain),
            "POST /cluster/resolve": self._guarded("resolve", self.resolve),
            "GET /cluster/transactions": self._guarded("transactions", self.transactions, 200),
        }

    def _guarded(self, name: str, work: Work, status: int = 202) -> Command:
        async def answer(asked: Asked) -> Page:
            try:
                actor = await self._operator(asked.token)
                told = {"command": name, "actor": actor.id, "parameters": asked.parameters}
                log.info("cluster_command", extra=told)
                return Page(status, msgspec.json.encode(await work(actor, asked.parameters)))
            except ObjectQLError as exc:
                return problem_page(exc)
            except ZooKeeperFailed as exc:
                return problem_page(unavailable(exc))

        return answer

    async def _operator(self, token: str) -> Actor:
        """Who asks.

        Raises:
            Unauthenticated, PermissionDenied

        """
        actor = await self._verifier.verify(token)
        if not actor.is_operator:
            raise PermissionDenied(operation="administer", object="the cluster")
        return actor

    async def drain(self, actor: Actor, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Have a process drain; its name and its state before that. May be repeated.

        Raises:
            MemberUnknown: no such process is alive.
            InvalidRequest: it is the last of its service that is ready.
            Unavailable: the bus is not connected.

        """
        instance = parameters.get("member", "")
        alive = [one for one in self._membership.members() if one.status != "dead"]
        member = next((one for one in alive if one.instance == instance), None)
        if member is None:
            raise MemberUnknown(member=instance)
        others = [one for one in alive if one.service == member.service and one is not member]
        if member.status == "ready" and not any(self._stays(one) for one in others):
            raise InvalidRequest(reason=f"no other {member.service} is ready")
        self._told_s[_start(member)] = self._clock.monotonic_s()
        await self._record_if_possible("drain", parameters, actor)
        await self._drain(member, actor)
        self._told_s[_start(member)] = self._clock.monotonic_s()
        return {"member": instance, "status": member.status}

    def _stays(self, member: Member) -> bool:
        """Whether it is ready, and was not told to drain just now."""
        now_s = self._clock.monotonic_s()
        self._told_s = {
            one: told_s for one, told_s in self._told_s.items() if now_s - told_s < TOLD_FOR_S
        }
        return member.status == "ready" and _start(member) not in self._told_s

    async def step_down(self, actor: Actor, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Stop leading; the epoch that has ended.

        Raises:
            InvalidRequest: this one does not lead.

        """
        epoch = self._epoch()
        await self._record_if_possible("step_down", parameters, actor)
        self._leadership.resign()
        return {"epoch": epoch}

    async def transactions(self, actor: Actor, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Those that are not in force everywhere, the oldest first.

        Raises:
            InvalidRequest: this one does not lead.
            ZooKeeperFailed

        """
        del actor, parameters
        self._epoch()
        return {"transactions": await self._resolving.unfinished()}

    async def resolve(self, actor: Actor, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Give up a transaction; its id and the outcome that stands. May be repeated.

        Raises:
            InvalidRequest: this one does not lead; or as `Resolving.resolve`.
            TransactionUnknown, TransactionDecided, ZooKeeperFailed: as there.
            ObjectQLError: nobody can record who wanted it. Nothing was done.

        """
        epoch = self._epoch()
        await self._record("resolve", parameters, actor)
        id, outcome = parameters.get("id", ""), parameters.get("outcome", "")
        standing = await self._resolving.resolve(id, outcome, epoch=epoch)
        return {"id": standing.id, "outcome": standing.outcome}

    def _epoch(self) -> int:
        """That in which this coordinator leads.

        Raises:
            InvalidRequest: it does not.

        """
        epoch = self._leadership.leading_epoch
        if epoch is None:
            leader = self._leadership.leader
            known = f"{leader} does" if leader else "nobody does"
            raise InvalidRequest(reason=f"this coordinator does not lead, {known}")
        return epoch

    async def _record_if_possible(
        self, command: str, parameters: Mapping[str, str], actor: Actor
    ) -> None:
        """For what must be possible when no kernel answers."""
        try:
            await self._record(command, parameters, actor)
        except ObjectQLError as exc:
            log.warning("command_not_recorded", extra={"command": command, "reason": str(exc)})


def _start(member: Member) -> tuple[str, int]:
    """What tells a process from the one that had its name before."""
    return member.instance, member.started_ms


def problem_page(error: ObjectQLError) -> Page:
    """`error` as an RFC 9457 problem."""
    document = {
        "type": f"urn:objectql:error:{error.code}",
        "title": HTTPStatus(error.http).phrase,
        "status": error.http,
        "detail": error.message,
        "code": error.code,
        "errors": list(error.issues),
        "request_id": uuid7(),
    }
    return Page(error.http, msgspec.json.encode(document), "application/problem+json")
