"""Results as tables in aligned Markdown: for the terminal and for `docs/performance.md`."""

from __future__ import annotations

from collections.abc import Sequence

from bench.figures import median, spread
from bench.model import (
    Curve,
    Growth,
    Machine,
    Memory,
    Micro,
    Part,
    Point,
    Process,
    Request,
    Rest,
    Results,
    Rules,
)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return (
            "| " + " | ".join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in others)]) + " |"
        )

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), line(rule), *(line(row) for row in rows)])


def duration(seconds: float) -> str:
    """With the unit that leaves one to four digits before the point."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:,.2f} µs"
    return f"{seconds * 1e3:,.2f} ms"


def answer(is_met: bool | None) -> str:
    """Of the question whether a goal is met; empty without one."""
    return {True: "yes", False: "NO", None: ""}[is_met]


def machine(told: Machine, date: str) -> str:
    """One line."""
    return (
        f"{told.cpu}, {told.cores} cores, load {told.load} at the start, Python {told.python}, "
        f"commit {told.commit}, {date[:10]}."
    )


def parts(results: Micro) -> str:
    """The parts, each beside what it replaces."""

    def cells(row: Part) -> tuple[str, ...]:
        ours = median(row.ours_s)
        return (
            row.name,
            duration(ours),
            "" if row.goal_s is None else duration(row.goal_s),
            answer(None if row.goal_s is None else ours <= row.goal_s),
            duration(median(row.naive_s)) if row.naive_s else "",
            "" if row.factor is None else f"{row.factor:,.0f}×",
        )

    header = ("part", "ours", "goal", "met", "naive", "factor")
    return table(header, [cells(row) for row in results.rows])


def rates(results: Rest) -> str:
    """Requests per second, and the ratio with what it varies by between rounds."""

    def cells(row: Request) -> tuple[str, ...]:
        return (
            row.name,
            f"{median(row.ours.rate):,.0f}",
            f"{median(row.baseline.rate):,.0f}",
            f"{median(row.ratios):.2f}",
            f"{spread(row.ratios) * 100:.0f} %",
            "" if row.goal is None else f"{row.goal:.1f}",
            answer(row.is_met),
            "" if row.beyond is None else f"{row.beyond:.1f}",
        )

    header = ("request", "ours req/s", "base req/s", "ratio", "±", "goal", "met", "beyond")
    return table(header, [cells(row) for row in results.rows])


def rules(results: Rules) -> str:
    """Reads with rules beside those without: rates, and what a second of processor time serves."""

    def cells(row: Request) -> tuple[str, ...]:
        sides = (row.ours, row.baseline)
        per_cpu = [1 / median(side.cpu_s) if median(side.cpu_s) else 0.0 for side in sides]
        return (
            row.name,
            *(f"{median(side.rate):,.0f}" for side in sides),
            f"{median(row.ratios):.2f}",
            f"{spread(row.ratios) * 100:.0f} %",
            "" if row.goal is None else f"{row.goal:.1f}",
            answer(row.is_met),
            *(f"{value:,.0f}" for value in per_cpu),
            f"{per_cpu[0] / per_cpu[1]:.2f}" if per_cpu[1] else "",
        )

    header = (
        *("request", "with rules req/s", "without req/s", "ratio", "±", "goal", "met"),
        *("with rules req/CPU s", "without req/CPU s", "ratio"),
    )
    return table(header, [cells(row) for row in results.rows])


def costs(results: Rest) -> str:
    """Latencies, and how many requests a second of processor time serves."""

    def cells(row: Request) -> tuple[str, ...]:
        sides = (row.ours, row.baseline)
        per_cpu = [1 / median(side.cpu_s) if median(side.cpu_s) else 0.0 for side in sides]
        return (
            row.name,
            *(f"{median(side.p50_ms):.1f}" for side in sides),
            *(f"{median(side.p99_ms):.1f}" for side in sides),
            *(f"{value:,.0f}" for value in per_cpu),
            f"{per_cpu[0] / per_cpu[1]:.2f}" if per_cpu[1] else "",
        )

    header = (
        *("request", "ours p50 ms", "base p50 ms", "ours p99 ms", "base p99 ms"),
        *("ours req/CPU s", "base req/CPU s", "ratio"),
    )
    return table(header, [cells(row) for row in results.rows])


def busy(results: Rest) -> str:
    """The share of one core that each process took; near 100 % it is what limits the rate."""
    names = list(dict.fromkeys(name for row in results.rows for name in row.ours.busy))
    theirs = list(dict.fromkeys(name for row in results.rows for name in row.baseline.busy))

    def cells(row: Request) -> tuple[str, ...]:
        return (row.name, *_shares(row.ours.busy, names), *_shares(row.baseline.busy, theirs))

    header = ("request, % of a core", *names, *(f"base: {name}" for name in theirs))
    return table(header, [cells(row) for row in results.rows])


def memory(rows: Sequence[Process]) -> str:
    """RSS and PSS of each process at each moment."""
    times = list(dict.fromkeys(row.when for row in rows))
    names = list(dict.fromkeys(row.name for row in rows))
    found = {(row.name, row.when): f"{row.rss_mb:.0f} / {row.pss_mb:.0f}" for row in rows}
    header = ("RSS / PSS in MB", *times)
    return table(header, [[n, *(found.get((n, when), "") for when in times)] for n in names])


def growth(results: Growth) -> str:
    """Each curve: sizes, costs, rates, and its order beside the limit."""

    def over(points: Sequence[Point], values: Sequence[float], scale: float = 1) -> str:
        return " → ".join(f"{value * scale:,.0f}" for value in values) if points else ""

    def cells(curve: Curve) -> tuple[str, ...]:
        points = curve.points
        return (
            curve.name,
            over(points, [point.size for point in points]),
            over(points, [median(point.cpu_s) for point in points], 1e6),
            over(points, [median(point.rate) for point in points]),
            f"{curve.order:.2f}",
            f"{curve.limit:.2f}",
            answer(curve.order <= curve.limit + 0.05),
        )

    header = ("what grows", "size", "CPU µs per request", "req/s", "order", "limit", "met")
    return table(header, [cells(curve) for curve in results.rows])


def goals(results: Rest) -> str:
    """A sentence on which goals are met."""
    met = [row.name for row in results.rows if row.is_met]
    missed = [
        f"{row.name} ({median(row.ratios):.2f} of {row.goal:.1f})"
        for row in results.rows
        if row.is_met is False
    ]
    return f"Met: {', '.join(met) or 'none'}. Not met: {', '.join(missed) or 'none'}."


def in_full(results: Results) -> str:
    """Every table of one benchmark."""
    match results:
        case Micro():
            return parts(results)
        case Rest():
            tables = (rates(results), goals(results), costs(results), busy(results))
            return "\n\n".join((*tables, memory(results.memory)))
        case Rules():
            return rules(results)
        case Growth():
            return growth(results)
        case Memory():
            return memory(results.rows)


def _shares(shares: dict[str, float], names: Sequence[str]) -> list[str]:
    return [f"{shares[name] * 100:.0f}" if name in shares else "" for name in names]
