"""The benchmarks run to their end and write what they measured; no figure is judged here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.clusters import ROOT

pytestmark = pytest.mark.servers


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_quick_benchmark_measures_every_part_and_every_request(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--results", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    micro, rest = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("micro", "rest")
    )
    assert {"machine", "method", "date", "rows"} <= set(micro)
    parts = {row["part"].split(" ")[0]: row for row in micro["rows"]}
    assert set(parts) == {"metadata", "5", "cached", "cold", "connection", "uninstall", "bus"}
    assert all(row["median_s"] > 0 for row in micro["rows"])
    requests = {row["request"] for row in rest["rows"]}
    assert requests >= {"get", "list of 20", "list of 100", "create", "update", "aggregate"}
    assert all(row["ratio"] > 0 for row in rest["rows"])
    assert done.stdout.count("\n| ---") == 2  # both tables
