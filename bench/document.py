"""The figures in `docs/performance.md`: `python -m bench document`.

Tables and sentences between `<!-- generated: name -->` and `<!-- end -->`, and the chart, are made
of `bench/results`; `tests/test_bench_results.py` fails where they are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from bench import report
from bench.chart import chart
from bench.model import HERE, RESULTS, Growth, Kept, Memory, Micro, Rest, Results, Rules, load

PAGE = HERE.parent / "docs" / "performance.md"
CHART = PAGE.with_suffix(".svg")
_PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_NOTHING = "Not measured yet."


def _made(folder: Path, kind: type[Kept], make: Callable[[Kept], str]) -> str:
    """`make` of the kept results, with the machine where it says so."""
    results = load(folder, kind)
    return _NOTHING if results is None else make(results)


def parts(folder: Path = RESULTS) -> dict[str, str]:
    """Every generated part by name."""

    def where(results: Results) -> str:
        return report.machine(results.machine, results.date)

    return {
        "machine": _made(folder, Rest, where),
        "parts": _made(folder, Micro, report.parts),
        "rates": _made(folder, Rest, report.rates),
        "goals": _made(folder, Rest, report.goals),
        "costs": _made(folder, Rest, report.costs),
        "busy": _made(folder, Rest, report.busy),
        "processes": _made(folder, Rest, lambda results: report.memory(results.memory)),
        "rules": _made(folder, Rules, report.rules),
        "rules-machine": _made(folder, Rules, where),
        "growth": _made(folder, Growth, report.growth),
        "memory": _made(folder, Memory, lambda results: report.memory(results.rows)),
        "memory-machine": _made(folder, Memory, where),
    }


def current(folder: Path = RESULTS) -> dict[Path, str]:
    """What the page and the chart should hold."""
    made = parts(folder)
    page = _PART.sub(lambda found: f"{found[1]}{made[found[2]]}\n{found[3]}", PAGE.read_text())
    drawn = _made(folder, Rest, chart)
    return {PAGE: page} | ({} if drawn == _NOTHING else {CHART: drawn})


def write() -> list[Path]:
    """Bring them up to date; those that changed."""
    changed: list[Path] = []
    for path, text in current().items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            changed.append(path)
    return changed
