"""What the dashboards show, as values."""

from __future__ import annotations

from typing import Final

from deploy.monitoring.promql import GATEWAYS, failed, quantile, rate
from deploy.monitoring.shapes import Board, Panel, Query, Row, counted, latency, panel, shown

_SOURCES = shown(
    "Data sources that answer",
    "bool_on_off",
    "min",
    "oql_source_up",
    "kernel",
    "source",
    meaning="As the kernel that is worst off sees them.",
)
_OUTBOX_AGE = shown(
    "Oldest event that is not published",
    "s",
    "max",
    "oql_outbox_oldest_seconds",
    "kernel",
    "source",
    meaning="Committed, and not told to anybody yet.",
)
_IN_DOUBT = shown(
    "Transactions in doubt",
    "short",
    "max",
    "oql_transactions_in_doubt",
    "coordinator",
    legend="in doubt",
    meaning="Over several data sources, and not in force everywhere.",
)
_COMMIT_TO_CLIENT = Panel(
    "Commit to client",
    "s",
    tuple(
        (
            Query(text, quantile(share, "oql_live_delay_seconds", "gateway-ws"))
            for share, text in ((0.5, "p50"), (0.99, "p99"))
        )
    ),
    "From a change to what waits for its subscribers to read it.",
)
_LEADERS = shown(
    "Leaders",
    "short",
    "sum",
    "oql_leader",
    "coordinator",
    legend="leaders",
    meaning="One, or none for seconds.",
)
OVERVIEW: Final = Board(
    "objectql-overview",
    "ObjectQL / Cluster overview",
    "Is it up, is it quick, is it right; the other dashboards are closer looks.",
    (
        Row(
            "Callers",
            (
                counted("Requests", "reqps", "oql_requests_total", GATEWAYS, "job"),
                panel(
                    "Failed by the cluster's fault", "percentunit", "share", failed(GATEWAYS, "5m")
                ),
                latency("Answers of the gateways", GATEWAYS),
            ),
        ),
        Row(
            "Members",
            (
                shown("Members", "short", "max", "oql_members", "coordinator", "service"),
                shown("Ready processes", "short", "sum", "oql_ready", ".*", "job"),
                _LEADERS,
            ),
        ),
        Row("State", (_SOURCES, _OUTBOX_AGE, _IN_DOUBT)),
        Row("Live queries", (_COMMIT_TO_CLIENT,)),
    ),
)
GATEWAY: Final = Board(
    "objectql-gateways",
    "ObjectQL / Gateways",
    "What callers ask, and what they get.",
    (
        Row(
            "Requests",
            (
                counted("By operation", "reqps", "oql_requests_total", GATEWAYS, "job", "verb"),
                counted("By outcome", "reqps", "oql_requests_total", GATEWAYS, "job", "outcome"),
                latency("By operation", GATEWAYS, "verb"),
            ),
        ),
        Row(
            "Load",
            (
                shown(
                    "In flight",
                    "short",
                    "max",
                    "oql_requests_in_flight",
                    GATEWAYS,
                    "job",
                    "instance",
                ),
                shown(
                    "Connected to the bus",
                    "bool_on_off",
                    "min",
                    "oql_bus_connected",
                    GATEWAYS,
                    "job",
                    "instance",
                ),
                shown(
                    "Metadata version",
                    "short",
                    "max",
                    "oql_metadata_version",
                    GATEWAYS,
                    "job",
                    "instance",
                ),
            ),
        ),
        Row(
            "Refused",
            (
                counted("Beyond a limit", "reqps", "oql_rate_limited_total", GATEWAYS, "limit"),
                counted("Tokens refused", "reqps", "oql_auth_failures_total", GATEWAYS, "cause"),
                shown(
                    "Limits counted together",
                    "bool_on_off",
                    "min",
                    "oql_rates_shared",
                    GATEWAYS,
                    "instance",
                    meaning="Off: Redis is away, and each process counts for itself.",
                ),
            ),
        ),
    ),
)
_HITS: Final = rate("oql_plan_cache_hits_total", "kernel")
_MISSES: Final = rate("oql_plan_cache_misses_total", "kernel")

