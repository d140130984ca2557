"""Errors as gRPC tells them: a status code, a sentence, and details that a program can read.

The details are a `google.rpc.Status`, which travels beside the status under `DETAILS_KEY`. `ErrorInfo`
has the error's code and its own fields, `BadRequest` every problem with its path, `RetryInfo` how long
to wait, `RequestInfo` the id under which operators find the request. Both directions are here, so a
client raises what the server raised.

Source: google/rpc/error_details.proto; Google API Improvement Proposal 193.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, RequestInfo, RetryInfo
from google.rpc.error_details_pb2 import ErrorInfo as ErrorDetail
from google.rpc.status_pb2 import Status

from objectql.errors import TRANSPORTS, Category, ErrorInfo, Issue, ObjectQLError

DETAILS_KEY: Final = "grpc-status-details-bin"
DOMAIN: Final = "objectql"
"""Whose codes they are."""

_BY_HTTP: Final[Mapping[int, str]] = {
    **{each.http: each.grpc for each in reversed(TRANSPORTS.values())},
    HTTPStatus.METHOD_NOT_ALLOWED: "UNIMPLEMENTED",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RESOURCE_EXHAUSTED",
}
_BY_CODE: Final[Mapping[str, Category]] = {
    each.grpc: category for category, each in TRANSPORTS.items()
}
_TEXTS: Final = {"str", "str | None"}
"""How the fields of errors are declared whose values are told as they are; others as JSON."""


class RpcStatus(NamedTuple):
    """The number of a status code, its message, and the bytes of a `google.rpc.Status`."""

    code: int
    message: str
    details: bytes


def status_of(error: ObjectQLError, request_id: str) -> RpcStatus:
    """What a caller is told of `error`."""
    status = status_message(error.told(), http=error.http)
    if request_id:
        status.details.add().Pack(RequestInfo(request_id=request_id))
    return RpcStatus(status.code, status.message, status.SerializeToString())


def status_message(told: ErrorInfo, *, http: int | None = None) -> Status:
    """The status of an error; also of one row among many, which has no request of its own.

    `http` is the status at other gateways: a few errors have one that is not their category's.
    """
    transport = TRANSPORTS[told.category]
    name = transport.grpc
    if http is not None and http != transport.http:
        name = _BY_HTTP.get(http, name)
    status = Status(code=Code.Value(name), message=told.message)
    metadata = {key: _text(value) for key, value in told.details.items() if value is not None}
    status.details.add().Pack(ErrorDetail(reason=told.code, domain=DOMAIN, metadata=metadata))
    if told.issues:
        status.details.add().Pack(
            BadRequest(
                field_violations=[
                    BadRequest.FieldViolation(
                        field=each.path, description=each.message, reason=each.code
                    )
                    for each in told.issues
                ]
            )
        )
    if told.retry_after_ms is not None:
        delay = Duration()
        delay.FromMilliseconds(told.retry_after_ms)
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    return status


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def error_of(code: int, message: str, details: bytes | None = None) -> ObjectQLError:
    """The error that a call ended with; also one of a proxy, which has no details of ours."""
    status = Status(code=code, message=message)
    if details:
        with suppress(DecodeError):  # somebody else's: what the status itself says is enough
            status = Status.FromString(details)
    return error_of_status(status)


def error_of_status(status: Status) -> ObjectQLError:
    """The error that `status_message` has told."""
    detail, issues, wait_ms = ErrorDetail(), tuple[Issue, ...](), None
    for packed in status.details:
        bad, retry = BadRequest(), RetryInfo()
        if packed.Unpack(bad):
            issues = tuple(
                Issue(path=each.field, code=each.reason, message=each.description)
                for each in bad.field_violations
            )
        elif packed.Unpack(retry):
            wait_ms = retry.retry_delay.ToMilliseconds()
        else:
            packed.Unpack(detail)
    is_ours = detail.domain == DOMAIN
    name = Code.Name(status.code) if status.code in Code.values() else "UNKNOWN"
    reason = detail.reason if is_ours else f"GRPC_{name}"
    leaf = next((each for each in ObjectQLError.leaves() if each.code == reason), None)
    category = _BY_CODE.get(name, Category.INTERNAL)
    if leaf is not None:
        category = leaf.category
    elif (
        name == "UNKNOWN" and not is_ours
    ):  # only a gateway of ours knows that a write may have been
        category = Category.INTERNAL
    return ObjectQLError.from_info(
        ErrorInfo(
            code=reason,
            category=category,
            message=status.message,
            details={} if leaf is None or not is_ours else _fields(leaf, detail.metadata),
            issues=issues,
            retry_after_ms=wait_ms,
        )
    )


def _fields(leaf: type[ObjectQLError], metadata: Mapping[str, str]) -> dict[str, Any]:
    """The error's own fields, as `ObjectQLError.details` gave them."""
    declared = {each.name: each.type for each in dataclasses.fields(leaf)}
    found: dict[str, Any] = {}
    for name, text in metadata.items():
        if declared.get(name) in _TEXTS:
            found[name] = text
        elif name in declared:
            try:
                found[name] = json.loads(text)
            except ValueError:  # of a version that declares it otherwise
                continue
    return found
