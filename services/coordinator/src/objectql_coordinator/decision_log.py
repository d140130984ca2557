"""Decisions in ZooKeeper: one node each, below `<root>/transactions`, written once.

A node is made together with a check of the epoch node's version, so a leader that is none any more
cannot decide, however late it learns of that (`election`). What is in the log is never changed, only
deleted when nobody can need it (`objectql.txn.recovery.is_forgettable`).
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, Protocol

import msgspec

from objectql.errors import InvalidRequest
from objectql.txn.recovery import Cause
from objectql.wire import codec
from objectql.wire.transactions import Decision
from objectql_coordinator.zookeeper import Node, NodeMissing, NodeTaken, ZooKeeperFailed

log = logging.getLogger(__name__)

_ID: Final = re.compile(r"[0-9a-f-]{36}\Z")


class Store(Protocol):
    """What the log needs of ZooKeeper."""

    async def ensure(self, path: str) -> None: ...
    async def sync(self, path: str) -> None: ...
    async def children(self, path: str) -> list[str]: ...
    async def read(self, path: str) -> Node: ...
    async def delete(self, path: str) -> None: ...
    async def create_fenced(
        self, path: str, value: bytes, *, epoch_path: str, epoch: int
    ) -> None: ...


class DecisionUnreadable(ZooKeeperFailed):
    """A node says nothing that this version understands, so the outcome is not known here."""


class DecisionLog:
    """See the module. Every method raises `ZooKeeperFailed` where the outcome is not known."""

    def __init__(self, store: Store, *, root: str, epoch_path: str) -> None:
        self._store = store
        self._root = f"{root}/transactions"
        self._epoch_path = epoch_path
        self._read: dict[str, Decision] = {}
        """What has been read; nodes do not change."""
        self._unreadable: set[str] = set()
        self.written: Counter[Cause | Literal["asked", "resolved"]] = Counter()
        """Decisions of this process: commits that were asked for, aborts by cause or by command."""

    async def open(self) -> None:
        """See all that earlier leaders have written."""
        await self._store.ensure(self._root)
        await self._store.sync(self._root)

    async def record(
        self,
        decision: Decision,
        *,
        epoch: int,
        cause: Cause | Literal["asked", "resolved"] = "asked",
    ) -> Decision:
        """The decision that stands: `decision`, made for `cause`, or whichever was there before.

        Raises:
            VersionChanged: a later leader has claimed an epoch; nothing was written.
            DecisionUnreadable: one was there.

        """
        path = self._path(decision.id)
        while True:
            try:
                await self._store.create_fenced(
                    path, codec.encode(decision), epoch_path=self._epoch_path, epoch=epoch
                )
            except NodeTaken:
                standing = await self.find(decision.id)
                if standing is not None:  # else it was forgotten just now
                    return standing
            else:
                self._read[decision.id] = decision
                self.written[cause] += 1
                return decision

    async def find(self, id: str) -> Decision | None:
        """What was decided, if that is in the log.

        Raises:
            DecisionUnreadable: another version has written it.

        """
        if id not in self._read:
            try:
                node = await self._store.read(self._path(id))
            except NodeMissing:
                return None
            try:
                self._read[id] = codec.decode(Decision, node.value)
            except msgspec.MsgspecError as exc:
                raise DecisionUnreadable(f"the decision on {id} cannot be read: {exc}") from exc
        return self._read[id]

    async def all(self) -> Mapping[str, Decision]:
        """Everything in the log that can be read, by transaction. The rest is reported once."""
        ids = await self._store.children(self._root)
        self._read = {id: self._read[id] for id in ids if id in self._read}
        self._unreadable &= set(ids)
        for id in ids:
            try:
                await self.find(id)
            except DecisionUnreadable as exc:
                if id not in self._unreadable:
                    self._unreadable.add(id)
                    log.warning("decision_unreadable", extra={"id": id, "reason": str(exc)})
        return dict(self._read)

    async def forget(self, id: str) -> None:
        """Delete a decision."""
        await self._store.delete(self._path(id))
        self._read.pop(id, None)

    def _path(self, id: str) -> str:
        if _ID.match(id) is None:
            raise InvalidRequest(reason="that is no id of a transaction")
        return f"{self._root}/{id}"
