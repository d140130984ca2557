"""What waits for one client is bounded, in order, and news wait as long as it reads something else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest

from objectql.service.live.outgoing import Outgoing, Overflow


class Client:
    """Reads one frame for each `read`."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.writes = 0
        self._may = asyncio.Semaphore(0)
        self._did = asyncio.Semaphore(0)

    async def send(self, frames: Sequence[bytes]) -> None:
        self.writes += 1
        for frame in frames:
            await self._may.acquire()
            self.got.append(frame)
            self._did.release()

    async def read(self, count: int = 1) -> list[bytes]:
        for _ in range(count):
            self._may.release()
        async with asyncio.timeout(10):
            for _ in range(count):
                await self._did.acquire()
        return self.got[-count:]


class Latest:
    """Knows one number only, the last."""

    def __init__(self) -> None:
        self.number: int | None = None

    def take_news(self) -> tuple[bytes, str] | None:
        number, self.number = self.number, None
        return None if number is None else (b"%d" % number, f"at {number}")


@asynccontextmanager
async def sending(client: Client, limit_bytes: int = 100) -> AsyncGenerator[Outgoing]:
    outgoing = Outgoing(limit_bytes)

    async def send_all() -> None:
        while messages := await outgoing.take():
            await client.send(messages)

    task = asyncio.ensure_future(send_all())
    try:
        yield outgoing
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_frames_go_out_in_order_and_leave_their_cursor() -> None:
    client = Client()
    async with sending(client) as outgoing:
        for number in range(3):
            outgoing.put(b"%d" % number, f"c{number}" if number < 2 else None)
        assert await client.read(3) == [b"0", b"1", b"2"]
        async with asyncio.timeout(10):
            await outgoing.empty()
        assert outgoing.cursor == "c1"


async def test_frames_that_wait_go_out_together_and_not_too_many_of_them() -> None:
    client = Client()
    async with sending(client, limit_bytes=10**6) as outgoing:
        for number in range(1000):
            outgoing.put(b"%03d" % number)
        await client.read(1000)
        assert client.writes == 1
        for _ in range(20):
            outgoing.put(b"x" * 10_000)
        await client.read(20)
        assert 3 <= client.writes - 1 <= 4


async def test_more_than_may_wait_is_refused_and_a_frame_alone_may_be_longer() -> None:
    client = Client()
    async with sending(client, limit_bytes=10) as outgoing:
        outgoing.put(b"x" * 50)
        with pytest.raises(Overflow):
            outgoing.put(b"y")
        await client.read()
        async with asyncio.timeout(10):
            await outgoing.room()
        outgoing.put(b"y")


async def test_news_are_made_when_the_client_can_take_them_and_not_before() -> None:
    client, news = Client(), Latest()
    async with sending(client) as outgoing:
        outgoing.put(b"first")
        for number in range(1000):
            news.number = number
            outgoing.put_later(news)
        outgoing.put(b"second")
        assert outgoing.waiting_bytes < 100
        assert await client.read(3) == [b"first", b"second", b"999"]
        news.number = 1000
        outgoing.put_later(news)
        assert await client.read() == [b"1000"]
        async with asyncio.timeout(10):
            await outgoing.empty()
        assert outgoing.cursor == "at 1000"


async def test_news_that_are_none_any_more_are_nothing() -> None:
    client, news = Client(), Latest()
    async with sending(client) as outgoing:
        outgoing.put_later(news)
        await asyncio.sleep(0)
        outgoing.put(b"later")
        assert await client.read() == [b"later"]


async def test_nothing_waits_and_nothing_is_sent_after_the_end() -> None:
    client = Client()
    async with sending(client) as outgoing:
        outgoing.put(b"first", "c1")
        await asyncio.sleep(0)
        outgoing.put(b"second", "c2")
        outgoing.close()
        assert outgoing.waiting_bytes == len(b"first")  # which is being sent
        assert await client.read() == [b"first"]
        async with asyncio.timeout(10):
            await outgoing.empty()
        assert await outgoing.take() == []
        assert (client.got, outgoing.cursor) == ([b"first"], "c1")


async def test_messages_that_wait_count_before_they_are_made_and_are_made_for_who_reads() -> None:
    client, made = Client(), list[int]()

    def make(number: int) -> bytes:
        made.append(number)
        return b"%d" % number

    async with sending(client, limit_bytes=100) as outgoing:
        outgoing.put(partial(make, 0), "c0", size=45)
        await asyncio.sleep(0)
        for number in (1, 2):
            outgoing.put(partial(make, number), f"c{number}", size=45)
        with pytest.raises(Overflow):
            outgoing.put(partial(make, 3), "c3", size=45)
        assert (made, outgoing.cursor, outgoing.waiting_bytes) == ([0], "c0", 135)
        assert await client.read(3) == [b"0", b"1", b"2"]
        async with asyncio.timeout(10):
            await outgoing.empty()
        assert made == [0, 1, 2]
