"""`grpc.health.v1.Health`, told by the readiness of the process: all services live and die with it.

Source: the gRPC health checking protocol (grpc/grpc, doc/health-checking.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2 as pb

from objectql.clock import Clock
from objectql_gateway_grpc.request import ServerContext

SERVICE: Final = "grpc.health.v1.Health"

_LOOK_EVERY_S: Final = 0.25
_WATCHERS: Final = 1000


class HealthService:
    """Answers whoever asks; no credentials are needed, as probes have none."""

    def __init__(
        self, is_ready: Callable[[], bool], knows: Callable[[str], bool], clock: Clock
    ) -> None:
        """`knows` tells whether there is a service of a name."""
        self._is_ready = is_ready
        self._knows = knows
        self._clock = clock
        self._watchers = 0
        self._is_closed = False

    def close(self) -> None:
        """End the calls of those who watch, once they have been told."""
        self._is_closed = True

    def handler(self) -> grpc.GenericRpcHandler:
        """What the server is given."""
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Check": grpc.unary_unary_rpc_method_handler(self._check),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _status(self, service: str) -> int:
        if service and service != SERVICE and not self._knows(service):
            return pb.HealthCheckResponse.SERVICE_UNKNOWN
        is_ready = self._is_ready()
        return pb.HealthCheckResponse.SERVING if is_ready else pb.HealthCheckResponse.NOT_SERVING

    async def _check(self, message: bytes, rpc: ServerContext) -> bytes:
        status = self._status(await _service(message, rpc))
        if status == pb.HealthCheckResponse.SERVICE_UNKNOWN:
            await rpc.abort(grpc.StatusCode.NOT_FOUND, "there is no such service")
        return _answer(status)

    async def _watch(self, message: bytes, rpc: ServerContext) -> None:
        service = await _service(message, rpc)
        if self._watchers >= _WATCHERS:
            await rpc.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watch already")
        self._watchers += 1
        try:
            told: int | None = None
            is_last = False
            while not is_last:
                is_last = self._is_closed
                status = self._status(service)
                if status != told:
                    await rpc.write(_answer(status))
                    told = status
                await self._clock.sleep(0 if is_last else _LOOK_EVERY_S)
        finally:
            self._watchers -= 1


async def _service(message: bytes, rpc: ServerContext) -> str:
    """Which one is asked about; empty: the process."""
    try:
        return pb.HealthCheckRequest.FromString(message).service
    except DecodeError:
        await rpc.abort(grpc.StatusCode.INVALID_ARGUMENT, "the message is malformed")


def _answer(status: int) -> bytes:
    return pb.HealthCheckResponse(status=status).SerializeToString()
