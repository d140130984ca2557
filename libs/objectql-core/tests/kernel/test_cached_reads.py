"""A read that begins after a write was answered never sees what was there before it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from objectql.clock import SystemClock
from objectql.context import Context, ReadPolicy
from objectql.drivers.protocol import Driver, Freshness
from objectql.errors import RecordNotFound, Unavailable
from objectql.kernel.kernel import Kernel
from objectql.kernel.result_cache.cache import CacheLimits, ResultCache
from objectql.kernel.result_cache.store import MemoryStore
from objectql.kernel.result_cache.trust import LISTEN_S, MAX_DOUBTED, Trust
from objectql.plugins.context import HookContext
from objectql.query.parse import parse_query
from objectql.wire.messages import BatchOperation, BatchRequest, FindRequest, GetRequest

from .conftest import CRM


class CutOff(MemoryStore):
    """The way of one kernel to a store that others reach."""

    def __init__(self, shared: MemoryStore) -> None:
        super().__init__()
        self.values = shared.values


@pytest.fixture
def cache() -> ResultCache:
    return ResultCache(MemoryStore())


@pytest.fixture
async def kernel(driver: Driver, cache: ResultCache) -> AsyncGenerator[Kernel]:
    kernel = Kernel([driver, CRM], cache=cache)
    await kernel.start()
    yield kernel
    await kernel.stop()


async def name_of(kernel: Kernel, id: str = "a") -> Any:
    found = await kernel.get("account", id)
    return None if found is None else found["name"]


async def names(kernel: Kernel) -> list[str]:
    return [row["name"] for row in (await kernel.find("account", {"orderBy": ["id"]})).value]


async def test_what_was_read_is_read_from_the_cache(kernel: Kernel, cache: ResultCache) -> None:
    await kernel.create("account", {"id": "a", "name": "A"})
    first = [await kernel.get("account", "a"), (await kernel.find("account")).value]
    hits = cache.statistics.hits
    assert [await kernel.get("account", "a"), (await kernel.find("account")).value] == first
    assert cache.statistics.hits == hits + 2


async def test_an_answer_tells_that_it_came_from_the_cache(kernel: Kernel, ask: Any) -> None:
    await kernel.create("account", {"id": "a", "name": "A"})
    told: list[str] = []
    for _ in range(2):
        reply = await kernel.handle_get(GetRequest("account", "a"), ask("admin"))
        assert reply.timing is not None
        told.append(reply.timing[2])
    assert told == ["db", "cache"]


async def test_absence_is_kept_too_and_ends_with_the_creation(
    kernel: Kernel, cache: ResultCache
) -> None:
    assert await name_of(kernel) is None
    assert await name_of(kernel) is None
    assert cache.statistics.hits == 1
    await kernel.create("account", {"id": "a", "name": "A"})
    assert await name_of(kernel) == "A"


async def test_a_write_forgets_the_record_and_the_lists_and_nothing_else(
    kernel: Kernel, cache: ResultCache
) -> None:
    await kernel.create("account", {"id": "a", "name": "A"})
    await kernel.create("account", {"id": "b", "name": "B"})
    await kernel.create("contact", {"id": "c", "name": "C"})
    for _ in range(2):
        await names(kernel)
        await name_of(kernel)
        await name_of(kernel, "b")
        await kernel.find("contact")
    await kernel.update("account", "a", {"name": "AA"})
    before = cache.statistics.hits
    assert (await names(kernel), await name_of(kernel)) == (["AA", "B"], "AA")
    assert cache.statistics.hits == before
    assert await name_of(kernel, "b") == "B"
    assert await kernel.count("account") == 2
    await kernel.find("contact")
    assert cache.statistics.hits == before + 2


async def test_answers_through_relations_end_with_what_they_lead_to(kernel: Kernel) -> None:
    await kernel.create("account", {"id": "a", "name": "A"})
    await kernel.create("contact", {"id": "c", "name": "C", "account": "a"})

    async def seen() -> tuple[Any, ...]:
        expanded = (await kernel.find("contact", {"expand": ["account"]})).value[0]["account"]
        path = (await kernel.find("contact", {"fields": ["account.name"]})).value[0]
        found = await kernel.count("contact", {"where": {"account.name": "A"}})
        return (expanded and expanded["name"], [*path.values()][-1], found)

    assert [await seen(), await seen()] == [("A", "A", 1)] * 2
    await kernel.update("account", "a", {"name": "B"})
    assert (await seen())[2] == 0
    assert (await seen())[0] == "B"
    await kernel.delete("account", "a")  # empties the lookup of the contact
    assert (await kernel.get("contact", "c") or {}).get("account") is None
    assert (await seen())[0] is None


async def test_cascades_and_the_writes_of_hooks_are_forgotten(kernel: Kernel) -> None:
    await kernel.create("account", {"id": "a", "name": "A"})
    await kernel.create("invoice", {"id": "i", "total": 1})
    await kernel.create("line", {"id": "l", "invoice": "i", "title": "x"})

    async def note(ctx: HookContext) -> None:
        await ctx.api.update("account", "a", {"name": "hooked"})

    kernel.engine.hooks.register("beforeDelete", "invoice", note)
    assert (await name_of(kernel), (await kernel.get("line", "l") or {})["title"]) == ("A", "x")
    await kernel.delete("invoice", "i")
    assert (await name_of(kernel), await kernel.get("line", "l")) == ("hooked", None)


async def test_batches_are_forgotten_as_a_whole(kernel: Kernel) -> None:
    await kernel.create("account", {"id": "a", "name": "A"})
    assert await names(kernel) == ["A"]
    operations = (
        BatchOperation("account", "update", "a", b'{"name":"AA"}'),
        BatchOperation("account", "create", None, b'{"id":"b","name":"B"}'),
    )
    await kernel.batch(BatchRequest(operations))
    assert await names(kernel) == ["AA", "B"]


async def test_what_a_transaction_reads_is_its_own(kernel: Kernel) -> None:
    await kernel.create("account", {"id": "a", "name": "A"})
    seen: list[Any] = []

    async def look(ctx: HookContext) -> None:
        seen.append((await ctx.api.get("account", "a") or {})["name"])

    kernel.engine.hooks.register("afterUpdate", "account", look)
    assert await name_of(kernel) == "A"
    await kernel.update("account", "a", {"name": "B"})
    assert seen == ["B"]


async def test_tenants_permissions_and_users_are_told_apart(kernel: Kernel, ask: Any) -> None:
    await kernel.create("account", {"id": "a", "name": "A"})

    async def found(context: Context) -> int:
        query = parse_query({"where": {"created_by": "@me"}}, object="account")
        return (await kernel.handle_find(FindRequest(query), context)).count

    system = ask("admin", id="system")
    stranger = msgspec.structs.replace(
        system, actor=msgspec.structs.replace(system.actor, tenant="other")
    )
    for _ in range(2):
        assert await found(system) == 1
        assert await found(ask("admin", id="u2")) == 0
        assert await found(stranger) == 0
    await kernel.handle_get(GetRequest("account", "a"), ask("viewer"))
    with pytest.raises(Exception, match="read"):
        await kernel.handle_get(GetRequest("account", "a"), ask("nobody"))


@pytest.mark.parametrize(
    "wish", [{"consistency_token": "1.default:1"}, {"read_policy": ReadPolicy.PRIMARY}], ids=str
)
async def test_who_asks_for_the_database_gets_it(
    kernel: Kernel, cache: ResultCache, ask: Any, wish: dict[str, Any]
) -> None:
    await kernel.create("account", {"id": "a", "name": "A"})
    await name_of(kernel)
    store: Any = cache.store
    store.is_losing_forgets = True
    await kernel.update("account", "a", {"name": "B"})
    assert await name_of(kernel) == "A"  # which is what the store must never do
    context = msgspec.structs.replace(ask("admin"), **wish)
    reply = await kernel.handle_get(GetRequest("account", "a"), context)
    assert b'"B"' in reply.record


@pytest.mark.parametrize("policy", [None, ReadPolicy.ANY])
async def test_only_what_the_primary_says_is_kept(
    kernel: Kernel,
    cache: ResultCache,
    ask: Any,
    policy: ReadPolicy | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A replica may not have the record yet, and would say that there is none."""
    await kernel.create("account", {"id": "a", "name": "A"})
    driver = kernel.engine.system_driver
    primary = driver.fetch_one

    async def behind(*args: Any, freshness: Freshness | None = None, **more: Any) -> Any:
        return await primary(*args, **more) if freshness is None else None

    monkeypatch.setattr(driver, "fetch_one", behind)
    context = msgspec.structs.replace(ask("admin"), read_policy=policy)
    if policy is None:
        reply = await kernel.handle_get(GetRequest("account", "a"), context)
        assert b'"A"' in reply.record
    else:
        with pytest.raises(RecordNotFound):
            await kernel.handle_get(GetRequest("account", "a"), context)
    assert cache.statistics.kept == (policy is None)


