"""The ratios as a picture: SVG by hand, legible on light and dark pages.

The scale is logarithmic around 1, the baseline: a bar to the right is as many times faster as one
of equal length to the left is slower. A tick is the goal, a dotted one what is hoped for beyond.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias
from xml.sax.saxutils import escape

from bench.figures import median
from bench.model import Request, Rest

_Scale: TypeAlias = Callable[[float], float]

LABELS, PLOT, VALUES = 250, 480, 130
ROW, BAR, TOP, BOTTOM = 30, 16, 64, 34
TITLE = "Requests per second, as a multiple of the hand-written service's"
GRID = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)
STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #24292f; }
    .title { font-size: 15px; font-weight: 600; }
    .small { font-size: 11px; fill: #57606a; }
    .page { fill: #ffffff; } .grid { stroke: #d0d7de; } .one { stroke: #57606a; }
    .met { fill: #2da44e; } .missed { fill: #d4760a; } .free { fill: #6e7781; }
    .goal { stroke: #24292f; stroke-width: 2; } .beyond { stroke-dasharray: 2 2; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; } .small { fill: #9198a1; }
      .page { fill: #0d1117; } .grid { stroke: #30363d; } .one { stroke: #9198a1; } .goal { stroke: #e6edf3; }
      .met { fill: #3fb950; } .missed { fill: #e09b13; } .free { fill: #8b949e; }
    }
"""


def chart(results: Rest) -> str:
    """A bar for each request."""
    rows = results.rows
    width, height = LABELS + PLOT + VALUES, TOP + ROW * len(rows) + BOTTOM
    low, high = _range(rows)

    def x(ratio: float) -> float:
        share = math.log(min(max(ratio, low), high) / low) / math.log(high / low)
        return LABELS + PLOT * share

    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
            f'  width="{width}" height="{height}" role="img" aria-labelledby="title">',
            f'<title id="title">{escape(_summary(rows))}</title>',
            f"<style>{STYLE}</style>",
            '<rect class="page" width="100%" height="100%" rx="6"/>',
            f'<text class="title" x="8" y="22">{TITLE}</text>',
            f'<text class="small" x="8" y="40">{escape(_legend(results))}</text>',
            *_grid(x, low, high, height),
            *(line for at, row in enumerate(rows) for line in _bar(row, TOP + ROW * at, x)),
            "</svg>\n",
        ]
    )


def _range(rows: Sequence[Request]) -> tuple[float, float]:
    """Lines of the grid around everything that is drawn."""
    values = [1.0, *(median(row.ratios) for row in rows)]
    values += [goal for row in rows for goal in (row.goal, row.beyond) if goal]
    low = max((line for line in GRID if line <= min(values)), default=GRID[0])
    high = min((line for line in GRID if line >= max(values)), default=GRID[-1])
    return min(low, 0.7), max(high, 2.0)


def _grid(x: _Scale, low: float, high: float, height: int) -> Iterator[str]:
    for line in GRID:
        if low <= line <= high:
            kind = "one" if line == 1.0 else "grid"
            at, foot = f"{x(line):.1f}", height - BOTTOM
            yield f'<line class="{kind}" x1="{at}" x2="{at}" y1="{TOP - 8}" y2="{foot}"/>'
            yield (
                f'<text class="small" x="{at}" y="{foot + 16}" text-anchor="middle">'
                f"{line:g}×</text>"
            )


def _bar(row: Request, top: int, x: _Scale) -> Iterator[str]:
    ratio = median(row.ratios)
    kind = {True: "met", False: "missed", None: "free"}[row.is_met]
    start, end = sorted((x(1.0), x(ratio)))
    middle = top + BAR / 2 + 4
    yield f'<text x="{LABELS - 10}" y="{middle}" text-anchor="end">{escape(row.name)}</text>'
    yield (
        f'<rect class="{kind}" x="{start:.1f}" y="{top}" width="{end - start:.1f}" '
        f'height="{BAR}" rx="2"/>'
    )
    for goal, style in ((row.goal, "goal"), (row.beyond, "goal beyond")):
        if goal is not None:
            at = f"{x(goal):.1f}"
            yield f'<line class="{style}" x1="{at}" x2="{at}" y1="{top - 4}" y2="{top + BAR + 4}"/>'
    told = f"{ratio:.2f}×" + (f" of {row.goal:g}" if row.goal is not None else "")
    yield f'<text x="{LABELS + PLOT + 12}" y="{middle}">{told}</text>'


def _legend(results: Rest) -> str:
    return (
        "green: goal met · orange: not met · grey: no goal · line: goal · dotted: hoped for · "
        f"commit {results.machine.commit}, {results.date[:10]}"
    )


def _summary(rows: Sequence[Request]) -> str:
    """For those who hear the picture."""
    return "; ".join(f"{row.name} {median(row.ratios):.2f} times" for row in rows)
