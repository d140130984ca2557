"""What the driver port promises about named transactions: marks, and parts that are prepared."""

from __future__ import annotations

import asyncio

import pytest

from objectql.drivers.protocol import Driver
from objectql.drivers.transactions import Mark
from objectql.errors import DatabaseFailed, SourceCannotPrepare, WriteConflict
from objectql.ids import DataSource
from objectql.testing.driver_samples import (
    ACME,
    CUSTOMERS,
    ORDERS,
    OnPurpose,
    ids,
    insert,
    key,
    scope,
    update,
    write,
)

_MARK = Mark("t1", ACME, (DataSource("default"),), (("customers", "c1"),))
_NAME = "oql:7:1700000000000:k1:t1:acme:default"


class MarkPromises:
    """Every source keeps marks."""

    async def test_a_mark_is_there_when_its_transaction_has_committed(self, driver: Driver) -> None:
        async with driver.begin(tenant=ACME) as session:
            await session.apply((insert(CUSTOMERS, "c1"),), scope())
            await session.mark(_MARK)
            assert await driver.transactions.find("t1") is None
        assert await driver.transactions.find("t1") == _MARK
        assert await driver.transactions.find("t2") is None

    async def test_a_mark_is_undone_with_its_transaction(self, driver: Driver) -> None:
        with pytest.raises(OnPurpose):
            async with driver.begin(tenant=ACME) as session:
                await session.mark(_MARK)
                raise OnPurpose
        assert await driver.transactions.find("t1") is None

    async def test_a_mark_goes_with_its_tenant(self, driver: Driver) -> None:
        async with driver.begin(tenant=ACME) as session:
            await session.mark(_MARK)
        await driver.delete_tenant(ACME, (CUSTOMERS,))
        assert await driver.transactions.find("t1") is None

    async def test_a_fresh_mark_outlives_a_sweep(self, driver: Driver) -> None:
        async with driver.begin(tenant=ACME) as session:
            await session.mark(_MARK)
        await driver.sweep()
        assert await driver.transactions.find("t1") == _MARK

    async def test_a_part_that_nobody_prepared_cannot_be_finished(self, driver: Driver) -> None:
        assert await driver.transactions.prepared() == ()
        assert not await driver.transactions.finish(_NAME, "commit")
        assert not await driver.transactions.finish(_NAME, "abort")


class NoPreparePromises:
    """What sources do that prepare nothing."""

    async def test_a_source_that_cannot_prepare_says_so_before_it_is_asked_to(
        self, driver: Driver
    ) -> None:
        with pytest.raises(SourceCannotPrepare, match="prepares no transactions"):
            await driver.transactions.check_ready()

    async def test_a_part_that_cannot_be_prepared_is_rolled_back(self, driver: Driver) -> None:
        with pytest.raises(SourceCannotPrepare):
            async with driver.begin(tenant=ACME) as session:
                await session.apply((insert(CUSTOMERS, "c1"),), scope())
                await session.prepare(_NAME)
        assert await ids(driver, CUSTOMERS) == []


