"""The result cache of this worker: its store, what workers tell each other, and its counts.

Besides what writers do before they answer, the worker that relays events forgets the tags of each
once more, a second later: a writer that died between its commit and its answer could not.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from objectql.bus.port import Envelope
from objectql.drivers.protocol import Driver
from objectql.events import ChangeEvent
from objectql.kernel.result_cache.cache import (
    CacheLimits,
    ResultCache,
    object_tag,
    record_tag,
)
from objectql.kernel.result_cache.redis_store import RedisStore
from objectql.service.run import Process
from objectql.service.telemetry import Metrics
from objectql.wire.codec import decode, encode
from objectql.wire.messages import CacheDoubt
from objectql.wire.subjects import kernel_event
from objectql_kernel.settings import KernelSettings

DOUBT = kernel_event("cache:doubt")

AGAIN_AFTER_S = 1.0
"""How long after its publication an event's tags are forgotten once more."""

MAX_AGAIN = 50_000
"""Tags that wait for that; while the store is away it is the entries' end that helps."""


class SharedCache:
    """What `app` wires."""

    def __init__(self, process: Process[KernelSettings], sources: Sequence[Driver]) -> None:
        """Read the settings.

        Raises:
            ValueError: the URL is not one of Redis.

        """
        settings = process.settings.cache
        assert settings.url is not None  # the caller has looked
        self._process = process
        self._store = RedisStore(
            settings.url, namespace=settings.namespace, timeout_s=settings.timeout_ms / 1000
        )
        limits = CacheLimits(
            ttl_ms=round(settings.ttl_s * 1000),
            max_entry_bytes=settings.max_entry_bytes,
            # Files and memory belong to one worker: what another has read from its own is not here.
            sources=frozenset(source.name for source in sources if source.kind == "postgres"),
        )
        self.results = ResultCache(self._store, limits, process.clock)
        self.results.trust.announce = self._announce
        self._again: set[str] = set()
        self._counted: Counter[tuple[str, ...]] = Counter()

    async def start(self) -> None:
        """Listen to the others, connect, and clean up from now on."""
        trust = self.results.trust
        await self._process.bus.subscribe(DOUBT, self._on_doubt)
        trust.listened_anew()

        def on_connection(is_up: bool) -> None:
            if is_up:
                trust.listened_anew()

        self._process.bus.on_connection.append(on_connection)
        self._process.start(self._store.run())
        self._process.start(trust.run())
        self._process.start(self._forget_again())

    def published(self, events: Sequence[ChangeEvent]) -> None:
        """Take note of events that this worker has relayed."""
        if len(self._again) > MAX_AGAIN:
            self._again.clear()
        for event in events:
            self._again.add(object_tag(event.tenant, event.object))
            self._again.add(record_tag(event.tenant, event.object, event.record_id))

    def measure(self, metrics: Metrics) -> None:
        """Bring the process's metrics up to date."""
        found = self.results.statistics
        metrics.set("oql_cache_up", float(self._store.is_available))
        metrics.set("oql_cache_doubted_tags", self.results.trust.doubted)
        now: Counter[tuple[str, ...]] = Counter(
            {
                ("reads", "hit"): found.hits,
                ("reads", "miss"): found.misses,
                **{("reads", reason): n for reason, n in found.bypassed.items()},
                ("kept", "kept"): found.kept,
                ("kept", "too_large"): found.too_large,
                ("forgets", "done"): found.forgotten,
                ("forgets", "failed"): found.not_forgotten,
            }
        )
        for (what, outcome), number in (now - self._counted).items():
            match what:
                case "reads":
                    metrics.count("oql_cache_reads_total", outcome, by=number)
                case "kept":
                    metrics.count("oql_cache_answers_total", outcome, by=number)
                case _:
                    metrics.count("oql_cache_forgets_total", outcome, by=number)
        self._counted = now

    async def _announce(self, tags: Sequence[str]) -> None:
        message = CacheDoubt(tags=tuple(tags), origin=self._process.instance)
        await self._process.bus.publish(DOUBT, encode(message))

    async def _on_doubt(self, envelope: Envelope) -> None:  # noqa: RUF029 - the port's shape
        message = decode(CacheDoubt, envelope.body)
        if message.origin != self._process.instance:
            self.results.trust.doubt(message.tags)

    async def _forget_again(self) -> None:
        while True:
            await asyncio.sleep(AGAIN_AFTER_S)
            # Those that came during this second wait for the next turn, a whole one at least.
            due, self._again = self._again, set()
            if due and not await self._store.forget(tuple(due)):
                self._again |= due
