from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from objectql.service.health import Asked, Health, Page, PageServer, json_page


async def send(port: int, request: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.fixture
async def served() -> AsyncIterator[tuple[PageServer, Health]]:
    health = Health()
    server = PageServer({"/live": health.live_page, "/ready": health.ready_page})
    await server.start("127.0.0.1", 0)
    yield server, health
    await server.close()


async def test_ready_answers_503_with_the_reason_until_every_check_passes(
    served: tuple[PageServer, Health],
) -> None:
    server, health = served
    state: list[str | None] = ["not connected"]
    health.add_check("bus", lambda: state[0])
    health.add_check("store", lambda: None)
    status, body = await send(server.port, b"GET /ready HTTP/1.1\r\n\r\n")
    assert status == 503
    assert json.loads(body)["checks"] == {"bus": "not connected", "store": "ok"}
    assert (await send(server.port, b"GET /live HTTP/1.1\r\n\r\n"))[0] == 200
    state[0] = None
    assert (await send(server.port, b"GET /ready?x=1 HTTP/1.1\r\n\r\n"))[0] == 200


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /other HTTP/1.1\r\n\r\n", 404),
        (b"POST /live HTTP/1.1\r\n\r\n", 405),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /live HTTP/1.1\r\nx: " + b"y" * 40_000 + b"\r\n\r\n", 400),
    ],
)
async def test_bad_requests_are_answered(
    served: tuple[PageServer, Health], request_head: bytes, status: int
) -> None:
    assert (await send(served[0].port, request_head))[0] == status


async def test_a_command_is_told_who_asks_and_is_not_there_for_readers() -> None:
    heard: list[Asked] = []

    async def command(asked: Asked) -> Page:  # noqa: RUF029 - a command is a coroutine
        heard.append(asked)
        return json_page({}, 202)

    server = PageServer({}, {"POST /do": command})
    await server.start("127.0.0.1", 0)
    try:
        head = (
            b"POST /do?what=a%20b&c=1 HTTP/1.1\r\nauthorization:  Bearer abc.def \r\nx: y\r\n\r\n"
        )
        assert (await send(server.port, head))[0] == 202
        assert (await send(server.port, b"POST /do HTTP/1.1\r\nx: Bearer no\r\n\r\n"))[0] == 202
        assert (await send(server.port, b"GET /do HTTP/1.1\r\n\r\n"))[0] == 404
    finally:
        await server.close()
    assert heard == [Asked("abc.def", {"what": "a b", "c": "1"}), Asked("", {})]
