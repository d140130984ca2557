"""Dashboards and alerts as code; `python -m deploy.monitoring` writes what operators install.

Reading order: `promql` (expressions that cannot name a metric that does not exist), `shapes` and
`boards` (the dashboards as values), `grafana` (values as Grafana's JSON), `alerts` and `objectives` (rules).
"""
