"""What the driver port promises about reads, metadata, leases and the schema."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from objectql.drivers.protocol import Driver
from objectql.drivers.stores import StoredItem
from objectql.errors import (
    DeadlineExceeded,
    Unavailable,
    WriteConflict,
)
from objectql.testing.driver_samples import (
    ACME,
    CUSTOMERS,
    OBJECTS,
    ORDERS,
    as_json,
    by_id,
    field,
    ids,
    insert,
    make_object,
    own_fields,
    scope,
    update,
    write,
)


class StorePromises:
    """Reads, schema, life."""

    # --- reads ----------------------------------------------------------------------------------------

    async def test_pages_tell_whether_more_follow(self, driver: Driver) -> None:
        await write(driver, *(insert(CUSTOMERS, f"c{n}") for n in range(3)))
        page = await driver.fetch(driver.lower(by_id(CUSTOMERS, limit=2)), (ACME,))
        assert [item["id"] for item in as_json(page.items)] == ["c0", "c1"]
        assert (page.count, page.has_next, page.total) == (2, True, None)
        assert as_json(page.last_key) == ["c1"]
        page = await driver.fetch(driver.lower(by_id(CUSTOMERS, limit=3)), (ACME,))
        assert (page.count, page.has_next, page.last_key) == (3, False, None)

    async def test_empty_page_is_an_empty_array(self, driver: Driver) -> None:
        page = await driver.fetch(driver.lower(by_id(CUSTOMERS, limit=2)), (ACME,))
        assert as_json(page.items) == []
        assert (page.count, page.has_next) == (0, False)

    async def test_passed_deadline_is_refused_before_any_work(self, driver: Driver) -> None:
        with pytest.raises(DeadlineExceeded):
            await driver.fetch(driver.lower(by_id(CUSTOMERS)), (ACME,), deadline_ms=1)
        with pytest.raises(DeadlineExceeded):
            await driver.write([insert(CUSTOMERS, "c1")], scope(), deadline_ms=1)
        with pytest.raises(DeadlineExceeded):
            async with driver.begin(deadline_ms=1):
                pytest.fail("a transaction after its deadline")
        assert await ids(driver, CUSTOMERS) == []

    # --- schema ---------------------------------------------------------------------------------------

    async def test_schema_that_matches_needs_no_steps(self, driver: Driver) -> None:
        plan = await driver.plan_schema(OBJECTS)
        assert plan.steps == ()

    async def test_new_field_and_object_are_added(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1"))
        wider = make_object("customers", *own_fields(CUSTOMERS), field("vip", "boolean"))
        notes = make_object("notes", field("text", "text"))
        plan = await driver.plan_schema([wider, ORDERS, notes])
        assert plan.steps
        assert not any(step.destructive for step in plan.steps)
        await driver.apply_schema(plan)
        await write(driver, insert(notes, "n1", text="hello"))
        (outcome,) = await write(driver, update(wider, "c1", vip=True))
        assert as_json(outcome.after)["vip"] is True
        assert (await driver.plan_schema([wider, ORDERS, notes])).steps == ()

    async def test_lost_field_is_refused_unless_allowed(self, driver: Driver) -> None:
        await write(driver, insert(ORDERS, "o1", weight=1.5))
        narrower = make_object(
            "orders", *(f for f in own_fields(ORDERS) if f.name != "weight"), table="shop_orders"
        )
        plan = await driver.plan_schema([CUSTOMERS, narrower])
        assert plan.steps == ()
        assert len(plan.refused) == 1
        assert "weight" in plan.refused[0].description
        plan = await driver.plan_schema([CUSTOMERS, narrower], allow_destructive=True)
        assert [step.destructive for step in plan.steps] == [True]
        await driver.apply_schema(plan)
        assert (await driver.plan_schema([CUSTOMERS, narrower])).refused == ()

    async def test_dropped_object_is_empty_when_it_comes_back(self, driver: Driver) -> None:
        await write(driver, insert(ORDERS, "o1"))
        await driver.drop_object(ORDERS.name, ORDERS.table)
        await driver.apply_schema(await driver.plan_schema(OBJECTS))
        assert await ids(driver, ORDERS) == []

    # --- life -----------------------------------------------------------------------------------------

    async def test_healthy_driver_says_so_and_counts(self, driver: Driver) -> None:
        await driver.check_health()
        await write(driver, insert(CUSTOMERS, "c1"))
        assert driver.statistics()["writes_total"] >= 1

    async def test_closed_driver_is_unavailable_and_closes_again(self, driver: Driver) -> None:
        await driver.close()
        await driver.close()
        with pytest.raises(Unavailable):
            await driver.check_health()
        with pytest.raises(Unavailable):
            await write(driver, insert(CUSTOMERS, "c1"))


class ClusterPromises:
    """Leases and metadata, which a data source has once."""

    async def test_lease_is_held_by_one_and_can_be_renewed(self, driver: Driver) -> None:
        leases = driver.leases
        assert await leases.acquire("relay", "a", 60.0)
        assert await leases.acquire("relay", "a", 60.0)
        assert not await leases.acquire("relay", "b", 60.0)
        await leases.release("relay", "b")
        assert not await leases.acquire("relay", "b", 60.0)
        await leases.release("relay", "a")
        assert await leases.acquire("relay", "b", 60.0)

    async def test_expired_lease_is_free(self, driver: Driver) -> None:
        assert await driver.leases.acquire("relay", "a", -1.0)
        assert await driver.leases.acquire("relay", "b", 60.0)
        assert not await driver.leases.acquire("relay", "a", 60.0)

    async def test_metadata_is_published_as_a_whole(self, driver: Driver) -> None:
        store = driver.metadata
        assert await store.current_version() == 0
        assert await store.load() == (0, ())
        one = StoredItem("crm", "object", "a", b"{}", path="a.yml")
        two = StoredItem("custom", "object", "a", b"[]")
        assert await store.publish([one, two], [], expected_version=0) == 1
        changed = StoredItem("crm", "object", "a", b"{ }", path="b.yml")
        removed = [("custom", "object", "a"), ("custom", "object", "never")]
        assert await store.publish([changed], removed, expected_version=1) == 2
        assert await store.current_version() == 2
        assert await store.load() == (2, (msgspec.structs.replace(changed, version=2),))

    async def test_metadata_of_another_version_is_not_replaced(self, driver: Driver) -> None:
        store = driver.metadata
        item = StoredItem("crm", "object", "a", b"{}")
        await store.publish([item], [], expected_version=0)
        with pytest.raises(WriteConflict):
            await store.publish([], [("crm", "object", "a")], expected_version=0)
        version, items = await store.load()
        assert (version, len(items)) == (1, 1)

    async def test_only_one_of_concurrent_publications_wins(self, driver: Driver) -> None:
        items = [StoredItem("crm", "object", f"o{n}", b"{}") for n in range(4)]
        publications = [driver.metadata.publish([i], [], expected_version=0) for i in items]
        answers = await asyncio.gather(*publications, return_exceptions=True)
        assert sum(answer == 1 for answer in answers) == 1
        assert sum(isinstance(answer, WriteConflict) for answer in answers) == 3
