"""Kinds that are not Kubernetes' own, as far as the chart uses them; whatever else they have is refused here.

Sources: prometheus-operator's API reference (monitoring.coreos.com/v1) and the Gateway API's (gateway.networking.k8s.io/v1).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Part(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Of a manifest."""


class Metadata(Part):
    name: str
    namespace: str
    labels: dict[str, str]


class Relabeling(Part):
    source_labels: list[str]
    target_label: str


class Endpoint(Part):
    port: str
    path: str
    interval: str
    relabelings: list[Relabeling] = []


class Selector(Part):
    match_labels: dict[str, str]


class ServiceMonitorSpec(Part):
    selector: Selector
    endpoints: list[Endpoint]
    pod_target_labels: list[str]


class ServiceMonitor(Part, tag_field="kind"):
    api_version: Literal["monitoring.coreos.com/v1"]
    metadata: Metadata
    spec: ServiceMonitorSpec


class Rule(Part):
    expr: str
    alert: str | None = None
    record: str | None = None
    for_: str | None = msgspec.field(name="for", default=None)
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class RuleGroup(Part):
    name: str
    rules: list[Rule]
    interval: str | None = None


class PrometheusRuleSpec(Part):
    groups: list[RuleGroup]


class PrometheusRule(Part, tag_field="kind"):
    api_version: Literal["monitoring.coreos.com/v1"]
    metadata: Metadata
    spec: PrometheusRuleSpec


class Backend(Part):
    name: str
    port: int


class PathMatch(Part):
    type: Literal["Exact", "PathPrefix", "RegularExpression"]
    value: str


class Match(Part):
    path: PathMatch


class Timeouts(Part):
    request: str


class HTTPRouteRule(Part):
    matches: list[Match]
    backend_refs: list[Backend]
    timeouts: Timeouts | None = None


class HTTPRouteSpec(Part):
    parent_refs: list[dict[str, Any]]
    rules: list[HTTPRouteRule]
    hostnames: list[str] = []


class HTTPRoute(Part, tag_field="kind"):
    api_version: Literal["gateway.networking.k8s.io/v1"]
    metadata: Metadata
    spec: HTTPRouteSpec


class GRPCRouteRule(Part):
    backend_refs: list[Backend]


class GRPCRouteSpec(Part):
    parent_refs: list[dict[str, Any]]
    rules: list[GRPCRouteRule]
    hostnames: list[str] = []


class GRPCRoute(Part, tag_field="kind"):
    api_version: Literal["gateway.networking.k8s.io/v1"]
    metadata: Metadata
    spec: GRPCRouteSpec


KINDS = {kind.__name__ for kind in (ServiceMonitor, PrometheusRule, HTTPRoute, GRPCRoute)}


def check(manifest: dict[str, Any]) -> None:
    """Return if `manifest` is one of them and well formed.

    Raises:
        msgspec.ValidationError: it is not.
    """
    msgspec.convert(manifest, ServiceMonitor | PrometheusRule | HTTPRoute | GRPCRoute)
