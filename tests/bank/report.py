"""`docs/fault-report.md`, from a run."""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Iterator, Sequence

import msgspec

from tests.bank.chaos import AT_ONCE, Made, recovery_s
from tests.bank.judging import Verdict


class Run(msgspec.Struct, frozen=True):
    """One run of the harness."""

    seed: int
    seconds: float
    workers: int
    verdict: Verdict
    made: tuple[Made, ...]
    latest_s: float
    """The longest that a request took to end after its deadline."""
    waited_s: tuple[float, ...]
    """See `Doubts.waited_s`."""
    settled_s: float
    """From the last fault until every transfer had an answer and nothing was in doubt."""


def report(run: Run) -> str:
    """The page."""
    return "\n".join(_lines(run)) + "\n"


def _lines(run: Run) -> Iterator[str]:
    transfers = run.verdict.transfers
    yield "# Faults survived"
    yield ""
    yield "Written by `make test-faults-long`; do not edit. What is done and how it is judged stands in"
    yield "[high availability](guides/high-availability.md)."
    yield ""
    yield f"{run.workers} clients moved money within and between two databases for {run.seconds:.0f} s, while every 500 ms a fault"
    yield f"was made, {AT_ONCE} at most at a time (seed {run.seed}; {os.cpu_count()} cores, {platform.system()})."
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| Transfers that happened | {transfers.get('ok', 0):,} |"
    yield f"| of them between two databases | {run.verdict.across:,} |"
    yield f"| Transfers that were refused | {transfers.get('fail', 0):,} |"
    yield f"| Transfers of which nobody knows in the end | {transfers.get('info', 0):,} |"
    yield f"| Reads | {run.verdict.reads:,} |"
    yield f"| Faults made | {len(run.made):,} |"
    yield f"| Anomalies | {len(run.verdict.faults)} |"
    yield f"| Longest that a request took to end after its deadline | {run.latest_s:.2f} s |"
    yield f"| Parts that were found prepared | {len(run.waited_s):,} |"
    yield (
        "| They stayed so, while all was there that could end them: median, p99, longest |"
        f" {at(run.waited_s, 0.5):.1f}, {at(run.waited_s, 0.99):.1f}, {at(run.waited_s, 1):.1f} s |"
    )
    yield f"| From the last fault until every answer was there and nothing in doubt | {run.settled_s:.1f} s |"
    yield ""
    if run.verdict.faults:
        yield "```text"
        yield from run.verdict.faults[:100]
        yield "```"
        yield ""
    yield "Seconds from the end of a fault to the next transfer that happened, while others went on:"
    yield ""
    yield "| Fault | Target | Times | Median | p99 | Longest |"
    yield "|---|---|--:|--:|--:|--:|"
    for (target, kind), found in itertools.groupby(sorted(run.made, key=_row), key=_row):
        made = list(found)
        times = recovery_s(made, lambda _: True)
        yield (
            f"| {kind} | {target} | {len(made)} | {at(times, 0.5):.2f}"
            f" | {at(times, 0.99):.2f} | {at(times, 1):.2f} |"
        )


def _row(made: Made) -> tuple[str, str]:
    return made.target.rpartition("-")[0] or made.target, made.kind


def at(times: Sequence[float], part: float) -> float:
    """The value below which `part` of the sorted `times` lie; 0 where there are none."""
    return times[min(len(times) - 1, int(part * len(times)))] if times else 0.0
