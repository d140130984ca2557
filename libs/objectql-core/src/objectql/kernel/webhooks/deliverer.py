"""The deliveries of one worker: finds queues with something due, and works off those it may.

It works off so many at once, and no tenant has more than its share of those. Where all are taken,
whoever has fewer makes one with more give way, and after its turn any: what it has under way ends,
and its queue waits for a place like the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from objectql.drivers.stores import Leases
from objectql.drivers.webhooks import Waiting, Webhook
from objectql.errors import ObjectQLError
from objectql.ids import TenantId
from objectql.kernel.lease import HeldLease
from objectql.kernel.webhooks.endpoint import Endpoint, Tools

log = logging.getLogger(__name__)

TOO_OLD: Final = "it could not be delivered in time"

_LOOKS_S: Final = 1.0
_FAILED_S: Final = 0.5
_TIDY_S: Final = 60.0
_WAITING: Final = 10_000


class DelivererLimits(msgspec.Struct, frozen=True):
    """How much a worker takes on, and for how long things are kept; seconds."""

    endpoints: int = 256
    tenant_share: float = 0.25
    """Of the endpoints, the most of one tenant (but one)."""
    turn_s: float = 10.0
    """After so long one gives way to any other."""
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
        self._share = max(1, int(self._limits.endpoints * self._limits.tenant_share))
        self._woken = asyncio.Event()
        self._running: dict[str, Endpoint] = {}
        self._tasks: set[asyncio.Task[None]] = set()
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
        held = self._held()
        for each in self._in_turn(waiting, held):
            webhook = tools.directory.get(each.webhook)
            assert webhook is not None
            has_its_share = held[webhook.tenant] >= self._share
            if has_its_share or len(self._running) >= self._limits.endpoints:
                self._make_room(held, webhook.tenant, among_own=has_its_share)
                continue
            ttl_s = self._limits.lease_ttl_s
            name = f"webhook:{webhook.id}"
            lease = HeldLease(self._leases(), name, self._holder, tools.clock, ttl_s)
            if await lease.keep():
                self._start(webhook, each.failures, lease)
                held[webhook.tenant] += 1
            else:
                self._foreign[webhook.id] = now_s + ttl_s / 2

    def _held(self) -> Counter[TenantId]:
        """How many are worked off of whom, and will be."""
        return Counter(one.tenant for one in self._running.values() if not one.is_ending)

    def _in_turn(self, waiting: Sequence[Waiting], held: Counter[TenantId]) -> list[Waiting]:
        """Those that may be taken up, of tenants with few of theirs under way first."""
        tools = self._tools
        found: list[tuple[int, float, Waiting]] = []
        for each in waiting:
            webhook = tools.directory.get(each.webhook)
            if webhook is None or not webhook.active or tools.is_refused(webhook.tenant):
                continue
            if webhook.id not in self._running and webhook.id not in self._foreign:
                # Workers begin at different places, so that each finds some that others have not.
                found.append((held[webhook.tenant], tools.random(), each))
        return [each for _, _, each in sorted(found)]

    def _make_room(self, held: Counter[TenantId], tenant: TenantId, *, among_own: bool) -> None:
        """Have one end that has had its turn, or is of somebody with more than `tenant`."""
        now_s = self._tools.clock.monotonic_s()
        turn_s = self._limits.turn_s

        def gives_way(one: Endpoint) -> bool:
            if one.is_ending or (among_own and one.tenant != tenant):
                return False
            return now_s - one.started_s >= turn_s or held[one.tenant] > held[tenant] + 1

        able = [one for one in self._running.values() if gives_way(one)]
        if able:
            one = max(able, key=lambda one: (held[one.tenant], now_s - one.started_s))
            one.end()
            held[one.tenant] -= 1
            held[tenant] += 1  # one place is for one of those that wait

    def _start(self, webhook: Webhook, failures: int, lease: HeldLease) -> None:
        id_ = webhook.id
        endpoint = Endpoint(id_, webhook.tenant, self._tools, lease, failures)
        self._running[id_] = endpoint
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
            if endpoint.is_ending:
                self._woken.set()  # somebody waits for the place

    async def _tidy(self) -> None:
        """Now and then: let die what is too old, delete what was kept long enough."""
        tools, limits = self._tools, self._limits
        now_s, now_ms = tools.clock.monotonic_s(), tools.clock.now_ms()
        if now_s - self._tidied_s < _TIDY_S:
            return
        self._tidied_s = now_s
        store = tools.directory.store
        died = await store.expire(now_ms - round(limits.max_age_s * 1000), now_ms, TOO_OLD)
        if died:
            log.warning("webhook_deliveries_expired", extra={"count": died})
        await store.purge(now_ms - round(limits.kept_s * 1000))