KERNEL: Final = Board(
    "objectql-kernel",
    "ObjectQL / Kernels and queries",
    "Where the time of a request goes once it has left the gateway.",
    (
        Row(
            "Requests",
            (
                counted("By verb", "reqps", "oql_requests_total", "kernel", "verb"),
                counted("By outcome", "reqps", "oql_requests_total", "kernel", "outcome"),
                latency("By verb", "kernel", "verb"),
            ),
        ),
        Row(
            "Plans",
            (
                counted(
                    "Planned anew",
                    "reqps",
                    "oql_plan_cache_misses_total",
                    "kernel",
                    legend="misses",
                ),
                panel(
                    "Plans that were known",
                    "percentunit",
                    "share",
                    f"{_HITS} / ({_HITS} + {_MISSES})",
                ),
                shown(
                    "Metadata version", "short", "max", "oql_metadata_version", "kernel", "instance"
                ),
            ),
        ),
        Row(
            "Data sources",
            (
                _SOURCES,
                shown(
                    "Connections",
                    "short",
                    "sum",
                    "oql_pool_connections",
                    "kernel",
                    "source",
                    "state",
                ),
                shown(
                    "Waiting for a connection",
                    "short",
                    "sum",
                    "oql_pool_waiting",
                    "kernel",
                    "source",
                ),
            ),
        ),
    ),
)
CACHE: Final = Board(
    "objectql-cache",
    "ObjectQL / Result cache and replicas",
    "What spares the primary its reads.",
    (
        Row(
            "Result cache",
            (
                shown(
                    "Answers in time", "bool_on_off", "min", "oql_cache_up", "kernel", "instance"
                ),
                counted("Reads", "reqps", "oql_cache_reads_total", "kernel", "outcome"),
                counted("Kept", "reqps", "oql_cache_answers_total", "kernel", "outcome"),
            ),
        ),
        Row(
            "Forgetting",
            (
                counted(
                    "Writes that forgot", "reqps", "oql_cache_forgets_total", "kernel", "outcome"
                ),
                shown(
                    "Tags in doubt",
                    "short",
                    "max",
                    "oql_cache_doubted_tags",
                    "kernel",
                    "instance",
                    meaning="Not believed until they are forgotten.",
                ),
            ),
        ),
        Row(
            "Replicas",
            (
                counted(
                    "Reads by server",
                    "reqps",
                    "oql_replica_reads_total",
                    "kernel",
                    "source",
                    "server",
                ),
                shown(
                    "In use",
                    "bool_on_off",
                    "min",
                    "oql_replica_in_use",
                    "kernel",
                    "source",
                    "replica",
                ),
                shown(
                    "Behind", "s", "max", "oql_replica_lag_seconds", "kernel", "source", "replica"
                ),
            ),
        ),
        Row(
            "Replicas, closer",
            (
                shown(
                    "Log to replay",
                    "bytes",
                    "max",
                    "oql_replica_lag_bytes",
                    "kernel",
                    "source",
                    "replica",
                ),
                counted(
                    "Tokens that were ahead",
                    "reqps",
                    "oql_replica_token_waits_total",
                    "kernel",
                    "source",
                    "server",
                ),
                counted(
                    "Left out",
                    "reqps",
                    "oql_replica_ejections_total",
                    "kernel",
                    "replica",
                    "reason",
                ),
            ),
        ),
    ),
)
EVENTS: Final = Board(
    "objectql-events",
    "ObjectQL / Events, live queries and webhooks",
    "How what was committed reaches those who asked to be told.",
    (
        Row(
            "Outbox",
            (
                counted(
                    "Published", "ops", "oql_events_published_total", "kernel", legend="events"
                ),
                shown(
                    "Not yet published",
                    "short",
                    "max",
                    "oql_outbox_pending_events",
                    "kernel",
                    "source",
                ),
                _OUTBOX_AGE,
            ),
        ),
        Row(
            "Live queries",
            (
                shown("Sockets", "short", "max", "oql_live_sockets", "gateway-ws", "instance"),
                shown(
                    "Subscriptions",
                    "short",
                    "max",
                    "oql_live_subscriptions",
                    "gateway-ws",
                    "instance",
                ),
                _COMMIT_TO_CLIENT,
            ),
        ),
        Row(
            "Live queries, closer",
            (
                counted(
                    "Told of a commit",
                    "ops",
                    "oql_live_deliveries_total",
                    "gateway-ws",
                    legend="subscriptions",
                ),
                shown(
                    "Waiting for clients to read",
                    "bytes",
                    "max",
                    "oql_live_waiting_bytes",
                    "gateway-ws",
                    "instance",
                ),
                Panel(
                    "Closed and resynchronized",
                    "ops",
                    (
                        Query(
                            "closed {{code}}", rate("oql_live_closes_total", "gateway-ws", "code")
                        ),
                        Query("resync", rate("oql_live_resyncs_total", "gateway-ws")),
                    ),
                ),
            ),
        ),
        Row(
            "Webhooks",
            (
                counted("Attempts", "ops", "oql_webhook_attempts_total", "kernel", "outcome"),
                shown("Queue", "short", "max", "oql_webhook_queue", "kernel", "state"),
                shown(
                    "Oldest that is pending",
                    "s",
                    "max",
                    "oql_webhook_oldest_seconds",
                    "kernel",
                    legend="age",
                ),
                Panel(
                    "Time of an attempt",
                    "s",
                    (Query("p99", quantile(0.99, "oql_webhook_attempt_seconds", "kernel")),),
                ),
            ),
        ),
    ),
)
TRANSACTIONS: Final = Board(
    "objectql-transactions",
    "ObjectQL / Transactions and coordinators",
    "Who leads, and what is decided.",
    (
        Row(
            "Coordinators",
            (
                _LEADERS,
                shown(
                    "Epoch",
                    "short",
                    "max",
                    "oql_election_epoch",
                    "coordinator",
                    "instance",
                    meaning="Each leader has its own; it only grows.",
                ),
                shown("Members", "short", "max", "oql_members", "coordinator", "service"),
            ),
        ),
        Row(
            "Transactions over several data sources",
            (
                counted(
                    "Decisions asked for",
                    "ops",
                    "oql_requests_total",
                    "coordinator",
                    "outcome",
                    verb="decide",
                ),
                _IN_DOUBT,
                shown(
                    "Oldest in doubt",
                    "s",
                    "max",
                    "oql_transactions_oldest_seconds",
                    "coordinator",
                    legend="age",
                ),
            ),
        ),
        Row(
            "How they end",
            (
                counted(
                    "Answered",
                    "ops",
                    "oql_transactions_total",
                    "kernel",
                    "outcome",
                    meaning="By kernels, to their callers.",
                ),
                counted(
                    "Decided",
                    "ops",
                    "oql_decisions_total",
                    "coordinator",
                    "cause",
                    meaning="`asked` are commits; all others are given up, and why.",
                ),
                panel(
                    "Parts ended for others",
                    "ops",
                    "{{outcome}}",
                    rate("oql_parts_recovered_total", "coordinator", "outcome") + " or vector(0)",
                    "Of kernels that are dead, and of sources that were away.",
                ),
            ),
        ),
        Row(
            "Relays",
            (
                shown(
                    "Relays of a source",
                    "short",
                    "sum",
                    "oql_relay_leading",
                    "kernel",
                    "source",
                    meaning="One for each data source.",
                ),
            ),
        ),
    ),
)
BOARDS: Final = (OVERVIEW, GATEWAY, KERNEL, CACHE, EVENTS, TRANSACTIONS)
