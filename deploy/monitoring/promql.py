"""PromQL of our metrics.

Every process offers every metric, at zero where it is not its own, so each expression says whose it
means: `job` is the name of the service (`kernel`, `gateway-rest`, ...), as the scrape configurations
of the guide and of the chart set it.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from objectql import errors
from objectql.errors import ObjectQLError
from objectql.service.telemetry import METRICS, MetricName

Job: TypeAlias = Literal["kernel", "gateway-rest", "gateway-ws", "gateway-grpc", "coordinator"]

GATEWAYS: Final = "gateway-.*"

_LABELS: Final = {metric.name: metric.labels for metric in METRICS}
_STATUSES: Final = ("INTERNAL", "UNAVAILABLE", "UNKNOWN")
"""Of gRPC, beside `DEADLINE_EXCEEDED`, which is a code too."""

_FAILED: Final = ("internal", "unavailable", "deadline_exceeded", "outcome_unknown")


def _failures() -> str:
    """Outcomes that are the cluster's fault: statuses of HTTP and gRPC, and codes of errors."""
    codes = {
        each.code
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, ObjectQLError) and each.category in _FAILED
    }
    return "|".join(("500", "503", "504", *_STATUSES, *sorted(codes - {""})))


FAILURES: Final = _failures()


def of(name: MetricName, job: str, suffix: str = "", **labels: str) -> str:
    """A selector; `job` and `labels` are regular expressions that must match whole values.

    Raises:
        ValueError: the metric has no such label.

    """
    unknown = set(labels) - set(_LABELS[name]) - {"le"}
    if unknown:
        raise ValueError(f"{name} has no label {min(unknown)}")
    matchers = [f'job=~"{job}"', *(f'{label}=~"{text}"' for label, text in labels.items())]
    return f"{name}{suffix}{{{', '.join(matchers)}}}"


def over(
    how: Literal["sum", "min", "max"], name: MetricName, job: str, *by: str, **labels: str
) -> str:
    """One gauge of all processes, by the labels `by`."""
    group = f" by ({', '.join(by)}) " if by else ""
    return f"{how}{group}({of(name, job, **labels)})"


def rate(name: MetricName, job: str, *by: str, within: str = "5m", **labels: str) -> str:
    """What is counted in a second, summed by the labels `by`."""
    return f"{_sum(*by)}(rate({of(name, job, **labels)}[{within}]))"


def quantile(share: float, name: MetricName, job: str, *by: str, **labels: str) -> str:
    """The quantile of a histogram over five minutes, by the labels `by`."""
    buckets = f"rate({of(name, job, '_bucket', **labels)}[5m])"
    return f"histogram_quantile({share}, {_sum('le', *by)}({buckets}))"


def slower(name: MetricName, job: str, than_s: float, within: str) -> str:
    """The share of what a histogram counted that took longer than one of its bounds."""
    quick = f'rate({name}_bucket{{job=~"{job}", le="{than_s}"}}[{within}])'
    return f"1 - sum({quick}) / sum(rate({of(name, job, '_count')}[{within}]))"


def failed(job: str, within: str) -> str:
    """The share of requests that failed by the cluster's fault."""
    every = rate("oql_requests_total", job, within=within)
    # `or vector(0)`: where nothing has failed yet there is no such series.
    return f"({rate('oql_requests_total', job, within=within, outcome=FAILURES)} or vector(0)) / {every}"


def _sum(*by: str) -> str:
    return f"sum by ({', '.join(by)}) " if by else "sum"
