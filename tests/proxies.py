"""A TCP proxy whose network can be made slow, narrow, silent or cut, on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

Way: TypeAlias = Literal["up", "down"]
"""`up` is from who connected to the target."""

_LOOK_S = 0.01


class Link:
    """One connection through a proxy.

    `is_silent` swallows what it carries, as `Proxy.is_cut` does for all. `ends_at_answer` breaks it
    off in the place of the next piece from the target.
    """

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._writers = (near, far)
        self.is_silent = False
        self.ends_at_answer = False

    def cut(self) -> None:
        """Break both halves off: each side reads a reset."""
        for writer in self._writers:
            writer.transport.abort()


class Proxy:
    """Passes bytes on to `target`, a loopback port that may be named later, or told when it is asked for.

    `delay_s` holds up each piece in each direction, `bytes_per_s` limits what each connection carries
    in each. While `is_cut`, nothing passes, what was connected stays connected, and who connects waits
    for ever: a network that swallows packets. `silent` does so in one direction only: a half-open
    connection. While `is_refusing`, whoever connects is thrown out.
    """

    def __init__(self) -> None:
        self.target: int | Callable[[], int | None] | None = None
        self.delay_s = 0.0
        self.bytes_per_s: int | None = None
        self.is_cut = False
        self.is_refusing = False
        self.silent: frozenset[Way] = frozenset()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: set[Link] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def drop(self) -> int:
        """Break every connection off; how many there were. New ones are let in."""
        return asyncio.run_coroutine_threadsafe(self._drop(), self._loop).result(10)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _drop(self) -> int:  # noqa: RUF029 - runs on the proxy's own loop
        links = tuple(self._links)
        for link in links:
            link.cut()
        return len(links)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connected(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # either side hung up, or the test is over
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = self.target() if callable(self.target) else self.target
        if target is None or self.is_refusing:
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        link = Link(writer, far_writer)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as group:
                ways = (
                    group.create_task(self._pass("up", reader, far_writer, link)),
                    group.create_task(self._pass("down", far_reader, writer, link)),
                )
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
        except* OSError:
            pass
        finally:
            self._links.discard(link)
            far_writer.transport.abort()

    def watching(self, link: Link) -> Callable[[bytes], bytes]:  # noqa: ARG002 - for those who look
        """What is done with each piece on its way up a new connection: the part that goes on."""
        return _as_it_is

    async def _pass(
        self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link
    ) -> None:
        watch = self.watching(link) if way == "up" else _as_it_is
        while piece := await reader.read(self.bytes_per_s or 65536):
            if way == "down" and link.ends_at_answer:
                link.cut()
                return
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self.bytes_per_s:
                await asyncio.sleep(len(piece) / self.bytes_per_s)
            passed = watch(piece)
            while self.is_cut or link.is_silent or way in self.silent:
                await asyncio.sleep(_LOOK_S)
            writer.write(passed)
            await writer.drain()


def _as_it_is(piece: bytes) -> bytes:
    return piece
