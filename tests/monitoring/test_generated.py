"""Dashboards, rules and runbooks belong together, and name only what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from deploy.monitoring.__main__ import CHART, DEPLOY, generated
from deploy.monitoring.alerts import ALERTS, rules
from deploy.monitoring.boards import BOARDS
from deploy.monitoring.promql import of
from deploy.monitoring.shapes import Board

from objectql.service.telemetry import METRICS

ROOT = DEPLOY.parent
RUNBOOKS = ROOT / "docs" / "runbooks"


@pytest.mark.parametrize("path", generated(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_is_installed_is_what_the_code_says(path: Path) -> None:
    assert path.read_text() == generated()[path], "run `make monitoring`"


def test_nothing_else_lies_where_it_is_written() -> None:
    places = (
        (DEPLOY / "grafana").glob("*.json"),
        (DEPLOY / "prometheus").glob("rules.yml"),
        (CHART / "dashboards").glob("*"),
        (CHART / "alerts").glob("*"),
    )
    assert {path for found in places for path in found} == set(generated())


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {
        "objectives",
        *(alert.runbook for alert in ALERTS),
    }


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_a_runbook_says_what_it_means_what_it_does_how_to_see_and_to_mend_it(path: Path) -> None:
    text = path.read_text()
    found = re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE)
    assert found == ["Meaning", "Impact", "Diagnosis", "Mend"]


def test_runbooks_name_only_log_events_and_metrics_that_exist() -> None:
    sources = [
        path.read_text()
        for folder in ("libs", "services")
        for path in (ROOT / folder).glob("*/src/**/*.py")
    ]
    events = set(re.findall(r'log\.\w+\(\s*"([a-z_]+)"', "".join(sources)))
    known = events | {metric.name for metric in METRICS}
    for path in RUNBOOKS.glob("*.md"):
        named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", path.read_text()))
        assert named <= known, path.name


def test_every_metric_is_shown_somewhere() -> None:
    shown = "".join(
        query.expression
        for board in BOARDS
        for row in board.rows
        for panel in row.panels
        for query in panel.queries
    )
    assert [metric.name for metric in METRICS if metric.name not in shown] == []


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_legends_name_labels_that_the_query_keeps(board: Board) -> None:
    for row in board.rows:
        for panel in row.panels:
            for legend, expression in panel.queries:
                kept = re.findall(r"by \(([^)]*)\)", expression)
                labels = {label.strip() for group in kept for label in group.split(",")}
                assert set(re.findall(r"{{(\w+)}}", legend)) <= labels, (panel.title, expression)


def test_an_expression_cannot_name_a_label_that_the_metric_has_not() -> None:
    with pytest.raises(ValueError, match="no label verb"):
        of("oql_leader", "coordinator", verb="x")


def test_names_of_alerts_are_given_once_but_for_the_speeds_of_one_objective() -> None:
    names = [alert.name for alert in ALERTS]
    assert len(set(names)) == len(names)
    assert "objectql-objectives" in str(rules())
