"""Log lines as JSON, and every metric in one table.

A log call names an event with a fixed word and gives its facts as `extra`:
`log.info("bus_connected", extra={"url": url})`. Lines hold no record contents and no secrets.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from typing import IO, Any, Literal, NamedTuple, TypeAlias

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from objectql.service.settings import HIDDEN, LogSettings

# --- logs ------------------------------------------------------------------------------------

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET_WORDS = ("password", "secret", "token", "authorization", "credential", "cookie")
_encoder = msgspec.json.Encoder(enc_hook=repr)


class JsonFormatter(logging.Formatter):
    """One JSON object per record: `ts level event service instance request_id ...` and facts."""

    def __init__(self, service: str, instance: str) -> None:
        super().__init__()
        self._fixed = {"service": service, "instance": instance}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": msgspec.json.decode(msgspec.json.encode(_instant(record.created))),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **self._fixed,
        }
        for name, value in vars(record).items():
            if name in _STANDARD or name in line:
                continue
            if name == "traceparent":
                line["trace_id"] = _trace_id(value)
            else:
                line[name] = _safe(name, value)
        if not record.name.startswith("objectql"):
            line["logger"] = record.name
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return without_secrets(_encoder.encode(line).decode())


def configure_logs(
    settings: LogSettings, *, service: str, instance: str, stream: IO[str] | None = None
) -> None:
    """Make every logger of the process write JSON lines to `stream` (standard error)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service, instance))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for noisy in ("kazoo", "nats", "asyncio", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _instant(seconds: float) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC)


def _trace_id(traceparent: Any) -> str:
    parts = str(traceparent).split("-")
    return parts[1] if len(parts) >= 2 else ""


def _safe(name: str, value: Any) -> Any:
    if any(word in name.lower() for word in _SECRET_WORDS):
        return HIDDEN
    return value


def without_secrets(line: str) -> str:
    """`line` (JSON) without what looks like a secret or a record's value, wherever it stands.

    The last resort: an error's text may quote what it failed on, however deep it lies.
    """
    for pattern, shown in _HIDING:
        line = pattern.sub(shown, line)
    return line


_HIDING = (
    (re.compile(r'(?<=://)[^/@\s"]*@'), f"{HIDDEN}@"),  # user and password of an address
    (re.compile(r"\beyJ[\w-]*\.[\w-]+\.[\w-]*"), HIDDEN),  # a JWT
    (re.compile(r"\boql[a-z]_[\w.-]+"), HIDDEN),  # an API key or a refresh token of ours
    (re.compile(r"(?i)\b(bearer|basic) +[\w.~+/=-]+"), rf"\1 {HIDDEN}"),
    # What Postgres quotes in DETAIL (its errcodes of class 23): keys and whole rows.
    # Values may hold anything, so the rest of the text goes too.
    (re.compile(r'(Key \([^"]*?\)=|Failing row contains )(?:[^"\\]|\\.)*'), rf"\1{HIDDEN}"),
)


# --- metrics ---------------------------------------------------------------------------------

MetricName: TypeAlias = Literal[
    "oql_requests_total",
    "oql_request_duration_seconds",
    "oql_requests_in_flight",
    "oql_auth_failures_total",
    "oql_rate_limited_total",
    "oql_rates_shared",
    "oql_bus_connected",
    "oql_ready",
    "oql_leader",
    "oql_election_epoch",
    "oql_members",
    "oql_transactions_in_doubt",
    "oql_transactions_oldest_seconds",
    "oql_transactions_total",
    "oql_decisions_total",
    "oql_parts_recovered_total",
    "oql_metadata_version",
    "oql_source_up",
    "oql_pool_connections",
    "oql_pool_waiting",
    "oql_outbox_pending_events",
    "oql_outbox_oldest_seconds",
    "oql_relay_leading",
    "oql_events_published_total",
    "oql_plan_cache_hits_total",
    "oql_plan_cache_misses_total",
    "oql_replica_reads_total",
    "oql_replica_token_waits_total",
    "oql_replica_in_use",
    "oql_replica_lag_seconds",
    "oql_replica_lag_bytes",
    "oql_replica_ejections_total",
    "oql_cache_up",
    "oql_cache_doubted_tags",
    "oql_cache_reads_total",
    "oql_cache_answers_total",
    "oql_cache_forgets_total",
    "oql_live_sockets",
    "oql_live_subscriptions",
    "oql_live_deliveries_total",
    "oql_live_delay_seconds",
    "oql_live_waiting_bytes",
    "oql_live_closes_total",
    "oql_live_resyncs_total",
    "oql_webhook_attempts_total",
    "oql_webhook_attempt_seconds",
    "oql_webhook_queue",
    "oql_webhook_oldest_seconds",
]


