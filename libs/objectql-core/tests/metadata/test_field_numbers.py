"""Numbers and names of fields and options, once given, never change and never mean two things."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.ids import FieldName, ObjectName
from objectql.metadata.field_numbers import (
    ObjectNumbers,
    allocate,
    documents_for,
    field_key,
    message_names,
    numbers_of,
    option_key,
    plural,
    proto_type,
)
from objectql.metadata.model import FieldDef, ObjectDef, Option, system_fields

Known = Mapping[ObjectName, ObjectNumbers]

FIELD_NAMES = st.sampled_from(["a", "a_b", "ab", "a_1", "a1", "name", "b_unspecified"])
OPTIONS = st.lists(
    st.sampled_from(["x", "b", "b c", "b_c", "B-C", "1", "ü", "", "unspecified"]), unique=True
)
OBJECT_NAMES = st.sampled_from(["flight", "sales_order", "salesorder", "a_1", "a1", "get_a_1"])
NAME = FieldName("name")


def select(name: str, values: list[str]) -> FieldDef:
    options = tuple(Option(value=value, label=value) for value in values)
    return FieldDef(name=FieldName(name), type="select", options=options)


@st.composite
def objects(draw: st.DrawFn) -> list[ObjectDef]:
    found: list[ObjectDef] = []
    for name in draw(st.lists(OBJECT_NAMES, unique=True, max_size=3)):
        fields = {field.name: field for field in system_fields()}
        for field_name in draw(st.lists(FIELD_NAMES, unique=True, max_size=4)):
            of_type = draw(st.sampled_from(["text", "number", "date", "select"]))
            if of_type == "select":
                field = select(field_name, draw(OPTIONS))
            else:
                field = FieldDef(name=FieldName(field_name), type=of_type)
            fields[field.name] = field
        found.append(ObjectDef(name=ObjectName(name), fields=fields))
    return found


@given(st.lists(objects(), min_size=2, max_size=4))
def test_nothing_that_was_given_ever_changes(versions: list[list[ObjectDef]]) -> None:
    known: Known = {}
    for version in versions:
        after = allocate(version, known)
        for name, before in known.items():
            now = after[name]
            assert now.message == before.message
            assert now.fields.items() >= before.fields.items()
            for field, enum in before.enums.items():
                assert (now.enums[field].name, now.enums[field].zero) == (enum.name, enum.zero)
                assert now.enums[field].values.items() >= enum.values.items()
        known = after


@given(st.lists(objects(), min_size=1, max_size=4))
def test_no_number_and_no_name_means_two_things(versions: list[list[ObjectDef]]) -> None:
    known: Known = {}
    for version in versions:
        known = allocate(version, known)
    names = [name for each in known.values() for name in message_names(each.message)]
    assert len(names) == len(set(names))
    for each in known.values():
        assert len(set(each.fields.values())) == len(each.fields)
        inner = [name for enum in each.enums.values() for name in (enum.name, enum.zero)]
        for enum in each.enums.values():
            numbers = [choice.number for choice in enum.values.values()]
            assert len(set(numbers)) == len(numbers)
            assert 0 not in numbers
            inner += [choice.name for choice in enum.values.values()]
        assert len(inner) == len(set(inner))


@given(objects())
def test_everything_declared_has_its_number(version: list[ObjectDef]) -> None:
    known = allocate(version, {})
    for definition in version:
        numbers = known[definition.name]
        assert numbers.retired(definition.fields.values()) == ()
        for field in definition.fields.values():
            assert numbers.number(field) > 0
            if proto_type(field) == "enum":
                keys = {option_key(option) for option in field.options}
                assert numbers.enums[field.name].values.keys() == keys


@given(objects())
def test_the_same_metadata_need_nothing_new_and_survive_the_store(version: list[ObjectDef]) -> None:
    known = allocate(version, {})
    assert allocate(version, known) == known
    assert numbers_of(documents_for(known)) == known


def object_of(*fields: FieldDef) -> ObjectDef:
    return ObjectDef(name=ObjectName("task"), fields={field.name: field for field in fields})


def test_a_field_that_comes_back_finds_its_number_and_one_of_another_type_gets_its_own() -> None:
    text, number = FieldDef(name=NAME, type="text"), FieldDef(name=NAME, type="number")
    first = allocate([object_of(text)], {})
    gone = allocate([object_of()], first)
    assert gone[ObjectName("task")].retired([]) == (1,)
    changed = allocate([object_of(number)], gone)[ObjectName("task")]
    assert (changed.number(number), changed.retired([number])) == (2, (1,))
    back = allocate([object_of(text)], {ObjectName("task"): changed})[ObjectName("task")]
    assert (back.number(text), back.retired([text])) == (1, (2,))


def test_numbers_that_protocol_buffers_keep_are_left_out() -> None:
    text = FieldDef(name=NAME, type="text")
    known = {ObjectName("task"): ObjectNumbers("Task", {"old string": 18_999})}
    assert allocate([object_of(text)], known)[ObjectName("task")].fields[field_key(text)] == 20_000


def test_objects_of_the_system_have_no_numbers() -> None:
    assert allocate([ObjectDef(name=ObjectName("s"), fields={}, is_system=True)], {}) == {}


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("Flight", "Flights"),
        ("Opportunity", "Opportunities"),
        ("Day", "Days"),
        ("Box", "Boxes"),
        ("Branch", "Branches"),
        ("Address", "Addresses"),
    ],
)
def test_plurals_follow_the_letters(one: str, many: str) -> None:
    assert plural(one) == many
