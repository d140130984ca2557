"""The proxies make the faults that they say, and no others."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncGenerator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.postgres_proxies import Frontend, PostgresProxy
from tests.proxies import Proxy

SOON_S = 5.0
"""Long enough for a slow machine; what must happen is waited for no longer."""

NEVER_S = 0.2
"""How long what must not happen is watched."""


@pytest.fixture
def proxy() -> Iterator[PostgresProxy]:
    with PostgresProxy() as made:
        yield made


@pytest.fixture
async def heard(proxy: Proxy) -> AsyncGenerator[bytearray]:
    """An echo behind the proxy, and what it has heard."""
    received = bytearray()
    writers: list[asyncio.StreamWriter] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while piece := await reader.read(65536):
                received.extend(piece)
                writer.write(piece)
        except ConnectionError:
            pass

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy.target = server.sockets[0].getsockname()[1]
    yield received
    server.close()
    for writer in writers:
        writer.transport.abort()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def client(proxy: Proxy, heard: bytearray) -> AsyncGenerator[Streams]:
    assert not heard
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(START)
    assert await answer(reader, len(START)) == START
    yield reader, writer
    writer.transport.abort()


async def answer(reader: asyncio.StreamReader, size: int) -> bytes:
    async with asyncio.timeout(SOON_S):
        return await reader.readexactly(size)


async def is_silent(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(NEVER_S):
            await reader.readexactly(1)
    except TimeoutError:
        return True
    return False


async def is_broken(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(SOON_S):
            return await reader.read(1) == b""
    except ConnectionError:
        return True


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def query(text: str) -> bytes:
    return message(b"Q", text.encode() + b"\0")


def parse(name: str, text: str) -> bytes:
    return message(b"P", name.encode() + b"\0" + text.encode() + b"\0\0\0")


def bind(name: str, portal: str = "") -> bytes:
    body = portal.encode() + b"\0" + name.encode() + b"\0" + b"\0" * 6
    return message(b"B", body)


def execute(portal: str = "") -> bytes:
    return message(b"E", portal.encode() + b"\0" + b"\0" * 4)


START = struct.pack("!II", 8, 80877103) + struct.pack("!II", 9, 196608) + b"\0"
"""What a client says first: it asks for encryption, then begins."""


async def test_a_cut_network_swallows_what_is_sent_and_keeps_connections(
    proxy: PostgresProxy, client: Streams
) -> None:
    reader, writer = client
    proxy.is_cut = True
    writer.write(query("one"))
    assert await is_silent(reader)
    proxy.is_cut = False
    assert await answer(reader, len(query("one"))) == query("one")


async def test_a_half_open_connection_carries_one_direction(
    proxy: PostgresProxy, client: Streams, heard: bytearray
) -> None:
    reader, writer = client
    proxy.silent = frozenset({"down"})
    writer.write(query("one"))
    async with asyncio.timeout(SOON_S):
        while not heard.endswith(query("one")):
            await asyncio.sleep(0)
    assert await is_silent(reader)


async def test_dropped_connections_are_reset_and_new_ones_are_let_in(
    proxy: PostgresProxy, client: Streams
) -> None:
    assert proxy.drop() == 1
    assert await is_broken(client[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(START)
    assert await answer(reader, len(START)) == START
    writer.transport.abort()


async def test_a_refusing_proxy_throws_out_whoever_connects(
    proxy: PostgresProxy, client: Streams
) -> None:
    proxy.is_refusing = True
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await is_broken(reader)
    writer.transport.abort()
    client[1].write(query("one"))
    assert await answer(client[0], len(query("one"))) == query("one")


async def test_a_narrow_connection_carries_no_more_than_its_bytes_per_second(
    proxy: PostgresProxy, client: Streams
) -> None:
    reader, writer = client
    proxy.bytes_per_s = 4000
    started_s = time.monotonic()
    long = query("x" * 1000)
    writer.write(long)
    assert await answer(reader, len(long)) == long
    assert time.monotonic() - started_s >= len(long) / 4000


async def test_a_statement_that_is_cut_before_never_reaches_the_server(
    proxy: PostgresProxy, client: Streams, heard: bytearray
) -> None:
    reader, writer = client
    proxy.at("commit prepared", "cut_before", after=1)
    writer.write(query("COMMIT PREPARED 'a'"))
    await answer(reader, len(query("COMMIT PREPARED 'a'")))
    writer.write(query("COMMIT PREPARED 'b'"))
    assert await is_broken(reader)
    assert b"'a'" in heard
    assert b"'b'" not in heard


async def test_a_statement_that_is_cut_after_reaches_the_server_and_its_answer_nobody(
    proxy: PostgresProxy, client: Streams, heard: bytearray
) -> None:
    reader, writer = client
    proxy.at("commit prepared", "cut_after")
    writer.write(query("COMMIT PREPARED 'a'"))
    assert await is_broken(reader)
    assert heard.endswith(query("COMMIT PREPARED 'a'"))


async def test_a_prepared_statement_is_met_each_time_it_is_carried_out(
    proxy: PostgresProxy, client: Streams, heard: bytearray
) -> None:
    reader, writer = client
    told: list[str] = []
    proxy.at("^insert", "hang", after=1, tell=told.append)
    once = parse("s1", "INSERT INTO t") + bind("s1") + execute()
    writer.write(once)
    await answer(reader, len(once))
    assert not proxy.has_struck.is_set()
    writer.write(bind("s1") + execute())
    assert await is_silent(reader)
    assert proxy.has_struck.is_set()
    assert told == ["INSERT INTO t"]
    assert heard.endswith(once)


_TEXTS = st.text(alphabet="abc '$1", max_size=20)
_SENDINGS = st.lists(
    st.one_of(
        _TEXTS.map(lambda text: (query(text), [text])),
        st.tuples(st.sampled_from(["", "s1", "s2"]), _TEXTS).map(
            lambda made: (parse(*made) + bind(made[0], "p") + execute("p"), [made[1]])
        ),
        st.just((message(b"S", b""), list[str]())),
    ),
    max_size=8,
)


@given(_SENDINGS, st.lists(st.integers(1, 7), max_size=40))
def test_statements_are_found_however_the_network_cuts_the_bytes(
    sendings: list[tuple[bytes, list[str]]], sizes: list[int]
) -> None:
    stream = START + b"".join(sent for sent, _ in sendings)
    pieces: list[bytes] = []
    for size in sizes:
        pieces.append(stream[:size])
        stream = stream[size:]
    frontend = Frontend()
    found = [sent for piece in (*pieces, stream) for sent in frontend.feed(piece)]
    assert b"".join(sent.message for sent in found) == b"".join((*pieces, stream))
    carried_out = [sent.statement for sent in found if sent.statement is not None]
    assert carried_out == [text for _, texts in sendings for text in texts]
