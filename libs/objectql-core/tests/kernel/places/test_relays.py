"""Events leave the places of tenants, told of or not, and whatever does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from objectql.drivers.chains import Chain
from objectql.drivers.protocol import Driver
from objectql.drivers.stores import Outbox
from objectql.ids import TenantId, uuid7
from objectql.kernel import place_relays
from objectql.kernel.audit.sealer import Sealer
from objectql.kernel.kernel import Kernel
from objectql.kernel.place_relays import PlaceRelays
from objectql.kernel.relay import Relay, RelayLimits
from objectql.testing.driver_samples import count_inserts
from objectql.wire.stream import Stored, StreamMessage

from .conftest import (
    ACME,
    GLOBEX,
    Register,
    of,
)


class Stream:
    """What was published, by tenant."""

    def __init__(self) -> None:
        self.tenants: list[str] = []
        self.grew = asyncio.Event()

    async def publish(self, messages: list[StreamMessage]) -> Stored:
        self.tenants += [message.subject.split(".")[4] for message in messages]
        self.grew.set()
        return Stored("s", [1] * len(messages))

    async def holds(self, *tenants: str) -> None:
        async with asyncio.timeout(60):  # a server may count what was inserted ten seconds later
            while sorted(self.tenants) != sorted(tenants):
                self.grew.clear()
                await self.grew.wait()


@asynccontextmanager
async def relaying(kernel: Kernel, driver: Driver, stream: Stream) -> AsyncGenerator[PlaceRelays]:
    """Relays of the shared tables and of all places that work meanwhile."""
    limits = RelayLimits(idle_s=0.05, retry_s=0.05, lease_ttl_s=60.0)
    publish: Any = stream.publish
    relay = Relay("default", driver.outbox, driver.leases, publish, holder=uuid7(), limits=limits)
    relays = PlaceRelays(
        relay,
        kernel.engine.placed[driver.name],
        lambda: kernel.tenants.ready_places,
        Sealer("default", driver.chains, driver.leases, holder=uuid7()),
        clock=kernel.engine.clock,
        limits=limits,
    )
    running = [asyncio.create_task(relay.run()), asyncio.create_task(relays.run())]
    yield relays
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_events_of_places_reach_the_stream_told_of_or_not(
    kernel: Kernel, driver: Driver, register: Register
) -> None:
    for tenant in (ACME, GLOBEX):
        await register(kernel, tenant)
    stream = Stream()
    placed = kernel.engine.placed[driver.name]
    await kernel.create("account", {"name": "before"}, context=of(ACME))  # nobody is told
    async with relaying(kernel, driver, stream) as relays:
        await stream.holds(ACME)
        await kernel.create("account", {"name": "told"}, context=of(GLOBEX))
        relays.nudge([GLOBEX])
        await stream.holds(ACME, GLOBEX)
        await kernel.create("account", {"name": "not told"}, context=of(GLOBEX))
        await count_inserts(placed.of(GLOBEX))
        await stream.holds(ACME, GLOBEX, GLOBEX)
        async with asyncio.timeout(20):
            for tenant in (ACME, GLOBEX):
                while await placed.of(tenant).outbox.pending(1):
                    await asyncio.sleep(0.01)
            for tenant in (ACME, GLOBEX):
                chain = Chain(tenant, "history", "account")
                while await placed.chains.count_unsealed(chain):
                    await asyncio.sleep(0.01)
                assert await placed.chains.chains(tenant) == (chain,)
                assert (await placed.chains.head(chain)).sequence > 0


class Silence:
    """Relays wait for the outboxes of some tenants until these speak."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, kernel: Kernel, tenants: Sequence[TenantId]
    ) -> None:
        self.speaks = asyncio.Event()
        self.at_once = self.most_at_once = 0
        self.given_up: set[TenantId] = set()
        placed = kernel.engine.placed[kernel.engine.system_driver.name]
        silent = {id(placed.of(tenant).outbox): tenant for tenant in tenants}
        drain = Relay.drain

        async def drain_or_wait(relay: Relay, outbox: Outbox) -> int:
            if id(outbox) in silent and not self.speaks.is_set():
                await self._wait(silent[id(outbox)])
            return await drain(relay, outbox)

        monkeypatch.setattr(Relay, "drain", drain_or_wait)

    async def _wait(self, tenant: TenantId) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.speaks.wait()
        except asyncio.CancelledError:
            self.given_up.add(tenant)
            raise
        finally:
            self.at_once -= 1


async def test_places_that_do_not_answer_keep_no_other_waiting_and_are_found_again(
    kernel: Kernel, driver: Driver, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place_relays, "PATIENCE_S", 0.2)
    silent = [TenantId(f"silent{n}") for n in range(place_relays.AT_ONCE + 2)]
    for tenant in (*silent, ACME):
        await register(kernel, tenant)
        await kernel.create("account", {"name": "A"}, context=of(tenant))
    silence = Silence(monkeypatch, kernel, silent)
    stream = Stream()
    async with relaying(kernel, driver, stream) as relays:
        relays.nudge(silent)
        async with asyncio.timeout(20):
            while len(silence.given_up) < len(silent):
                await asyncio.sleep(0.01)
        number, age_s = await relays.counts()
        assert number == len(silent)
        assert age_s > 0
        monkeypatch.setattr(place_relays, "PATIENCE_S", 60.0)
        silence.most_at_once = 0
        relays.nudge([*silent, ACME])
        await stream.holds(ACME)
        for count in range(2, 4):
            await kernel.create("account", {"name": "A"}, context=of(ACME))
            relays.nudge([*silent, ACME])
            await stream.holds(*[ACME] * count)
        assert silence.most_at_once <= place_relays.DOUBTFUL_AT_ONCE
        silence.speaks.set()
        relays.nudge(silent)
        await stream.holds(*silent, *[ACME] * 3)
        async with asyncio.timeout(20):
            while (await relays.counts())[0]:
                await asyncio.sleep(0.01)
