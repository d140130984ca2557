"""Runs the election on ZooKeeper.

Nodes, below the configured root: `candidates/<guard>-<number>` (ephemeral, holds the instance's
name) and `epoch` (holds the candidate node of the last leader; its version is the epoch).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Protocol

from objectql.clock import Clock
from objectql_coordinator.election import (
    Claim,
    Claimed,
    Effect,
    Election,
    Enrol,
    Enrolled,
    Event,
    Lead,
    Lost,
    Observe,
    Observed,
    Resigned,
    StepDown,
    Suspended,
    Withdraw,
    step,
)
from objectql_coordinator.zookeeper import (
    Node,
    NodeMissing,
    NodeTaken,
    VersionChanged,
    ZooKeeperFailed,
)

log = logging.getLogger(__name__)


class Store(Protocol):
    """What the election needs of ZooKeeper."""

    async def ensure(self, path: str) -> None: ...
    async def children(
        self, path: str, on_change: Callable[[], None] | None = None
    ) -> list[str]: ...
    async def read(self, path: str) -> Node: ...
    async def create(
        self, path: str, value: bytes, *, ephemeral: bool = False, sequence: bool = False
    ) -> str: ...
    async def write_if(self, path: str, value: bytes, *, version: int, exists: str) -> int: ...
    async def delete(self, path: str) -> None: ...


class Leadership:
    """One coordinator's part in the election, and what it knows of the others.

    Leadership is a lease: it counts only while ZooKeeper was heard within `session_timeout_s` on
    the monotonic clock, so a process that was frozen does not act on what it knew before.
    """

    def __init__(
        self, store: Store, instance: str, *, root: str, session_timeout_s: float, clock: Clock
    ) -> None:
        self._store = store
        self._instance = instance
        self._candidates = f"{root}/candidates"
        self.epoch_path = f"{root}/epoch"
        self._guard = uuid.uuid4().hex
        self._timeout_s = session_timeout_s
        self._clock = clock
        self._state = Election()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._names: dict[str, str] = {}
        self._heard_s = float("-inf")
        self._breaks = 0
        self._was_seen = False

    @property
    def leading_epoch(self) -> int | None:
        """The epoch in which this process leads now."""
        return self._state.leading if self._is_fresh else None

    @property
    def epoch(self) -> int:
        """The last epoch known."""
        return self._state.epoch

    @property
    def leader(self) -> str | None:
        """The instance that leads, None while that is not known."""
        return self._names.get(self._state.leader) if self._is_fresh else None

    @property
    def instances(self) -> tuple[str, ...]:
        """Coordinators with a session, as last seen, in the order in which they would lead."""
        return tuple(self._names[c] for c in self._state.candidates if c in self._names)

    @property
    def link(self) -> Literal["connected", "suspended", "lost"]:
        """The state of the connection to ZooKeeper."""
        if self._state.link == "connected" and self._was_seen and not self._is_fresh:
            return "suspended"
        return self._state.link

    @property
    def _is_fresh(self) -> bool:
        return self._clock.monotonic_s() - self._heard_s < self._timeout_s

    def tell(self, event: Event) -> None:
        """Take note of a change of the connection. To be called on the loop."""
        if isinstance(event, Suspended | Lost):
            # At once, not after what is queued: nothing may be done as leader from here on.
            self._heard_s = float("-inf")
            self._breaks += 1
        self._events.put_nowait(event)

    def resign(self) -> None:
        """Stop leading at once, and stand behind all other candidates. Of no effect on a follower."""
        if self._state.leading is not None:
            self._heard_s = float("-inf")
            self._breaks += 1
            self._events.put_nowait(Resigned(self._state.session))

    async def run(self) -> None:
        """Take part until cancelled."""
        looking = asyncio.ensure_future(self._look_regularly())
        try:
            while True:
                event = await self._events.get()
                if event is None:
                    effects: tuple[Effect, ...] = self._look()
                else:
                    self._state, effects = step(self._state, event)
                for effect in effects:
                    await self._perform(effect)
        finally:
            looking.cancel()

    def _look(self) -> tuple[Effect, ...]:
        if self._state.link != "connected":
            return ()
        if not self._state.candidate:
            return (Enrol(self._state.session),)
        return (Observe(self._state.session),)

    async def _look_regularly(self) -> None:
        """Renew the lease; this also repairs whatever a failed operation left undone."""
        while True:
            await self._clock.sleep(self._timeout_s / 4)
            if self._events.empty():
                self._events.put_nowait(None)

    async def _perform(self, effect: Effect) -> None:
        try:
            match effect:
                case Enrol(session):
                    await self._enrol(session)
                case Observe(session):
                    await self._observe(session)
                case Claim(session, candidate, epoch):
                    await self._claim(session, candidate, epoch)
                case Withdraw(_, candidate):
                    await self._store.delete(f"{self._candidates}/{candidate}")
                case Lead(epoch):
                    log.info("leading", extra={"epoch": epoch})
                case StepDown():
                    log.info("stepped_down")
        except ZooKeeperFailed as exc:  # the next look repairs it
            log.info("zookeeper_failed", extra={"reason": str(exc)})

    async def _enrol(self, session: int) -> None:
        """Make our node. A create whose answer was lost is recognised by its guard, not repeated."""
        await self._store.ensure(self._candidates)
        with suppress(NodeTaken):
            await self._store.create(self.epoch_path, b"")
        guard = f"{self._guard}{session:016x}"
        names = await self._store.children(self._candidates)
        mine = sorted(name for name in names if name.startswith(guard))
        if mine:
            candidate = mine[0]
        else:
            path = await self._store.create(
                f"{self._candidates}/{guard}-",
                self._instance.encode(),
                ephemeral=True,
                sequence=True,
            )
            candidate = path.rsplit("/", 1)[-1]
        self._events.put_nowait(Enrolled(session, candidate))

    async def _observe(self, session: int) -> None:
        asked_s, breaks = self._clock.monotonic_s(), self._breaks
        names = await self._store.children(self._candidates, lambda: self._events.put_nowait(None))
        epoch = await self._store.read(self.epoch_path)
        for name in names:
            if name not in self._names:
                try:
                    node = await self._store.read(f"{self._candidates}/{name}")
                except NodeMissing:  # gone since; the watch tells
                    continue
                self._names[name] = node.value.decode()
        self._names = {name: self._names[name] for name in names if name in self._names}
        if session == self._state.session and breaks == self._breaks:
            self._heard_s = asked_s
            self._was_seen = True
        candidates = tuple(sorted(names, key=lambda name: name.rsplit("-", 1)[-1]))
        self._events.put_nowait(Observed(session, candidates, epoch.version, epoch.value.decode()))

    async def _claim(self, session: int, candidate: str, epoch: int) -> None:
        try:
            claimed = await self._store.write_if(
                self.epoch_path,
                candidate.encode(),
                version=epoch,
                exists=f"{self._candidates}/{candidate}",
            )
        except VersionChanged:
            self._events.put_nowait(None)
        else:
            self._events.put_nowait(Claimed(session, claimed))
