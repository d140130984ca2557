"""Every alert fires when it should and not before, as Prometheus' own tool judges."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from deploy.monitoring.__main__ import DEPLOY
from deploy.monitoring.alerts import ALERTS
from deploy.monitoring.objectives import BURNS, OBJECTIVES

pytestmark = pytest.mark.servers  # needs promtool, which comes with Prometheus

RULES: Final = DEPLOY / "prometheus" / "rules.yml"


class Case(NamedTuple):
    """Series that make an alert fire within ten minutes, and the same ones while all is well."""

    firing: dict[str, str]
    quiet: dict[str, str]
    labels: dict[str, str]
    summary: str


def _pair(series: tuple[str, ...], bad: str, good: str, summary: str, **labels: str) -> Case:
    return Case(dict.fromkeys(series, bad), dict.fromkeys(series, good), labels, summary)


KERNEL: Final = 'job="kernel", instance="k1"'
REST: Final = 'job="gateway-rest", instance="r1"'

CASES: Final = {
    "ProcessDown": _pair((f"up{{{KERNEL}}}",), "0x60", "1x60", "kernel k1 does not answer Prometheus", job="kernel", instance="k1"),
    "ProcessNotReady": _pair((f"oql_ready{{{KERNEL}}}",), "0x60", "1x60", "kernel k1 is not ready", job="kernel", instance="k1"),
    "NoneReady": Case(
        {f"oql_ready{{{KERNEL}}}": "0x60", 'oql_ready{job="kernel", instance="k2"}': "0x60"},
        {f"oql_ready{{{KERNEL}}}": "0x60", 'oql_ready{job="kernel", instance="k2"}': "1x60"},
        {"job": "kernel"}, "No kernel is ready",
    ),
    "BusDisconnected": _pair((f"oql_bus_connected{{{REST}}}",), "0x60", "1x60", "gateway-rest r1 is not connected to NATS", job="gateway-rest", instance="r1"),
    "NoLeader": _pair(('oql_leader{job="coordinator"}',), "0x60", "1x60", "No coordinator leads"),
    "TwoLeaders": _pair(('oql_leader{job="coordinator", instance="a"}', 'oql_leader{job="coordinator", instance="b"}'), "1x60", "0x60", "2 coordinators say that they lead"),
    "TransactionInDoubt": _pair(('oql_transactions_oldest_seconds{job="coordinator"}',), "120x60", "60x60", "A transaction has held its locks for 2m 0s"),
    "TransactionsGivenUp": Case(
        {'oql_decisions_total{job="coordinator", instance="a", cause="late"}': "0+12x60"},
        {
            'oql_decisions_total{job="coordinator", instance="a", cause="late"}': "0+1x60",
            'oql_decisions_total{job="coordinator", instance="a", cause="asked"}': "0+900x60",
        },
        {"cause": "late"}, "200m transactions are given up each second: late",
    ),
    "DataSourceDown": Case(
        {f'oql_source_up{{{KERNEL}, source="west"}}': "0x60"},
        {f'oql_source_up{{{KERNEL}, source="west"}}': "0x60", 'oql_source_up{job="kernel", instance="k2", source="west"}': "1x60"},
        {"source": "west"}, "No kernel reaches the data source west",
    ),
    "PoolExhausted": Case(
        {f'oql_pool_waiting{{{KERNEL}, source="east"}}': "5x60"},
        {f'oql_pool_waiting{{{KERNEL}, source="east"}}': "5x60", 'oql_pool_waiting{job="kernel", instance="k2", source="east"}': "0x60"},
        {"source": "east"}, "In every kernel requests wait for a connection to east",
    ),
    "NoRelay": _pair((f'oql_relay_leading{{{KERNEL}, source="east"}}',), "0x60", "1x60", "No kernel publishes the events of east", source="east"),
    "OutboxBehind": _pair((f'oql_outbox_oldest_seconds{{{KERNEL}, source="east"}}',), "45x60", "30x60", "Events of east are 45s late", source="east"),
    "ReplicaOut": _pair((f'oql_replica_in_use{{{KERNEL}, source="east", replica="r1"}}',), "0x60", "1x60", "No kernel reads from r1 of east", source="east", replica="r1"),
    "CacheDown": Case(
        {f"oql_cache_up{{{KERNEL}}}": "1x10 0x50"},
        {f"oql_cache_up{{{KERNEL}}}": "0x60"},  # there is none
        {}, "The result cache does not answer; the databases carry its reads",
    ),
    "LimitsNotShared": _pair((f"oql_rates_shared{{{REST}}}",), "0x60", "1x60", "gateway-rest counts requests for itself; callers may get more than their limit", job="gateway-rest"),
    "MetadataDiffers": Case(
        {f"oql_metadata_version{{{KERNEL}}}": "7x60", f"oql_metadata_version{{{REST}}}": "6x60"},
        {f"oql_metadata_version{{{KERNEL}}}": "7x60", f"oql_metadata_version{{{REST}}}": "6x13 7x46"},
        {}, "Processes serve different versions of the metadata",
    ),
    "CallerUntrusted": _pair((f'oql_requests_total{{{KERNEL}, verb="query", outcome="CALLER_UNTRUSTED"}}',), "0+1x60", "3x60", "Somebody on the bus says what no gateway has signed"),
    "RequestsCrash": _pair((f'oql_requests_total{{{KERNEL}, verb="query", outcome="INTERNAL_ERROR"}}',), "0+1x60", "3x60", "Requests end in errors that nobody has foreseen"),
    "TokensRefused": _pair((f'oql_auth_failures_total{{{REST}, cause="expired"}}',), "0+1200x60", "0+300x60", "20 tokens are refused each second"),
    "LiveResyncs": _pair(('oql_live_resyncs_total{job="gateway-ws"}',), "0+1x60", "9x60", "Live queries have missed something and began anew"),
    "WebhooksBehind": _pair((f"oql_webhook_oldest_seconds{{{KERNEL}}}",), "600x60", "300x60", "A webhook has waited 10m 0s to be told"),
}  # fmt: skip


def promtool(folder: Path, tests: list[dict[str, Any]]) -> None:
    """Have the tool judge `tests` (a sample each minute)."""
    file = folder / "rules_test.yml"  # YAML knows all of JSON
    whole = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(json.dumps(whole))
    run("test", file)


def run(what: str, file: Path) -> None:
    command = ["promtool", what, "rules", file]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr


def scenario(
    name: str, series: dict[str, str], at: str, *expected: dict[str, Any]
) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "alert_rule_test": [{"eval_time": at, "alertname": name, "exp_alerts": list(expected)}],
    }


def test_the_rules_are_rules() -> None:
    run("check", RULES)


def test_every_alert_is_judged() -> None:
    assert {f"Objectql{name}" for name in CASES} == {alert.name for alert in ALERTS}


def test_every_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    tests: list[dict[str, Any]] = []
    for alert in ALERTS:
        case = CASES[alert.name.removeprefix("Objectql")]
        told = {
            "exp_labels": {"severity": alert.severity, **case.labels},
            "exp_annotations": {
                "summary": case.summary,
                "runbook": f"docs/runbooks/{alert.runbook}.md",
            },
        }
        tests.append(scenario(alert.name, case.firing, "15m", told))
        tests.append(scenario(alert.name, case.quiet, "15m"))
    promtool(tmp_path, tests)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda each: each.name)
def test_an_objective_alerts_at_each_speed_and_stops_with_its_cause(
    objective: Any, tmp_path: Path
) -> None:
    hour = 60  # samples
    bad = int(1000 * 20 * (1 - objective.share)) + 1  # of a thousand: 20 times too many

    def series(samples: str, bad_samples: str) -> dict[str, str]:
        if objective.name == "availability":
            name = f"oql_requests_total{{{REST}, verb="
            return {
                f'{name}"get", outcome="200"}}': samples,
                f'{name}"get", outcome="503"}}': bad_samples,
            }
        metric, job = (
            ("oql_request_duration_seconds", REST)
            if objective.name == "latency"
            else ("oql_live_delay_seconds", 'job="gateway-ws"')
        )
        return {
            f"{metric}_count{{{job}}}": samples,
            f'{metric}_bucket{{{job}, le="0.5"}}': bad_samples,
        }

    is_ratio_of_good = objective.name != "availability"
    slow = f"0+{1000 - bad}x{hour}" if is_ratio_of_good else f"0+{bad}x{hour}"
    fine = f"0+1000x{hour}" if is_ratio_of_good else f"0x{hour}"
    every = f"0+1000x{hour}"
    name = f"Objectql{objective.title.title().replace(' ', '')}Burn"
    told = [
        {
            "exp_labels": {"severity": burn.severity, "window": burn.long},
            "exp_annotations": {
                "summary": f"{objective.title}: at this speed ({burn.speed}) the budget of "
                "thirty days does not last",
                "runbook": "docs/runbooks/objectives.md",
            },
        }
        for burn in BURNS
    ]
    ended = (1000 - bad) * hour if is_ratio_of_good else bad * hour
    step = 1000 if is_ratio_of_good else 0
    promtool(
        tmp_path,
        [
            scenario(name, series(every, slow), "60m", *told),
            scenario(name, series(every, fine), "60m"),
            # Six hours after the cause has gone every short window has forgotten it.
            scenario(
                name,
                series(
                    f"{every} {1000 * hour}+1000x{7 * hour}",
                    f"{slow} {ended}+{step}x{7 * hour}",
                ),
                "7h55m",
            ),
        ],
    )
