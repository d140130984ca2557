from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.certificates import Authority

from objectql.kernel.result_cache.redis_store import RedisStore
from objectql.kernel.result_cache.store import MemoryStore
from objectql.redis.connection import RedisAddress, RedisConnection, RedisFailed
from objectql.testing.result_stores import ResultStoreConformance
from objectql_devstack import DataStack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataStack]:
    with DataStack.start(tmp_path_factory.mktemp("redis"), {"redis"}) as running:
        yield running


@asynccontextmanager
async def connected(url: str, namespace: str) -> AsyncGenerator[RedisStore]:
    # A second: the machine that runs the tests may be late, which is not what they are about.
    store = RedisStore(url, namespace=namespace, timeout_s=1.0)
    task = asyncio.create_task(store.run())
    async with asyncio.timeout(10):
        while not store.is_available:
            await asyncio.sleep(0.01)
    yield store
    task.cancel()
    await asyncio.wait([task])


class TestMemoryStore(ResultStoreConformance):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


@pytest.mark.servers
class TestRedisStore(ResultStoreConformance):
    @pytest.fixture
    async def store(
        self, stack: DataStack, request: pytest.FixtureRequest
    ) -> AsyncGenerator[RedisStore]:
        async with connected(stack.redis_url, request.node.name) as store:
            yield store


@pytest.mark.servers
async def test_namespaces_do_not_see_each_other(stack: DataStack) -> None:
    async with connected(stack.redis_url, "one") as one, connected(stack.redis_url, "two") as two:
        one.keep("e:1", b"x", 60_000)
        assert await one.look(["e:1"]) == [b"x"]
        assert await two.look(["e:1"]) == [None]


@pytest.mark.servers
async def test_an_entry_ends_by_itself(stack: DataStack) -> None:
    async with connected(stack.redis_url, "ttl") as store:
        store.keep("e:1", b"x", 30)
        async with asyncio.timeout(5):
            while await store.look(["e:1"]) != [None]:
                await asyncio.sleep(0.01)


@pytest.mark.servers
async def test_a_store_whose_server_is_frozen_says_not_now_and_comes_back(
    stack: DataStack,
) -> None:
    async with connected(stack.redis_url, "frozen") as store:
        stack.freeze("redis")
        try:
            assert await store.look(["e:1"]) is None
            assert not store.is_available
            assert not await store.forget(["t:a"])
        finally:
            stack.thaw("redis")
        async with asyncio.timeout(10):
            while await store.look(["e:1"]) is None:
                await asyncio.sleep(0.02)


@pytest.mark.servers
async def test_what_is_forgotten_in_one_turn_is_one_command_and_outlives_a_caller_that_goes(
    stack: DataStack,
) -> None:
    async with connected(stack.redis_url, "together") as store:
        await store.claim(["t:o", "t:o/1", "t:o/2"])
        before = await unlinks(stack.redis_url)
        callers = [asyncio.create_task(store.forget(["t:o", f"t:o/{n}"])) for n in (1, 2)]
        await asyncio.sleep(0)  # both have asked
        callers[0].cancel()
        assert await callers[1]
        assert await store.look(["t:o", "t:o/1", "t:o/2"]) == [None, None, None]
        assert await unlinks(stack.redis_url) == before + 1


async def unlinks(url: str) -> int:
    """How many `UNLINK` commands the server has done."""
    connection = await RedisConnection.open(RedisAddress.of(url), 1.0)
    (text,) = await connection.ask(("INFO", "commandstats"))
    connection.close()
    found = re.search(rb"cmdstat_unlink:calls=(\d+)", text)
    return int(found[1]) if found else 0


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", RedisAddress("h", 6379)),
        ("redis://h:1/2", RedisAddress("h", 1, database=2)),
        ("rediss://u:p%40@h", RedisAddress("h", 6379, "u", "p@", is_encrypted=True)),
        ("redis://:p@h", RedisAddress("h", 6379, None, "p")),
        (
            "rediss://h?ssl_ca_certs=/etc/ca.pem",
            RedisAddress("h", 6379, is_encrypted=True, ca="/etc/ca.pem"),
        ),
    ],
)
def test_urls_say_where_and_how(url: str, address: RedisAddress) -> None:
    assert RedisAddress.of(url) == address


@pytest.mark.parametrize(
    ("host", "authority", "is_trusted"),
    [
        ("localhost", "ours", True),
        ("127.0.0.1", "ours", True),
        ("127.0.0.2", "ours", False),  # the certificate does not name it
        ("localhost", "another", False),
        ("localhost", "missing", False),
        ("localhost", None, False),  # the system's
    ],
)
async def test_a_server_is_told_nothing_before_its_certificate_is_verified(
    tmp_path: Path, host: str, authority: str | None, is_trusted: bool
) -> None:
    for name in ("ours", "another"):
        (tmp_path / name).mkdir()
    ours, _ = Authority(tmp_path / "ours"), Authority(tmp_path / "another")
    files = ours.issue("redis")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"replication\r\n"))
        facts = b"role:master\r\nrun_id:abc\r\n"
        writer.write(b"+OK\r\n" + 2 * (b"$%d\r\n%b\r\n" % (len(facts), facts)))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "0.0.0.0", 0, ssl=context)  # noqa: S104 - two of its addresses
    port = server.sockets[0].getsockname()[1]
    query = "" if authority is None else f"?ssl_ca_certs={tmp_path / authority / 'ca.pem'}"
    address = RedisAddress.of(f"rediss://:sesame@{host}:{port}{query}")
    if is_trusted:
        connection = await RedisConnection.open(address, timeout_s=10)
        connection.close()
    else:
        with pytest.raises(RedisFailed):
            await RedisConnection.open(address, timeout_s=10)
    server.close()
    assert [b"sesame" in text for text in heard] == [True] * is_trusted


def test_another_url_is_refused() -> None:
    with pytest.raises(ValueError, match="redis://"):
        RedisAddress.of("http://h")
