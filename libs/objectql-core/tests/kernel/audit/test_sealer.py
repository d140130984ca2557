"""Every committed entry is sealed once, whoever dies or goes on without the lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

import pytest

from objectql.drivers.chains import Chain, Head, Seal
from objectql.drivers.memory import MemoryDriver
from objectql.errors import Unavailable, WriteConflict
from objectql.kernel.audit.sealer import Sealer, SealerLimits
from objectql.kernel.audit.verify import Verifier
from objectql.kernel.kernel import Kernel
from objectql.testing.driver_chains import CUSTOMERS_OF_ACME, entries_of
from objectql.testing.driver_history import TRACKED
from objectql.testing.driver_samples import ACME, ZOO, insert, update, write

CUSTOMERS_OF_ZOO = Chain(ZOO, "history", "customers")
FAST = SealerLimits(batch=3, pause_s=0.01, lease_ttl_s=1.0)


@pytest.fixture
async def source() -> AsyncGenerator[MemoryDriver]:
    driver = MemoryDriver()
    await driver.connect()
    await driver.apply_schema(await driver.plan_schema([TRACKED]))
    yield driver
    await driver.close()


def sealer_of(driver: MemoryDriver, holder: str = "one", heads: list[Head] | None = None) -> Sealer:
    async def announce(found: Sequence[Head]) -> None:  # noqa: RUF029 - the port's shape
        if heads is not None:
            heads.extend(found)

    return Sealer(
        "default", driver.chains, driver.leases, holder=holder, limits=FAST, announce=announce
    )


async def is_intact(driver: MemoryDriver) -> bool:
    reports, place = await Verifier(Kernel([driver]).engine).step(ACME, None, None)
    assert place is None
    return all(report.intact for report in reports)


async def test_it_seals_everything_in_order_and_tells_the_heads(source: MemoryDriver) -> None:
    heads: list[Head] = []
    for number in range(10):
        await write(source, insert(TRACKED, f"c{number}"))
    assert await sealer_of(source, heads=heads).drain() == 10
    entries = await entries_of(source)
    assert [entry.sequence for entry in entries] == list(range(1, 11))
    assert [entry.position for entry in entries] == sorted(entry.position for entry in entries)
    assert heads[-1] == await source.chains.head(CUSTOMERS_OF_ACME)
    assert [head.sequence for head in heads] == [3, 6, 9, 10]
    assert await is_intact(source)


async def test_what_comes_later_goes_behind(source: MemoryDriver) -> None:
    sealer = sealer_of(source)
    await write(source, insert(TRACKED, "c1"))
    await sealer.drain()
    await write(source, update(TRACKED, "c1", name="x"))
    await sealer.drain()
    assert [entry.sequence for entry in await entries_of(source)] == [1, 2]
    assert await sealer.drain() == 0
    assert await is_intact(source)


async def test_a_sealer_that_lost_its_lease_seals_nothing_twice(
    source: MemoryDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(source, insert(TRACKED, "c1"), insert(TRACKED, "c2"))
    seal = source.chains.seal
    slow = asyncio.Event()

    async def wait(seals: Sequence[Seal]) -> None:
        monkeypatch.setattr(source.chains, "seal", seal)
        await slow.wait()
        await seal(seals)

    monkeypatch.setattr(source.chains, "seal", wait)
    frozen = asyncio.create_task(sealer_of(source, "frozen").drain())
    await _until(lambda: source.chains.seal == seal)
    assert await sealer_of(source, "other").drain() == 2
    slow.set()
    assert await frozen == 0
    assert len(await entries_of(source)) == 2
    assert await is_intact(source)


async def test_another_takes_over_when_the_leader_dies(source: MemoryDriver) -> None:
    one, two = sealer_of(source, "one"), sealer_of(source, "two")
    first = asyncio.create_task(one.run())
    await _until(lambda: one.is_leading)
    second = asyncio.create_task(two.run())
    await write(source, insert(TRACKED, "c1"))
    await _sealed(source, 1)
    assert not two.is_leading
    first.cancel()
    await asyncio.wait([first])
    await write(source, insert(TRACKED, "c2"))
    await _sealed(source, 2)
    assert two.is_leading
    assert await is_intact(source)
    second.cancel()
    await asyncio.wait([second])


async def test_a_chain_that_was_tampered_with_keeps_no_other_waiting(source: MemoryDriver) -> None:
    await write(source, insert(TRACKED, "c1"))
    await write(source, insert(TRACKED, "c1"), tenant=ZOO)
    sealer = sealer_of(source)
    assert await sealer.drain() == 2
    await write(source, *(insert(TRACKED, f"d{number}") for number in range(FAST.batch)))
    await write(source, insert(TRACKED, "c2"), tenant=ZOO)
    conflicts = _ConflictsOf(source, CUSTOMERS_OF_ACME)
    assert await sealer.drain() == 1
    assert len(await entries_of(source, CUSTOMERS_OF_ZOO)) == 2
    assert await sealer.drain() == 0
    assert conflicts.count == 2  # with others, then alone, and set aside from then on


class _ConflictsOf:
    """A chain that is never sealed."""

    def __init__(self, source: MemoryDriver, chain: Chain) -> None:
        self.count = 0
        self._seal = source.chains.seal
        self._chain = chain
        source.chains.seal = self

    async def __call__(self, seals: Sequence[Seal]) -> None:
        if any(seal.after.chain == self._chain for seal in seals):
            self.count += 1
            raise WriteConflict
        await self._seal(seals)


async def test_it_goes_on_after_the_source_was_away(
    source: MemoryDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(source, insert(TRACKED, "c1"))
    seal = source.chains.seal
    failures = 0

    async def fail(seals: Sequence[Seal]) -> None:
        nonlocal failures
        failures += 1
        if failures < 3:
            raise Unavailable(what="the source")
        await seal(seals)

    monkeypatch.setattr(source.chains, "seal", fail)
    task = asyncio.create_task(sealer_of(source).run())
    await _sealed(source, 1)
    task.cancel()
    await asyncio.wait([task])
    assert failures == 3


async def _sealed(source: MemoryDriver, count: int) -> None:
    async with asyncio.timeout(10):
        while len(await entries_of(source)) < count:
            await asyncio.sleep(0.005)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)
