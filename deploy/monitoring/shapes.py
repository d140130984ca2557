"""What dashboards are made of, and the pictures that most metrics are shown as."""

from __future__ import annotations

from typing import Literal, NamedTuple

from deploy.monitoring.promql import over, quantile, rate

from objectql.service.telemetry import MetricName


class Query(NamedTuple):
    """A line, or one for each series; `legend` is Grafana's template of its name."""

    legend: str
    expression: str


class Panel(NamedTuple):
    """One picture; `unit` is one of Grafana's."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    meaning: str = ""


class Row(NamedTuple):
    """Panels beside each other."""

    title: str
    panels: tuple[Panel, ...]


class Board(NamedTuple):
    """One dashboard; `uid` is its file's name and its address, and stays."""

    uid: str
    title: str
    meaning: str
    rows: tuple[Row, ...]


def panel(title: str, unit: str, legend: str, expression: str, meaning: str = "") -> Panel:
    """A picture of one query."""
    return Panel(title, unit, (Query(legend, expression),), meaning)


def shown(
    title: str,
    unit: str,
    how: Literal["sum", "min", "max"],
    name: MetricName,
    job: str,
    *by: str,
    legend: str = "",
    meaning: str = "",
) -> Panel:
    """A gauge, by labels that are its legend too."""
    return panel(title, unit, _series(*by) or legend, over(how, name, job, *by), meaning)


def counted(
    title: str,
    unit: str,
    name: MetricName,
    job: str,
    *by: str,
    legend: str = "",
    meaning: str = "",
    **labels: str,
) -> Panel:
    """What is counted in a second, likewise; only that with certain `labels`."""
    return panel(title, unit, _series(*by) or legend, rate(name, job, *by, **labels), meaning)


def latency(title: str, job: str, *by: str) -> Panel:
    """How long requests take."""
    shares = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    queries = [
        Query(
            f"{_series(*by)} {text}".strip(),
            quantile(share, "oql_request_duration_seconds", job, *by),
        )
        for share, text in shares
    ]
    return Panel(title, "s", tuple(queries))


def _series(*by: str) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in by)
