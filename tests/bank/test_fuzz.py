"""Money survives whatever is killed: a short run for every change, and a long one now and then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from examples.bank.load import ACCOUNTS, TOTAL

from tests.bank.bed import Bed
from tests.bank.fuzzing import fuzz
from tests.bank.report import Run, at, report

ENDED_WITHIN_S = 1.0
"""Of its deadline: what is promised of every request."""
RESOLVED_P99_S = 5.0
"""For parts of transactions whose databases, leader and kernels are there."""


def check(run: Run) -> None:
    assert run.verdict.faults == ()
    assert run.verdict.across > 0
    assert run.made


@pytest.mark.faults
@pytest.mark.timeout(180)
async def test_no_money_is_made_or_lost_while_parts_of_the_cluster_die(
    bed: Bed, tmp_path: Path
) -> None:
    run = await fuzz(bed, tmp_path / "history.jsonl", seconds=6, workers=6, seed=1)
    check(run)


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
async def test_no_money_is_made_or_lost_for_as_long_as_one_likes(bed: Bed, tmp_path: Path) -> None:
    told = os.environ  # noqa: TID251 - a switch of the tests
    run = await fuzz(
        bed,
        Path(told.get("OQL_FUZZ_HISTORY", tmp_path / "history.jsonl")),
        seconds=float(told.get("OQL_FUZZ_SECONDS", "600")),
        workers=24,
        seed=int(told.get("OQL_FUZZ_SEED", "1")),
    )
    if page := told.get("OQL_FAULT_REPORT"):
        Path(page).write_text(report(run))
    check(run)
    assert run.latest_s <= ENDED_WITHIN_S
    assert at(run.waited_s, 0.99) <= RESOLVED_P99_S
    assert TOTAL == 2 * ACCOUNTS * 1000
