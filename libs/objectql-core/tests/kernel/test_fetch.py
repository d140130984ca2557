"""What the kernel learns of the pace of a query from the statements that it sends."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from objectql.drivers.protocol import Page
from objectql.kernel.fetch import DriverFetch
from objectql.kernel.planning import Prepared, Runnable, Scope, Uses

NOTHING = cast("Any", None)


class HandClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s


class OneCore:
    """A database that works on one statement after the other, each for `takes_s`."""

    def __init__(self, clock: HandClock, takes_s: float) -> None:
        self._clock = clock
        self._takes_s = takes_s
        self._turn = asyncio.Lock()

    async def fetch(self, *_: object, **__: object) -> Page:
        async with self._turn:
            await asyncio.sleep(0)
            self._clock.now_s += self._takes_s
        return cast("Page", NOTHING)


@pytest.mark.parametrize("together", [1, 2, 16, 64])
async def test_pace_of_a_query_does_not_depend_on_how_many_statements_run_together(
    together: int,
) -> None:
    clock = HandClock()
    source = OneCore(clock, 0.002)
    uses = Uses()
    run = Runnable(Prepared(NOTHING, cast("Any", source), NOTHING, (), NOTHING, b"", uses), ())
    scope = Scope(cast("Any", _Context()), NOTHING, NOTHING)
    fetch = DriverFetch(NOTHING, cast("Any", clock))
    for _ in range(3):
        await asyncio.gather(*(fetch.page(run, scope) for _ in range(together)))
    assert uses.pace_s is not None
    assert 0.001 <= uses.pace_s <= 0.004
    assert uses.under_way == 0


class _Context:
    deadline_ms = 0