class Metric(NamedTuple):
    """One metric; `labels` have few values each, never a tenant or an id."""

    name: MetricName
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


METRICS: tuple[Metric, ...] = (
    Metric("oql_requests_total", "counter", "Requests answered", ("verb", "outcome")),
    Metric("oql_request_duration_seconds", "histogram", "Arrival to answer", ("verb",)),
    Metric("oql_requests_in_flight", "gauge", "Requests that run or wait"),
    Metric("oql_auth_failures_total", "counter", "Tokens refused", ("cause",)),
    Metric("oql_rate_limited_total", "counter", "Requests beyond a limit", ("limit",)),
    Metric("oql_rates_shared", "gauge", "1 while limits are counted with the other processes"),
    Metric("oql_bus_connected", "gauge", "1 while NATS is connected"),
    Metric("oql_ready", "gauge", "1 while every readiness check passes"),
    Metric("oql_leader", "gauge", "1 while this coordinator leads"),
    Metric("oql_election_epoch", "gauge", "Epoch of the leader known to this coordinator"),
    Metric("oql_members", "gauge", "Processes heard lately", ("service",)),
    Metric("oql_transactions_in_doubt", "gauge", "Over several sources, not in force everywhere"),
    Metric("oql_transactions_oldest_seconds", "gauge", "Age of the oldest of them"),
    Metric("oql_transactions_total", "counter", "Over several sources, as answered", ("outcome",)),
    Metric("oql_decisions_total", "counter", "Commits that were asked for, and aborts", ("cause",)),
    Metric("oql_parts_recovered_total", "counter", "Ended for dead kernels", ("outcome",)),
    Metric("oql_metadata_version", "gauge", "Version of the metadata in force"),
    Metric("oql_source_up", "gauge", "1 while the data source answers", ("source",)),
    Metric("oql_pool_connections", "gauge", "Database connections", ("source", "state")),
    Metric("oql_pool_waiting", "gauge", "Requests that wait for a connection", ("source",)),
    Metric("oql_outbox_pending_events", "gauge", "Committed, not yet published", ("source",)),
    Metric("oql_outbox_oldest_seconds", "gauge", "Age of the oldest of them", ("source",)),
    Metric("oql_relay_leading", "gauge", "1 while this worker relays the source", ("source",)),
    Metric("oql_events_published_total", "counter", "Events put on the stream by this worker"),
    Metric("oql_plan_cache_hits_total", "counter", "Queries whose plan was known"),
    Metric("oql_plan_cache_misses_total", "counter", "Queries that were planned"),
    Metric(
        "oql_replica_reads_total",
        "counter",
        "Reads of a source with replicas, by who answered",
        ("source", "server"),
    ),
    Metric(
        "oql_replica_token_waits_total",
        "counter",
        "Reads whose token was ahead, by who answered",
        ("source", "server"),
    ),
    Metric("oql_replica_in_use", "gauge", "1 while the replica takes reads", ("source", "replica")),
    Metric(
        "oql_replica_lag_seconds",
        "gauge",
        "No data of the replica are older",
        ("source", "replica"),
    ),
    Metric(
        "oql_replica_lag_bytes",
        "gauge",
        "Log that the replica has to replay",
        ("source", "replica"),
    ),
    Metric(
        "oql_replica_ejections_total",
        "counter",
        "How often the replica was left out",
        ("source", "replica", "reason"),
    ),
    Metric("oql_cache_up", "gauge", "1 while the result cache answers in time"),
    Metric("oql_cache_doubted_tags", "gauge", "Tags not believed until they are forgotten"),
    Metric("oql_cache_reads_total", "counter", "Reads that could be cached", ("outcome",)),
    Metric("oql_cache_answers_total", "counter", "Answers to keep, by outcome", ("outcome",)),
    Metric("oql_cache_forgets_total", "counter", "Writes that forgot tags", ("outcome",)),
    Metric("oql_live_sockets", "gauge", "Open sockets"),
    Metric("oql_live_subscriptions", "gauge", "Subscriptions of live queries"),
    Metric("oql_live_deliveries_total", "counter", "Subscriptions told of a commit"),
    Metric("oql_live_delay_seconds", "histogram", "From a change to what waits for its clients"),
    Metric("oql_live_waiting_bytes", "gauge", "What waits for clients to read it"),
    Metric("oql_live_closes_total", "counter", "Sockets closed by the gateway", ("code",)),
    Metric("oql_live_resyncs_total", "counter", "Subscriptions that have missed something"),
    Metric("oql_webhook_attempts_total", "counter", "Attempts to deliver", ("outcome",)),
    Metric("oql_webhook_attempt_seconds", "histogram", "Of each attempt"),
    Metric("oql_webhook_queue", "gauge", "Deliveries in the queue", ("state",)),
    Metric("oql_webhook_oldest_seconds", "gauge", "Age of the oldest that is pending"),
)

