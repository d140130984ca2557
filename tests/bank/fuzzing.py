"""A run of the harness: work, faults, and the judgement of both.

Source of the method: the fuzzer of Vitess's distributed transactions (15 threads, a disruption at
a time, equal counts afterwards); the judgement is by histories, as Jepsen's.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
from examples.bank.load import SIDES

from tests.bank.bed import Bed, balances
from tests.bank.chaos import Chaos
from tests.bank.doubts import Doubts
from tests.bank.judging import Balances, judge, seen_by_clients
from tests.bank.report import Run
from tests.bank.workload import Workload
from tests.clusters import eventually
from tests.histories.history import Recorder, read

RESOLVED_WITHIN_S = 30.0
"""After the last fault is healed: every transfer has an answer by then, and nothing is in doubt."""


async def fuzz(bed: Bed, history: Path, *, seconds: float, workers: int, seed: int) -> Run:
    """One run; its history is kept in the file `history`."""
    opened = await _all_accounts(bed)
    with Recorder(history) as recorder:
        workload = Workload(bed.client, recorder, workers=workers, seed=seed)
        chaos = Chaos(bed, recorder, workload.moved, seed=seed)
        loop = asyncio.get_running_loop()
        doubts = Doubts(bed, lambda: chaos.busy)
        working = asyncio.create_task(workload.run())
        looking = asyncio.create_task(doubts.run())
        try:
            await chaos.run(seconds)
            healed_s = loop.time()
            workload.stop()
            await asyncio.wait([working], timeout=RESOLVED_WITHIN_S)
            left_s = RESOLVED_WITHIN_S - (loop.time() - healed_s)
            await doubts.over(within_s=max(left_s, 1.0))
            settled_s = loop.time() - healed_s
        finally:
            looking.cancel()
            workload.stop()
            workload.give_up()
            await working
    left = await _all_accounts(bed)
    return Run(
        seed=seed,
        seconds=seconds,
        workers=workers,
        verdict=judge(seen_by_clients(read(history)), opened, left),
        made=tuple(chaos.made),
        latest_s=workload.latest_s,
        waited_s=tuple(doubts.waited_s),
        settled_s=settled_s,
    )


async def _all_accounts(bed: Bed) -> Balances:
    """Every account, when nothing moves."""
    async with bed.client() as http:

        async def found() -> list[Balances] | None:
            try:
                return [await balances(http, name) for name in SIDES]
            except httpx.HTTPStatusError:
                return None

        sides, _ = await eventually(found, within_s=30, what="both sides being there")
    return {name: seen for side in sides for name, seen in side.items()}
