from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import pytest

from objectql.kernel.result_cache.redis_store import RedisStore
from objectql.kernel.result_cache.store import MemoryStore
from objectql.redis.connection import RedisAddress, RedisConnection
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
    ],
)
def test_urls_say_where_and_how(url: str, address: RedisAddress) -> None:
    assert RedisAddress.of(url) == address


def test_another_url_is_refused() -> None:
    with pytest.raises(ValueError, match="redis://"):
        RedisAddress.of("http://h")
