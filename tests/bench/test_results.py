"""Results are kept, rendered and compared without loss, and the page says what is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from bench import compare, document, memory, report, wrk
from bench.chart import chart
from bench.model import (
    RESULTS,
    Curve,
    Growth,
    Machine,
    Micro,
    Part,
    Point,
    Process,
    Request,
    Rest,
    Side,
    load,
    save,
)
from bench.scenarios import scenarios
from tests.clusters import ROOT

HERE = Machine(2, "CPU", "Linux", "3.11", 0.5, "abc", {})
SVG = "{http://www.w3.org/2000/svg}"


def digits(values: list[float]) -> list[float]:
    """As kept: five significant digits."""
    return [float(f"{value:.5g}") for value in values]


def side(rate: float, cpu_s: float = 0.001) -> Side:
    rates = digits([rate * (1 + n / 100) for n in range(5)])
    return Side(
        rates, [1.0] * 5, [9.0] * 5, digits([cpu_s + n * 1e-5 for n in range(5)]), {"nats": 0.4}
    )


def rest(ours: float, goal: float | None = 1.2, cpu_s: float = 0.001) -> Rest:
    rows = [Request("get <one>", goal, 1.5, side(ours, cpu_s), side(1000))]
    return Rest(HERE, "2026-01-01", "how", rows, [Process("kernel-1", "idle", 64.5, 50.2)])


def growth(*costs: float, limit: float = 0.15) -> Growth:
    points = [Point(10**at, [100.0], [1.0], [cost]) for at, cost in enumerate(costs)]
    return Growth(HERE, "2026-01-01", "how", [Curve("get", "rows", limit, points)])


def test_the_page_and_the_chart_are_made_of_the_kept_results() -> None:
    for path, text in document.current().items():
        assert path.read_text() == text, "run `make bench-document`"


def test_every_generated_part_stands_on_the_page_once() -> None:
    text = document.PAGE.read_text()
    for name in document.parts():
        assert text.count(f"<!-- generated: {name} -->") == 1, name


def test_kept_results_have_the_rounds_of_every_request() -> None:
    kept = load(RESULTS, Rest)
    assert kept is not None
    assert [row.name for row in kept.rows] == [each.name for each in scenarios("token", 100)]
    assert all(len(row.ours.rate) == len(row.baseline.rate) >= 5 for row in kept.rows)
    assert kept.machine.commit


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    save(tmp_path, rest(1300))
    save(tmp_path, growth(1, 2))
    assert load(tmp_path, Rest) == rest(1300)
    assert load(tmp_path, Growth) == growth(1, 2)
    assert load(tmp_path, Micro) is None


def test_a_goal_is_met_from_its_ratio_on() -> None:
    assert rest(1200).rows[0].is_met is True
    assert rest(1199).rows[0].is_met is False
    assert rest(1, goal=None).rows[0].is_met is None
    assert "get <one> (1.10 of 1.2)" in report.goals(rest(1100))
    assert report.goals(rest(1300)) == "Met: get <one>. Not met: none."


def test_a_curve_over_its_limit_is_told() -> None:
    assert "| yes |" in report.growth(growth(1, 1.1))
    assert "|  NO |" in report.growth(growth(1, 3))
    assert "| yes |" in report.growth(growth(1, 10, limit=1.0))


def test_tables_are_aligned_and_complete() -> None:
    for results in (rest(1000), growth(1, 2)):
        for block in report.in_full(results).split("\n\n"):
            lines = [line for line in block.splitlines() if line.startswith("|")]
            assert len({len(line) for line in lines}) <= 1
    part = Part("lookup", 1e-6, [5e-7], [5e-4])
    assert "1,000×" in report.parts(Micro(HERE, "2026-01-01", "how", [part]))


@pytest.mark.parametrize(
    ("ratio", "kind"), [(1.3, "met"), (0.4, "missed"), (60.0, "met"), (1.1999, "missed")]
)
def test_the_chart_is_valid_and_colours_by_goal(ratio: float, kind: str) -> None:
    tree = ET.fromstring(chart(rest(ratio * 1000)))
    _, bar = tree.iter(f"{SVG}rect")
    assert bar.get("class") == kind
    assert float(bar.get("width", "-1")) > 0
    box = [float(value) for value in tree.get("viewBox", "").split()]
    for line in tree.iter(f"{SVG}line"):
        assert box[0] <= float(line.get("x1", "-1")) <= box[2]
    assert len([line for line in tree.iter(f"{SVG}line") if "goal" in line.get("class", "")]) == 2
    assert "get <one>" in [text.text for text in tree.iter(f"{SVG}text")]


def test_a_faster_request_is_better_and_a_costlier_one_worse(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    save(old, rest(1000))
    save(new, rest(1300, cpu_s=0.002))
    found = {change.what: change.is_better for change in compare.changes(old, new)}
    assert found == {"get <one>, ratio": True, "get <one>, CPU s": False}
    assert "WORSE" in report_of(old, new)


def test_nothing_is_told_of_equal_results(tmp_path: Path) -> None:
    save(tmp_path, rest(1000))
    assert report_of(tmp_path, tmp_path) == "Nothing of 2 figures changed beyond noise."


def report_of(old: Path, new: Path) -> str:
    return compare.report(compare.changes(old, new))


@pytest.mark.parametrize(("flags", "code"), [((), 0), (("--fail",), 1)])
def test_the_exit_code_tells_of_worse_only_by_flag(
    tmp_path: Path, flags: tuple[str, ...], code: int
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    save(old, rest(1300))
    save(new, rest(1000))
    command = (*(sys.executable, "-m", "bench", "compare"), "--kept", str(old), "--new", str(new))
    done = subprocess.run((*command, *flags), cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "WORSE" in done.stdout) == (code, True), done.stderr


def test_memory_that_grows_or_is_too_much_is_told() -> None:
    def rows(idle: float, early: float, late: float) -> list[Process]:
        values = (("idle", idle), ("after 20,000", early), ("after 200,000", late))
        # Postgres fills its buffers as it is told to.
        return [Process("kernel-1", when, mb, mb) for when, mb in values] + [
            Process("postgres", when, mb * at, mb) for at, (when, mb) in enumerate(values)
        ]

    assert memory.faults(rows(119, 130, 143)) == []
    assert len(memory.faults(rows(121, 130, 144))) == 2


def test_a_mix_takes_each_script_as_often_as_told() -> None:
    mix = wrk.mixed({"request = a": 2, "request = b": 1})
    assert "{ 1, 1, 2 }" in mix
    assert "do request = b\n asks[2] = request end" in mix
