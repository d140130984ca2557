"""The deliveries of one worker: finds queues with something due, and works off those it may."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from objectql.drivers.stores import Leases
from objectql.errors import ObjectQLError
from objectql.kernel.lease import HeldLease
from objectql.kernel.webhooks.endpoint import Endpoint, Tools
from objectql.kernel.webhooks.rules import Circuit

log = logging.getLogger(__name__)

TOO_OLD: Final = "it could not be delivered in time"

_LOOKS_S: Final = 1.0
_FAILED_S: Final = 0.5
_TIDY_S: Final = 60.0
_WAITING: Final = 10_000


class DelivererLimits(msgspec.Struct, frozen=True):
    """How much a worker takes on, and for how long things are kept; seconds."""

    endpoints: int = 256
    lease_ttl_s: float = 5.0
    max_age_s: float = 3 * 86_400.0
    """A delivery that has not succeeded by then is dead."""
    kept_s: float = 7 * 86_400.0
    """What is done or dead is kept so long, and can be replayed."""


class Deliverer:
    """See the head of this module."""

    def __init__(
        self,
        tools: Tools,
        leases: Callable[[], Leases],
        *,
        holder: str,
        limits: DelivererLimits | None = None,
    ) -> None:
        self._tools = tools
        self._leases = leases
        self._holder = holder
        self._limits = limits or DelivererLimits()
        self._woken = asyncio.Event()
        self._running: dict[str, Endpoint] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._circuits: dict[str, Circuit] = {}
        self._foreign: dict[str, float] = {}
        """Until when another worker is believed to hold an endpoint."""
        self._tidied_s = float("-inf")

    def wake(self, webhooks: Iterable[str]) -> None:
        """Say that these have something to be told; safe to call often."""
        for id_ in webhooks:
            endpoint = self._running.get(id_)
            if endpoint is not None:
                endpoint.wake()
            elif id_ not in self._foreign:
                self._woken.set()

    async def run(self) -> None:
        """Deliver until cancelled; then give the leases up."""
        try:
            while True:
                self._woken.clear()
                try:
                    await self._look()
                    await self._tidy()
                except ObjectQLError as exc:
                    log.warning("webhooks_not_looked_at", extra={"reason": str(exc)})
                    await self._tools.clock.sleep(_FAILED_S)
                    continue
                await self._wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._tools.sender.close()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_LOOKS_S):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _look(self) -> None:
        """Start what is due and held by nobody."""
        tools = self._tools
        store = tools.directory.store
        now_s = tools.clock.monotonic_s()
        self._foreign = {id_: until for id_, until in self._foreign.items() if until > now_s}
        waiting = await store.waiting(tools.clock.now_ms(), _WAITING)
        if not waiting:
            return
        await tools.directory.refresh(_LOOKS_S / 4)
        new = [id_ for id_ in waiting if id_ not in self._running]
        # Workers begin at different places, so that each finds some that the others have not.
        new.sort(key=lambda _: tools.random())
        for id_ in new:
            webhook = tools.directory.get(id_)
            if webhook is None or not webhook.active or tools.is_refused(webhook.tenant):
                continue
            if len(self._running) >= self._limits.endpoints:
                return
            if id_ in self._foreign:
                continue
            ttl_s = self._limits.lease_ttl_s
            lease = HeldLease(self._leases(), f"webhook:{id_}", self._holder, tools.clock, ttl_s)
            if await lease.keep():
                self._start(id_, lease)
            else:
                self._foreign[id_] = now_s + ttl_s / 2

    def _start(self, id_: str, lease: HeldLease) -> None:
        tools = self._tools
        circuit = self._circuits.setdefault(id_, Circuit(tools.pauses, tools.random))
        endpoint = self._running[id_] = Endpoint(id_, tools, lease, circuit)
        task = asyncio.create_task(self._run(endpoint, id_))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, endpoint: Endpoint, id_: str) -> None:
        try:
            await endpoint.run()
        except ObjectQLError as exc:
            log.warning("webhook_interrupted", extra={"webhook": id_, "reason": str(exc)})
        finally:
            del self._running[id_]

    async def _tidy(self) -> None:
        """Now and then: let die what is too old, delete what was kept long enough."""
        tools, limits = self._tools, self._limits
        now_s, now_ms = tools.clock.monotonic_s(), tools.clock.now_ms()
        if now_s - self._tidied_s < _TIDY_S:
            return
        self._tidied_s = now_s
        self._circuits = {
            id_: one for id_, one in self._circuits.items() if tools.directory.get(id_) is not None
        }
        store = tools.directory.store
        died = await store.expire(now_ms - round(limits.max_age_s * 1000), now_ms, TOO_OLD)
        if died:
            log.warning("webhook_deliveries_expired", extra={"count": died})
        await store.purge(now_ms - round(limits.kept_s * 1000))