async def test_long_answers_are_not_kept(driver: Driver) -> None:
    cache = ResultCache(MemoryStore(), CacheLimits(max_entry_bytes=100))
    kernel = Kernel([driver, CRM], cache=cache)
    await kernel.start()
    await kernel.create("account", {"id": "a", "name": "A" * 200})
    await names(kernel)
    await names(kernel)
    await kernel.stop()
    assert (cache.statistics.hits, cache.statistics.too_large) == (0, 2)


# --- kernels that do not all reach the store --------------------------------------------------


async def pair(stack: AsyncExitStack, driver: Driver) -> list[tuple[Kernel, CutOff]]:
    """Two kernels on one data source and one store, each told what the other doubts."""
    shared = MemoryStore()
    made: list[tuple[Kernel, CutOff]] = []
    for _ in range(2):
        store = CutOff(shared)
        kernel = Kernel([driver, CRM], cache=ResultCache(store))
        await kernel.start()
        stack.push_async_callback(kernel.stop)
        made.append((kernel, store))
    first, second = (kernel.engine.cache for kernel, _ in made)
    assert first
    assert second

    async def to_second(tags: Any) -> None:
        second.trust.doubt(tags)

    async def to_first(tags: Any) -> None:
        first.trust.doubt(tags)

    first.trust.announce, second.trust.announce = to_second, to_first
    return made


