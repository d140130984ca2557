"""The parts on the way of a request, each beside the naive implementation that it replaces."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import hop, naive
from bench.model import METHOD, Machine, Micro, Part, now
from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.drivers.protocol import Driver
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.ids import DataSource
from objectql.kernel.engine import Engine
from objectql.kernel.features import Features, KernelSettings
from objectql.kernel.planning import Planner
from objectql.metadata.build import build_snapshot
from objectql.metadata.loader import load_directory
from objectql.metadata.model import Item
from objectql.metadata.registry import MetadataRegistry
from objectql.plugins.context import HookContext
from objectql.plugins.hooks import HookRegistry
from objectql.query.ast import Query
from objectql.query.bind import bind
from objectql.query.parse import parse_query
from objectql.query.plan import make_plan
from objectql.query.template import extract

HERE = Path(__file__).parent
PACKAGES, PER_PACKAGE = 100, 100
OBJECTS_WITH_HOOKS, HOOKS_EACH = 40, 5
DOCUMENT: dict[str, Any] = {
    "fields": ["id", "name", "status", "quantity", "price"],
    "where": {"category": "c7", "quantity": {"$gte": 10, "$lt": 500}, "status": {"$in": ["new"]}},
    "sort": [{"field": "due_on", "order": "desc"}, {"field": "id", "order": "asc"}],
    "limit": 20,
}


Timed = Callable[[int], Awaitable[float]]
"""Does something so many times; the seconds it took in all."""


def each(call: Callable[[], object]) -> Timed:
    """`call` as something to time, in processor time: it waits for nothing."""

    async def run(times: int) -> float:  # noqa: RUF029 - one shape for all
        started = time.process_time()
        for _ in range(times):
            call()
        return time.process_time() - started

    return run


def each_awaited(
    call: Callable[[], Awaitable[object]], clock: Callable[[], float] = time.process_time
) -> Timed:
    """A coroutine function as something to time; `clock` is the wall's where it waits."""

    async def run(times: int) -> float:
        started = clock()
        for _ in range(times):
            await call()
        return clock() - started

    return run


@dataclass(frozen=True)
class Effort:
    """How long to measure: `rounds` of about `slice_s` for each contestant."""

    rounds: int = 9
    slice_s: float = 0.05


async def duel(
    part: str, goal_s: float | None, effort: Effort, ours: Timed, slow: Timed | None
) -> Part:
    """Both in turn, `effort.rounds` times."""
    row = Part(part, goal_s)
    sides = [(ours, row.ours_s)] + ([] if slow is None else [(slow, row.naive_s)])
    for side, _ in sides:
        await side(20)
    times = [max(1, int(effort.slice_s / max(await side(5) / 5, 1e-7))) for side, _ in sides]
    for _ in range(effort.rounds):
        for (side, figures), number in zip(sides, times, strict=True):
            figures.append(await side(number) / number)
    return row


def package_items() -> list[Item]:
    """The items of all packages."""
    return [
        Item("view", f"p{p}_v{i}", {"tags": [f"t{i % 10}"], "object": "item"}, package=f"p{p}")
        for p in range(PACKAGES)
        for i in range(PER_PACKAGE)
    ]


