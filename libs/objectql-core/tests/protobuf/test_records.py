"""Records as messages: what the official library reads is what the record says, and back."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message as OfficialMessage
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.every_type import NUMBERS, TASK, field, options

from objectql.errors import InvalidRequest
from objectql.ids import FieldName
from objectql.metadata.field_numbers import allocate
from objectql.metadata.model import ObjectDef
from objectql.protobuf.descriptors import pool_of
from objectql.protobuf.objects import proto_file, shown_fields
from objectql.protobuf.records import RecordCodec, encode_json
from objectql.protobuf.wire import DELIMITED, VARINT, delimited, tag, varint

CODEC = RecordCodec(shown_fields(TASK, None), NUMBERS)
POOL = pool_of([proto_file(TASK, NUMBERS)])
Official = GetMessageClass(POOL.FindMessageTypeByName("objectql.app.v1.Task"))


def official(message: bytes) -> dict[str, Any]:
    """What the official library reads, in its JSON."""
    return json_format.MessageToDict(Official.FromString(message), preserving_proto_field_name=True)


def number(field: str) -> int:
    return NUMBERS.number(TASK.fields[FieldName(field)])


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
whole = st.integers(-(2**53), 2**53)
double = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | whole | double | text
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
records = st.fixed_dictionaries(
    {},
    optional={
        "id": text,
        "title": text,
        "count": whole,
        "version": whole,
        "rate": double,
        "price": st.decimals(-(10**18), 10**18, places=6),
        "done": st.booleans(),
        "due": st.dates().map(lambda day: day.isoformat()),
        "seen_at": st.datetimes().map(lambda at: f"{at.isoformat(timespec='milliseconds')}Z"),
        "starts": st.times().map(lambda at: at.isoformat(timespec="seconds")),
        "level": st.sampled_from(["low", "very high", 3]),
        "colors": st.lists(st.sampled_from(["red", "green"]), min_size=1, max_size=3),
        "words": st.lists(text, min_size=1, max_size=3),
        "extra": documents.filter(lambda value: value is not None),
        "owner": text,
        "owners": st.lists(text, min_size=1, max_size=3),
    },
)


@settings(max_examples=200, deadline=None)
@given(records)
def test_what_is_written_is_read_again_and_by_the_official_library(record: dict[str, Any]) -> None:
    message = CODEC.message(encode_json(record))
    back = msgspec.json.decode(encode_json(CODEC.values(message)))
    expected = msgspec.json.decode(encode_json(record))
    if "seen_at" in expected:  # a fraction is told to its nanoseconds, where there is one
        expected["seen_at"] = expected["seen_at"].replace(".000Z", "Z")
        back["seen_at"] = back["seen_at"].replace("000000Z", "Z")
    assert back == expected
    theirs = Official.FromString(message)
    again = CODEC.values(theirs.SerializeToString())
    assert encode_json(again) == encode_json(CODEC.values(message)) or again == CODEC.values(
        message
    )
    shown = json_format.MessageToDict(theirs, preserving_proto_field_name=True)
    assert shown.keys() == record.keys()
    assert shown.get("title") == record.get("title")
    assert shown.get("due", "") == _their_date(record.get("due"))
    if "price" in record:
        assert Decimal(shown["price"]["value"]) == record["price"]


def _their_date(text: str | None) -> Any:
    if text is None:
        return ""
    year, month, day = map(int, text.split("-"))
    return {"year": year, "month": month, "day": day}


def test_every_type_is_what_the_official_library_makes_of_it() -> None:
    record = {
        "id": "t1",
        "count": -5,
        "rate": 0.1,
        "price": Decimal("12345678901234567.89"),
        "done": False,
        "due": "2026-08-22",
        "seen_at": "1969-12-31T23:59:59.250Z",
        "starts": "14:30:00.500",
        "level": "very high",
        "colors": ["green", "red"],
        "words": ["", "a"],
        "extra": {"a": [1, None, {"b": True}]},
        "title": None,
    }
    assert official(CODEC.message(encode_json(record))) == {
        "id": "t1",
        "count": "-5",
        "rate": 0.1,
        "price": {"value": "12345678901234567.89"},
        "done": False,
        "due": {"year": 2026, "month": 8, "day": 22},
        "seen_at": "1969-12-31T23:59:59.250Z",
        "starts": {"hours": 14, "minutes": 30, "nanos": 500000000},
        "level": "LEVEL_VERY_HIGH",
        "colors": ["COLORS_GREEN", "COLORS_RED"],
        "words": ["", "a"],
        "extra": {"a": [1.0, None, {"b": True}]},
    }


def test_many_records_are_many_messages() -> None:
    messages = CODEC.messages(b'[{"id":"a"},{"id":"b","title":null}]')
    assert [official(each) for each in messages] == [{"id": "a"}, {"id": "b"}]
    assert CODEC.messages(b"[]") == []


def test_an_option_that_is_gone_keeps_its_number_and_one_that_never_was_is_unspecified() -> None:
    now = ObjectDef(
        name=TASK.name,
        fields={
            **TASK.fields,
            FieldName("level"): field("level", "select", options=options("low")),
        },
    )
    codec = RecordCodec(shown_fields(now, None), allocate([now], {TASK.name: NUMBERS})[TASK.name])
    assert official(codec.message(b'{"level":"very high"}')) == {"level": "LEVEL_VERY_HIGH"}
    assert official(codec.message(b'{"level":"what"}')) == {"level": "LEVEL_UNSPECIFIED"}
    # Who sends what is gone is told so by the kernel, which knows the option's name.
    assert codec.values(CODEC.message(b'{"level":"very high"}')) == {"level": "very high"}
    with pytest.raises(InvalidRequest) as refused:
        codec.values(CODEC.message(b'{"level":"what"}'))
    assert [each.path for each in refused.value.issues] == ["level"]


def test_what_a_type_cannot_hold_is_not_told() -> None:
    masked = {
        "id": "t1",
        "title": "***",
        "count": "***",
        "rate": "***",
        "price": "***",
        "done": "***",
        "due": "***",
        "seen_at": "***",
        "starts": "***",
        "owners": "***",
        "unknown": 1,
    }
    assert official(CODEC.message(encode_json(masked))) == {"id": "t1", "title": "***"}


def test_where_a_record_stands_for_a_relation_its_id_is_told() -> None:
    record = {"owner": {"id": "u1", "name": "x"}, "owners": [{"id": "u1"}, "u2"], "words": [1, "a"]}
    assert official(CODEC.message(encode_json(record))) == {
        "owner": "u1",
        "owners": ["u1", "u2"],
        "words": ["1", "a"],
    }


def test_fields_of_others_are_not_there() -> None:
    codec = RecordCodec(shown_fields(TASK, {"title"}), NUMBERS)
    assert official(codec.message(b'{"id":"a","title":"b","count":1}')) == {"id": "a", "title": "b"}
    # The number of a field that a caller may not read is one that means nothing to the caller.
    assert codec.values(CODEC.message(b'{"count":1,"title":"x"}')) == {"title": "x"}


def test_integers_and_text_of_many_lengths_survive() -> None:
    for size in (0, 1, 127, 128, 4095, 4096, 20_000):
        assert CODEC.values(CODEC.message(encode_json({"title": "x" * size}))) == {
            "title": "x" * size
        }
        for value in (size, -size):
            assert CODEC.values(CODEC.message(encode_json({"count": value}))) == {"count": value}


# --- what is malformed -----------------------------------------------------------------------


def of(name: str, content: bytes) -> bytes:
    return delimited(tag(number(name), DELIMITED), content)


def whole_field(name: str, value: int) -> bytes:
    return tag(number(name), VARINT) + varint(value)


def nested(levels: int) -> bytes:
    value = b"\x08\x00"
    for _ in range(levels):  # a list of a list of ...
        value = delimited(tag(6, DELIMITED), delimited(tag(1, DELIMITED), value))
    return value


MALFORMED = {
    "the end of a varint is missing": (b"\x80", ""),
    "a varint of eleven bytes": (b"\x08" + b"\xff" * 11, ""),
    "a length beyond the end": (tag(number("title"), DELIMITED) + varint(2**40), ""),
    "a field number of 0": (b"\x02\x00", ""),
    "a group": (b"\x0b\x0c", ""),
    "a number for text": (whole_field("title", 1), "title"),
    "text for a number": (of("count", b"abc"), "count"),
    "a number for an option": (whole_field("level", 99), "level"),
    "no option": (whole_field("level", 0), "level"),
    "a huge option": (whole_field("level", 2**63), "level"),
    "packed options": (of("colors", varint(1) + varint(77)), "colors"),
    "half a packed option": (of("colors", b"\x80"), "colors"),
    "bytes that are no text": (of("title", b"\xff\xfe"), "title"),
    "half a character": (of("title", "ü".encode()[:1]), "title"),
    "no text in a list": (of("words", b"a") + of("words", b"\xff"), "words.1"),
    "not a number": (tag(number("rate"), 1) + b"\0\0\0\0\0\0\xf8\x7f", "rate"),
    "infinity": (tag(number("rate"), 1) + b"\0\0\0\0\0\0\xf0\x7f", "rate"),
    "half a double": (tag(number("rate"), 1) + b"\0\0\0", ""),
    "a float for a double": (tag(number("rate"), 5) + b"\0\0\0\0", "rate"),
    "no decimal": (of("price", delimited(tag(1, 2), b"1,5")), "price"),
    "not a decimal": (of("price", delimited(tag(1, 2), b"NaN")), "price"),
    "an empty decimal": (of("price", b""), "price"),
    "a decimal of a gigabyte": (of("price", delimited(tag(1, 2), b"1e999999999")), "price"),
    "a long decimal": (of("price", delimited(tag(1, 2), b"1" * 101)), "price"),
    "no day": (of("due", b""), "due"),
    "a thirteenth month": (of("due", b"\x08\xe8\x0f\x10\x0d\x18\x01"), "due"),
    "a year of ten digits": (of("due", tag(1, 0) + varint(2**40)), "due"),
    "text for a year": (of("due", b"\x0a\x01a"), "due"),
    "a moment after 9999": (of("seen_at", tag(1, 0) + varint(2**40)), "seen_at"),
    "a moment out of time": (of("seen_at", tag(1, 0) + varint(2**63)), "seen_at"),
    "negative nanoseconds": (of("seen_at", tag(2, 0) + varint(-1)), "seen_at"),
    "a 25th hour": (of("starts", tag(1, 0) + varint(24)), "starts"),
    "a value of no kind": (of("extra", b""), "extra"),
    "a deep value": (of("extra", nested(65)), f"extra{'.0' * 64}"),
    "a very deep value": (of("extra", nested(5000)), f"extra{'.0' * 64}"),
    "a value of another type": (of("extra", delimited(tag(2, DELIMITED), b"")), "extra"),
    "not a number in a value": (of("extra", b"\x11\0\0\0\0\0\0\xf8\x7f"), "extra"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_bytes_that_mean_nothing_are_refused_with_a_path(what: str) -> None:
    message, path = MALFORMED[what]
    with pytest.raises(InvalidRequest) as refused:
        CODEC.values(message)
    assert [each.path for each in refused.value.issues] == [path]


def test_a_value_as_deep_as_allowed_is_read() -> None:
    assert CODEC.values(of("extra", nested(64))).keys() == {"extra"}


def is_refused_or_json(message: bytes) -> bool:
    """Nothing else may come of bytes that anybody may send."""
    try:
        values = CODEC.values(message)
    except InvalidRequest as refused:
        return bool(refused.issues)
    return encode_json(values).startswith(b"{")


@settings(max_examples=300, deadline=None)
@given(records, st.data())
def test_damaged_messages_are_refused_or_mean_something(
    record: dict[str, Any], data: st.DataObject
) -> None:
    message = bytearray(CODEC.message(encode_json(record)) or b"\0")
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(message)))
    assert is_refused_or_json(bytes(message[:end]))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_refused_or_mean_something(message: bytes) -> None:
    assert is_refused_or_json(message)


def test_unknown_fields_are_passed_over() -> None:
    unknown = delimited(tag(9000, DELIMITED), b"x") + tag(9001, VARINT) + varint(7)
    unknown += tag(9002, 5) + b"\0\0\0\0" + tag(9003, 1) + b"\0" * 8
    assert CODEC.values(unknown + of("title", b"a")) == {"title": "a"}


def test_of_two_values_the_last_counts_and_pieces_of_a_message_are_one() -> None:
    twice = of("title", b"a") + of("title", b"b")
    pieces = of("due", b"\x08\xea\x0f") + of("due", b"\x10\x08") + of("due", b"\x18\x16")
    assert CODEC.values(twice + pieces) == {"title": "b", "due": "2026-08-22"}
    assert official(twice + pieces)["title"] == "b"
    assert official(pieces) == {"due": {"year": 2026, "month": 8, "day": 22}}


def test_many_pieces_of_one_message_take_no_longer_than_their_bytes() -> None:
    pieces = of("extra", b"\x08\x00") * 200_000
    assert CODEC.values(pieces) == {"extra": None}


def test_options_come_packed_and_one_by_one() -> None:
    first = of("colors", varint(1) + varint(2))
    assert CODEC.values(first + whole_field("colors", 1)) == {"colors": ["red", "green", "red"]}


@pytest.mark.parametrize("said", ["1", "-0.5", "+2", ".5", "5.", "1e3", "1E-3", "0", "-0"])
def test_decimals_of_every_spelling_are_numbers(said: str) -> None:
    value = CODEC.values(of("price", delimited(tag(1, 2), said.encode())))
    assert json.loads(encode_json(value))["price"] == float(said)
    assert not math.isnan(float(value["price"]))


def test_the_official_message_of_a_record_has_presence() -> None:
    message: OfficialMessage = Official.FromString(CODEC.message(b'{"count":0,"title":""}'))
    assert message.HasField("count")
    assert message.HasField("title")
    assert not message.HasField("rate")
