"""Transactions that are not in force everywhere, listed for operators, and given up by them.

An operator may have given up at once what recovery would give up later: what nobody has decided. The
decision goes into the log as every other one, fenced and written once, so a kernel that asks later is
told it. The other way round there is no choice. What is decided stands, and without a decision nobody
knows whether all parts are prepared, so it cannot be committed.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Literal, TypeAlias

import msgspec

from objectql.clock import Clock
from objectql.errors import InvalidRequest, TransactionDecided, TransactionUnknown
from objectql.ids import DataSource, TenantId
from objectql.txn.names import Outcome, PartName
from objectql.wire.transactions import Decision
from objectql_coordinator.decision_log import DecisionLog, DecisionUnreadable
from objectql_coordinator.recovery import Recovery

Standing: TypeAlias = Literal["undecided", "committing", "aborting", "unreadable"]
"""`unreadable`: it is decided, in words of a version that this coordinator does not know."""

_STANDING: dict[Outcome, Standing] = {"commit": "committing", "abort": "aborting"}


class Unfinished(msgspec.Struct, frozen=True):
    """A transaction that is prepared, or decided and not in force in all of its `sources`.

    `sources` are those that it waits in, as far as they have been seen. Undecided, it is given up
    `until_ms` (Unix) and a second by itself, or sooner.
    """

    id: str
    tenant: TenantId
    state: Standing
    age_s: float
    sources: tuple[DataSource, ...]
    until_ms: int


class Resolving:
    """What the leader tells of transactions, and does with them for operators."""

    def __init__(self, decisions: DecisionLog, recovery: Recovery, clock: Clock) -> None:
        self._log = decisions
        self._recovery = recovery
        self._clock = clock

    async def unfinished(self) -> list[Unfinished]:
        """All that the last look at the sources and the log has found, the oldest first.

        Raises:
            ZooKeeperFailed

        """
        now_ms = self._clock.now_ms()
        prepared = self._parts()
        undone = {decision.id: decision for decision in self._recovery.undone}
        found: list[Unfinished] = []
        for id in {*prepared, *undone}:
            parts = {part.source: part for part in prepared[id]}
            state = await self._standing(id)
            if id in undone:
                parts |= {
                    name: undone[id].part(name) for name in self._recovery.awaited(undone[id])
                }
            if not parts:  # in force since the last look
                continue
            one = next(iter(parts.values()))
            found.append(
                Unfinished(
                    id=id,
                    tenant=one.tenant,
                    state=state,
                    age_s=max(now_ms - one.begun_ms, 0) / 1000,
                    sources=tuple(sorted(parts)),
                    until_ms=one.deadline_ms,
                )
            )
        return sorted(found, key=lambda one: (-one.age_s, one.id))

    async def _standing(self, id: str) -> Standing:
        try:
            decision = await self._log.find(id)
        except DecisionUnreadable:
            return "unreadable"
        return "undecided" if decision is None else _STANDING[decision.outcome]

    async def resolve(self, id: str, outcome: str, *, epoch: int) -> Decision:
        """The decision that stands: `outcome`. May be repeated.

        Raises:
            InvalidRequest: no outcome, no id, or a commit of what nobody has decided.
            TransactionUnknown: nothing is decided of it, and no part of it is prepared.
            TransactionDecided: the other outcome stands.
            ZooKeeperFailed: nobody knows; `VersionChanged`: nothing was written.

        """
        standing = await self._log.find(id)
        if standing is None:
            parts = self._parts()[id]
            if not parts:
                raise TransactionUnknown(id=id)
            if outcome == "commit":
                raise InvalidRequest(
                    reason="without a decision nobody knows whether all of its parts are prepared:"
                    " it can only be aborted"
                )
            if outcome == "abort":
                standing = await self._log.record(
                    Decision(
                        "abort",
                        id,
                        parts[0].tenant,
                        parts[0].epoch,
                        max(part.deadline_ms for part in parts),
                        tuple(sorted(part.source for part in parts)),
                        self._clock.now_ms(),
                        parts[0].kernel,
                    ),
                    epoch=epoch,
                    cause="resolved",
                )
        if standing is None or outcome not in _STANDING:
            raise InvalidRequest(reason="the outcome is abort or commit")
        if standing.outcome != outcome:
            raise TransactionDecided(id=id, outcome=standing.outcome)
        return standing

    def _parts(self) -> defaultdict[str, list[PartName]]:
        found: defaultdict[str, list[PartName]] = defaultdict(list)
        for part in self._recovery.waiting:
            found[part.txn].append(part)
        return found
