"""What every event stream promises its readers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from objectql.bus.port import EventStream, PositionLost
from objectql.errors import Unavailable
from objectql.wire.stream import StreamMessage

ALL = "t.evt.>"


def message(n: int, topic: str = "a") -> StreamMessage:
    """The message with the body `n`."""
    return StreamMessage(f"t.evt.{topic}", b"%d" % n, f"id-{n}")


async def bodies(stream: EventStream, count: int, *, after: int, epoch: str) -> list[bytes]:
    """The first `count` messages behind `after`."""
    found: list[bytes] = []
    async with asyncio.timeout(30), aclosing(stream.read(after, epoch=epoch, subject=ALL)) as read:
        while len(found) < count:
            found += [entry.body for entry in await anext(read)]
    return found


class StreamConformance:
    """Needs the fixture `stream`: an empty one that takes `t.evt.>`."""

    async def lose(self, stream: EventStream) -> None:
        """Delete the stream behind everybody's back."""
        raise NotImplementedError

    async def test_reader_gets_what_was_there_and_what_comes(self, stream: EventStream) -> None:
        state = await stream.state()
        await stream.publish([message(n) for n in range(3)])
        reading = asyncio.ensure_future(bodies(stream, 6, after=state.last, epoch=state.epoch))
        for n in range(3, 6):
            await asyncio.sleep(0)
            await stream.publish([message(n)])
        assert await reading == [b"%d" % n for n in range(6)]

    async def test_positions_count_on_and_reading_goes_on_behind_any(
        self, stream: EventStream
    ) -> None:
        state = await stream.state()
        await stream.publish([message(n) for n in range(5)])
        held = await stream.state()
        assert (held.epoch, held.last) == (state.epoch, state.last + 5)
        assert await bodies(stream, 2, after=state.last + 3, epoch=state.epoch) == [b"3", b"4"]

    async def test_bounded_reader_ends_at_its_position_whatever_its_subject_holds(
        self, stream: EventStream
    ) -> None:
        state = await stream.state()
        await stream.publish([message(n, "b" if n % 3 else "a") for n in range(9)])

        async def read(subject: str, until: int) -> list[bytes]:
            found: list[bytes] = []
            async with asyncio.timeout(30):
                async for entries in stream.read(
                    state.last, epoch=state.epoch, subject=subject, until=state.last + until
                ):
                    found += [entry.body for entry in entries]
            return found

        assert await read(ALL, 4) == [b"0", b"1", b"2", b"3"]
        assert await read("t.evt.a", 8) == [b"0", b"3", b"6"]
        assert await read("t.evt.a", 2) == [b"0"]
        assert await read("t.evt.none", 9) == []

    async def test_messages_know_where_they_lie_also_those_that_come_again(
        self, stream: EventStream
    ) -> None:
        state = await stream.state()
        stored = await stream.publish([message(n) for n in (0, 1, 0)])
        first = state.last + 1
        assert stored == (state.epoch, [first, first + 1, first])

    async def test_a_stream_that_is_filled_again_is_the_one_that_was(
        self, stream: EventStream
    ) -> None:
        """Whoever read it goes on, and nobody gets in before it is whole."""
        await self.lose(stream)
        assert (await stream.condition()).is_ == "missing"
        await stream.begin("lost", 11)
        await stream.fill(11, [message(0), None])
        assert await stream.condition() == ("filling", "lost", 12)
        with pytest.raises(Unavailable):
            await stream.state()
        with pytest.raises(Unavailable):
            await stream.publish([message(9)])
        with pytest.raises(Unavailable):  # it is not the next one
            await stream.fill(12, [message(8)])
        reading = asyncio.ensure_future(bodies(stream, 2, after=12, epoch="lost"))
        await stream.fill(13, [message(1)])
        await stream.open("lost")
        assert await stream.condition() == ("open", "lost", 13)
        assert await stream.publish([message(1), message(2)]) == ("lost", [13, 14])
        assert await reading == [b"1", b"2"]
        assert (await bodies(stream, 3, after=10, epoch="lost"))[:2] == [b"0", b"1"]
        await stream.ensure()
        assert (await stream.state()).epoch == "lost"

    async def test_position_of_another_stream_or_beyond_the_end_is_lost(
        self, stream: EventStream
    ) -> None:
        state = await stream.state()
        for after, epoch in ((state.last, "another"), (state.last + 1, state.epoch)):
            with pytest.raises(PositionLost):
                async with asyncio.timeout(30):
                    await anext(stream.read(after, epoch=epoch, subject=ALL, until=after + 1))
