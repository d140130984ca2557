"""What strangers and callers send is bounded before it is believed: no body makes a process grow (S7)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from objectql_devstack.cluster import Cluster
from tests.clusters import client

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

LIMIT_BYTES = 1_048_576
"""The longest body that the gateway reads."""

AT_ONCE = 16
HUGE_BYTES = 100_000_000
UNREAD_BYTES = 2 * LIMIT_BYTES * AT_ONCE
"""Twice the limit for each of those who ask at once; read whole, they would be 1.6 GB."""
READ_BYTES = 6 * LIMIT_BYTES * AT_ONCE
"""What is within the limit is held as body, as message, and until the bus has taken it, and of one
at a time there is a tree; measured are 3.5 times. Trees of all would be some 50 times."""


def fitting(text: Callable[[int], bytes]) -> bytes:
    """The longest `text` of so many parts that is within the limit."""
    parts = 1
    while len(text(parts * 2)) < LIMIT_BYTES:
        parts *= 2
    return text(parts)


BODIES: dict[str, bytes] = {
    "deep lists": fitting(lambda n: b'{"name":' + b"[" * n + b"]" * n + b"}"),
    "deep objects": fitting(lambda n: b'{"a":' * n + b"1" + b"}" * n),
    "many keys": fitting(lambda n: json.dumps({f"k{i}": 0 for i in range(n)}).encode()),
    "one key many times": fitting(lambda n: b"{" + b'"name":"x",' * n + b'"name":"x"}'),
    "many small records": fitting(lambda n: b"[" + b"{}," * n + b"{}]"),
    "a long number": fitting(lambda n: b'{"name":"x","employees":' + b"9" * n + b"}"),
    "a long exponent": b'{"name":"x","employees":1e' + b"9" * 1000 + b"}",
    "no number": b'{"name":"x","employees":NaN}',
    "NUL": b'{"name":"a\\u0000b"}',
    "no UTF-8": b'{"name":"' + b"\xff" * 1000 + b'"}',
    "escapes": fitting(lambda n: b'{"name":"' + b"\\u00e9" * n + b'"}'),
}


def peak_bytes(cluster: Cluster, name: str) -> int:
    """The most memory that a process has had since `forget_peak`."""
    status = Path(f"/proc/{cluster.pid(name)}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def forget_peak(cluster: Cluster, name: str) -> int:
    """What a process has now, from where its peak is counted."""
    Path(f"/proc/{cluster.pid(name)}/clear_refs").write_text("5")
    return peak_bytes(cluster, name)


@pytest.mark.parametrize("name", BODIES)
async def test_hostile_json_is_refused_and_needs_little_more_than_its_length(
    guarded: Cluster, name: str
) -> None:
    async with client(guarded.env) as http:

        async def send(path: str) -> int:
            return (await http.post(path, content=BODIES[name])).status_code

        for path in ("/api/account", "/api/account/query", "/api/batch", "/api/objectql"):
            await send(path)  # what is loaded once is not counted
        before = {process: forget_peak(guarded, process) for process in guarded.names}
        for path in ("/api/account", "/api/account/query", "/api/batch", "/api/objectql"):
            statuses = await asyncio.gather(*(send(path) for _ in range(AT_ONCE)))
            assert set(statuses) <= {400, 413}, statuses
    for process, bytes_before in before.items():
        assert peak_bytes(guarded, process) - bytes_before <= READ_BYTES, process


@pytest.mark.parametrize("is_announced", [True, False], ids=["announced", "in chunks"])
async def test_a_huge_body_is_refused_unread(guarded: Cluster, is_announced: bool) -> None:
    before = forget_peak(guarded, "gateway-rest-1")
    answers = await asyncio.gather(*(_send_huge(guarded, is_announced) for _ in range(AT_ONCE)))
    assert {status for status, _ in answers} <= {b"413", b"cut off"}
    assert max(sent for _, sent in answers) < HUGE_BYTES // 2
    assert peak_bytes(guarded, "gateway-rest-1") - before <= UNREAD_BYTES
    async with client(guarded.env) as http:
        assert (await http.get("/api/account")).status_code == httpx.codes.OK


async def _send_huge(cluster: Cluster, is_announced: bool) -> tuple[bytes, int]:
    """The status, if it came before the end of the connection, and how much was sent until then."""
    url = urlsplit(cluster.env["OQL_REST_URL"])
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    framing = f"Content-Length: {HUGE_BYTES}" if is_announced else "Transfer-Encoding: chunked"
    writer.write(
        f"POST /api/account HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {cluster.env['OQL_ADMIN_TOKEN']}\r\n{framing}\r\n\r\n".encode()
    )
    sent = 0
    try:
        async for chunk in _chunks(is_announced):
            writer.write(chunk)
            await writer.drain()
            sent += len(chunk)
        status = (await reader.read(64)).split()[1]
    except ConnectionError:
        status = b"cut off"
    writer.close()
    return status, sent


async def _chunks(is_announced: bool) -> AsyncIterator[bytes]:
    part = b" " * 65_536
    for _ in range(HUGE_BYTES // len(part)):
        yield part if is_announced else b"10000\r\n" + part + b"\r\n"