_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one process in a registry of its own.

    A package with metrics of its own makes them on `registry`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._requests: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self._totals: dict[tuple[MetricName, tuple[str, ...]], float] = {}
        for name, kind, text, labels in METRICS:
            if kind == "counter":
                self._counters[name] = Counter(name, text, labels, registry=self.registry)
            elif kind == "gauge":
                self._gauges[name] = Gauge(name, text, labels, registry=self.registry)
            else:
                self._histograms[name] = Histogram(
                    name, text, labels, registry=self.registry, buckets=_BUCKETS_S
                )

    def count(self, name: MetricName, *labels: str, by: float = 1) -> None:
        """Add to a counter."""
        metric = self._counters[name]
        (metric.labels(*labels) if labels else metric).inc(by)

    def count_to(self, name: MetricName, total: float, *labels: str) -> None:
        """Bring a counter up to what somebody else has counted."""
        before = self._totals.get((name, labels), 0)
        self._totals[name, labels] = total
        self.count(name, *labels, by=total - before)

    def set(self, name: MetricName, value: float, *labels: str) -> None:
        """Set a gauge."""
        metric = self._gauges[name]
        (metric.labels(*labels) if labels else metric).set(value)

    def read(self, name: MetricName, function: Callable[[], float]) -> None:
        """Let a gauge without labels be read from `function` when it is scraped."""
        self._gauges[name].set_function(function)

    def observe(self, name: MetricName, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        metric = self._histograms[name]
        (metric.labels(*labels) if labels else metric).observe(value)

    def observe_request(self, verb: str, outcome: str, seconds: float) -> None:
        """What `bus.server.BusServer` calls after each answer.

        Looking the labels up is most of what counting costs, so what was found is kept; labels
        have few values each.
        """
        found = self._requests.get((verb, outcome))
        if found is None:
            found = self._requests[verb, outcome] = (
                self._counters["oql_requests_total"].labels(verb, outcome),
                self._histograms["oql_request_duration_seconds"].labels(verb),
            )
        counter, histogram = found
        counter.inc()
        histogram.observe(seconds)

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)
