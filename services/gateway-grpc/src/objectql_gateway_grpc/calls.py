"""The life of a call: counted, authenticated, done, and ended by a status, whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import grpc
import msgspec

from objectql.errors import Internal, ObjectQLError, Overloaded
from objectql.protobuf.status import DETAILS_KEY, RpcStatus, status_of
from objectql_gateway_grpc.request import Request, ServerContext, Services

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_DETAILS_BYTES: Final = 4096
"""Clients refuse answers with more than 8 KiB of headers unless told otherwise, and the bytes of
details travel as base64 (gRFC A61 and `grpc.max_metadata_size`)."""

_MAX_MESSAGE: Final = 500
_RETRY_AFTER_MS: Final = 250
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_PUSHBACK: Final = "grpc-retry-pushback-ms"
"""By which clients that retry as their service configuration says are told when (gRFC A6)."""


class Calls:
    """Runs calls. `in_flight` are those that have no status yet."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.in_flight = 0

    async def run(
        self, label: str, rpc: ServerContext, work: Callable[[Request], Awaitable[T]]
    ) -> T:
        """What `work` answers to a caller who is known; every failure is the status of the call."""
        services = self._services
        request = Request(rpc, services)
        started_s = services.clock.monotonic_s()
        outcome = grpc.StatusCode.CANCELLED
        self.in_flight += 1
        try:
            if self.in_flight > services.limits.in_flight:
                raise Overloaded(retry_after_ms=_RETRY_AFTER_MS)
            await request.authenticate()
            answer = await work(request)
            request.tell()
            outcome = grpc.StatusCode.OK
            return answer
        except ObjectQLError as exc:
            failure = exc
            outcome = _CODES[status_of(exc, "").code]
        except Exception:  # noqa: BLE001 - the edge of the service: a bug must be answered
            log.exception("call_crashed", extra={"request_id": request.request_id})
            failure = Internal()
            outcome = grpc.StatusCode.INTERNAL
        finally:
            self.in_flight -= 1
            services.observe(label, outcome.name, services.clock.monotonic_s() - started_s)
        status = bounded_status(failure, request.request_id)
        trailers = [*request.trailers, (DETAILS_KEY, status.details)]
        if failure.wait_ms is not None:
            trailers.append((_PUSHBACK, str(failure.wait_ms)))
        return await rpc.abort(_CODES[status.code], status.message, tuple(trailers))


def bounded_status(error: ObjectQLError, request_id: str) -> RpcStatus:
    """The status of `error` with as many of its problems as fit into the headers of an answer."""
    status = status_of(error, request_id)
    info = error.to_info()
    while len(status.details) > MAX_DETAILS_BYTES and info.issues:
        info = msgspec.structs.replace(info, issues=info.issues[: len(info.issues) // 2])
        status = status_of(ObjectQLError.from_info(info), request_id)
    if len(status.details) > MAX_DETAILS_BYTES:
        status = status._replace(details=b"")
    return status._replace(message=status.message[:_MAX_MESSAGE])
