"""What changed against kept results: `python -m bench compare`, or `make bench-compare`.

Requests are compared by the ratio to the baseline, which ran on the same machine a moment apart;
parts and growth by processor time, so only results of one kind of machine say much there.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from bench.figures import Verdict, median, spread, verdict
from bench.model import Growth, Micro, Rest, load
from bench.report import table


class Change(NamedTuple):
    """One figure before and now; `is_better` is None where the difference may be noise."""

    what: str
    old: list[float]
    new: list[float]
    more_is_better: bool

    @property
    def verdict(self) -> Verdict:
        return verdict(self.old, self.new)

    @property
    def is_better(self) -> bool | None:
        found = self.verdict
        return None if found == "same" else (found == "more") == self.more_is_better

    def cells(self) -> tuple[str, ...]:
        before, after = median(self.old), median(self.new)
        noise = max(spread(self.old), spread(self.new))
        word = {True: "better", False: "WORSE", None: ""}[self.is_better]
        return (
            self.what,
            f"{before:,.4g}",
            f"{after:,.4g}",
            f"{(after / before - 1) * 100:+.0f} %" if before else "",
            f"{noise * 100:.0f} %",
            word,
        )


def changes(old: Path, new: Path) -> list[Change]:
    """Every figure that both folders have, in the order of the new one."""
    found: list[Change] = []
    if (a := load(old, Micro)) and (b := load(new, Micro)):
        before = {row.name: row for row in a.rows}
        found += [
            Change(f"{row.name}, s", before[row.name].ours_s, row.ours_s, more_is_better=False)
            for row in b.rows
            if row.name in before
        ]
    if (c := load(old, Rest)) and (d := load(new, Rest)):
        known = {row.name: row for row in c.rows}
        for row in d.rows:
            if row.name in known:
                was = known[row.name]
                found += [
                    Change(f"{row.name}, ratio", was.ratios, row.ratios, more_is_better=True),
                    Change(
                        f"{row.name}, CPU s", was.ours.cpu_s, row.ours.cpu_s, more_is_better=False
                    ),
                ]
    if (e := load(old, Growth)) and (f := load(new, Growth)):
        points = {(curve.name, p.size): p for curve in e.rows for p in curve.points}
        found += [
            Change(
                f"{curve.name}: {p.size:,}, CPU s",
                points[curve.name, p.size].cpu_s,
                p.cpu_s,
                more_is_better=False,
            )
            for curve in f.rows
            for p in curve.points
            if (curve.name, p.size) in points
        ]
    return found


def report(found: list[Change], *, everything: bool = False) -> str:
    """The changes beyond noise as a table; or all figures."""
    shown = [change for change in found if everything or change.is_better is not None]
    if not shown:
        return f"Nothing of {len(found)} figures changed beyond noise."
    header = ("figure", "kept", "new", "change", "noise", "")
    return table(header, [change.cells() for change in shown])
