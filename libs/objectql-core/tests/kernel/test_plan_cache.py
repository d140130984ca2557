"""A workload over the flights, with other values in every request, finds its plans prepared."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from objectql.drivers.memory import MemoryDriver
from objectql.kernel.kernel import Kernel
from objectql.query.parse import parse_query
from objectql.query.plan import Access
from objectql.wire.messages import AggregateRequest, FindRequest

FLIGHTS = Path(__file__).parents[4] / "examples" / "flights"

Make = Callable[[random.Random], dict[str, Any]]
SHAPES: tuple[Make, ...] = (
    lambda r: {"where": {"id": str(r.randrange(10**6))}, "limit": 1},
    lambda r: {"where": {"id": {"$in": [str(r.random()) for _ in range(r.randint(1, 50))]}}},
    lambda r: {"where": {"origin": r.choice("ABC"), "dep_delay": {"$gt": r.randrange(90)}}},
    lambda r: {"where": {"origin.tz": r.choice(["a", "b"])}, "orderBy": "-dep_delay", "limit": 20},
    lambda r: {"where": {"dest": {"$ne": r.choice("XYZ")}}, "offset": r.randint(1, 9)},
    lambda r: {"expand": {"origin": {"fields": ["name"]}}, "where": {"carrier": str(r.random())}},
)


async def test_a_repeated_workload_finds_its_plans_in_more_than_95_of_100(ask: Any) -> None:
    kernel = Kernel([MemoryDriver(), FLIGHTS])
    await kernel.start()
    numbers = random.Random(7)  # noqa: S311 - a repeatable sample
    before = kernel.reader.planner.statistics()
    for _ in range(400):
        document = numbers.choice(SHAPES)(numbers)
        query = parse_query(document, object="flight")
        await kernel.handle_find(FindRequest(query), ask("admin"))
        delay = {"$gt": numbers.randrange(100)}
        counted = {
            "where": {"dep_delay": delay},
            "groupBy": ["carrier"],
            "aggregations": [{"function": "avg", "field": "arr_delay"}],
        }
        await kernel.handle_aggregate(
            AggregateRequest(parse_query(counted, object="flight")), ask("admin")
        )
    after = kernel.reader.planner.statistics()
    await kernel.stop()
    hits, misses = after.hits - before.hits, after.misses - before.misses
    assert hits + misses >= 800
    assert hits / (hits + misses) > 0.95


async def test_uses_of_indexes_are_counted_and_tell_which_one_is_missing(ask: Any) -> None:
    kernel = Kernel([MemoryDriver(), FLIGHTS])
    await kernel.start()

    async def find(where: dict[str, Any], **more: Any) -> None:
        query = parse_query({"where": where, **more}, object="flight")
        await kernel.handle_find(FindRequest(query), ask("admin"))

    for number in range(3):
        await find({"air_time": {"$gt": number}}, orderBy="-distance")
    await find({"origin": "JFK"})
    await find({"air_time": 5})  # its order, by id, has an index; its condition has none
    uses = {use.access: use for use in kernel.reader.planner.index_uses()}
    missing = uses[Access(ranged=("air_time",), first_sort="distance", is_served=False)]
    assert (missing.indexes, missing.wanted, missing.queries) == ((), ("air_time",), 3)
    served = uses[Access(equal=("origin",), first_sort="id")]
    assert served.indexes
    ordered = uses[Access(equal=("air_time",), first_sort="id", is_served=False)]
    assert ordered.wanted == ("air_time", "id")
    assert (served.wanted, served.queries) == ((), 1)
    await kernel.stop()
