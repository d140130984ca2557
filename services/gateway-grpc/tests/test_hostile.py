"""What clients can do to a gateway that is not a call: unpacking, resets, many calls at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc import aio

from objectql_gateway_grpc.settings import CallLimits

GET = "/objectql.v1.ObjectService/Get"
NOTE = b"\x0a\x04note\x12\x017"
ANN = (("authorization", "Bearer ann"),)


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not happened():
            await asyncio.sleep(0.01)


async def test_a_message_that_grows_beyond_the_limit_when_unpacked_is_not_taken(
    gateway: Any,
) -> None:
    target = f"127.0.0.1:{gateway.server.port}"
    channel: Any = aio.insecure_channel(target, compression=grpc.Compression.Gzip)
    async with channel:
        get = channel.unary_unary(GET)
        with pytest.raises(aio.AioRpcError, match="RESOURCE_EXHAUSTED"):
            await get(NOTE + bytes(20_000_000), metadata=ANN)
        assert await get(NOTE, metadata=ANN)
    assert len(gateway.kernel.asked) == 1


async def test_calls_that_are_reset_leave_nothing_behind(start: Callable[..., Any]) -> None:
    gateway = await start(CallLimits(streams=50))
    reply = gateway.kernel.replies["get"]
    get = gateway.client().channel.unary_unary(GET)
    for _ in range(5):
        gateway.kernel.replies["get"] = asyncio.get_running_loop().create_future()
        gateway.kernel.asked.clear()
        calls = [get(NOTE, metadata=ANN) for _ in range(200)]
        await until(lambda: len(gateway.kernel.asked) >= 50)
        assert gateway.calls.in_flight == 50
        for call in calls:
            call.cancel()
        await until(lambda: gateway.calls.in_flight == 0)
    gateway.kernel.replies["get"] = reply
    assert await get(NOTE, metadata=ANN)
    assert gateway.calls.in_flight == 0
