"""What the driver port promises about changing records."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from objectql.drivers.protocol import (
    Driver,
    WriteOutcome,
)
from objectql.errors import (
    DeleteRestricted,
    UniqueViolation,
    ValidationFailed,
)
from objectql.metadata.masks import parse_mask
from objectql.query.plan import varying_params
from objectql.testing.driver_samples import (
    ACME,
    AT,
    CUSTOMERS,
    EXAMPLES,
    LATER,
    MASKS,
    ORDERS,
    ZOO,
    as_json,
    delete,
    equal_to,
    ids,
    insert,
    masked,
    one_by_id,
    read,
    update,
    write,
)
from objectql.values import Value


class RecordPromises:
    """One record, rules between records, many records."""

    # --- one record -----------------------------------------------------------------------------------

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

    async def test_many_point_reads_at_once_answer_like_each_alone(self, driver: Driver) -> None:
        for id_ in ("c1", "c2", "é"):
            await write(driver, insert(CUSTOMERS, id_, name=f"Ann {id_}"))
        await write(driver, insert(CUSTOMERS, "c3", name="elsewhere"), tenant=ZOO)
        asked = ("c2", "missing", "c1", "é", "c3", "nul\0", "half \ud800", "c2")
        query = driver.lower(one_by_id(CUSTOMERS))
        found = await driver.fetch_one_each(query, [(ACME, id_) for id_ in asked])
        assert list(found) == [await driver.fetch_one(query, (ACME, id_)) for id_ in asked]
        assert [image is not None for image in found] == [
            True,
            False,
            True,
            True,
            *[False] * 3,
            True,
        ]
        pages = await driver.fetch_each(query, [(ACME, id_) for id_ in asked])
        assert [page.count for page in pages] == [1, 0, 1, 1, 0, 0, 0, 1]

    @pytest.mark.parametrize("field", list(EXAMPLES))
    async def test_many_lists_at_once_answer_like_each_alone(
        self, driver: Driver, field: str
    ) -> None:
        first, second, other = EXAMPLES[field]
        records: list[dict[str, Any]] = [{field: v} for v in (first, second, second, None)]
        for number, values in enumerate(records):
            await write(driver, insert(ORDERS, f"o{number}", **values))
        await write(driver, insert(ORDERS, "o1", **records[0]), tenant=ZOO)
        query = equal_to(ORDERS, field, limit=1)
        assert varying_params(query) == (1,)
        asked: list[tuple[Value, Value]] = [(ACME, v) for v in (second, first, other, None, first)]
        lowered = driver.lower(query)
        pages = await driver.fetch_each(lowered, asked)
        assert list(pages) == [await driver.fetch(lowered, params) for params in asked]
        assert [page.count for page in pages] == [1, 1, 0, 0, 1]
        assert [page.has_next for page in pages] == [True, False, False, False, False]

    @pytest.mark.parametrize("text", MASKS)
    async def test_a_mask_shows_what_it_says_and_no_more(self, driver: Driver, text: str) -> None:
        mask = parse_mask(text)
        texts: list[str | None] = [None, "", "a", "abcd", "abcde", "é𝔘'\"\\x", "1234-5678-9012"]
        for at, value in enumerate(texts):
            await write(driver, insert(ORDERS, f"o{at}", number=value))
        shown = await masked(driver, ORDERS, ["number"], mask)
        assert [each["number"] for each in shown] == [mask.of(value) for value in texts]
        assert shown[0]["number"] is None

    async def test_a_mask_without_pieces_shows_only_that_a_value_is_there(
        self, driver: Driver
    ) -> None:
        values: dict[str, Any] = {
            **{name: examples[0] for name, examples in EXAMPLES.items()},
            "paid": False,
            "tags": ["a"],
            "extra": {"a": 1},
        }
        await write(driver, insert(ORDERS, "o1", **values))
        await write(driver, insert(ORDERS, "o2"))
        first, second = await masked(driver, ORDERS, list(values), parse_mask("***"))
        assert first == {"id": "o1", **dict.fromkeys(values, "***")}
        assert second == {"id": "o2", **dict.fromkeys(values)}

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

    # --- rules between records ------------------------------------------------------------------------

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

    # --- many records ---------------------------------------------------------------------------------

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
