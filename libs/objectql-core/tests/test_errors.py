"""Every error has one code, a transport, and survives the bus."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

import msgspec
import pytest

from objectql.errors import (
    TRANSPORTS,
    Category,
    ErrorInfo,
    FieldUnknown,
    Issue,
    ObjectQLError,
    RemoteError,
    VersionConflict,
)

SAMPLES: dict[Any, Any] = {str: "x", int: 3, tuple[str, ...]: ("a", "b"), int | None: 7}


def sample(leaf: type[ObjectQLError]) -> ObjectQLError:
    hints = get_type_hints(leaf)
    given = {
        field.name: SAMPLES.get(hints[field.name], Category.NOT_FOUND)
        for field in dataclasses.fields(leaf)
        if field.name not in {"issues", "retry_after_ms"}
    }
    return leaf(**given, issues=(Issue("a.0", "required", "a is required"),), retry_after_ms=50)


@pytest.mark.parametrize("leaf", ObjectQLError.leaves(), ids=lambda leaf: leaf.code)
def test_error_round_trips_the_wire_with_its_fields(leaf: type[ObjectQLError]) -> None:
    error = sample(leaf)
    body = msgspec.msgpack.encode(error.to_info())

    rebuilt = ObjectQLError.from_info(msgspec.msgpack.decode(body, type=ErrorInfo))

    assert type(rebuilt) is leaf
    assert rebuilt.to_info() == error.to_info()
    assert rebuilt.http == error.http
    assert rebuilt.message


def test_every_category_has_a_transport() -> None:
    assert set(TRANSPORTS) == set(Category)


def test_only_conflict_limits_and_outages_are_retryable() -> None:
    retryable = {category for category, transport in TRANSPORTS.items() if transport.retryable}
    assert retryable == {
        Category.CONFLICT,
        Category.RATE_LIMITED,
        Category.UNAVAILABLE,
        Category.DEADLINE_EXCEEDED,
        Category.OUTCOME_UNKNOWN,
    }


def test_a_code_cannot_be_taken_twice() -> None:
    with pytest.raises(TypeError, match="is taken"):

        class Again(ObjectQLError, code="INVALID_FIELD", category=Category.CONFLICT):  # pyright: ignore[reportUnusedClass]
            pass


def test_unknown_code_keeps_category_and_message() -> None:
    info = ErrorInfo(code="FROM_THE_FUTURE", category=Category.NOT_FOUND, message="gone")
    error = ObjectQLError.from_info(info)
    assert isinstance(error, RemoteError)
    assert error.http == 404
    assert error.message == "gone"


def test_missing_field_of_an_older_sender_does_not_crash() -> None:
    info = ErrorInfo(code="INVALID_FIELD", category=Category.INVALID_REQUEST, message="no such")
    assert isinstance(ObjectQLError.from_info(info), RemoteError)


def test_messages_name_suggestions_and_places() -> None:
    error = FieldUnknown(object="flight", field="carier", suggestions=("carrier",))
    assert error.message == 'flight has no field "carier"; did you mean "carrier"?'
    place = Issue("fields.a", "unknown_key", "what?", file="a.object.yml", line=3)
    assert str(place) == "a.object.yml:3: fields.a: what?"


def test_version_conflict_is_412() -> None:
    assert VersionConflict(object="a", id="1").http == 412
