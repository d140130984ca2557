"""What kernels ask the coordinator that leads: `decide`, `decision`, `finished`."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from objectql import failpoints
from objectql.bus.server import Verb
from objectql.clock import Clock
from objectql.context import Context
from objectql.errors import DeadlineExceeded, TransactionUnavailable
from objectql.txn.recovery import decide
from objectql.wire.transactions import (
    DecideReply,
    DecideRequest,
    Decision,
    DecisionReply,
    DecisionRequest,
    Done,
    FinishedRequest,
)
from objectql_coordinator.decision_log import DecisionLog, DecisionUnreadable
from objectql_coordinator.zookeeper import VersionChanged, ZooKeeperFailed

log = logging.getLogger(__name__)


class Leading(Protocol):
    """Whether this process leads."""

    @property
    def leading_epoch(self) -> int | None: ...


class Deciding:
    """Answers kernels while this coordinator leads; what it says is in the log already."""

    def __init__(self, decisions: DecisionLog, leading: Leading, clock: Clock) -> None:
        self._log = decisions
        self._leading = leading
        self._clock = clock

    def verbs(self) -> dict[str, Verb[Any]]:
        """The verbs; a decision that was begun is not cut off."""
        return {
            "decide": Verb(DecideRequest, self.handle_decide, is_bounded=False),
            "decision": Verb(DecisionRequest, self.handle_decision),
            "finished": Verb(FinishedRequest, self.handle_finished),
        }

    async def handle_decide(self, request: DecideRequest, context: Context) -> DecideReply:
        """The outcome in the log, after writing it there.

        Raises:
            DeadlineExceeded: the transaction is too late for a decision; nothing was written.
            TransactionUnavailable: this coordinator cannot decide now.

        """
        del context
        try:
            epoch, now_ms = self._epoch(), self._clock.now_ms()
            outcome = decide(None, deadline_ms=request.deadline_ms, now_ms=now_ms)
            if outcome is None:
                standing = await self._log.find(request.id)
                if standing is None:
                    raise DeadlineExceeded
                return DecideReply(standing.outcome)
            failpoints.hit(failpoints.BEFORE_DECISION)
            standing = await self._log.record(
                Decision(
                    outcome,
                    request.id,
                    request.tenant,
                    request.epoch,
                    request.deadline_ms,
                    request.sources,
                    now_ms,
                    request.kernel,
                ),
                epoch=epoch,
            )
        except ZooKeeperFailed as exc:
            raise unavailable(exc) from exc
        failpoints.hit(failpoints.AFTER_RECORD)
        return DecideReply(standing.outcome)

    async def handle_decision(self, request: DecisionRequest, context: Context) -> DecisionReply:
        """What the log has of a transaction."""
        del context
        try:
            self._epoch()
            return DecisionReply(await self._log.find(request.id))
        except ZooKeeperFailed as exc:
            raise unavailable(exc) from exc

    async def handle_finished(self, request: FinishedRequest, context: Context) -> Done:
        """Forget decisions to commit that are in force everywhere."""
        del context
        try:
            self._epoch()
            await asyncio.gather(*map(self._log.forget, request.ids))
        except ZooKeeperFailed as exc:  # recovery comes by
            log.info("decisions_kept", extra={"reason": str(exc)})
        return Done()

    def _epoch(self) -> int:
        epoch = self._leading.leading_epoch
        if epoch is None:
            raise TransactionUnavailable(reason="this coordinator does not lead")
        return epoch


def unavailable(exc: ZooKeeperFailed) -> TransactionUnavailable:
    """What a failure of ZooKeeper means to who wants something of the log."""
    if isinstance(exc, VersionChanged):
        return TransactionUnavailable(reason="another coordinator leads")
    if isinstance(exc, DecisionUnreadable):
        return TransactionUnavailable(reason=str(exc))
    return TransactionUnavailable(reason="ZooKeeper does not answer")
