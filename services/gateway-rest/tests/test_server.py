"""What only a real socket shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from objectql.wire.messages import RecordReply
from objectql_gateway_rest.application import create_application
from objectql_gateway_rest.server import HttpServer
from objectql_gateway_rest.settings import ListenSettings

pytestmark = pytest.mark.servers

LISTEN = ListenSettings(port=0)


@pytest.fixture
async def server(services: Any) -> AsyncIterator[HttpServer]:
    made = HttpServer(create_application(services), LISTEN, drain_s=5)
    running = asyncio.create_task(made.run())
    async with asyncio.timeout(5):
        await made.wait_listening()
    yield made
    await made.stop()
    await running


async def exchange(server: HttpServer, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    async with asyncio.timeout(5):
        answer = await reader.read(65_536)
    writer.close()
    with suppress(ConnectionError):  # it may have hung up first
        await writer.wait_closed()
    return answer


HEAD = b"Host: x\r\nAuthorization: Bearer ann\r\n"


async def test_a_record_over_http(server: HttpServer) -> None:
    answer = await exchange(server, b"GET /api/task/1 HTTP/1.1\r\n" + HEAD + b"\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b'etag: "3"' in head
    assert b"server:" not in head
    assert body == b'{"id":"1","title":"a"}'


async def test_a_large_body_is_refused_before_it_is_sent(server: HttpServer) -> None:
    request = b"POST /api/task HTTP/1.1\r\n" + HEAD + b"Content-Length: 1000000000\r\n\r\n{"
    answer = await exchange(server, request)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    "request_text",
    [
        b"POST /api/task HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /api/task HTTP/1.1\r\n" + HEAD + b"Content-Length: -1\r\n\r\n{}",
        b"GET /api/task\x00 HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_broken_http_is_400(server: HttpServer, request_text: bytes) -> None:
    assert (await exchange(server, request_text)).startswith(b"HTTP/1.1 400 ")


async def test_stopping_answers_what_is_in_flight(services: Any, kernel: Any) -> None:
    made = HttpServer(create_application(services), LISTEN, drain_s=5)
    running = asyncio.create_task(made.run())
    await made.wait_listening()
    asked, release = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any) -> RecordReply:
        asked.set()
        await release.wait()
        return RecordReply(record=b'{"id":"1"}', id="1", version=1)

    kernel.slow["get"] = slow
    request = b"GET /api/task/1 HTTP/1.1\r\n" + HEAD + b"\r\n"
    answer = asyncio.create_task(exchange(made, request))
    async with asyncio.timeout(5):
        await asked.wait()
        stopping = asyncio.create_task(made.stop())
        release.set()
        assert (await answer).startswith(b"HTTP/1.1 200 ")
        await stopping
        await running


async def test_a_taken_port_is_told(server: HttpServer, services: Any) -> None:
    other = HttpServer(create_application(services), ListenSettings(port=server.port), drain_s=1)
    with pytest.raises(OSError, match="cannot listen"):
        await other.run()


async def test_a_slow_read_is_cancelled_when_its_client_hangs_up(
    server: HttpServer, kernel: Any
) -> None:
    entered, cut = asyncio.Event(), asyncio.Event()

    async def stall(*_: Any) -> RecordReply:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cut.set()
            raise
        raise AssertionError

    kernel.slow["get"] = stall
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /api/task/1 HTTP/1.1\r\n" + HEAD + b"\r\n")
    async with asyncio.timeout(5):
        await entered.wait()
        writer.close()
        await cut.wait()