class PreparePromises:
    """What sources do that prepare."""

    async def _prepare(self, driver: Driver) -> None:
        async with driver.begin(tenant=ACME) as session:
            await session.apply((update(CUSTOMERS, "c0", name="Bob"),), scope())
            await session.apply((insert(CUSTOMERS, "c1"),), scope())
            await session.mark(_MARK)
            await session.prepare(_NAME)

    async def test_a_prepared_part_shows_nothing_until_it_is_committed(
        self, driver: Driver
    ) -> None:
        await driver.transactions.check_ready()
        await write(driver, insert(CUSTOMERS, "c0", name="Ann"))
        await self._prepare(driver)
        assert await driver.transactions.prepared() == (_NAME,)
        assert await ids(driver, CUSTOMERS) == ["c0"]
        assert len(await driver.outbox.pending(10)) == 1
        assert await driver.transactions.find("t1") is None

        assert await driver.transactions.finish(_NAME, "commit")
        assert await driver.transactions.prepared() == ()
        assert await ids(driver, CUSTOMERS) == ["c0", "c1"]
        events = [event.record_id for _, event in await driver.outbox.pending(10)]
        assert events == ["c0", "c0", "c1"]
        assert await driver.transactions.find("t1") == _MARK

    async def test_a_prepared_part_that_is_given_up_leaves_nothing(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c0", name="Ann"))
        await self._prepare(driver)
        assert await driver.transactions.finish(_NAME, "abort")
        assert await ids(driver, CUSTOMERS) == ["c0"]
        assert len(await driver.outbox.pending(10)) == 1
        assert await driver.transactions.find("t1") is None
        assert not await driver.transactions.finish(_NAME, "commit")
        assert not await driver.transactions.finish(_NAME, "abort")

    async def test_a_driver_connects_while_a_part_is_prepared(self, driver: Driver) -> None:
        """Or a cluster that was stopped with one would never start again."""
        await write(driver, insert(CUSTOMERS, "c0", name="Ann"))
        await self._prepare(driver)
        await driver.close()
        async with asyncio.timeout(20):
            await driver.connect()
        assert await driver.transactions.finish(_NAME, "commit")

    async def test_a_failure_after_preparing_changes_nothing(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c0", name="Ann"))
        with pytest.raises(OnPurpose):
            async with driver.begin(tenant=ACME) as session:
                await session.apply((insert(CUSTOMERS, "c1"),), scope())
                await session.prepare(_NAME)
                raise OnPurpose
        assert await driver.transactions.finish(_NAME, "commit")
        assert await ids(driver, CUSTOMERS) == ["c0", "c1"]

    async def test_a_name_that_is_taken_prepares_nothing(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c0", name="Ann"))
        await self._prepare(driver)
        with pytest.raises(DatabaseFailed):
            async with driver.begin(tenant=ACME) as session:
                await session.apply((insert(CUSTOMERS, "c2"),), scope())
                await session.prepare(_NAME)
        assert await driver.transactions.finish(_NAME, "commit")
        assert await ids(driver, CUSTOMERS) == ["c0", "c1"]

    async def test_a_prepared_part_tells_to_which_objects_it_has_written(
        self, driver: Driver
    ) -> None:
        await write(driver, insert(CUSTOMERS, "c0", name="Ann"))
        assert await driver.transactions.writing([CUSTOMERS, ORDERS]) == ()
        await self._prepare(driver)
        assert await driver.transactions.writing([ORDERS, CUSTOMERS]) == (_NAME,)
        assert await driver.transactions.writing([ORDERS]) == ()
        assert await driver.transactions.finish(_NAME, "abort")
        assert await driver.transactions.writing([CUSTOMERS]) == ()

    async def test_a_wait_for_a_prepared_record_can_be_limited(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c0", name="Ann"))
        await self._prepare(driver)
        with pytest.raises(WriteConflict):
            async with driver.begin(tenant=ACME) as session:
                await session.expect_prepare(0.05)
                await session.lock(CUSTOMERS, ACME, "c0")
        assert await driver.transactions.finish(_NAME, "abort")

    async def test_the_limit_on_waiting_ends_with_its_transaction(self, driver: Driver) -> None:
        async with driver.begin(tenant=ACME) as session:
            await session.expect_prepare(0.05)
            await session.apply((insert(CUSTOMERS, "c1"),), scope())
            await session.prepare(_NAME)
        assert await driver.transactions.finish(_NAME, "commit")
        async with driver.begin(tenant=ACME) as session:
            await session.lock(CUSTOMERS, ACME, "c1")  # on the same connection, now idle again

    async def test_a_key_is_taken_while_its_part_is_prepared_and_free_when_it_is_given_up(
        self, driver: Driver
    ) -> None:
        async with driver.begin(tenant=ACME) as session:
            assert await session.recall(key()) is None
            await session.apply((insert(CUSTOMERS, "c1"),), scope(), key())
            await session.remember(key(), b"done")
            await session.prepare(_NAME)
        with pytest.raises(WriteConflict):
            async with driver.begin(tenant=ACME) as session:
                await session.expect_prepare(0.05)
                await session.recall(key())
        assert await driver.transactions.finish(_NAME, "abort")
        async with driver.begin(tenant=ACME) as session:
            assert await session.recall(key()) is None

    async def test_the_answer_kept_under_a_key_comes_with_the_commit(self, driver: Driver) -> None:
        async with driver.begin(tenant=ACME) as session:
            assert await session.recall(key()) is None
            await session.apply((insert(CUSTOMERS, "c1"),), scope(), key())
            await session.remember(key(), b"done")
            await session.prepare(_NAME)
        assert await driver.transactions.finish(_NAME, "commit")
        async with driver.begin(tenant=ACME) as session:
            found = await session.recall(key())
            assert found is not None
            assert found.reply == b"done"

    async def test_a_name_that_is_too_long_is_refused(self, driver: Driver) -> None:
        with pytest.raises(ValueError, match="200 bytes"):
            async with driver.begin(tenant=ACME) as session:
                await session.prepare("x" * 201)
