"""No tenant's webhooks hold up another's: not by slow endpoints, nor by many, nor by dead names."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest
from tests.clusters import eventually
from tests.webhooks import Ask, call, declare, delivering

from objectql.context import DEFAULT_TENANT, Context
from objectql.drivers.memory import MemoryDriver
from objectql.drivers.protocol import Driver
from objectql.ids import TenantId
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.kernel.webhooks.lookups import ASKER, Lookups
from objectql.kernel.webhooks.policy import WebhookPolicy
from objectql.kernel.webhooks.queueing import Queueing
from objectql.testing.receivers import Answering, Received, Receiver, Reply, receiving
from objectql.wire import webhooks as w

ACME = TenantId("acme")


@pytest.fixture
def driver() -> Driver:
    return MemoryDriver()


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> KernelSettings:
    told = getattr(request, "param", {})
    policy = WebhookPolicy(
        insecure=True, ports=(), allow=("127.0.0.1",), first_pause_s=0.05, longest_pause_s=60,
        **told,
    )  # fmt: skip
    return KernelSettings(webhooks=policy)


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not check():
            await asyncio.sleep(0.01)


async def changed(kernel: Kernel, ask: Ask, count: int, tenant: TenantId = DEFAULT_TENANT) -> None:
    for number in range(count):
        await kernel.create("account", {"name": f"{number}"}, context=ask("admin", tenant=tenant))


@pytest.mark.parametrize("settings", [{"connections": 4, "tenant_share": 0.5}], indirect=True)
async def test_slow_endpoint_of_one_tenant_holds_up_no_other(kernel: Kernel, ask: Ask) -> None:
    never = asyncio.Event()
    hanging = 0

    async def hang(_request: Received) -> Reply:
        nonlocal hanging
        hanging += 1
        await never.wait()
        return Reply(is_cut=True)

    async with receiving() as slow, receiving() as quick:
        slow.answer = hang
        await declare(kernel, ask, slow, ACME, timeout_s=60)
        await declare(kernel, ask, quick)
        await changed(kernel, ask, 6, ACME)
        async with delivering(kernel):
            await until(lambda: hanging == 2)
            await changed(kernel, ask, 6)
            await quick.until(lambda got: len(got) == 6)
            assert hanging == 2
        never.set()


def endless(kernel: Kernel, by: Context) -> Answering:
    """Accepts everything; of each thing that is told there comes another."""

    async def answer(_request: Received) -> Reply:
        await asyncio.sleep(0.02)
        await kernel.create("account", {"name": "another"}, context=by)
        return Reply()

    return answer


@pytest.mark.parametrize("settings", [{"endpoints": 1}], indirect=True)
async def test_endpoint_gives_way_after_its_turn(kernel: Kernel, ask: Ask) -> None:
    async with receiving() as busy, receiving() as other:
        busy.answer = endless(kernel, ask("admin", tenant=ACME))
        await declare(kernel, ask, busy, ACME)
        await declare(kernel, ask, other)
        await changed(kernel, ask, 10, ACME)
        async with delivering(kernel, turn_s=0.2):
            await busy.until(lambda got: len(got) > 10)
            await changed(kernel, ask, 2)
            await other.until(lambda got: len(got) == 2)


@pytest.mark.parametrize("settings", [{"endpoints": 4, "tenant_share": 0.25}], indirect=True)
async def test_endpoints_of_one_tenant_take_turns_in_its_share(kernel: Kernel, ask: Ask) -> None:
    async with receiving() as busy:
        busy.answer = endless(kernel, ask("admin"))
        for number in range(3):
            await declare(kernel, ask, busy, name=f"h{number}", url=f"{busy.url}?{number}")
        await changed(kernel, ask, 10)
        async with delivering(kernel, turn_s=0.2):
            await busy.until(lambda got: len({one.path for one in got}) == 3)


@pytest.mark.parametrize("settings", [{"endpoints": 4, "tenant_share": 0.5}], indirect=True)
async def test_tenant_with_many_endpoints_has_its_share_of_places(kernel: Kernel, ask: Ask) -> None:
    never = asyncio.Event()
    paths: set[str] = set()

    async def hang(request: Received) -> Reply:
        paths.add(request.path)
        await never.wait()
        return Reply(is_cut=True)

    async with receiving() as slow, receiving() as quick:
        slow.answer = hang
        for number in range(4):
            more = {"name": f"h{number}", "url": f"{slow.url}?{number}", "timeout_s": 60}
            await declare(kernel, ask, slow, ACME, **more)
        await declare(kernel, ask, quick)
        await changed(kernel, ask, 1, ACME)
        async with delivering(kernel, turn_s=3600):
            await until(lambda: len(paths) == 2)
            await changed(kernel, ask, 3)
            await quick.until(lambda got: len(got) == 3)
            assert len(paths) == 2
        never.set()


async def test_names_that_are_never_answered_hold_up_the_tenant_that_wrote_them() -> None:
    never = threading.Event()
    begun: list[str] = []

    def lookup(host: str, _port: int) -> Sequence[str]:
        begun.append(host)
        if host.startswith("dead"):
            never.wait(60)
        return ["192.0.2.1"]

    lookups = Lookups(lookup, threads=4, tenant_share=0.5)

    async def asked(tenant: str, host: str) -> Sequence[str]:
        ASKER.set(tenant)
        return await lookups(host, 443)

    try:
        dead = [asyncio.create_task(asked("acme", f"dead{n}.example")) for n in range(8)]
        await until(lambda: len(begun) == 2)
        for task in dead:  # who asked has given up, and the threads wait on
            task.cancel()
        await asyncio.gather(*dead, return_exceptions=True)
        waiting = asyncio.create_task(asked("acme", "fine.example"))
        for _ in range(50):
            assert await asked("globex", "quick.example") == ["192.0.2.1"]
        assert set(begun) == {"dead0.example", "dead1.example", "quick.example"}
        never.set()
        assert await waiting == ["192.0.2.1"]
    finally:
        never.set()
        lookups.close()


async def asking_to_wait(_request: Received) -> Reply:
    return Reply(429, {"Retry-After": "50"})


async def test_endpoint_that_is_to_wait_takes_up_no_worker_and_no_other_worker_asks_it(
    kernel: Kernel, ask: Ask
) -> None:
    store, leases = kernel.engine.system_driver.webhooks, kernel.engine.system_driver.leases
    clock = kernel.engine.clock
    async with receiving() as busy, receiving() as elsewhere:
        busy.answer = asking_to_wait
        hook = await declare(kernel, ask, busy)
        await changed(kernel, ask, 1)

        async def is_free() -> bool:
            return await leases.acquire(f"webhook:{hook['id']}", "somebody", 0.001)

        async with delivering(kernel, "w1"):
            await busy.until(lambda got: len(got) == 1)
            await eventually(is_free, within_s=30, what="the lease")
            await changed(kernel, ask, 3)
            await eventually(lambda: is_queued(kernel, 4), within_s=30, what="the queue")
        now_ms = clock.now_ms()
        assert await store.heads(hook["id"], now_ms, 9)  # due, but for what the endpoint asked
        assert await store.waiting(now_ms, 9) == ()
        assert [one.webhook for one in await store.waiting(now_ms + 50_000, 9)] == [hook["id"]]
        url = b'{"url":"%s"}' % elsewhere.url.encode()
        await call(kernel, ask, "change", w.WebhookChangeRequest("crm", url))
        await kernel.webhooks.directory.refresh()
        async with delivering(kernel, "w2"):  # what one endpoint asked for is not another's
            await elsewhere.until(lambda got: len(got) >= 3)
        assert len(busy.received) == 1


async def is_queued(kernel: Kernel, count: int) -> bool:
    return (await kernel.engine.system_driver.webhooks.counts()).pending == count


async def test_failures_are_counted_on_by_the_next_worker(kernel: Kernel, ask: Ask) -> None:
    store = kernel.engine.system_driver.webhooks

    async def fail(_request: Received) -> Reply:
        return Reply(500)

    async with receiving() as failing:
        failing.answer = fail
        await declare(kernel, ask, failing)
        await changed(kernel, ask, 8)
        async with delivering(kernel, "w1"):
            await failing.until(lambda got: len(got) >= 5)
        (waiting,) = await store.waiting(kernel.engine.clock.now_ms() + 3_600_000, 9)
        assert waiting.failures > 0


async def test_relay_publishes_before_it_queues_more_than_so_many(kernel: Kernel, ask: Ask) -> None:
    driver = kernel.engine.system_driver
    async with receiving() as receiver:
        for name in ("a", "b"):
            await declare(kernel, ask, receiver, name=name)
        await changed(kernel, ask, 5)
        events = [event for _, event in await driver.outbox.pending(99)]
        queueing = Queueing(kernel.webhooks.directory, kernel.engine.clock, most=3)
        taken = [await queueing(events)]
        while sum(taken) < len(events):
            taken.append(await queueing(events[sum(taken) :]))
            assert (await driver.webhooks.counts()).pending == 2 * sum(taken)
        assert taken == [2, 2, 1]
        kernel.webhooks.queueing = Queueing(kernel.webhooks.directory, kernel.engine.clock, most=3)
        await changed(kernel, ask, 5)
        async with delivering(kernel):
            await receiver.until(lambda got: len({(one.id, one.path) for one in got}) == 10)
        assert await driver.outbox.pending(9) == ()


async def test_declaration_binds_no_other_webhook_anew(kernel: Kernel, ask: Ask) -> None:
    directory = kernel.webhooks.directory

    async def bound(receiver: Receiver, name: str) -> str:
        made = await declare(kernel, ask, receiver, name=name)
        await directory.refresh()
        return made["id"]

    async with receiving() as receiver:
        one = await bound(receiver, "one")
        before = directory.subscription(one, "account")
        two = await bound(receiver, "two")
        assert directory.subscription(one, "account") is before
        assert directory.subscription(two, "account") is not None
        await call(kernel, ask, "delete", w.WebhookDeleteRequest("two"))
        await directory.refresh()
        assert directory.subscription(two, "account") is None
        await call(kernel, ask, "change", w.WebhookChangeRequest("one", b'{"fields":["name"]}'))
        await directory.refresh()
        assert directory.subscription(one, "account") is not before