def trust_of(kernel: Kernel) -> Trust:
    assert kernel.engine.cache
    return kernel.engine.cache.trust


async def test_a_kernel_without_the_store_warns_the_others_before_it_answers(
    driver: Driver,
) -> None:
    async with AsyncExitStack() as stack:
        (cut, cut_store), (other, _) = await pair(stack, driver)
        await cut.create("account", {"id": "a", "name": "A"})
        assert [await name_of(other), await name_of(cut)] == ["A", "A"]
        cut_store.is_available = False
        await cut.update("account", "a", {"name": "B"})
        assert [await name_of(other), await name_of(cut)] == ["B", "B"]
        trust = trust_of(other)
        await trust.clean()
        assert trust.doubted == 0
        assert [await name_of(other), await name_of(other)] == ["B", "B"]
        cut_store.is_available = True  # reached again: it cleans up before it believes anything
        assert await name_of(cut) == "B"
        await trust_of(cut).clean()
        assert await name_of(cut) == "B"


async def test_too_many_doubts_become_one_about_everything(cache: ResultCache) -> None:
    trust = cache.trust
    trust.doubt(f"t:x/{number}" for number in range(MAX_DOUBTED + 1))
    assert trust.doubted == 1
    assert not trust.allows(["*", "t:never-heard-of"])
    await trust.clean()
    assert trust.allows(["*", "t:x/1"])


