"""Dashboards in the JSON that Grafana imports (schema of Grafana 10 and later)."""

from __future__ import annotations

import itertools
from typing import Final

from deploy.monitoring.shapes import Board, Panel
from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
)

_COLUMNS: Final = 24
_HEIGHT: Final = 8
_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")


def to_json(board: Board) -> str:
    """The dashboard; whoever looks at it chooses the Prometheus that it asks."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.meaning)
        .tags(["objectql"])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
        .link(
            dashboard.DashboardLink("ObjectQL")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["objectql"])
            .as_dropdown(True)
            .keep_time(True)
        )
    )
    ids = itertools.count(1)
    for row in board.rows:
        built.with_row(dashboard.Row(row.title).id(next(ids)))
        for panel in row.panels:
            width = _COLUMNS // len(row.panels)
            built.with_panel(_panel(panel).id(next(ids)).height(_HEIGHT).span(width))
    return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def _panel(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.meaning)
        .unit(panel.unit)
        .datasource(_SOURCE)
        .min(0)
        .fill_opacity(10)
    )
    for number, query in enumerate(panel.queries):
        built.with_target(
            prometheus.Dataquery()
            .ref_id(chr(ord("A") + number))
            .datasource(_SOURCE)
            .expr(query.expression)
            .legend_format(query.legend)
        )
    return built
