"""What an operator may have the cluster do, over HTTP.

`POST /cluster/step-down`, on the coordinator that leads: another one is to lead. Whoever asks needs a
token with the role `system`; without settings for tokens everybody is refused. Errors are RFC 9457
problems with the codes of `objectql.errors`, as everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec

from objectql.context import Actor
from objectql.errors import InvalidRequest, ObjectQLError, PermissionDenied
from objectql.ids import uuid7
from objectql.service.auth import TokenVerifier
from objectql.service.health import Command, Page
from objectql_coordinator.leadership import Leadership

log = logging.getLogger(__name__)


class Management:
    """The commands of one coordinator."""

    def __init__(self, leadership: Leadership, verifier: TokenVerifier) -> None:
        self._leadership = leadership
        self._verifier = verifier

    @property
    def commands(self) -> dict[str, Command]:
        """By path; each is answered 202 when it has begun."""
        return {"/cluster/step-down": self._guarded("step_down", self.step_down)}

    def _guarded(self, name: str, work: Callable[[], Awaitable[dict[str, Any]]]) -> Command:
        async def answer(token: str) -> Page:
            try:
                actor = await self._operator(token)
                log.info("cluster_command", extra={"command": name, "actor": actor.id})
                return Page(202, msgspec.json.encode(await work()))
            except ObjectQLError as exc:
                return problem_page(exc)

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

    async def step_down(self) -> dict[str, Any]:  # noqa: RUF029 - a command is a coroutine
        """Stop leading; the epoch that has ended.

        Raises:
            InvalidRequest: this one does not lead.

        """
        epoch = self._leadership.leading_epoch
        if epoch is None:
            leader = self._leadership.leader
            known = f"{leader} does" if leader else "nobody does"
            raise InvalidRequest(reason=f"this coordinator does not lead, {known}")
        self._leadership.resign()
        return {"epoch": epoch}


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
