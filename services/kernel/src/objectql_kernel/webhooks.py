"""The webhooks of this worker: what wakes it, and what it measures.

Whoever queues wakes its own worker, and over the bus the others; a wake that is lost costs a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Final

from objectql.bus.port import Envelope
from objectql.errors import ObjectQLError, Unavailable
from objectql.kernel.webhooks.operations import Webhooks
from objectql.service.run import Process
from objectql.wire.codec import decode, encode
from objectql.wire.subjects import kernel_event
from objectql.wire.webhooks import WebhooksQueued
from objectql_kernel.settings import KernelSettings

log = logging.getLogger(__name__)

WAKE_EVERY_S: Final = 0.05
COUNT_EVERY_S: Final = 15.0
ADOPT_AGAIN_S: Final = 1.0

_SUBJECT: Final = kernel_event("webhooks")


class WebhookDelivery:
    """Delivers while the process runs."""

    def __init__(self, process: Process[KernelSettings], webhooks: Webhooks) -> None:
        self._process = process
        self._webhooks = webhooks
        self._deliverer = webhooks.deliverer(process.instance)
        self._queued = asyncio.Event()
        self._to_tell: set[str] = set()
        self._published = asyncio.Event()
        webhooks.on_publish(self._published.set)
        webhooks.queueing.on_queued = self._on_queued
        webhooks.observe = self._observe

    async def run(self) -> None:
        """Until cancelled."""
        unsubscribe = await self._process.bus.subscribe(_SUBJECT, self._on_told)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._deliverer.run())
                group.create_task(self._tell())
                group.create_task(self._count())
                group.create_task(self._adopt())
        finally:
            await unsubscribe()

    def _on_queued(self, webhooks: Collection[str]) -> None:
        self._deliverer.wake(webhooks)
        self._to_tell.update(webhooks)
        self._queued.set()

    async def _on_told(self, envelope: Envelope) -> None:  # noqa: RUF029 - the port's shape
        news = decode(WebhooksQueued, envelope.body)
        if news.origin != self._process.instance:
            self._deliverer.wake(news.webhooks)

    async def _tell(self) -> None:
        while True:
            await self._queued.wait()
            self._queued.clear()
            webhooks, self._to_tell = self._to_tell, set()
            news = WebhooksQueued(webhooks=tuple(webhooks), origin=self._process.instance)
            try:
                await self._process.bus.publish(_SUBJECT, encode(news))
            except Unavailable:
                log.debug("webhook_wake_lost")
            await self._process.clock.sleep(WAKE_EVERY_S)

    async def _adopt(self) -> None:
        """Put in force what packages declare: now, and whenever other metadata are in force."""
        while True:
            self._published.clear()
            try:
                await self._webhooks.adopt()
            except ObjectQLError as exc:
                log.warning("webhooks_not_adopted", extra={"reason": str(exc)})
                await self._process.clock.sleep(ADOPT_AGAIN_S)
            else:
                await self._published.wait()

    async def _count(self) -> None:
        metrics, clock = self._process.metrics, self._process.clock
        while True:
            try:
                counts = await self._webhooks.directory.store.counts()
            except ObjectQLError as exc:
                log.debug("webhooks_not_counted", extra={"reason": str(exc)})
            else:
                metrics.set("oql_webhook_queue", counts.pending, "pending")
                metrics.set("oql_webhook_queue", counts.dead, "dead")
                oldest_ms = clock.now_ms() if counts.oldest_ms is None else counts.oldest_ms
                age_s = max(clock.now_ms() - oldest_ms, 0) / 1000
                metrics.set("oql_webhook_oldest_seconds", age_s)
            await clock.sleep(COUNT_EVERY_S)

    def _observe(self, outcome: str, took_s: float) -> None:
        metrics = self._process.metrics
        metrics.count("oql_webhook_attempts_total", outcome)
        metrics.observe("oql_webhook_attempt_seconds", took_s)
