"""Memory of the cluster over many requests: `python -m bench memory`, or `make bench-memory`.

A mix of reads and writes with the result cache on; resident memory is read when the processes are
idle, after 20,000 requests (caches and pools are full then) and after 200,000.
"""

from __future__ import annotations

from bench import wrk
from bench.model import METHOD, Machine, Memory, Process, now
from bench.place import ROWS, Place, Setup, place
from bench.scenarios import scenarios

IDLE_KERNEL_MB = 120.0
GROWTH = 0.10
MARKS = (20_000, 200_000)
MIX = {
    "get": 8,
    "list of 20": 3,
    "aggregate": 1,
    "expand 2 of 50, against a join": 1,
    "create": 2,
    "create, no key": 1,
    "update": 2,
    "cached get": 2,
}
OURS = ("gateway-rest", "kernel")
"""What must not grow; Postgres and Redis fill their buffers as they are told to."""


def label(requests: int) -> str:
    """When memory was read."""
    return f"after {requests:,}" if requests else "idle"


def faults(rows: list[Process]) -> list[str]:
    """What is wrong with these figures, in words; empty if nothing is."""
    found: list[str] = []
    by_time = {(row.name, row.when): row.rss_mb for row in rows}
    times = list(dict.fromkeys(row.when for row in rows))
    for name in dict.fromkeys(row.name for row in rows if row.name.startswith(OURS)):
        idle, early, late = (by_time[name, when] for when in (times[0], times[1], times[-1]))
        if name.startswith("kernel") and idle > IDLE_KERNEL_MB:
            found.append(f"{name} takes {idle:.0f} MB idle, the limit is {IDLE_KERNEL_MB:.0f}")
        if late > early * (1 + GROWTH):
            found.append(f"{name} grew from {early:.0f} MB {times[1]} to {late:.0f} {times[-1]}")
    return found


def load(where: Place, rows: int, done: int, until: int, seconds: int) -> int:
    """Ask until so many requests are answered; how many are."""
    asked = {each.name: each.ours for each in scenarios(where.token, rows)}
    script = wrk.mixed({asked[name]: times for name, times in MIX.items()})
    while done < until:
        done += wrk.ask(where.url, script, seconds).requests
        kernel = next(each for each in where.memory("now") if each.name == "kernel-1")
        print(f"  {done:>9,} requests, kernel {kernel.rss_mb:.1f} MB", flush=True)
    return done


def measure(rows: int = ROWS, marks: tuple[int, ...] = MARKS, seconds: int = 5) -> Memory:
    """The processes' memory at every mark."""
    machine = Machine.here()
    with place(Setup(cached=True)) as where:
        where.fill_items(rows)
        where.fill_sales(rows)
        found, done = where.memory(label(0)), 0
        for mark in marks:
            done = load(where, rows, done, mark, seconds)
            found += where.memory(label(mark))
    return Memory(machine, now(), METHOD, found)
