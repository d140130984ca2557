"""The benchmarks run to their end and keep what they measured; no figure is judged here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bench.model import Growth, Memory, Micro, Rest, load
from bench.scenarios import scenarios
from tests.clusters import ROOT

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(300),  # a minute alone; the rest is for a busy machine
    pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed"),
]


def run(*arguments: str) -> str:
    command = (sys.executable, "-m", "bench", *arguments)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_quick_benchmark_measures_every_part_and_every_request(tmp_path: Path) -> None:
    printed = run("run", "--quick", "--only", "micro", "rest", "--results", str(tmp_path))
    micro, rest = load(tmp_path, Micro), load(tmp_path, Rest)
    assert micro is not None
    assert rest is not None
    parts = {row.name.split(" ")[0]: row for row in micro.rows}
    assert set(parts) == {"metadata", "5", "cached", "cold", "connection", "uninstall", "bus"}
    assert all(min(row.ours_s) > 0 for row in micro.rows)
    assert [row.name for row in rest.rows] == [each.name for each in scenarios("token", 100)]
    assert all(min(row.ratios) > 0 for row in rest.rows)
    assert {"gateway-rest-1", "kernel-1", "postgres", "wrk"} <= set(rest.rows[0].ours.busy)
    assert {"idle", "after the reads", "after the writes"} == {row.when for row in rest.memory}
    assert "commit " in printed


def test_quick_growth_has_a_cost_at_every_size(tmp_path: Path) -> None:
    run("run", "--quick", "--only", "growth", "--results", str(tmp_path))
    growth = load(tmp_path, Growth)
    assert growth is not None
    assert {curve.unit for curve in growth.rows} == {
        *("rows", "terms", "connections", "kernels", "objects")
    }
    assert all(point.cpu_s[0] > 0 for curve in growth.rows for point in curve.points)


def test_quick_memory_reads_every_process_at_every_mark(tmp_path: Path) -> None:
    run("memory", "--quick", "--results", str(tmp_path))
    memory = load(tmp_path, Memory)
    assert memory is not None
    assert {row.when for row in memory.rows} == {"idle", "after 200", "after 400"}
    assert {"gateway-rest-1", "kernel-1", "redis"} <= {row.name for row in memory.rows}
    assert all(0 < row.pss_mb <= row.rss_mb for row in memory.rows)


def test_quick_live_queries_are_told_what_was_written() -> None:
    told = run("live", "--quick")  # it compares what was heard with what was written itself
    assert {"deliveries", "p95"} <= {word.strip(",") for word in told.split()}
