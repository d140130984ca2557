"""Slots: a field keeps its column, and no column shows one field the values of another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from objectql.ids import FieldName, ObjectName, TenantId, is_tenants_own
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.slots import Slot, allocate, kind_of_slot, own_table, retired, with_slots

KINDS = st.sampled_from(["text", "unique_text", "integer", "decimal_20_2", "to_0a1b2c3d"])
FIELDS = st.dictionaries(st.sampled_from([f"f{n}__c" for n in range(6)]), KINDS, max_size=6)


def kind_of(column: str) -> str:
    return column.removesuffix("__c").rpartition("_")[0]


@given(st.lists(FIELDS, max_size=8))
def test_a_column_belongs_to_one_field_of_one_kind_for_ever(
    publications: list[dict[str, str]],
) -> None:
    columns: dict[str, Slot] = {}
    owner: dict[str, tuple[str, str]] = {}
    for at, fields in enumerate(publications):
        columns = allocate(columns, fields.items(), at + 1)
        living = {slot.field: c for c, slot in columns.items() if slot.retired_ms is None}
        assert {field: kind_of(column) for field, column in living.items()} == fields
        assert len(living) == len(fields)
        for column, slot in columns.items():
            assert owner.setdefault(column, (slot.field, kind_of(column))) == (
                slot.field,
                kind_of(column),
            )
        assert set(owner) == set(columns)
        assert all(map(is_tenants_own, columns))


@given(FIELDS, FIELDS)
def test_a_field_that_comes_back_finds_its_values(
    fields: dict[str, str], others: dict[str, str]
) -> None:
    first = allocate({}, fields.items(), 1)
    between = allocate(first, others.items(), 2)
    again = allocate(between, fields.items(), 3)
    assert {c: s for c, s in again.items() if s.retired_ms is None} == first


@given(FIELDS)
def test_what_is_retired_stays_so_since_then(fields: dict[str, str]) -> None:
    gone = allocate(allocate({}, fields.items(), 1), (), 2)
    assert {s.retired_ms for s in retired(allocate(gone, (), 3)).values()} <= {2}


def test_kinds_keep_apart_what_one_column_cannot_hold() -> None:
    def kind(type: str, **more: object) -> str:
        field = FieldDef(name=FieldName("f__c"), type=type, **more)  # pyright: ignore[reportArgumentType]
        return kind_of_slot(field, lambda name: f"table_of_{name}")

    account, contact = ObjectName("account"), ObjectName("contact")
    kinds = [
        kind("text"),
        kind("text", unique=True),
        kind("number"),
        kind("number", scale=0),
        kind("number", scale=2),
        kind("number", scale=3),
        kind("boolean"),
        kind("date"),
        kind("datetime"),
        kind("lookup", reference=account),
        kind("lookup", reference=contact),
        kind("lookup", reference=account, unique=True),
        kind("lookup", reference=account, multiple=True),
    ]
    assert len(set(kinds)) == len(kinds)
    assert kind("textarea") == kind("text")
    assert max(len(f"{each}_100__c") for each in kinds) <= 48


def test_tables_of_two_tenants_differ_and_fit_into_an_identifier() -> None:
    name = "x" * 45 + "__c"
    one, other = own_table(TenantId("a"), name), own_table(TenantId("b"), name)
    assert one != other
    assert max(len(one), len(other)) <= 63


def test_fields_are_kept_in_their_living_slots() -> None:
    fields = {FieldName(n): FieldDef(name=FieldName(n), type="text") for n in ("name", "a__c")}
    object_ = ObjectDef(name=ObjectName("account"), fields=fields)
    columns = {"text_1__c": Slot("a__c", 5), "text_2__c": Slot("a__c")}
    placed = with_slots(object_, columns)
    assert [f.column_name for f in placed.stored_fields] == ["name", "text_2__c"]
    assert (placed.field_in("text_2__c"), placed.field_in("name")) == ("a__c", "name")