async def test_a_doubt_that_comes_while_cleaning_stays(cache: ResultCache) -> None:
    trust, store = cache.trust, cache.store
    trust.doubt(["t:a"])
    forget = store.forget

    async def meanwhile(tags: Any) -> bool:
        done = await forget(tags)
        trust.doubt(["t:a"])
        return done

    store.forget = meanwhile
    await trust.clean()
    assert not trust.allows(["t:a"])
    store.forget = forget
    await trust.clean()
    assert trust.allows(["t:a"])


async def test_a_kernel_that_was_not_listening_believes_nothing_for_a_while() -> None:
    class Clock(SystemClock):
        now_s = 100.0

        def monotonic_s(self) -> float:
            return self.now_s

    clock = Clock()
    cache = ResultCache(MemoryStore(), clock=clock)
    cache.trust.listened_anew()
    assert not cache.trust.allows(["t:a"])
    clock.now_s += LISTEN_S
    assert cache.trust.allows(["t:a"])


async def test_without_bus_and_store_a_write_still_succeeds(
    kernel: Kernel, cache: ResultCache
) -> None:
    async def nobody(_tags: Any) -> None:
        raise Unavailable(what="the bus")

    store: Any = cache.store
    cache.trust.announce, store.is_available = nobody, False
    await kernel.create("account", {"id": "a", "name": "A"})
    assert await name_of(kernel) == "A"
    assert cache.statistics.not_forgotten == 1


# --- many at once -----------------------------------------------------------------------------


class Hesitant(CutOff):
    """A store whose every answer takes a few turns, and which is away now and then."""

    def __init__(self, shared: MemoryStore, dice: random.Random) -> None:
        super().__init__(shared)
        self._dice = dice

    async def _hesitate(self) -> bool:
        for _ in range(self._dice.randrange(4)):
            await asyncio.sleep(0)
        self.is_available = self._dice.random() > 0.1
        return self.is_available

    async def look(self, names: Any) -> Any:
        await self._hesitate()
        return await super().look(names)

    async def claim(self, tags: Any) -> Any:
        await self._hesitate()
        return await super().claim(tags)

    async def forget(self, tags: Any) -> bool:
        await self._hesitate()
        done = await super().forget(tags)
        return done and await self._hesitate()


@pytest.mark.parametrize("seed", range(6))
async def test_every_acknowledged_write_is_seen_by_each_later_read(
    driver: Driver, seed: int
) -> None:
    """Values only grow, so a read that finds less than what was acknowledged before is stale."""
    dice = random.Random(seed)
    async with AsyncExitStack() as stack:
        shared = MemoryStore()
        kernels: list[Kernel] = []
        caches: list[ResultCache] = []
        for _ in range(3):
            caches.append(ResultCache(Hesitant(shared, dice)))
            kernels.append(Kernel([driver, CRM], cache=caches[-1]))
            await kernels[-1].start()
            stack.push_async_callback(kernels[-1].stop)

        async def tell_all(tags: Any) -> None:
            for cache in caches:
                cache.trust.doubt(tags)

        for cache in caches:
            cache.trust.announce = tell_all
        acknowledged = dict.fromkeys("abc", 0)
        for id in acknowledged:
            await kernels[0].create("account", {"id": id, "name": id, "balance": 0})
        stale: list[Any] = []

        async def write(id: str) -> None:
            for value in range(1, 25):
                await dice.choice(kernels).update("account", id, {"balance": value})
                acknowledged[id] = value
                await asyncio.sleep(0)

        async def read() -> None:
            for _ in range(60):
                kernel, floor = dice.choice(kernels), dict(acknowledged)
                if dice.random() < 0.1:
                    await dice.choice(caches).trust.clean()
                if dice.random() < 0.5:
                    id = dice.choice("abc")
                    found = {id: (await kernel.get("account", id) or {})["balance"]}
                else:
                    rows = (await kernel.find("account", {"fields": ["id", "balance"]})).value
                    found = {row["id"]: row["balance"] for row in rows}
                stale.extend((k, v, floor[k]) for k, v in found.items() if v < floor[k])

        await asyncio.gather(*(write(id) for id in acknowledged), *(read() for _ in range(6)))
        assert not stale
        assert sum(cache.statistics.hits for cache in caches) > 0
