"""Old entries end, those that are kept still prove themselves, and evidence is never purged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec
import pytest

from objectql.clock import SystemClock
from objectql.context import SYSTEM_ROLE, Actor, Context
from objectql.drivers.chains import Chain, Entry, Head
from objectql.drivers.memory import MemoryDriver
from objectql.drivers.security_log import SecurityEntry
from objectql.errors import Unavailable, WriteConflict
from objectql.kernel.audit import retention
from objectql.kernel.audit.sealer import Sealer, SealerLimits
from objectql.kernel.audit.verify import ChainReport, Verifier
from objectql.kernel.kernel import Kernel
from objectql.testing.driver_samples import ACME, ZOO
from objectql.values import instant_of_ms
from objectql.wire.tenants import TenantCreateRequest, TenantMetadataPutRequest

DAY_MS = 86_400_000
MINE, THEIRS = Chain(ACME, "security"), Chain(ZOO, "security")


@pytest.fixture
async def source() -> AsyncGenerator[MemoryDriver]:
    driver = MemoryDriver()
    await driver.connect()
    yield driver
    await driver.close()


async def record(source: MemoryDriver, *ages_days: float, tenant: str = ACME) -> None:
    """Sealed entries of these ages, in this order."""
    now_ms = SystemClock().now_ms()
    for age in ages_days:
        at = instant_of_ms(now_ms - round(age * DAY_MS))
        await source.security_log.record(
            [SecurityEntry(tenant=tenant, kind="signed_in", at=at, actor="ann")]
        )
    await Sealer("default", source.chains, source.leases, holder="one").drain()


async def purged(source: MemoryDriver, days: float | None = 7) -> int:
    def of(chain: Chain) -> float | None:
        return days if chain == MINE else None

    return await retention.purge(source.chains, of, SystemClock())


async def report(source: MemoryDriver, anchor: str | None = None) -> ChainReport:
    reports, _ = await Verifier(Kernel([source]).engine).step(ACME, anchor, None)
    return reports[0]


async def test_the_old_go_and_the_others_still_hold(source: MemoryDriver) -> None:
    await record(source, 30, 20, 10, 5, 1)
    await record(source, 30, tenant=ZOO)
    assert await purged(source) == 3
    found = await report(source)
    assert (found.intact, found.first, found.last) == (True, 4, 5)
    assert await purged(source) == 0
    await record(source, 0)
    assert (await report(source)).last == 6
    assert len(await source.security_log.page(ZOO, limit=9)) == 1  # that log is kept


async def test_nothing_that_is_kept_goes_though_what_is_behind_it_is_older(
    source: MemoryDriver,
) -> None:
    await record(source, 30, 1, 30, 30)  # as they were committed
    assert await purged(source) == 1
    assert (await report(source)).first == 2


async def test_a_log_that_was_purged_whole_goes_on(source: MemoryDriver) -> None:
    await record(source, 30, 20)
    before = await source.chains.head(MINE)
    assert await purged(source) == 2
    found = await report(source, anchor=before.hash)
    assert (found.intact, found.entries, found.last, found.anchored) == (True, 0, 2, True)
    await record(source, 0)
    found = await report(source, anchor=before.hash)
    assert (found.intact, found.entries, found.last, found.anchored) == (True, 1, 3, True)


@pytest.mark.parametrize("turns", range(3))
async def test_a_purge_that_stops_anywhere_leaves_a_chain_that_holds(
    source: MemoryDriver, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    await record(source, *range(20, 14, -1), 1)
    purge, left = source.chains.purge, turns

    async def stop(before: Head, after: Head) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Unavailable(what="the source")
        await purge(before, after)

    monkeypatch.setattr(source.chains, "purge", stop)
    with pytest.raises(Unavailable):
        await purged(source)
    monkeypatch.setattr(source.chains, "purge", purge)
    found = await report(source)
    assert (found.intact, found.first, found.last) == (True, 2 * turns + 1, 7)
    assert await purged(source) == 6 - 2 * turns
    assert (await report(source)).intact


async def test_a_chain_that_somebody_else_purges_keeps_no_other_from_it(
    source: MemoryDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    chains = sorted((MINE, THEIRS))
    for chain in chains:
        await record(source, 30, 1, tenant=chain.tenant)
    purge = source.chains.purge

    async def lose_the_first(before: Head, after: Head) -> None:
        if before.chain == chains[0]:
            raise WriteConflict
        await purge(before, after)

    monkeypatch.setattr(source.chains, "purge", lose_the_first)
    assert await retention.purge(source.chains, lambda _: 7, SystemClock()) == 1
    assert [(await source.chains.head(chain)).purged_sequence for chain in chains] == [0, 1]


async def test_objects_of_all_and_of_one_tenant_say_how_long_their_histories_are_kept() -> None:
    def kept(days: int) -> dict[str, Any]:
        history = {"trackHistory": True}
        return {
            "enable": history, "audit": {"retentionDays": days}, "fields": {"a": {"type": "text"}}
        }  # fmt: skip

    kernel = Kernel([MemoryDriver(), {"name": "app", "objects": {"deal": kept(30)}}])
    await kernel.start()
    operator = Context(Actor(id="op", roles=(SYSTEM_ROLE,)), SystemClock().now_ms() + 30_000, "r1")
    await kernel.tenancy.handle_create(TenantCreateRequest(b'{"id": "acme"}'), operator)
    put = TenantMetadataPutRequest(ACME, "object", "parcel__c", json.dumps(kept(7)).encode())
    await kernel.tenancy.handle_metadata_put(put, operator)
    days = retention.retention_of(kernel.engine, 90)
    asked = [
        Chain(tenant, "history", name) for tenant in (ACME, ZOO) for name in ("deal", "parcel__c")
    ]
    assert [days(chain) for chain in (*asked, MINE)] == [30, 7, 30, None, 90]
    await kernel.stop()


async def test_evidence_is_not_purged(
    source: MemoryDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record(source, 30, 20, 1)
    sealed = source.chains.sealed

    async def tampered(*args: Any) -> Sequence[Entry]:
        first, *others = await sealed(*args)
        content = (*first.content[:4], "somebody else", *first.content[5:])
        return (msgspec.structs.replace(first, content=content), *others)

    monkeypatch.setattr(source.chains, "sealed", tampered)
    assert await purged(source) == 0
    monkeypatch.undo()
    assert (await report(source)).first == 1


async def test_the_sealer_purges_now_and_then_and_goes_on_after_a_failure(
    source: MemoryDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record(source, 30, 1)
    purge = source.chains.purge
    failures = 0

    async def fail(before: Head, after: Head) -> None:
        nonlocal failures
        failures += 1
        if failures < 3:
            raise Unavailable(what="the source")
        await purge(before, after)

    monkeypatch.setattr(source.chains, "purge", fail)
    limits = SealerLimits(pause_s=0.01, lease_ttl_s=1.0, purge_every_s=0.02)
    sealer = Sealer(
        "default",
        source.chains,
        source.leases,
        holder="two",
        limits=limits,
        retention=lambda _: 7,
    )
    task = asyncio.create_task(sealer.run())
    async with asyncio.timeout(10):
        while (await source.chains.head(MINE)).purged_sequence < 1:
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait([task])
    assert failures == 3
    assert (await report(source)).intact
