"""`python -m bench COMMAND`: see `--help`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Generator, Iterable
from pathlib import Path

from bench import (
    compare,
    document,
    growth,
    live,
    live_crowds,
    memory,
    micro,
    profiling,
    report,
    rest,
    rules,
    transactions,
    wrk,
)
from bench.model import METHOD, RESULTS, Growth, Machine, Micro, Rest, Rules, save
from bench.place import place
from objectql_devstack import DataStack

BENCHMARKS = ("micro", "rest", "rules", "growth")


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure the parts and the whole.")
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="measure, print tables, keep results as JSON")
    measured(run)
    run.add_argument("--results", type=Path, help="folder of the JSON files")

    against = commands.add_parser("compare", help="measure, and tell what changed")
    measured(against)
    against.add_argument("--kept", type=Path, default=RESULTS, help="results to compare with")
    against.add_argument("--new", type=Path, help="results to compare, instead of measuring")
    against.add_argument("--all", action="store_true", help="print also what did not change")
    against.add_argument("--fail", action="store_true", help="exit with 1 if something is worse")

    remember = commands.add_parser("memory", help="memory after 20,000 and 200,000 requests")
    remember.add_argument("--quick", action="store_true", help="only see that it runs")
    remember.add_argument("--results", type=Path, help="folder of the JSON file")

    live_queries = commands.add_parser("live", help="live queries: fan-out, filters, idle sockets")
    live_queries.add_argument("--quick", action="store_true", help="only see that it runs")
    crowds = commands.add_parser("crowds", help="live queries: slow readers, a right that ends")
    crowds.add_argument("--quick", action="store_true", help="only see that it runs")

    several = commands.add_parser("transactions", help="commits over several databases")
    several.add_argument("--quick", action="store_true", help="only see that it runs")

    commands.add_parser("document", help="write docs/performance.md from the kept results")

    profile = commands.add_parser("profile", help="watch gateway and kernel with py-spy")
    profile.add_argument("scenarios", nargs="*", help="by default all")
    return parser


def measured(parser: argparse.ArgumentParser) -> None:
    """The options of what measures."""
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS)
    parser.add_argument("--quick", action="store_true", help="only see that everything runs")
    parser.add_argument("--seconds", type=int, default=2, help="of a round of REST requests")


@contextlib.contextmanager
def stage(name: str) -> Generator[None]:
    """A line before and after."""
    started = time.monotonic()
    print(f"{name} ...", flush=True)
    yield
    print(f"{name}: {time.monotonic() - started:.0f} s\n", flush=True)


def measure(told: argparse.Namespace, results: Path | None) -> None:
    """Measure and print; results are kept as soon as there are any."""
    wrk.require()
    only: Iterable[str] = told.only
    quick: bool = told.quick
    here = Machine.here()
    print(f"{here.cpu}, {here.cores} cores, load {here.load}, commit {here.commit}\n{METHOD}\n")

    def keep(found: Micro | Rest | Rules | Growth) -> None:
        print(report.in_full(found) + "\n", flush=True)
        if results is not None:
            print(f"wrote {save(results, found)}\n")

    small = rest.Load(rounds=1, seconds=1, rows=2_000)
    if {"micro", "rest"} & set(only):
        load = small if quick else rest.Load(seconds=told.seconds)
        # A bus of its own, where everybody may say what they like.
        with (
            place() as where,
            tempfile.TemporaryDirectory(prefix="oql-bench-") as folder,
            DataStack.start(Path(folder), {"nats"}) as bus,
        ):
            if "micro" in only:
                effort = micro.Effort(rounds=3, slice_s=0.005) if quick else micro.Effort()
                with stage("micro"):
                    keep(micro.main(where.pg_url, bus.nats_url, effort))
            if "rest" in only:
                with stage("rest"):
                    where.fill_items(load.rows)
                    where.fill_sales(load.rows)
                    keep(rest.measure(where, load))
    if "rules" in only:
        load = small if quick else rules.LOAD
        with stage("rules"), place() as where:
            where.fill_items(load.rows)
            keep(rules.measure(where, load))
    if "growth" in only:
        with stage("growth"), tempfile.TemporaryDirectory(prefix="oql-bench-") as folder:
            keep(growth.measure(Path(folder), growth.QUICK if quick else growth.Extent()))


def remember(*, quick: bool, results: Path | None) -> int:
    """Measure memory; 1 if it is more than it may be."""
    wrk.require()
    with stage("memory"):
        found = memory.measure(2_000, (200, 400), 1) if quick else memory.measure()
    print(report.in_full(found))
    if results is not None:
        print(f"wrote {save(results, found)}")
    faults = memory.faults(found.rows)
    for fault in faults:
        print(fault)
    return bool(faults)


def main() -> int:
    """Do what was asked for; the exit code."""
    told = arguments().parse_args()
    match told.command:
        case "run":
            # A quick run's figures mean nothing, so they never replace good ones.
            results: Path | None = told.results or (None if told.quick else RESULTS)
            measure(told, results)
        case "compare":
            return against(told)
        case "live":
            live.run(quick=told.quick)
        case "crowds":
            live_crowds.run(quick=told.quick)
        case "transactions":
            transactions.run(quick=told.quick)
        case "memory":
            results = told.results or (None if told.quick else RESULTS)
            return remember(quick=told.quick, results=results)
        case "document":
            for path in document.write():
                print(path)
        case _:
            wrk.require()
            profiling.main(told.scenarios)
    return 0


def against(told: argparse.Namespace) -> int:
    """Print what changed; 1 if something is worse and that was to fail."""
    with tempfile.TemporaryDirectory(prefix="oql-bench-") as folder:
        if told.new is None:
            measure(told, Path(folder))
        found = compare.changes(told.kept, told.new or Path(folder))
    print(compare.report(found, everything=told.all))
    worse = [change.what for change in found if change.is_better is False]
    return 1 if told.fail and worse else 0


if __name__ == "__main__":
    sys.exit(main())
