"""Clients of the WebSocket gateway for benchmarks: they count bytes, and read them later."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any


class Reader(asyncio.Protocol):
    """A socket that writes down what comes and when."""

    def __init__(self) -> None:
        self.chunks: list[tuple[float, bytes]] = []
        self.arrived = asyncio.Event()
        self._watched = b'"ready"'
        self._seen = 0
        self._tail = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.chunks.append((time.time(), data))
        text = self._tail + data
        self._seen += text.count(self._watched)
        self._tail = text[1 - len(self._watched) :]  # one of them may lie across two chunks
        self.arrived.set()

    def watch(self, text: bytes) -> None:
        """Count how often `text` comes from now on."""
        self._watched, self._seen, self._tail = text, 0, b""

    async def seen(self, count: int) -> None:
        """Return when what is watched for has come so often."""
        async with asyncio.timeout(120):
            while self._seen < count:
                self.arrived.clear()
                await self.arrived.wait()

    def say(self, **frame: Any) -> None:
        """Send a frame, masked with zeros."""
        body = json.dumps(frame).encode()
        length = bytes([0x80 | len(body)])
        if len(body) > 125:
            length = bytes([0x80 | 126]) + struct.pack(">H", len(body))
        assert self.transport is not None
        self.transport.write(b"\x81" + length + b"\0\0\0\0" + body)

    def frames(self) -> Iterator[tuple[float, dict[str, Any]]]:
        """What was told, each with when its last byte came."""
        buffer = b""
        for at, chunk in self.chunks:
            buffer += chunk
            if buffer.startswith(b"HTTP/1.1"):
                head, found, rest = buffer.partition(b"\r\n\r\n")
                if not found:
                    continue
                assert b" 101 " in head.splitlines()[0], head
                buffer = rest
            while len(buffer) >= 2:
                size, start = buffer[1], 2
                if size == 126:
                    size, start = struct.unpack(">H", buffer[2:4])[0], 4
                elif size == 127:
                    size, start = struct.unpack(">Q", buffer[2:10])[0], 10
                if len(buffer) < start + size:
                    break
                if buffer[0] & 0x0F == 1:
                    yield at, json.loads(buffer[start : start + size])
                buffer = buffer[start + size :]


class Forgetful(Reader):
    """Keeps the last chunk only; for crowds that are told a lot."""

    def data_received(self, data: bytes) -> None:
        self.chunks.clear()
        super().data_received(data)


async def connect(
    port: int, token: str, kind: type[Reader] = Reader, *, receive_bytes: int | None = None
) -> Reader:
    """A socket of the user that `token` names, whose `ready` has come.

    The system takes in about `receive_bytes` that nobody has read.
    """
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)  # noqa: FBT003 - its own signature
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    _, reader = await loop.create_connection(kind, sock=sock)
    key = base64.b64encode(os.urandom(16)).decode()
    assert reader.transport is not None
    reader.transport.write(
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {token}\r\n\r\n".encode()
    )
    await reader.seen(1)
    return reader


async def subscribe(readers: Sequence[Reader], wheres: Sequence[Sequence[dict[str, Any]]]) -> None:
    """Let each reader subscribe to its filters, a few at a time."""
    for reader, filters in zip(readers, wheres, strict=True):
        reader.watch(b'"subscribed"')
        for start in range(0, len(filters), 10):
            for number, where in enumerate(filters[start : start + 10], start):
                reader.say(
                    type="subscribe",
                    id=f"s{number}",
                    object="note",
                    where=where,
                    fields=["name", "created_at"],
                )
            await reader.seen(min(start + 10, len(filters)))


def hang_up(readers: Sequence[Reader]) -> None:
    for reader in readers:
        assert reader.transport is not None
        reader.transport.abort()
