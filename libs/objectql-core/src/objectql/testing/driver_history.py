"""What the driver port promises about the history of tracked objects."""

from __future__ import annotations

import asyncio
import itertools

import msgspec
import pytest

from objectql.drivers.history import REDACTED, REDACTED_CHANGE
from objectql.drivers.protocol import Driver, Remembered
from objectql.errors import UniqueViolation
from objectql.events import ChangeEvent
from objectql.ids import FieldName, TenantId
from objectql.metadata.model import AuditDef, Features
from objectql.testing.driver_samples import (
    ACME,
    CUSTOMERS,
    OBJECTS,
    ORDERS,
    ZOO,
    OnPurpose,
    as_json,
    delete,
    insert,
    key,
    scope,
    update,
    write,
)

TRACKED = msgspec.structs.replace(CUSTOMERS, enable=Features(track_history=True))

REDACTING = msgspec.structs.replace(
    TRACKED, audit=AuditDef(redact=(FieldName("city"), FieldName("code")))
)


async def history(driver: Driver, id_: str, tenant: TenantId = ACME) -> list[ChangeEvent]:
    """All entries of a customer, the oldest first."""
    found = await driver.history.of_record(tenant, "customers", id_, limit=1000)
    return [event for _, event in reversed(found)]


class HistoryPromises:
    """Entries are the events of what was committed, for tracked objects only."""

    async def test_history_holds_the_events_of_a_tracked_record(self, driver: Driver) -> None:
        await write(driver, insert(TRACKED, "c1", name="Ann"))
        await write(driver, update(TRACKED, "c1", name="Bob"))
        await write(driver, delete(TRACKED, "c1"))
        entries = await history(driver, "c1")
        pending = [event for _, event in await driver.outbox.pending(10)]
        assert [msgspec.structs.replace(e, batch_size=1) for e in entries] == pending
        assert [(e.kind, e.version, e.actor, e.request_id) for e in entries] == [
            ("created", 1, "ann", "req-1"),
            ("updated", 2, "ann", "req-1"),
            ("deleted", 3, "ann", "req-1"),
        ]
        assert as_json(entries[1].before)["name"] == "Ann"
        assert as_json(entries[1].after)["name"] == "Bob"

    async def test_of_redacted_fields_it_is_kept_that_they_changed_and_no_value(
        self, driver: Driver
    ) -> None:
        await write(driver, insert(REDACTING, "c1", name="Ann", city="Rome", code="007"))
        moved, named = update(REDACTING, "c1", city="Oslo"), update(REDACTING, "c1", name="Bob")
        await driver.write([moved, named], scope())
        await write(driver, update(REDACTING, "c1", city=None))
        await write(driver, update(REDACTING, "c1", city="Paris"))
        await write(driver, delete(REDACTING, "c1"))
        entries = await history(driver, "c1")
        same, changed = REDACTED, REDACTED_CHANGE
        kept = [
            [None if image is None else as_json(image)["city"] for image in (e.before, e.after)]
            for e in entries
        ]
        assert kept == [
            [None, same],
            [same, changed],
            [same, same],
            [same, changed],
            [same, changed],
            [same, None],
        ]
        texts = [bytes(image) for e in entries for image in (e.before, e.after) if image]
        assert not [text for text in texts if b"Rome" in text or b"Oslo" in text]
        assert [as_json(text)["code"] for text in texts] == [REDACTED] * 10
        assert as_json(entries[2].before)["name"] == "Ann"
        assert as_json(entries[2].after)["name"] == "Bob"
        told = [event.after for _, event in await driver.outbox.pending(10) if event.after]
        assert [as_json(image)["city"] for image in told] == [
            "Rome",
            "Oslo",
            "Oslo",
            None,
            "Paris",
        ]

    async def test_object_that_does_not_track_has_no_history(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1"), insert(ORDERS, "o1"))
        assert await history(driver, "c1") == []

    async def test_history_has_nothing_of_what_was_not_written(self, driver: Driver) -> None:
        await write(driver, insert(TRACKED, "c1", name="Ann", email="a@b.c"))
        await write(driver, update(TRACKED, "c1", name="Ann"))
        await write(driver, update(TRACKED, "c1", expected=9, name="Bob"))
        await write(driver, update(TRACKED, "c2", name="Bob"))
        with pytest.raises(UniqueViolation):
            await write(driver, insert(TRACKED, "c2"), insert(TRACKED, "c3", email="a@b.c"))
        with pytest.raises(OnPurpose):
            async with driver.begin() as session:
                await session.apply([update(TRACKED, "c1", name="Eve")], scope())
                raise OnPurpose
        assert [len(await history(driver, id_)) for id_ in ("c1", "c2", "c3")] == [1, 0, 0]

    async def test_history_forgets_what_a_savepoint_undid(self, driver: Driver) -> None:
        async with driver.begin() as session:
            await session.apply([insert(TRACKED, "c1", name="Ann")], scope())
            with pytest.raises(OnPurpose):
                async with session.savepoint():
                    await session.apply([update(TRACKED, "c1", name="Eve")], scope())
                    raise OnPurpose
            await session.apply([update(TRACKED, "c1", name="Bob")], scope())
        assert [as_json(e.after)["name"] for e in await history(driver, "c1")] == ["Ann", "Bob"]

    async def test_history_of_many_writes_has_one_entry_each(self, driver: Driver) -> None:
        count = 600
        await write(driver, *(insert(TRACKED, f"c{n}", name="x") for n in range(count)))
        for n in (0, 1, count - 1):
            assert [e.kind for e in await history(driver, f"c{n}")] == ["created"]

    async def test_repeated_request_leaves_one_entry(self, driver: Driver) -> None:
        once = insert(TRACKED, "c1", name="Ann")
        first = await driver.write([once], scope(), idempotency=key())
        again = await driver.write([once], scope(), idempotency=key())
        assert not isinstance(first, Remembered)
        assert isinstance(again, Remembered)
        assert len(await history(driver, "c1")) == 1

    async def test_writes_that_arrive_together_have_an_entry_each(self, driver: Driver) -> None:
        await write(driver, *(insert(TRACKED, f"c{n}", name="0") for n in range(20)))
        for round_ in ("1", "2"):
            writes = [
                driver.write([update(TRACKED, f"c{n}", name=round_)], scope()) for n in range(20)
            ]
            await asyncio.gather(*writes)
        for n in range(20):
            names = [as_json(event.after)["name"] for event in await history(driver, f"c{n}")]
            assert names == ["0", "1", "2"]

    async def test_positions_follow_the_commits_of_a_contended_record(self, driver: Driver) -> None:
        await write(driver, insert(TRACKED, "c1", name="0"))
        writes = [driver.write([update(TRACKED, "c1", name=f"n{n}")], scope()) for n in range(20)]
        await asyncio.gather(*writes)
        entries = await history(driver, "c1")
        assert [event.version for event in entries] == list(range(1, 22))
        for one, other in itertools.pairwise(entries):
            assert one.after == other.before

    async def test_history_is_read_in_pages_from_the_latest(self, driver: Driver) -> None:
        await write(driver, insert(TRACKED, "c1", name="1"))
        for version in range(2, 6):
            await write(driver, update(TRACKED, "c1", name=str(version)))
        pages: list[list[int]] = []
        before = None
        while page := await driver.history.of_record(
            ACME, "customers", "c1", limit=2, before=before
        ):
            pages.append([event.version for _, event in page])
            before = page[-1][0]
        assert pages == [[5, 4], [3, 2], [1]]

    async def test_history_is_of_one_tenant_and_goes_with_it(self, driver: Driver) -> None:
        for tenant in (ACME, ZOO):
            await write(driver, insert(TRACKED, "c1", name=tenant), tenant=tenant)
        for tenant in (ACME, ZOO):
            (entry,) = await history(driver, "c1", tenant)
            assert as_json(entry.after)["name"] == tenant
        await driver.delete_tenant(ACME, OBJECTS)
        assert await history(driver, "c1", ACME) == []
        assert len(await history(driver, "c1", ZOO)) == 1
