"""What the driver port promises about transactions, events and repeated requests."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import msgspec
import pytest

from objectql.drivers.protocol import (
    Driver,
    Remembered,
    RowWrite,
    WriteOutcome,
)
from objectql.drivers.stores import Published
from objectql.errors import (
    UniqueViolation,
    WriteConflict,
)
from objectql.testing.driver_samples import (
    ACME,
    AT,
    CUSTOMERS,
    ORDERS,
    ZOO,
    OnPurpose,
    as_json,
    by_id,
    delete,
    ids,
    insert,
    key,
    one_by_id,
    read,
    scope,
    update,
    write,
)


class TransactionPromises:
    """Outbox, idempotency, transactions."""

    # --- outbox ---------------------------------------------------------------------------------------

    async def test_each_change_has_one_event_with_everything_in_it(self, driver: Driver) -> None:
        created = insert(CUSTOMERS, "c1", name="Ann")
        (made,) = await write(driver, created)
        (gone,) = await write(driver, delete(CUSTOMERS, "c1"))
        (_, first), (_, second) = await driver.outbox.pending(10)
        assert msgspec.structs.asdict(first) == {
            "id": created.event_id,
            "tenant": "acme",
            "object": "customers",
            "record_id": "c1",
            "kind": "created",
            "version": 1,
            "at": AT,
            "actor": "ann",
            "before": None,
            "after": made.after,
            "request_id": "req-1",
            "traceparent": "00-trace-01",
            "batch": first.batch,
            "batch_size": 1,
            "origin": "",
        }
        assert (second.kind, second.before, second.after) == ("deleted", gone.before, None)
        assert first.batch != second.batch

    async def test_events_know_how_many_their_commit_made_also_when_some_are_published(
        self, driver: Driver
    ) -> None:
        await write(driver, *(insert(CUSTOMERS, f"c{n}") for n in range(3)))
        entries = await driver.outbox.pending(10)
        assert [event.batch_size for _, event in entries] == [3, 3, 3]
        await driver.outbox.mark_published("s", {entries[0][0]: 1})
        left = await driver.outbox.pending(10)
        assert [event.batch_size for _, event in left] == [3, 3]

    async def test_unpublished_events_are_those_of_the_object_and_tenant(
        self, driver: Driver
    ) -> None:
        await write(driver, insert(CUSTOMERS, "c1"), insert(CUSTOMERS, "c2"))
        await write(driver, insert(ORDERS, "o1", number="1"))
        entries = [e for _, e in await driver.outbox.pending(10) if e.object == CUSTOMERS.name]
        wanted = tuple(event.id for event in entries)
        assert await driver.outbox.unpublished(ACME, CUSTOMERS.name, 10) == wanted
        assert await driver.outbox.unpublished(ACME, CUSTOMERS.name, 1) == wanted[:1]
        assert await driver.outbox.unpublished(ZOO, CUSTOMERS.name, 10) == ()

    async def test_published_events_are_no_longer_pending(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1"), insert(CUSTOMERS, "c2"))
        (position, _), _ = await driver.outbox.pending(10)
        assert (await driver.outbox.counts())[0] == 2
        await driver.outbox.mark_published("s", {position: 1})
        assert [e.record_id for _, e in await driver.outbox.pending(10)] == ["c2"]
        count, age_s = await driver.outbox.counts()
        assert count == 1
        assert age_s >= 0.0
        assert await driver.outbox.purge(3600.0) == 0
        assert await driver.outbox.purge(-1.0) == 1
        assert len(await driver.outbox.pending(10)) == 1

    async def test_published_events_are_found_again_by_where_they_lie_in_the_stream(
        self, driver: Driver
    ) -> None:
        await write(driver, *(insert(CUSTOMERS, f"c{n}") for n in range(3)))
        entries = await driver.outbox.pending(10)
        places = [position for position, _ in entries]
        await driver.outbox.mark_published("one", {places[1]: 7, places[0]: 8})
        await driver.outbox.mark_published("two", {places[2]: 2})
        found = await driver.outbox.published(10)
        assert found[0] == Published(places[2], "two", 2)
        assert set(found[1:]) == {Published(places[1], "one", 7), Published(places[0], "one", 8)}
        assert len(await driver.outbox.published(1)) == 1
        assert dict(await driver.outbox.events(places)) == dict(entries)
        await driver.outbox.purge(-1.0)
        assert await driver.outbox.events(places) == ()

    async def test_events_of_a_record_are_in_the_order_of_its_versions(
        self, driver: Driver
    ) -> None:
        await write(driver, insert(CUSTOMERS, "c1"), insert(CUSTOMERS, "c2"))

        async def change(id_: str, number: int) -> None:
            if number % 3:
                await write(driver, update(CUSTOMERS, id_, name=f"n{number}"))
                return
            async with driver.begin() as session:
                await session.apply([update(CUSTOMERS, id_, name=f"n{number}")], scope())

        steps = [change(id_, n) for n, id_ in itertools.product(range(30), ("c1", "c2"))]
        await asyncio.gather(*steps)
        events = [event for _, event in await driver.outbox.pending(100)]
        for id_ in ("c1", "c2"):
            own = [e for e in events if e.record_id == id_]
            assert [e.version for e in own] == list(range(1, 32))
            # Each change starts from the image that the one before it left.
            assert [e.before for e in own[1:]] == [e.after for e in own[:-1]]

    async def test_open_transaction_shows_no_events(self, driver: Driver) -> None:
        async with driver.begin() as session:
            await session.apply([insert(CUSTOMERS, "c1")], scope())
            assert await driver.outbox.pending(10) == ()
            assert await read(driver, CUSTOMERS, "c1") is None
        assert len(await driver.outbox.pending(10)) == 1

    # --- idempotency ----------------------------------------------------------------------------------

    async def test_repeated_key_gives_the_first_answer_and_no_effect(self, driver: Driver) -> None:
        first = insert(CUSTOMERS, "c1", name="Ann")
        (outcome,) = await self._keyed(driver, first)
        again = await driver.write([insert(CUSTOMERS, "c2")], scope(), idempotency=key())
        assert again == Remembered(b"body", outcome.after or b"")
        assert await ids(driver, CUSTOMERS) == ["c1"]
        assert len(await driver.outbox.pending(10)) == 1

    async def test_key_is_of_one_tenant_and_principal(self, driver: Driver) -> None:
        await self._keyed(driver, insert(CUSTOMERS, "c1"))
        other = key(principal="bob")
        outcome = await driver.write([insert(CUSTOMERS, "c2")], scope(), idempotency=other)
        assert not isinstance(outcome, Remembered)

    async def test_reply_of_a_delete_is_the_old_image(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1"))
        (outcome,) = await self._keyed(driver, delete(CUSTOMERS, "c1"))
        again = await driver.write([delete(CUSTOMERS, "c1")], scope(), idempotency=key())
        assert again == Remembered(b"body", outcome.before or b"")

    async def test_unchanged_update_is_remembered(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1", name="Ann"))
        (outcome,) = await self._keyed(driver, update(CUSTOMERS, "c1", name="Ann"))
        assert outcome.status == "unchanged"
        change = update(CUSTOMERS, "c1", name="Bea")
        again = await driver.write([change], scope(), idempotency=key())
        assert again == Remembered(b"body", outcome.after or b"")

    async def test_writes_without_effect_or_with_an_error_leave_the_key_free(
        self, driver: Driver
    ) -> None:
        await write(driver, insert(CUSTOMERS, "c1", email="a@x"))
        for change in (
            update(CUSTOMERS, "nobody", name="X"),
            update(CUSTOMERS, "c1", name="X", expected=9),
            delete(CUSTOMERS, "c1", expected=9),
        ):
            (outcome,) = await self._keyed(driver, change)
            assert outcome.status in {"missing", "stale"}
        with pytest.raises(UniqueViolation):
            await self._keyed(driver, insert(CUSTOMERS, "c2", email="a@x"))
        (outcome,) = await self._keyed(driver, insert(CUSTOMERS, "c3"))
        assert outcome.status == "written"

    @pytest.mark.parametrize("kind", ["insert", "unique", "update", "expected", "delete"])
    async def test_concurrent_requests_with_one_key_have_one_effect(
        self, driver: Driver, kind: str
    ) -> None:
        await write(driver, insert(CUSTOMERS, "c0", name="Ann"))

        def request(number: int) -> RowWrite:
            match kind:
                case "insert":
                    return insert(CUSTOMERS, f"c{number}")
                case "unique":
                    return insert(CUSTOMERS, f"c{number}", email="a@x")
                case "update":
                    return update(CUSTOMERS, "c0", name="Bea")
                case "expected":
                    return update(CUSTOMERS, "c0", name="Bea", expected=1)
                case _:
                    return delete(CUSTOMERS, "c0")

        requests = [driver.write([request(n)], scope(), idempotency=key()) for n in range(1, 9)]
        answers = await asyncio.gather(*requests)
        done = [answer[0] for answer in answers if not isinstance(answer, Remembered)]
        replies = {answer.reply for answer in answers if isinstance(answer, Remembered)}
        assert [outcome.status for outcome in done] == ["written"]
        assert replies == {done[0].after or done[0].before}
        assert len(await driver.outbox.pending(100)) == 2

    async def test_several_writes_under_one_key_happen_once(self, driver: Driver) -> None:
        writes = [insert(CUSTOMERS, "c1"), insert(CUSTOMERS, "c2")]
        first = await driver.write(writes, scope(), idempotency=key())
        second = await driver.write(writes, scope(), idempotency=key())
        assert not isinstance(first, Remembered)
        assert second == Remembered(b"body", b"")

    async def test_session_remembers_what_it_is_told(self, driver: Driver) -> None:
        async with driver.begin() as session:
            assert await session.recall(key()) is None
            await session.apply([insert(CUSTOMERS, "c1")], scope(), key())
            await session.remember(key(), b"the reply")
        async with driver.begin() as session:
            assert await session.recall(key()) == Remembered(b"body", b"the reply")

    async def test_recall_waits_for_the_request_in_flight(self, driver: Driver) -> None:
        holds, may_end = asyncio.Event(), asyncio.Event()

        async def first() -> None:
            async with driver.begin() as session:
                assert await session.recall(key()) is None
                await session.apply([insert(CUSTOMERS, "c1")], scope(), key())
                holds.set()
                await may_end.wait()
                await session.remember(key(), b"reply")

        async def second() -> Remembered | None:
            async with driver.begin() as session:
                return await session.recall(key())

        running = asyncio.create_task(first())
        await holds.wait()
        waiting = asyncio.create_task(second())
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
        may_end.set()
        await running
        assert await waiting == Remembered(b"body", b"reply")

    async def test_recall_alone_and_rollback_leave_the_key_free(self, driver: Driver) -> None:
        async with driver.begin() as session:
            assert await session.recall(key()) is None
        with pytest.raises(OnPurpose):
            async with driver.begin() as session:
                await session.apply([insert(CUSTOMERS, "c1")], scope(), key())
                raise OnPurpose
        (outcome,) = await self._keyed(driver, insert(CUSTOMERS, "c1"))
        assert outcome.status == "written"

    async def _keyed(self, driver: Driver, *writes: RowWrite) -> Sequence[WriteOutcome]:
        outcomes = await driver.write(writes, scope(), idempotency=key())
        assert not isinstance(outcomes, Remembered)
        return outcomes

    # --- transactions ---------------------------------------------------------------------------------

    async def test_exception_undoes_the_transaction(self, driver: Driver) -> None:
        with pytest.raises(OnPurpose):
            async with driver.begin() as session:
                await session.apply([insert(CUSTOMERS, "c1")], scope())
                raise OnPurpose
        assert await ids(driver, CUSTOMERS) == []
        assert await driver.outbox.pending(10) == ()

    async def test_transaction_sees_its_own_writes(self, driver: Driver) -> None:
        one, every = driver.lower(one_by_id(CUSTOMERS)), driver.lower(by_id(CUSTOMERS))
        async with driver.begin() as session:
            await session.apply([insert(CUSTOMERS, "c1", name="Ann")], scope())
            await session.apply([update(CUSTOMERS, "c1", name="Bea")], scope())
            record = await session.fetch_one(one, (ACME, "c1"))
            page = await session.fetch(every, (ACME,))
            locked = await session.lock(CUSTOMERS, ACME, "c1")
        assert record is not None
        assert as_json(record.json)["name"] == "Bea"
        assert page.count == 1
        assert locked is not None
        assert (as_json(locked.json), locked.version) == (as_json(record.json), 2)

    async def test_lock_of_nothing_is_none(self, driver: Driver) -> None:
        async with driver.begin() as session:
            assert await session.lock(CUSTOMERS, ACME, "c1") is None

    async def test_lock_keeps_writers_out_until_the_end(self, driver: Driver) -> None:
        await write(driver, insert(ORDERS, "o1", quantity=1))

        async def double() -> None:
            async with driver.begin() as session:
                record = await session.lock(ORDERS, ACME, "o1")
                assert record is not None
                quantity = as_json(record.json)["quantity"] * 2
                await session.apply([update(ORDERS, "o1", quantity=quantity)], scope())

        await asyncio.gather(*(double() for _ in range(6)))
        record = await read(driver, ORDERS, "o1")
        assert record is not None
        assert as_json(record.json)["quantity"] == 64

    async def test_savepoint_undoes_only_its_block(self, driver: Driver) -> None:
        async with driver.begin() as session:
            await session.apply([insert(CUSTOMERS, "c1")], scope())
            with pytest.raises(UniqueViolation):
                async with session.savepoint():
                    await session.apply([insert(CUSTOMERS, "c2")], scope())
                    await session.apply([insert(CUSTOMERS, "c1")], scope())
            async with session.savepoint():
                await session.apply([insert(CUSTOMERS, "c3")], scope())
        assert await ids(driver, CUSTOMERS) == ["c1", "c3"]
        events = [e.record_id for _, e in await driver.outbox.pending(10)]
        assert events == ["c1", "c3"]

    async def test_failed_write_dooms_the_transaction(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1"))
        with pytest.raises(UniqueViolation):
            async with driver.begin() as session:
                await session.apply([insert(CUSTOMERS, "c2")], scope())
                with pytest.raises(UniqueViolation):
                    await session.apply([insert(CUSTOMERS, "c1")], scope())
        assert await ids(driver, CUSTOMERS) == ["c1"]

    async def test_serializable_transactions_do_not_lose_updates(self, driver: Driver) -> None:
        await write(driver, insert(ORDERS, "o1", quantity=0))
        query = driver.lower(one_by_id(ORDERS))

        async def add() -> None:
            for _ in range(50):
                try:
                    async with driver.begin(isolation="serializable") as session:
                        record = await session.fetch_one(query, (ACME, "o1"))
                        assert record is not None
                        quantity = as_json(record.json)["quantity"] + 1
                        await session.apply([update(ORDERS, "o1", quantity=quantity)], scope())
                    return
                except WriteConflict:
                    continue
            pytest.fail("a serializable transaction never went through")

        await asyncio.gather(*(add() for _ in range(5)))
        record = await read(driver, ORDERS, "o1")
        assert record is not None
        assert as_json(record.json)["quantity"] == 5

    async def test_repeatable_read_sees_one_state(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1", name="Ann"))
        query = driver.lower(one_by_id(CUSTOMERS))
        async with driver.begin(isolation="repeatable_read") as session:
            first = await session.fetch_one(query, (ACME, "c1"))
            change = asyncio.create_task(write(driver, update(CUSTOMERS, "c1", name="Bea")))
            await asyncio.wait([change], timeout=0.05)
            second = await session.fetch_one(query, (ACME, "c1"))
        await change
        assert first == second

    async def test_sequences_count_from_one_without_repeats(self, driver: Driver) -> None:
        async def take(count: int) -> range:
            async with driver.begin() as session:
                first = await session.next_sequence(ACME, "orders.number", count)
                return range(first, first + count)

        taken = await asyncio.gather(*(take(count) for count in (1, 2, 3, 1, 5)))
        assert sorted(itertools.chain(*taken)) == list(range(1, 13))
        with pytest.raises(OnPurpose):
            async with driver.begin() as session:
                await session.next_sequence(ACME, "orders.number")
                raise OnPurpose
        async with driver.begin() as session:
            assert await session.next_sequence(ACME, "orders.number") == 13
            assert await session.next_sequence(ZOO, "orders.number") == 1
            assert await session.next_sequence(ACME, "other") == 1
