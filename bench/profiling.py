"""Where the time goes: py-spy on the gateway and the kernel while wrk asks.

    python -m bench profile            # all scenarios, 5 s each
    python -m bench profile get update # only these

Samples are of threads that hold the GIL, in percent of the samples of their process.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bench import scenarios, wrk
from bench.place import ROWS, place

PROCESSES = ("gateway-rest-1", "kernel-1")
SHOWN = 22


def collapse(text: str) -> tuple[Counter[str], Counter[str], int]:
    """Samples by function: its own, with what it calls, and all; `text` is py-spy's raw format."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    total = 0
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        number = int(count)
        total += number
        frames = [_short(frame) for frame in stack.split(";")]
        own[frames[-1]] += number
        for frame in set(frames):
            whole[frame] += number
    return own, whole, total


def _short(frame: str) -> str:
    """`function (package/module.py)` without the line."""
    name, _, place = frame.partition(" (")
    path = place.rstrip(")").rsplit(":", 1)[0]
    return f"{name} ({'/'.join(path.split('/')[-2:])})"


def record(pid: int, seconds: int, output: Path) -> subprocess.Popen[bytes]:
    """py-spy at work on a process."""
    command = [
        *(str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(pid)),
        *("--duration", str(seconds), "--rate", "200", "--format", "raw", "--gil"),
        *("--output", str(output)),
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def print_profile(title: str, text: str) -> None:
    """The functions with most samples, by their own and by what they call."""
    own, whole, total = collapse(text)
    print(f"\n### {title} ({total} samples)\n\n| own % | function | | with callees % | function |")
    print("|--:|---|---|--:|---|")
    for (a, m), (b, n) in zip(
        own.most_common(SHOWN), whole.most_common(SHOWN + 8)[8:], strict=False
    ):
        print(f"| {m / total:.1%} | {a} | | {n / total:.1%} | {b} |")


def main(wanted: Iterable[str] = (), seconds: int = 5) -> None:
    """Print a profile for each scenario."""
    names = set(wanted)
    with place() as where, tempfile.TemporaryDirectory(prefix="oql-profile-") as folder:
        where.fill_items(ROWS)
        where.fill_sales(ROWS)
        for scenario in scenarios.scenarios(where.token, ROWS):
            if names and scenario.name not in names:
                continue
            if scenario.cached != where.setup.cached:
                where.bring_about(replace(where.setup, cached=scenario.cached))
            wrk.ask(where.url, scenario.ours, 2)
            outputs = {name: Path(folder) / f"{name}.txt" for name in PROCESSES}
            spies = [
                record(where.cluster.pid(name), seconds - 1, out) for name, out in outputs.items()
            ]
            time.sleep(0.2)
            rate = wrk.ask(where.url, scenario.ours, seconds).rate
            for spy in spies:
                spy.wait(30)
            print(f"\n## {scenario.name}: {rate:,.0f} requests/s while watched")
            for name, output in outputs.items():
                print_profile(f"{scenario.name}, {name}", output.read_text())
