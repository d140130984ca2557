"""Webhooks of a kernel in this process: declared, queued by a relay, delivered by workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import msgspec

from objectql.context import DEFAULT_TENANT, Context
from objectql.kernel.kernel import Kernel
from objectql.kernel.relay import Relay
from objectql.testing.receivers import Receiver
from objectql.wire import webhooks as w
from objectql.wire.stream import Stored

Ask: TypeAlias = Callable[..., Context]


@asynccontextmanager
async def delivering(kernel: Kernel, *holders: str, **limits: float) -> AsyncGenerator[Relay]:
    """A relay that queues, and workers that deliver within `limits`."""
    driver = kernel.engine.system_driver

    async def publish(messages: Any) -> Stored:
        return Stored("s", [1] * len(messages))

    relay = Relay(
        "default", driver.outbox, driver.leases, publish,
        holder="r", queue=kernel.webhooks.queueing,
    )  # fmt: skip
    workers = [kernel.webhooks.deliverer(holder, **limits) for holder in holders or ("w1",)]

    def wake(webhooks: Collection[str]) -> None:
        for worker in workers:
            worker.wake(webhooks)

    kernel.webhooks.queueing.on_queued = wake
    kernel.pipeline.observe(lambda _: relay.nudge())
    tasks = [asyncio.create_task(work.run()) for work in (relay, *workers)]
    try:
        yield relay
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def declare(
    kernel: Kernel, ask: Ask, receiver: Receiver, tenant: str = DEFAULT_TENANT, **more: Any
) -> dict[str, Any]:
    """A webhook `crm` of accounts that tells `receiver`; with its secret."""
    document = {
        "name": "crm", "url": receiver.url, "objects": ["account"],
        "run_as": {"roles": ["viewer"]}, **more,
    }  # fmt: skip
    request = w.WebhookCreateRequest(msgspec.json.encode(document))
    reply = await kernel.webhooks.handle_create(request, ask("admin", tenant=tenant))
    return msgspec.json.decode(reply.body)


async def call(kernel: Kernel, ask: Ask, verb: str, request: Any) -> Any:
    """What an administrator is answered."""
    handle = getattr(kernel.webhooks, f"handle_{verb}")
    return msgspec.json.decode((await handle(request, ask("admin"))).body)


async def log_of(kernel: Kernel, ask: Ask, state: str | None = None) -> list[dict[str, Any]]:
    """The deliveries of `crm`, the latest first."""
    request = w.WebhookDeliveriesRequest("crm", state)
    return (await call(kernel, ask, "deliveries", request))["items"]


async def until_log(
    kernel: Kernel, ask: Ask, enough: Callable[[list[dict[str, Any]]], bool]
) -> list[dict[str, Any]]:
    """`log_of` once it is `enough`."""
    async with asyncio.timeout(30):
        while not enough(found := await log_of(kernel, ask)):
            await asyncio.sleep(0.02)
    return found
