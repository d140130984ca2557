"""REST: this system and the hand-written baseline on one table, in turn, in one run.

Every scenario is warmed up, then measured in rounds that alternate between the contestants. Beside
the rates stands the processor time that one request costs all processes that serve it, which other
work on the machine disturbs far less.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench import processes, wrk
from bench.figures import median
from bench.model import METHOD, Machine, Process, Request, Rest, Side, now
from bench.place import ROWS, Place, baseline
from bench.scenarios import Scenario, scenarios


@dataclass(frozen=True)
class Load:
    """How long wrk asks."""

    rounds: int = 5
    seconds: int = 2
    warm_up: int = 1
    rows: int = ROWS


@dataclass(frozen=True)
class Contestant:
    """Where one side's requests go, what they are, and the processes that serve them."""

    url: str
    script: str
    roots: Mapping[str, int]


def in_turn(load: Load, *contestants: Contestant) -> list[Side]:
    """All rounds: the contestants one after the other, again and again."""
    sides = [Side() for _ in contestants]
    for each in contestants:
        wrk.ask(each.url, each.script, load.warm_up)
    for _ in range(load.rounds):
        for side, each in zip(sides, contestants, strict=True):
            _round(side, each, load.seconds)
    return sides


def _round(side: Side, of: Contestant, seconds: int) -> None:
    """One round more."""
    before, asking = processes.cpu_of(of.roots), processes.children_cpu_s()
    started = time.monotonic()
    answer = wrk.ask(of.url, of.script, seconds)
    took = time.monotonic() - started
    after = processes.cpu_of(of.roots)
    spent = {name: after[name] - before[name] for name in of.roots}
    side.rate.append(answer.rate)
    side.p50_ms.append(answer.p50_ms)
    side.p99_ms.append(answer.p99_ms)
    side.cpu_s.append(sum(spent.values()) / answer.requests)
    done = len(side.rate)
    for name, used in (spent | {"wrk": processes.children_cpu_s() - asking}).items():
        mean = side.busy.get(name, 0.0)
        side.busy[name] = mean + (used / took - mean) / done


def run(place: Place, load: Load, scenario: Scenario, theirs: tuple[str, int]) -> Request:
    """All rounds of one scenario."""
    url, pid = theirs
    mine = place.serving()
    sides = in_turn(
        load,
        Contestant(place.url, scenario.ours, mine),
        Contestant(url, scenario.baseline, {"baseline": pid, "postgres": mine["postgres"]}),
    )
    return Request(scenario.name, scenario.goal, scenario.beyond, *sides)


def measure(place: Place, load: Load) -> Rest:
    """Run everything; `place` is filled and without the cache, and has it afterwards."""
    machine = Machine.here()
    rows: list[Request] = []
    memory: list[Process] = place.memory("idle")
    for cached in (False, True):
        if place.setup.cached != cached:
            place.bring_about(replace(place.setup, cached=cached))
        with baseline(place.pg_url) as theirs:
            for scenario in scenarios(place.token, load.rows):
                if scenario.cached == cached:
                    found = run(place, load, scenario, theirs)
                    print(f"  {found.name}: {median(found.ratios):.2f}", flush=True)
                    rows.append(found)
            memory += [
                *place.memory("after the writes" if cached else "after the reads"),
                Process(
                    "baseline",
                    f"after the {'writes' if cached else 'reads'}",
                    *processes.memory_mb(theirs[1]),
                ),
            ]
    return Rest(machine, now(), METHOD, rows, memory)
