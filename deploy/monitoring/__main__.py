"""Writes `deploy/grafana/*.json` and `deploy/prometheus/rules.yml`, and both into the chart again.

Helm packs no file from outside a chart, so the chart has its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml
from deploy.monitoring.alerts import rules
from deploy.monitoring.boards import BOARDS
from deploy.monitoring.grafana import to_json

DEPLOY: Final = Path(__file__).resolve().parent.parent
CHART: Final = DEPLOY / "helm" / "objectql"
_HEAD: Final = "# Written by `make monitoring` from deploy/monitoring; do not edit.\n"


def generated() -> dict[Path, str]:
    """What every file must hold."""
    files = {
        folder / f"{board.uid}.json": to_json(board)
        for folder in (DEPLOY / "grafana", CHART / "dashboards")
        for board in BOARDS
    }
    text = yaml.safe_dump(rules(), sort_keys=False, width=10_000, allow_unicode=True)
    for path in (DEPLOY / "prometheus" / "rules.yml", CHART / "alerts" / "objectql.yaml"):
        files[path] = _HEAD + text
    return files


def main() -> None:
    """Write them."""
    for path, text in generated().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
