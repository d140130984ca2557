"""A client of the WebSocket gateway for the tests: frames in, frames out, nothing done by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from objectql_devstack.cluster import Cluster

FrameDict: TypeAlias = dict[str, Any]

PATIENCE_S = 30.0


class Socket:
    """One connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._heard: list[FrameDict] = []
        """Frames that came while a response was waited for."""
        self._asked = 0
        self._answers: dict[str, FrameDict] = {}
        self._reading = asyncio.Lock()

    async def say(self, **frame: Any) -> None:
        """Send a frame; a trailing `_` of a name is left out (`from_`)."""
        named = {name.rstrip("_"): value for name, value in frame.items()}
        await self.connection.send(json.dumps(named))

    async def hear(self) -> FrameDict:
        """The next frame."""
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await self.connection.recv())

    async def subscribe(self, object: str, id: str = "s", **more: Any) -> FrameDict:
        """Subscribe; the `subscribed` frame."""
        await self.say(type="subscribe", id=id, object=object, **more)
        told = await self.hear()
        assert told["type"] == "subscribed", told
        assert told["sub"] == id
        return told

    async def ask(self, operation: str, **more: Any) -> FrameDict:
        """The response to a request; several may be asked at once, while nobody else listens."""
        self._asked += 1
        id = f"r{self._asked}"
        await self.say(type="request", id=id, operation=operation, **more)
        while id not in self._answers:
            async with self._reading:
                if id not in self._answers:
                    told = await self.hear()
                    if told["type"] == "response":
                        self._answers[told["id"]] = told
                    else:
                        self._heard.append(told)
        return self._answers.pop(id)

    async def events(self, count: int) -> list[FrameDict]:
        """The next `count` events, those of batches one by one."""
        found: list[FrameDict] = []
        while len(found) < count:
            told = self._heard.pop(0) if self._heard else await self.hear()
            found += told["events"] if told["type"] == "batch" else [told]
        return found

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the close, whatever is told before it."""
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionClosed):
                while True:
                    await self.connection.recv()
        return self.connection.close_code or 0, self.connection.close_reason or ""


def socket_urls(cluster: Cluster) -> list[str]:
    """The addresses of all WebSocket gateways."""
    names = [name for name in cluster.names if name.startswith("gateway-ws")]
    return [f"ws://127.0.0.1:{cluster.port_of(name)}/ws" for name in names]


@asynccontextmanager
async def open_socket(url: str, token: str | None, **more: Any) -> AsyncGenerator[Socket]:
    """A socket, as whom `token` names."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with connect(url, additional_headers=headers, max_size=None, **more) as connection:
        socket = Socket(connection)
        if token is not None:
            ready = await socket.hear()
            assert ready["type"] == "ready", ready
        yield socket
