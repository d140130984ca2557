"""Faults, one after the other and several at once, and how long each took to be over.

Each target has one fault at a time. A fault is made, lasts, and is healed; the time to recover is
that from the healing to the next transfer that happens.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from typing import Literal, TypeAlias

import msgspec

from tests.bank.bed import Bed
from tests.histories.history import Recorder

Kind: TypeAlias = Literal["kill", "pause", "partition", "reset", "lose_answer", "restart"]

AT_ONCE = 4
"""Faults; with more, a machine of few cores does nothing but start processes."""

_LASTS_S = (0.2, 2.0)

_SPARED = {"kernel": 1, "coordinator": 1, "zookeeper": 2}
"""How many are left alone, or little would be under way when a fault is made."""


class Made(msgspec.Struct, frozen=True):
    """A fault that is over; `recovered_s` is None where the run ended first."""

    kind: Kind
    target: str
    began_s: float
    lasted_s: float
    recovered_s: float | None


class Chaos:
    """Makes faults in `bed`, and records them among the rest; `moved` is set whenever a transfer happens."""

    def __init__(self, bed: Bed, recorder: Recorder, moved: asyncio.Event, *, seed: int) -> None:
        self._bed = bed
        self._recorder = recorder
        self._moved = moved
        self._rng = random.Random(seed)
        self._busy: set[str] = set()
        self.made: list[Made] = []

    @property
    def busy(self) -> Collection[str]:
        """The targets of the faults that last."""
        return self._busy

    async def run(self, seconds: float, *, every_s: float = 0.5) -> None:
        """Make a fault each `every_s` for so long, `AT_ONCE` at most; return when all are healed."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        async with asyncio.TaskGroup() as group:
            while loop.time() - began_s < seconds:
                free = [fault for fault in self._faults() if self._is_free(fault[1])]
                if free and len(self._busy) < AT_ONCE:
                    kind, target = self._rng.choice(free)
                    self._busy.add(target)
                    group.create_task(self._fault(kind, target, began_s))
                await asyncio.sleep(every_s)

    def _is_free(self, target: str) -> bool:
        cluster, group = self._bed.cluster, _group(target)
        alike = {name for name in (*cluster.names, *cluster.data.names) if _group(name) == group}
        return target not in self._busy and len(alike - self._busy - {target}) >= _SPARED.get(
            group, 0
        )

    def _faults(self) -> Sequence[tuple[Kind, str]]:
        cluster = self._bed.cluster
        processes = [n for n in cluster.names if n.startswith(("kernel", "coordinator"))]
        nodes = [n for n in cluster.data.names if n.startswith(("nats", "redis", "zookeeper"))]
        on_processes: tuple[Kind, ...] = ("kill", "pause", "restart")
        on_wires: tuple[Kind, ...] = ("partition", "reset", "lose_answer")
        on_postgres: tuple[Kind, ...] = ("kill", "pause")
        rows = (
            ((*processes, *nodes), on_processes),
            (("postgres-1",), on_postgres),
            (tuple(self._bed.wires), on_wires),
        )
        return [(kind, name) for names, kinds in rows for name in names for kind in kinds]

    async def _fault(self, kind: Kind, target: str, run_began_s: float) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        operation = self._recorder.invoke("chaos", kind, target)
        try:
            await self._make(kind, target)
        finally:
            self._busy.discard(target)
        self._recorder.end("chaos", operation, "ok", kind)
        healed_s = loop.time()
        recovered_s: float | None = None
        try:
            async with asyncio.timeout(60):
                await next_time(self._moved)
                recovered_s = loop.time() - healed_s
        except TimeoutError:
            pass
        self.made.append(Made(kind, target, began_s - run_began_s, healed_s - began_s, recovered_s))

    async def _make(self, kind: Kind, target: str) -> None:
        cluster, lasts_s = self._bed.cluster, self._rng.uniform(*_LASTS_S)
        wire = self._bed.wires.get(target)
        if wire is not None:
            if kind == "reset":
                await asyncio.to_thread(wire.drop)
                return
            if kind == "lose_answer":
                # The database does it, and the kernel cannot know.
                wire.at("^(COMMIT|PREPARE TRANSACTION)", "cut_after")
                await asyncio.sleep(lasts_s)
                return
            wire.is_cut = True
            await asyncio.sleep(lasts_s)
            wire.is_cut = False
        elif kind == "pause":
            await self._bed.do(cluster.freeze, target)
            await asyncio.sleep(lasts_s)
            await self._bed.do(cluster.thaw, target)
        elif kind == "kill":
            await self._bed.do(cluster.kill, target)
            await asyncio.sleep(lasts_s)
            await self._bed.do(cluster.restart, target)
        else:
            await self._bed.do(cluster.restart, target)


def _group(name: str) -> str:
    return name.rpartition("-")[0]


async def next_time(event: asyncio.Event) -> None:
    """Return when `event` is set after now."""
    event.clear()
    await event.wait()


def recovery_s(made: Sequence[Made], of: Callable[[Made], bool]) -> list[float]:
    """Times to recover, sorted."""
    return sorted(m.recovered_s for m in made if of(m) and m.recovered_s is not None)
