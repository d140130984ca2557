"""What somebody must look at: `page` at once, `ticket` on a working day."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from deploy.monitoring.objectives import BURNS, OBJECTIVES, Burn, Objective
from deploy.monitoring.promql import GATEWAYS, of, over, rate


class Alert(NamedTuple):
    """`value` is a query that has an answer while all is well, and `limit` what it may not be."""

    name: str
    value: str
    limit: str
    lasting: str
    severity: Literal["page", "ticket"]
    summary: str

    @property
    def runbook(self) -> str:
        """The page that tells what to do: `docs/runbooks/<this>.md`."""
        words = "".join(f"-{c.lower()}" if c.isupper() else c for c in self.name)
        return words.removeprefix("-objectql-")


def _alert(
    name: str,
    value: str,
    limit: str,
    lasting: str,
    severity: Literal["page", "ticket"],
    summary: str,
) -> Alert:
    return Alert(f"Objectql{name}", value, limit, lasting, severity, summary)


_OURS: Final = f"kernel|{GATEWAYS}|coordinator"

ALERTS: Final = (
    _alert(
        "ProcessDown",
        f'min by (job, instance) (up{{job=~"{_OURS}"}})',
        "== 0",
        "1m",
        "page",
        "{{ $labels.job }} {{ $labels.instance }} does not answer Prometheus",
    ),
    _alert(
        "ProcessNotReady",
        over("min", "oql_ready", _OURS, "job", "instance"),
        "== 0",
        "2m",
        "ticket",
        "{{ $labels.job }} {{ $labels.instance }} is not ready",
    ),
    _alert(
        "NoneReady",
        over("sum", "oql_ready", _OURS, "job"),
        "== 0",
        "30s",
        "page",
        "No {{ $labels.job }} is ready",
    ),
    _alert(
        "BusDisconnected",
        over("min", "oql_bus_connected", _OURS, "job", "instance"),
        "== 0",
        "1m",
        "page",
        "{{ $labels.job }} {{ $labels.instance }} is not connected to NATS",
    ),
    _alert(
        "NoLeader",
        over("sum", "oql_leader", "coordinator") + " or vector(0)",
        "< 1",
        "30s",
        "page",
        "No coordinator leads",
    ),
    _alert(
        "TwoLeaders",
        over("sum", "oql_leader", "coordinator"),
        "> 1",
        "30s",
        "page",
        "{{ $value }} coordinators say that they lead",
    ),
    _alert(
        "TransactionInDoubt",
        over("max", "oql_transactions_oldest_seconds", "coordinator"),
        "> 60",
        "1m",
        "page",
        "A transaction has held its locks for {{ $value | humanizeDuration }}",
    ),
    _alert(
        "TransactionsGivenUp",
        rate("oql_decisions_total", "coordinator", "cause", cause="orphaned|leaderless|late")
        + " or vector(0)",
        "> 0.1",
        "5m",
        "ticket",
        "{{ $value | humanize }} transactions are given up each second: {{ $labels.cause }}",
    ),
    _alert(
        "DataSourceDown",
        over("max", "oql_source_up", "kernel", "source"),
        "== 0",
        "30s",
        "page",
        "No kernel reaches the data source {{ $labels.source }}",
    ),
    _alert(
        "PoolExhausted",
        over("min", "oql_pool_waiting", "kernel", "source"),
        "> 0",
        "2m",
        "ticket",
        "In every kernel requests wait for a connection to {{ $labels.source }}",
    ),
    _alert(
        "NoRelay",
        over("sum", "oql_relay_leading", "kernel", "source"),
        "< 1",
        "1m",
        "page",
        "No kernel publishes the events of {{ $labels.source }}",
    ),
    _alert(
        "OutboxBehind",
        over("max", "oql_outbox_oldest_seconds", "kernel", "source"),
        "> 30",
        "1m",
        "page",
        "Events of {{ $labels.source }} are {{ $value | humanizeDuration }} late",
    ),
    _alert(
        "ReplicaOut",
        over("max", "oql_replica_in_use", "kernel", "source", "replica"),
        "== 0",
        "5m",
        "ticket",
        "No kernel reads from {{ $labels.replica }} of {{ $labels.source }}",
    ),
    _alert(
        "CacheDown",
        f"({over('max', 'oql_cache_up', 'kernel')} == bool 0) * (max(max_over_time({of('oql_cache_up', 'kernel')}[6h])))",
        "> 0",
        "2m",
        "ticket",
        "The result cache does not answer; the databases carry its reads",
    ),
    _alert(
        "LimitsNotShared",
        over("min", "oql_rates_shared", "gateway-(rest|ws)", "job"),
        "== 0",
        "5m",
        "ticket",
        "{{ $labels.job }} counts requests for itself; callers may get more than their limit",
    ),
    _alert(
        "MetadataDiffers",
        f"{over('max', 'oql_metadata_version', f'kernel|{GATEWAYS}')} - {over('min', 'oql_metadata_version', f'kernel|{GATEWAYS}')}",
        "> 0",
        "2m",
        "page",
        "Processes serve different versions of the metadata",
    ),
    _alert(
        "CallerUntrusted",
        rate("oql_requests_total", "kernel|coordinator", outcome="CALLER_UNTRUSTED")
        + " or vector(0)",
        "> 0",
        "0s",
        "page",
        "Somebody on the bus says what no gateway has signed",
    ),
    _alert(
        "RequestsCrash",
        rate("oql_requests_total", "kernel|coordinator", outcome="INTERNAL_ERROR")
        + " or vector(0)",
        "> 0",
        "5m",
        "ticket",
        "Requests end in errors that nobody has foreseen",
    ),
    _alert(
        "TokensRefused",
        rate("oql_auth_failures_total", GATEWAYS) + " or vector(0)",
        "> 10",
        "10m",
        "ticket",
        "{{ $value | humanize }} tokens are refused each second",
    ),
    _alert(
        "LiveResyncs",
        f"sum(increase({of('oql_live_resyncs_total', 'gateway-ws')}[10m]))",
        "> 0",
        "0s",
        "ticket",
        "Live queries have missed something and began anew",
    ),
    _alert(
        "WebhooksBehind",
        over("max", "oql_webhook_oldest_seconds", "kernel"),
        "> 300",
        "5m",
        "ticket",
        "A webhook has waited {{ $value | humanizeDuration }} to be told",
    ),
)


def burning(objective: Objective, burn: Burn) -> str:
    """PromQL that has an answer while the budget of an objective is used up at a speed."""
    limit = f"> {burn.speed} * {round(1 - objective.share, 6)}"
    return f"{objective.record(burn.long)} {limit} and {objective.record(burn.short)} {limit}"


def rules() -> dict[str, object]:
    """The rule file of Prometheus."""
    recorded = [
        {"record": objective.record(within), "expr": objective.bad(within)}
        for objective in OBJECTIVES
        for within in sorted({w for burn in BURNS for w in (burn.short, burn.long)})
    ]
    burns = [
        _rule(
            f"Objectql{objective.title.title().replace(' ', '')}Burn",
            burning(objective, burn),
            "2m",
            burn.severity,
            f"{objective.title}: at this speed ({burn.speed}) the budget of thirty days does not last",
            "objectives",
            window=burn.long,
        )
        for objective in OBJECTIVES
        for burn in BURNS
    ]
    named = [
        _rule(a.name, f"({a.value}) {a.limit}", a.lasting, a.severity, a.summary, a.runbook)
        for a in ALERTS
    ]
    return {
        "groups": [
            {"name": "objectql-objectives", "rules": [*recorded, *burns]},
            {"name": "objectql", "rules": named},
        ]
    }


def _rule(
    name: str,
    expression: str,
    lasting: str,
    severity: str,
    summary: str,
    runbook: str,
    **labels: str,
) -> dict[str, object]:
    return {
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity, **labels},
        "annotations": {"summary": summary, "runbook": f"docs/runbooks/{runbook}.md"},
    }