async def metadata_lookup(effort: Effort) -> Part:
    """An item out of all, from the middle of the naive list."""
    items = package_items()
    registry, slow = MetadataRegistry(), naive.Registry(items)
    for item in items:
        registry.register(item)
    name = items[len(items) // 2].name
    assert registry.get("view", name) == slow.get("view", name)
    part = f"metadata lookup among {len(items):,}"
    ours = each(lambda: registry.get("view", name))
    return await duel(part, 1e-6, effort, ours, each(lambda: slow.get("view", name)))


async def uninstall(effort: Effort) -> Part:
    """A package goes and, outside the clock, comes back."""
    items = package_items()
    mine = [item for item in items if item.package == "p50"]
    registry, slow = MetadataRegistry(), naive.Registry(items)
    for item in items:
        registry.register(item)

    async def ours(times: int) -> float:  # noqa: RUF029
        total = 0.0
        for _ in range(times):
            started = time.process_time()
            count = registry.unregister_package("p50")
            total += time.process_time() - started
            assert count == PER_PACKAGE
            for item in mine:
                registry.register(item)
        return total

    async def naively(times: int) -> float:  # noqa: RUF029
        total = 0.0
        for _ in range(times):
            started = time.process_time()
            count = slow.unregister_package("p50")
            total += time.process_time() - started
            assert count == PER_PACKAGE
            slow.__init__([*slow.items, *mine])
        return total

    part = f"uninstall {PER_PACKAGE} of {len(items):,} items"
    return await duel(part, 1e-3, effort, ours, naively)


async def hooks(effort: Effort) -> Part:
    """Five hooks of one object among those of all."""
    registry = HookRegistry()
    calls = 0

    async def hook(_: object) -> None:  # noqa: RUF029 - hooks are coroutines as a rule
        nonlocal calls
        calls += 1

    for at in range(OBJECTS_WITH_HOOKS * HOOKS_EACH):
        registry.register(
            "beforeUpdate", f"o{at % OBJECTS_WITH_HOOKS}", hook, priority=100 - at, name=f"h{at}"
        )
    every = registry.describe()
    context = HookContext("o7", "update", Actor(id="bench"))

    async def compiled() -> None:
        pipeline = registry.pipeline("o7", "beforeUpdate")
        assert pipeline is not None
        await pipeline.run(context)

    for way in (compiled, lambda: naive.run_hooks(every, "beforeUpdate", context)):
        calls = 0
        await way()
        assert calls == HOOKS_EACH
    part = f"{HOOKS_EACH} hooks among {len(every)}"
    slow = each_awaited(lambda: naive.run_hooks(every, "beforeUpdate", context))
    return await duel(part, 10e-6, effort, each_awaited(compiled), slow)


def planner(driver: Driver, *, caching: bool) -> Planner:
    """A planner of the benchmark's metadata; nothing is sent to the driver."""
    settings = KernelSettings(features=Features(query_caching=caching))
    engine = Engine({DataSource("default"): driver}, settings, SystemClock())
    found = Planner(engine)
    engine.registry.publish(build_snapshot(load_directory(HERE / "metadata").items, version=1))
    return found


async def plans(effort: Effort) -> list[Part]:
    """From a parsed query to a prepared statement with its parameters."""
    driver = PostgresDriver(PostgresSettings(url="postgresql://nowhere"))
    context = Context(Actor(id="bench", roles=("admin",)), deadline_ms=0, request_id="bench")
    query: Query = parse_query(DOCUMENT, object="item")
    warm, cold = planner(driver, caching=True), planner(driver, caching=False)
    scope, cold_scope = warm.scope(context), cold.scope(context)
    assert warm.prepare(query, scope).params == cold.prepare(query, cold_scope).params

    def from_text() -> object:
        return cold.prepare(parse_query(DOCUMENT, object="item"), cold_scope)

    def plan_only() -> object:
        extracted = extract(query)
        schema, policy = cold_scope.model.snapshot, cold_scope.policy
        return make_plan(bind(extracted.template, schema, policy, places=extracted.places))

    cached = each(lambda: warm.prepare(query, scope))
    lowered = each(lambda: cold.prepare(query, cold_scope))
    return [
        await duel("cached plan", 20e-6, effort, cached, each(from_text)),
        await duel("cold plan", 1e-3, effort, each(plan_only), None),
        await duel("cold plan and its SQL", None, effort, lowered, None),
    ]


async def connections(effort: Effort, pg_url: str) -> Part:
    """Take and give back, against connect and close."""
    driver = PostgresDriver(PostgresSettings(url=pg_url))
    await driver.pool.open()

    async def lease() -> None:
        driver.pool.release(await driver.pool.acquire(1.0))

    try:
        slow = each_awaited(lambda: naive.connect_each_time(pg_url), time.perf_counter)
        return await duel(
            "connection acquire", 50e-6, effort, each_awaited(lease, time.perf_counter), slow
        )
    finally:
        await driver.pool.close()


async def bus_hop(effort: Effort, nats_url: str) -> Part:
    """A request and its reply between two processes; the median over single requests."""
    row = Part("bus hop, p50", 0.6e-3)
    async with hop.echo(nats_url) as request:
        for _ in range(effort.rounds):
            times: list[float] = []
            for _ in range(max(20, int(effort.slice_s / 0.5e-3))):
                started = time.perf_counter()
                await request()
                times.append(time.perf_counter() - started)
            row.ours_s.append(statistics.median(times))
    return row


async def measure(effort: Effort, pg_url: str, nats_url: str) -> list[Part]:
    """Every part."""
    return [
        await metadata_lookup(effort),
        await hooks(effort),
        *await plans(effort),
        await connections(effort, pg_url),
        await uninstall(effort),
        await bus_hop(effort, nats_url),
    ]


def main(pg_url: str, nats_url: str, effort: Effort) -> Micro:
    """Every part's rounds."""
    machine = Machine.here()
    return Micro(machine, now(), METHOD, asyncio.run(measure(effort, pg_url, nats_url)))
