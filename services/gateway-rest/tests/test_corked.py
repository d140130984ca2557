"""What is written in one turn of the loop leaves in one write, and nothing is lost or held for long."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from objectql_gateway_rest.corked import MAX_HELD, CorkedTransport


class Wire(asyncio.Transport):
    """Notes what is done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closed
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def test_head_and_body_of_a_response_are_one_write() -> None:
    wire = Wire()
    corked = CorkedTransport(wire)
    corked.write(b"head,")
    corked.writelines([b"body", b"."])
    assert wire.writes == []
    await asyncio.sleep(0)
    assert wire.writes == [b"head,body."]


async def test_closing_sends_what_is_held_first() -> None:
    wire = Wire()
    corked = CorkedTransport(wire)
    corked.write(b"bye")
    corked.close()
    assert (wire.writes, wire.is_closed) == ([b"bye"], True)
    await asyncio.sleep(0)
    assert wire.writes == [b"bye"]


async def test_nothing_is_written_to_a_client_that_is_gone() -> None:
    wire = Wire()
    corked = CorkedTransport(wire)
    corked.write(b"late")
    wire.close()
    await asyncio.sleep(0)
    aborted = CorkedTransport(Wire())
    aborted.write(b"late")
    aborted.abort()
    await asyncio.sleep(0)
    assert wire.writes == []
    assert aborted.is_closing()


@given(st.lists(st.integers(0, MAX_HELD), max_size=12))
def test_a_stream_is_held_back_by_no_more_than_the_limit(sizes: list[int]) -> None:
    async def run() -> None:
        wire = Wire()
        corked = CorkedTransport(wire)
        chunks = [bytes([n]) * size for n, size in enumerate(sizes)]
        for sent, chunk in enumerate(chunks, 1):
            corked.write(chunk)
            assert sum(map(len, chunks[:sent])) - sum(map(len, wire.writes)) <= MAX_HELD
        await asyncio.sleep(0)
        assert b"".join(wire.writes) == b"".join(chunks)

    asyncio.run(run())
