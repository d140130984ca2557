"""The promises of `objectql.drivers.protocol` as tests.

Subclass `DriverSuite`, give it a `driver` fixture, and the driver is tested against the port. The
memory driver, SQLite and Postgres pass the same suite.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from objectql.drivers.protocol import (
    Driver,
    Idempotency,
    Page,
    RecordImage,
    Remembered,
    RowWrite,
    StoredItem,
    WriteOutcome,
    WriteScope,
)
from objectql.errors import (
    DeadlineExceeded,
    DeleteRestricted,
    Unavailable,
    UniqueViolation,
    ValidationFailed,
    WriteConflict,
)
from objectql.ids import FieldName, ObjectName, TenantId, uuid7
from objectql.metadata.model import FieldDef, IndexDef, ObjectDef, system_fields
from objectql.metadata.types import Storage
from objectql.query.bound import (
    BoundQuery,
    Column,
    Order,
    Output,
    Param,
    ParamSource,
    Test,
    TestOp,
)
from objectql.values import Value

ACME = TenantId("acme")
ZOO = TenantId("zoo")
AT = "2026-03-01T10:00:00.000Z"
LATER = "2026-03-01T11:30:00.250Z"


def make_object(name: str, *fields: FieldDef, **more: Any) -> ObjectDef:
    """An object with the system fields around `fields`."""
    system = system_fields()
    every = (system[0], *fields, *system[1:])
    return ObjectDef(name=ObjectName(name), fields={f.name: f for f in every}, **more)


def field(name: str, type_: str, **more: Any) -> FieldDef:
    """A field."""
    return FieldDef(name=FieldName(name), type=type_, **more)


CUSTOMERS = make_object(
    "customers",
    field("name", "text"),
    field("email", "email", unique=True),
    field("city", "text"),
    field("code", "text"),
    indexes=(IndexDef("by_place", (FieldName("city"), FieldName("code")), unique=True),),
)
ORDERS = make_object(
    "orders",
    field("customer", "lookup", reference=ObjectName("customers")),
    field("number", "text"),
    field("total", "currency"),
    field("quantity", "number", scale=0),
    field("weight", "number"),
    field("paid", "boolean"),
    field("day", "date"),
    field("due", "datetime"),
    field("pickup", "time"),
    field("tags", "tags"),
    field("extra", "json"),
    field("pin", "password"),
    table="shop_orders",
)
OBJECTS = (CUSTOMERS, ORDERS)


def insert(object_: ObjectDef, id_: str, *, at: str = AT, **values: Value) -> RowWrite:
    """A write that creates a record."""
    audit: dict[str, Value] = {
        "id": id_,
        "version": 1,
        "created_at": at,
        "updated_at": at,
        "created_by": "ann",
        "updated_by": "ann",
    }
    return RowWrite("insert", object_, id_, uuid7(), at, {**audit, **values})


def update(
    object_: ObjectDef,
    id_: str,
    *,
    expected: int | None = None,
    add: dict[str, Value] | None = None,
    **values: Value,
) -> RowWrite:
    """A write that changes a record."""
    audit: dict[str, Value] = {"updated_at": LATER, "updated_by": "bob"}
    return RowWrite(
        "update", object_, id_, uuid7(), LATER, {**values, **audit}, add or {}, expected
    )


def delete(object_: ObjectDef, id_: str, *, expected: int | None = None) -> RowWrite:
    """A write that deletes a record."""
    return RowWrite("delete", object_, id_, uuid7(), LATER, expected_version=expected)


def scope(tenant: TenantId = ACME) -> WriteScope:
    """A scope with everything set."""
    return WriteScope(tenant, "ann", "req-1", "00-trace-01", "batch-1", 2)


def by_id(object_: ObjectDef, *, limit: int | None = None) -> BoundQuery:
    """All records of a tenant in the order of their ids."""
    return BoundQuery(
        object=object_,
        tenant=Param(0),
        outputs=tuple(Output(f.name, Column(f)) for f in object_.readable_fields),
        order=(Order(Column(object_.fields[FieldName("id")])),),
        limit=limit,
        params=(ParamSource(Storage.TEXT, context="tenant"),),
    )


def one_by_id(object_: ObjectDef) -> BoundQuery:
    """The record whose id is parameter 1."""
    every = by_id(object_, limit=1)
    id_ = Column(object_.fields[FieldName("id")])
    return msgspec.structs.replace(
        every,
        where=Test(id_, TestOp.EQ, Param(1)),
        params=(*every.params, ParamSource(Storage.TEXT, slot=0)),
    )


def as_json(text: bytes | None) -> Any:
    """The decoded image."""
    assert text is not None
    return msgspec.json.decode(text)


async def write(driver: Driver, *writes: RowWrite, tenant: TenantId = ACME) -> list[WriteOutcome]:
    """The outcomes of writes without a key."""
    outcomes = await driver.write(writes, scope(tenant))
    assert not isinstance(outcomes, Remembered)
    return list(outcomes)


async def read(
    driver: Driver, object_: ObjectDef, id_: str, tenant: TenantId = ACME
) -> RecordImage | None:
    """The record as a read outside any transaction sees it."""
    return await driver.fetch_one(driver.lower(one_by_id(object_)), (tenant, id_))


async def ids(driver: Driver, object_: ObjectDef, tenant: TenantId = ACME) -> list[str]:
    """The ids of all records."""
    page: Page = await driver.fetch(driver.lower(by_id(object_)), (tenant,))
    return [item["id"] for item in msgspec.json.decode(page.items)]


def key(name: str = "k1", body: bytes = b"body", principal: str = "ann") -> Idempotency:
    """The identity of a request."""
    return Idempotency(ACME, principal, name, body)


class DriverSuite:
    """The tests. `driver` must be connected, empty, and have tables for `OBJECTS`."""

    # --- one record ----------------------------------------------------------------------------

    async def test_insert_answers_with_the_image_that_a_read_gives(self, driver: Driver) -> None:
        (outcome,) = await write(driver, insert(CUSTOMERS, "c1", name="Ann", email="a@x"))
        record = await read(driver, CUSTOMERS, "c1")
        assert record is not None
        assert (outcome.status, outcome.version, outcome.before) == ("written", 1, None)
        assert record.version == 1
        assert as_json(outcome.after) == as_json(record.json)
        assert list(as_json(outcome.after)) == [f.name for f in CUSTOMERS.readable_fields]

    async def test_every_storage_class_has_its_canonical_json(self, driver: Driver) -> None:
        values: dict[str, Any] = {
            "number": 'quote " and \\ and é',
            "total": Decimal("1234567.50"),
            "quantity": 2**53,
            "weight": 0.1,
            "paid": True,
            "day": "2026-02-28",
            "due": "0099-12-31T23:59:59.999Z",
            "pickup": "14:30:00.500",
            "tags": ["b", "a"],
            "extra": {"deep": [1, None, {"x": "y"}]},
        }
        (outcome,) = await write(driver, insert(ORDERS, "o1", **values, pin="secret"))
        image = as_json(outcome.after)
        assert {name: image[name] for name in values} == {**values, "total": 1234567.5}
        assert "pin" not in image
        assert image["created_at"] == AT
        read_back = await read(driver, ORDERS, "o1")
        assert read_back is not None
        assert as_json(read_back.json) == image

    async def test_missing_fields_are_null_in_the_image(self, driver: Driver) -> None:
        (outcome,) = await write(driver, insert(ORDERS, "o1"))
        image = as_json(outcome.after)
        assert image["extra"] is None
        assert image["paid"] is None

    async def test_update_answers_with_both_images_and_the_next_version(
        self, driver: Driver
    ) -> None:
        await write(driver, insert(CUSTOMERS, "c1", name="Ann"))
        (outcome,) = await write(driver, update(CUSTOMERS, "c1", name="Bea"))
        assert (outcome.status, outcome.version) == ("written", 2)
        before, after = as_json(outcome.before), as_json(outcome.after)
        assert (before["name"], before["version"]) == ("Ann", 1)
        assert (after["name"], after["version"]) == ("Bea", 2)
        assert (after["updated_at"], after["updated_by"]) == (LATER, "bob")
        assert after["created_at"] == AT

    async def test_update_can_set_null(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1", name="Ann"))
        (outcome,) = await write(driver, update(CUSTOMERS, "c1", name=None))
        assert as_json(outcome.after)["name"] is None

    async def test_update_that_changes_nothing_writes_nothing(self, driver: Driver) -> None:
        extra: Value = {"b": 1, "a": [1, 2]}
        first = insert(ORDERS, "o1", total=Decimal("1.50"), extra=extra, due=LATER)
        (created,) = await write(driver, first)
        (outcome,) = await write(
            driver,
            update(ORDERS, "o1", total=Decimal("1.5"), extra=extra, due=LATER, number=None),
        )
        assert (outcome.status, outcome.version) == ("unchanged", 1)
        assert outcome.before == outcome.after
        assert as_json(outcome.after) == as_json(created.after)
        assert len(await driver.outbox.pending(10)) == 1

    async def test_increments_add_to_numbers_and_count_null_as_zero(self, driver: Driver) -> None:
        await write(driver, insert(ORDERS, "o1", quantity=5, total=Decimal("1.10")))
        add: dict[str, Value] = {"quantity": -2, "total": Decimal("0.20"), "weight": 1.5}
        (outcome,) = await write(driver, update(ORDERS, "o1", add=add))
        image = as_json(outcome.after)
        assert (image["quantity"], image["total"], image["weight"]) == (3, 1.3, 1.5)

    async def test_concurrent_increments_are_all_counted(self, driver: Driver) -> None:
        await write(driver, insert(ORDERS, "o1", quantity=0))
        steps = [write(driver, update(ORDERS, "o1", add={"quantity": 1})) for _ in range(20)]
        await asyncio.gather(*steps)
        record = await read(driver, ORDERS, "o1")
        assert record is not None
        assert as_json(record.json)["quantity"] == 20
        assert record.version == 21

    async def test_delete_answers_with_the_old_image(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1", name="Ann"))
        (outcome,) = await write(driver, delete(CUSTOMERS, "c1"))
        assert (outcome.status, outcome.version, outcome.after) == ("written", 2, None)
        assert as_json(outcome.before)["name"] == "Ann"
        assert await read(driver, CUSTOMERS, "c1") is None

    @pytest.mark.parametrize("change", [update, delete])
    async def test_change_of_a_missing_record_says_so(self, driver: Driver, change: Any) -> None:
        (outcome,) = await write(driver, change(CUSTOMERS, "nobody"))
        assert outcome == WriteOutcome("missing")
        assert await driver.outbox.pending(10) == ()

    @pytest.mark.parametrize("change", [update, delete])
    async def test_change_at_another_version_is_stale(self, driver: Driver, change: Any) -> None:
        await write(driver, insert(CUSTOMERS, "c1", name="Ann"))
        (outcome,) = await write(driver, change(CUSTOMERS, "c1", expected=7))
        assert (outcome.status, outcome.version, outcome.after) == ("stale", 1, None)
        assert as_json(outcome.before)["name"] == "Ann"
        assert len(await driver.outbox.pending(10)) == 1

    @pytest.mark.parametrize("change", [update, delete])
    async def test_change_at_the_expected_version_is_written(
        self, driver: Driver, change: Any
    ) -> None:
        await write(driver, insert(CUSTOMERS, "c1", name="Ann"))
        values = {"name": "Bea"} if change is update else {}
        (outcome,) = await write(driver, change(CUSTOMERS, "c1", expected=1, **values))
        assert outcome.status == "written"

    async def test_only_one_of_concurrent_updates_at_a_version_wins(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1"))
        changes = [
            write(driver, update(CUSTOMERS, "c1", expected=1, name=f"n{n}")) for n in range(10)
        ]
        outcomes = [outcome for (outcome,) in await asyncio.gather(*changes)]
        assert sorted(o.status for o in outcomes) == ["stale"] * 9 + ["written"]

    # --- rules between records -----------------------------------------------------------------

    async def test_same_id_twice_is_a_unique_violation(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1"))
        with pytest.raises(UniqueViolation) as caught:
            await write(driver, insert(CUSTOMERS, "c1"))
        assert (caught.value.object, caught.value.fields) == ("customers", ("id",))

    async def test_unique_field_is_named_in_the_violation(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1", email="a@x"), insert(CUSTOMERS, "c2"))
        for clash in (insert(CUSTOMERS, "c3", email="a@x"), update(CUSTOMERS, "c2", email="a@x")):
            with pytest.raises(UniqueViolation) as caught:
                await write(driver, clash)
            assert (caught.value.object, caught.value.fields) == ("customers", ("email",))
        assert await ids(driver, CUSTOMERS) == ["c1", "c2"]

    async def test_unique_index_names_all_its_fields(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1", city="Ulm", code="1"))
        await write(driver, insert(CUSTOMERS, "c2", city="Ulm", code="2"))
        with pytest.raises(UniqueViolation) as caught:
            await write(driver, insert(CUSTOMERS, "c3", city="Ulm", code="1"))
        assert caught.value.fields == ("city", "code")

    async def test_unique_values_may_be_null_often_and_repeat_in_another_tenant(
        self, driver: Driver
    ) -> None:
        await write(driver, insert(CUSTOMERS, "c1", email="a@x"), insert(CUSTOMERS, "c2"))
        await write(driver, insert(CUSTOMERS, "c3"))
        await write(driver, insert(CUSTOMERS, "c1", email="a@x"), tenant=ZOO)
        assert await ids(driver, CUSTOMERS, ZOO) == ["c1"]

    async def test_a_freed_unique_value_may_be_taken(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1", email="a@x"))
        await write(driver, update(CUSTOMERS, "c1", email="b@x"))
        await write(driver, insert(CUSTOMERS, "c2", email="a@x"))
        await write(driver, delete(CUSTOMERS, "c2"))
        (outcome,) = await write(driver, insert(CUSTOMERS, "c3", email="a@x"))
        assert outcome.status == "written"

    async def test_reference_to_nothing_is_an_issue_on_its_field(self, driver: Driver) -> None:
        await write(driver, insert(ORDERS, "o1"))
        await write(driver, insert(CUSTOMERS, "c1"), tenant=ZOO)
        for bad in (insert(ORDERS, "o2", customer="c1"), update(ORDERS, "o1", customer="c1")):
            with pytest.raises(ValidationFailed) as caught:
                await write(driver, bad)
            assert caught.value.object == "orders"
            issues = [(i.path, i.code) for i in caught.value.issues]
            assert issues == [("customer", "reference_not_found")]

    async def test_delete_of_a_referenced_record_is_restricted(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1"))
        await write(driver, insert(ORDERS, "o1", customer="c1"))
        with pytest.raises(DeleteRestricted) as caught:
            await write(driver, delete(CUSTOMERS, "c1"))
        error = caught.value
        assert (error.object, error.id, error.referenced_by) == ("customers", "c1", "orders")
        await write(driver, delete(ORDERS, "o1"), delete(CUSTOMERS, "c1"))
        assert await ids(driver, CUSTOMERS) == []

    async def test_tenants_do_not_see_or_change_each_other(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1", name="Ann"))
        assert await read(driver, CUSTOMERS, "c1", ZOO) is None
        (outcome,) = await write(driver, update(CUSTOMERS, "c1", name="Eve"), tenant=ZOO)
        assert outcome.status == "missing"
        (outcome,) = await write(driver, delete(CUSTOMERS, "c1"), tenant=ZOO)
        assert outcome.status == "missing"
        assert await ids(driver, CUSTOMERS) == ["c1"]

    async def test_text_with_a_nul_is_refused_as_invalid(self, driver: Driver) -> None:
        with pytest.raises(ValidationFailed):
            await write(driver, insert(CUSTOMERS, "c1", name="a\0b"))

    # --- many records --------------------------------------------------------------------------

    async def test_many_writes_are_done_in_order(self, driver: Driver) -> None:
        outcomes = await write(
            driver,
            insert(CUSTOMERS, "c1", name="A"),
            insert(CUSTOMERS, "c2", name="B"),
            update(CUSTOMERS, "c2", name="B2"),
            update(CUSTOMERS, "c1", name="A"),
            update(CUSTOMERS, "c3", name="C"),
            update(CUSTOMERS, "c2", name="B3", expected=2),
            update(CUSTOMERS, "c2", name="B4", expected=2),
            delete(CUSTOMERS, "c1"),
            insert(ORDERS, "o1", customer="c2"),
        )
        assert [(o.status, o.version) for o in outcomes] == [
            ("written", 1),
            ("written", 1),
            ("written", 2),
            ("unchanged", 1),
            ("missing", 0),
            ("written", 3),
            ("stale", 3),
            ("written", 2),
            ("written", 1),
        ]
        events = [event for _, event in await driver.outbox.pending(100)]
        assert [(e.record_id, e.kind, e.version) for e in events] == [
            ("c1", "created", 1),
            ("c2", "created", 1),
            ("c2", "updated", 2),
            ("c2", "updated", 3),
            ("c1", "deleted", 2),
            ("o1", "created", 1),
        ]

    async def test_bulk_insert_keeps_the_order_of_outcomes_and_events(self, driver: Driver) -> None:
        names = [f"c{n:04}" for n in reversed(range(1200))]
        outcomes = await write(driver, *(insert(CUSTOMERS, name) for name in names))
        assert [as_json(o.after)["id"] for o in outcomes] == names
        events = [event for _, event in await driver.outbox.pending(2000)]
        assert [e.record_id for e in events] == names

    async def test_one_failure_undoes_all_writes_of_the_call(self, driver: Driver) -> None:
        with pytest.raises(UniqueViolation):
            await write(driver, *(insert(CUSTOMERS, i) for i in ("c1", "c2", "c1")))
        assert await ids(driver, CUSTOMERS) == []
        assert await driver.outbox.pending(10) == ()

    async def test_no_writes_are_no_outcomes(self, driver: Driver) -> None:
        assert await write(driver) == []

    # --- outbox --------------------------------------------------------------------------------

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
            "batch": "batch-1",
            "batch_size": 2,
        }
        assert (second.kind, second.before, second.after) == ("deleted", gone.before, None)

    async def test_published_events_are_no_longer_pending(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1"), insert(CUSTOMERS, "c2"))
        (position, _), _ = await driver.outbox.pending(10)
        assert (await driver.outbox.counts())[0] == 2
        await driver.outbox.mark_published([position])
        assert [e.record_id for _, e in await driver.outbox.pending(10)] == ["c2"]
        count, age_s = await driver.outbox.counts()
        assert count == 1
        assert age_s >= 0.0
        assert await driver.outbox.purge(3600.0) == 0
        assert await driver.outbox.purge(-1.0) == 1
        assert len(await driver.outbox.pending(10)) == 1

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
            versions = [e.version for e in events if e.record_id == id_]
            assert versions == list(range(1, 32))

    async def test_open_transaction_shows_no_events(self, driver: Driver) -> None:
        async with driver.begin() as session:
            await session.apply([insert(CUSTOMERS, "c1")], scope())
            assert await driver.outbox.pending(10) == ()
            assert await read(driver, CUSTOMERS, "c1") is None
        assert len(await driver.outbox.pending(10)) == 1

    # --- idempotency ---------------------------------------------------------------------------

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
        with pytest.raises(_OnPurpose):
            async with driver.begin() as session:
                await session.apply([insert(CUSTOMERS, "c1")], scope(), key())
                raise _OnPurpose
        (outcome,) = await self._keyed(driver, insert(CUSTOMERS, "c1"))
        assert outcome.status == "written"

    async def _keyed(self, driver: Driver, *writes: RowWrite) -> Sequence[WriteOutcome]:
        outcomes = await driver.write(writes, scope(), idempotency=key())
        assert not isinstance(outcomes, Remembered)
        return outcomes

    # --- transactions --------------------------------------------------------------------------

    async def test_exception_undoes_the_transaction(self, driver: Driver) -> None:
        with pytest.raises(_OnPurpose):
            async with driver.begin() as session:
                await session.apply([insert(CUSTOMERS, "c1")], scope())
                raise _OnPurpose
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
        with pytest.raises(_OnPurpose):
            async with driver.begin() as session:
                await session.next_sequence(ACME, "orders.number")
                raise _OnPurpose
        async with driver.begin() as session:
            assert await session.next_sequence(ACME, "orders.number") == 13
            assert await session.next_sequence(ZOO, "orders.number") == 1
            assert await session.next_sequence(ACME, "other") == 1

    # --- reads ---------------------------------------------------------------------------------

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

    # --- leases and metadata -------------------------------------------------------------------

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

    # --- schema --------------------------------------------------------------------------------

    async def test_schema_that_matches_needs_no_steps(self, driver: Driver) -> None:
        plan = await driver.plan_schema(OBJECTS)
        assert plan.steps == ()

    async def test_new_field_and_object_are_added(self, driver: Driver) -> None:
        await write(driver, insert(CUSTOMERS, "c1"))
        wider = make_object("customers", *_own(CUSTOMERS), field("vip", "boolean"))
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
            "orders", *(f for f in _own(ORDERS) if f.name != "weight"), table="shop_orders"
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

    # --- life ----------------------------------------------------------------------------------

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


def _own(object_: ObjectDef) -> list[FieldDef]:
    return [f for f in object_.fields.values() if not f.system]


class _OnPurpose(Exception):
    """Raised by tests inside transactions."""
