"""The server by itself: health, limits of connections, its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2 as pb

from objectql.clock import SystemClock
from objectql_gateway_grpc.health import SERVICE, HealthService
from objectql_gateway_grpc.server import GrpcServer
from objectql_gateway_grpc.settings import CallLimits, GatewayGrpcSettings, ListenSettings

MESSAGES: Any = {
    "request_serializer": pb.HealthCheckRequest.SerializeToString,
    "response_deserializer": pb.HealthCheckResponse.FromString,
}


class Served:
    """A server with the health service only, and a channel to it."""

    def __init__(self, **listen: object) -> None:
        self.is_ready = True
        self.health = HealthService(
            lambda: self.is_ready, lambda name: name == "x.X", SystemClock()
        )
        settings = ListenSettings(port=0, **listen)  # pyright: ignore[reportArgumentType]
        self.server = GrpcServer([self.health.handler()], settings, CallLimits(), drain_s=5)

    async def start(self) -> None:
        await self.server.start()
        self.channel = aio.insecure_channel(f"127.0.0.1:{self.server.port}")
        path = f"/{SERVICE}"
        self.ask: Any = self.channel.unary_unary(f"{path}/Check", **MESSAGES)
        self.watch: Any = self.channel.unary_stream(f"{path}/Watch", **MESSAGES)

    async def check(self, service: str = "") -> str:
        answer: pb.HealthCheckResponse = await self.ask(pb.HealthCheckRequest(service=service))
        return ("UNKNOWN", "SERVING", "NOT_SERVING")[answer.status]


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    served = Served()
    await served.start()
    yield served
    await served.channel.close()
    await served.server.stop()


async def test_health_is_the_readiness_of_the_process(served: Served) -> None:
    assert [await served.check(name) for name in ("", SERVICE, "x.X")] == ["SERVING"] * 3
    served.is_ready = False
    assert await served.check() == "NOT_SERVING"


async def test_health_of_a_service_that_does_not_exist_is_not_found(served: Served) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await served.check("no.Such")
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


async def test_who_watches_is_told_of_every_change_and_let_go_at_the_end(served: Served) -> None:
    watching = served.watch(pb.HealthCheckRequest())
    told = [(await watching.read()).status]
    served.is_ready = False
    told.append((await watching.read()).status)
    assert told == [pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING]
    served.health.close()
    assert await watching.read() is aio.EOF


async def test_a_malformed_message_is_an_invalid_argument(served: Served) -> None:
    channel: Any = served.channel
    with pytest.raises(aio.AioRpcError) as refused:
        await channel.unary_unary(f"/{SERVICE}/Check")(b"\xff\xff\xff")
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_calls_under_way_end_before_the_server_does(served: Served) -> None:
    watching = served.watch(pb.HealthCheckRequest())
    await watching.read()
    stopping = asyncio.ensure_future(served.server.stop())
    await asyncio.sleep(0)
    served.health.close()
    assert await watching.read() is aio.EOF
    await stopping
    assert not served.server.is_listening


async def test_headers_that_are_too_long_end_the_call_and_not_the_server(served: Served) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await served.ask(pb.HealthCheckRequest(), metadata=(("x-long", "a" * 40_000),))
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await served.check() == "SERVING"


async def test_an_address_that_is_taken_is_told() -> None:
    first = Served()
    await first.start()
    taken = GrpcServer([], ListenSettings(port=first.server.port), CallLimits(), drain_s=1)
    with pytest.raises(OSError, match="cannot listen"):
        await taken.start()
    await first.channel.close()
    await first.server.stop()


def test_settings_have_the_port_of_grpc() -> None:
    assert GatewayGrpcSettings().grpc.port == 50051
    assert GatewayGrpcSettings.prefix() == "OQL_GATEWAY_GRPC"
