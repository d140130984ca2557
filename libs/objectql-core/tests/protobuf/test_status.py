"""Errors as statuses of gRPC: clients raise what the server raised."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, RequestInfo, RetryInfo
from google.rpc.error_details_pb2 import ErrorInfo as ErrorDetail
from google.rpc.status_pb2 import Status

from objectql.errors import (
    TRANSPORTS,
    Category,
    FieldUnknown,
    HookAborted,
    Internal,
    InvalidRequest,
    Issue,
    MethodNotAllowed,
    ObjectQLError,
    OutcomeUnknown,
    PayloadTooLarge,
    RateLimited,
    RemoteError,
    Unauthenticated,
    Unavailable,
    ValidationFailed,
)
from objectql.protobuf.status import error_of, status_of

_SAMPLES: dict[str, Any] = {
    "str": "what",
    "str | None": "what",
    "int": 7,
    "int | None": 7,
    "bool": True,
    "float": 0.5,
    "tuple[str, ...]": ("a", "b"),
    "dict[str, Any]": {"a": [1]},
    "Category": Category.CONFLICT,
}


def sample(leaf: type[ObjectQLError]) -> ObjectQLError:
    """An error of the class, with something in every field."""
    fields = [each for each in dataclasses.fields(leaf) if each.name != "issues"]
    values = {each.name: _SAMPLES[str(each.type)] for each in fields}
    return leaf(**values, issues=(Issue("a.0.b", "required", "is missing"),))


def code_name(error: ObjectQLError) -> str:
    return Code.Name(status_of(error, "r1").code)


@pytest.mark.parametrize("leaf", [x for x in ObjectQLError.leaves() if x is not RemoteError])
def test_every_error_comes_back_as_it_was(leaf: type[ObjectQLError]) -> None:
    error = sample(leaf)
    back = error_of(*status_of(error, "r1"))
    assert type(back) is leaf
    assert back.to_info() == error.to_info()


def test_an_error_of_a_newer_version_keeps_its_code_and_category() -> None:
    error = RemoteError(remote_code="NEW", remote_category=Category.CONFLICT, text="it is new")
    back = error_of(*status_of(error, "r1"))
    assert isinstance(back, RemoteError)
    assert (back.remote_code, back.remote_category) == ("NEW", Category.CONFLICT)
    assert back.message == "it is new"


@pytest.mark.parametrize("category", Category)
def test_every_category_has_its_code(category: Category) -> None:
    error = RemoteError(remote_code="X", remote_category=category, text="")
    assert code_name(error) == TRANSPORTS[category].grpc


def test_errors_with_a_status_of_their_own_have_the_code_that_means_it() -> None:
    assert code_name(PayloadTooLarge(limit_bytes=1)) == "RESOURCE_EXHAUSTED"
    assert code_name(MethodNotAllowed(method="bulk", allowed=())) == "UNIMPLEMENTED"
    assert code_name(HookAborted(hook="h", reason="no", status=403)) == "PERMISSION_DENIED"
    assert code_name(HookAborted(hook="h", reason="no", status=418)) == "INVALID_ARGUMENT"


def test_details_are_what_others_can_read() -> None:
    issues = (Issue("total", "required", "is missing"), Issue("name", "max_length", "is too long"))
    error = ValidationFailed(object="order", issues=issues, retry_after_ms=1500)
    status = Status.FromString(status_of(error, "r1").details)
    info, bad, retry, request = ErrorDetail(), BadRequest(), RetryInfo(), RequestInfo()
    for packed, message in zip(status.details, (info, bad, retry, request), strict=True):
        assert packed.Unpack(message)
    assert (info.reason, info.domain) == ("VALIDATION_FAILED", "objectql")
    assert info.metadata == {"object": "order"}
    assert [each.field for each in bad.field_violations] == ["total", "name"]
    assert retry.retry_delay.ToMilliseconds() == 1500
    assert request.request_id == "r1"


def test_an_error_that_knows_its_place_tells_it_as_a_violation() -> None:
    error = FieldUnknown(object="order", field="totl", suggestions=("total",))
    assert [each.path for each in error_of(*status_of(error, "")).issues] == ["totl"]


def test_what_is_away_says_when_to_come_back() -> None:
    assert error_of(*status_of(Unavailable(what="it"), "")).retry_after_ms == 1000
    assert error_of(*status_of(RateLimited(), "")).retry_after_ms is None


def test_statuses_of_others_become_errors_by_their_codes() -> None:
    unavailable = error_of(Code.UNAVAILABLE, "no connection")
    assert unavailable.retryable
    assert unavailable.message == "no connection"
    assert error_of(Code.DEADLINE_EXCEEDED, "").retryable
    # UNKNOWN of somebody else says nothing about writes.
    assert not error_of(Code.UNKNOWN, "exception").retryable
    assert error_of(*status_of(OutcomeUnknown(), "")).retryable
    assert error_of(Code.INVALID_ARGUMENT, "no", b"\xff").http == 400
    assert error_of(99, "no").http == 500


def test_the_details_of_another_domain_are_not_taken_for_ours() -> None:
    status = Status(code=Code.UNAUTHENTICATED, message="no")
    status.details.add().Pack(ErrorDetail(reason="UNAUTHENTICATED", domain="example.com"))
    error = error_of(Code.UNAUTHENTICATED, "no", status.SerializeToString())
    assert not isinstance(error, Unauthenticated)
    assert error.http == 401


def test_fields_that_are_not_as_declared_leave_the_code_and_the_message() -> None:
    status = Status(code=Code.INVALID_ARGUMENT, message="no")
    metadata = {"limit_bytes": "many"}
    status.details.add().Pack(
        ErrorDetail(reason="PAYLOAD_TOO_LARGE", domain="objectql", metadata=metadata)
    )
    error = error_of(Code.INVALID_ARGUMENT, "no", status.SerializeToString())
    assert isinstance(error, RemoteError)
    assert error.remote_code == "PAYLOAD_TOO_LARGE"


def test_an_internal_error_tells_nothing_of_itself() -> None:
    assert code_name(Internal()) == "INTERNAL"
    assert code_name(InvalidRequest(reason="x")) == "INVALID_ARGUMENT"
