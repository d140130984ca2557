"""What the driver port promises about tenants: their registry, and the end of one."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from objectql.drivers.protocol import Driver, Idempotency
from objectql.drivers.tenants import Quotas, Tenant
from objectql.errors import WriteConflict
from objectql.ids import TenantId
from objectql.testing.driver_samples import (
    ACME,
    CUSTOMERS,
    OBJECTS,
    ORDERS,
    ids,
    insert,
    scope,
    write,
)

GLOBEX = TenantId("globex")


class TenantPromises:
    """The registry, and `delete_tenant`."""

    async def test_tenant_is_kept_as_it_was_saved(self, driver: Driver) -> None:
        store = driver.tenants
        assert await store.load() == (0, ())
        wanted = Tenant(
            ACME, "Acme", suspended=True, settings={"tier": ["gold"]}, quotas=Quotas(records=5)
        )
        saved = await store.save(wanted)
        assert saved == msgspec.structs.replace(wanted, version=1)
        renamed = await store.save(msgspec.structs.replace(saved, name="ACME"))
        other = await store.save(Tenant(GLOBEX))
        assert await store.load() == (3, (renamed, other))

    async def test_every_change_moves_the_version(self, driver: Driver) -> None:
        store = driver.tenants
        versions = [await store.current_version()]
        saved = await store.save(Tenant(ACME))
        versions.append(await store.current_version())
        await store.save(msgspec.structs.replace(saved, suspended=True))
        versions.append(await store.current_version())
        await store.remove(ACME)
        versions.append(await store.current_version())
        assert versions == sorted(set(versions))
        assert (await store.load())[1] == ()

    async def test_change_of_an_older_version_is_refused(self, driver: Driver) -> None:
        store = driver.tenants
        saved = await store.save(Tenant(ACME))
        await store.save(msgspec.structs.replace(saved, name="one"))
        with pytest.raises(WriteConflict):
            await store.save(msgspec.structs.replace(saved, name="two"))
        with pytest.raises(WriteConflict):
            await store.save(Tenant(ACME))
        assert [tenant.name for tenant in (await store.load())[1]] == ["one"]

    async def test_only_one_of_concurrent_registrations_wins(self, driver: Driver) -> None:
        saves = [driver.tenants.save(Tenant(ACME, f"name {n}")) for n in range(4)]
        answers = await asyncio.gather(*saves, return_exceptions=True)
        assert sum(isinstance(answer, Tenant) for answer in answers) == 1
        assert sum(isinstance(answer, WriteConflict) for answer in answers) == 3

    async def test_nothing_is_left_of_a_deleted_tenant_and_all_of_another(
        self, driver: Driver
    ) -> None:
        keys = {t: Idempotency(t, "ann", "k", b"h") for t in (ACME, GLOBEX)}
        for tenant, key in keys.items():
            await write(driver, insert(CUSTOMERS, "c1"), tenant=tenant)
            await driver.write([insert(ORDERS, "o1", customer="c1")], scope(tenant))
            await driver.write([insert(CUSTOMERS, "c2")], scope(tenant), idempotency=key)
            async with driver.begin() as session:
                assert await session.next_sequence(tenant, "invoice", 3) == 1
        assert await driver.has_records(ACME, OBJECTS)
        assert not await driver.has_records(TenantId("nobody"), OBJECTS)
        await driver.delete_tenant(ACME, OBJECTS)
        await driver.delete_tenant(ACME, OBJECTS)
        assert not await driver.has_records(ACME, OBJECTS)
        assert await driver.has_records(GLOBEX, OBJECTS)
        assert await ids(driver, CUSTOMERS, ACME) == []
        assert await ids(driver, ORDERS, ACME) == []
        assert {event.tenant for _, event in await driver.outbox.pending(100)} == {GLOBEX}
        async with driver.begin() as session:
            assert await session.recall(keys[ACME]) is None
            assert await session.recall(keys[GLOBEX]) is not None
            assert await session.next_sequence(ACME, "invoice") == 1
            assert await session.next_sequence(GLOBEX, "invoice") == 4
        assert await ids(driver, CUSTOMERS, GLOBEX) == ["c1", "c2"]
        assert await ids(driver, ORDERS, GLOBEX) == ["o1"]
        # What was unique in the old one is free again.
        await write(driver, insert(CUSTOMERS, "c1"), tenant=ACME)
