"""`python -m bench [--quick] [--results FOLDER]`, `python -m bench profile [SCENARIO ...]`."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from bench import http, micro, profiling
from bench.report import METHOD, Machine, save

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure everything on one cluster."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure the parts and the whole.")
    parser.add_argument("--quick", action="store_true", help="only see that everything runs")
    parser.add_argument("--results", type=Path, help="where the JSON files go")
    commands = parser.add_subparsers(dest="command")
    profile = commands.add_parser("profile", help="watch gateway and kernel with py-spy")
    profile.add_argument("scenarios", nargs="*", help="by default all")
    told = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("the benchmark needs wrk: apt-get install wrk")
    if told.command == "profile":
        profiling.main(told.scenarios)
        return
    # A quick run's figures mean nothing, so they never replace good ones.
    results: Path | None = told.results or (None if told.quick else RESULTS)
    effort = micro.Effort(rounds=3, slice_s=0.005) if told.quick else micro.Effort()
    load = http.Load(rounds=1, seconds=1, warm_up=1) if told.quick else http.Load()
    machine = Machine.here()
    print(f"{machine.cpu}, {machine.cores} cores, load {machine.load}, Python {machine.python}")
    print(METHOD + "\n")
    rows = 2_000 if told.quick else http.ROWS
    with (
        tempfile.TemporaryDirectory(prefix="oql-bench-") as folder,
        http.cluster(folder, rows=rows) as running,
    ):
        env = running.env
        found = {"micro": micro.main(env["OQL_PG_URL"], env["OQL_NATS_URL"], effort)}
        print()
        found["rest"] = http.main(running, load, rows=rows)
    if results is not None:
        for name, figures in found.items():
            print(f"wrote {save(results, name, figures, machine)}")


if __name__ == "__main__":
    main()
