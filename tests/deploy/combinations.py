"""Values that the chart is rendered with: its profiles, and combinations that reach every branch of its templates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from scripts.chart.engine import Rendered, overlaid, profile, render

KEY: Final = {"name": "given", "key": "value"}
OUTSIDE_POSTGRES: Final = {"postgres": {"embedded": False, "url": {"name": "postgres"}}}
OUTSIDE: Final = {
    **OUTSIDE_POSTGRES,
    "nats": {"embedded": False, "url": "tls://nats.example:4222"},
    "redis": {"embedded": False, "url": {"name": "redis"}},
    "zookeeper": {"embedded": False, "hosts": "zk-1:2181,zk-2:2181"},
}
SCALED: Final = {"enabled": True, "minReplicas": 2, "maxReplicas": 9, "cpuPercent": 60}

COMBINATIONS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "defaults": ("", {}),
    "dev": ("dev", {}),
    "ha": ("ha", {}),
    "without-grpc": ("", {"gatewayGrpc": {"enabled": False}}),
    "without-grpc-ha": ("ha", {"gatewayGrpc": {"enabled": False}}),
    "rest-only": ("", {"gatewayWs": {"enabled": False}}),
    "sockets-only": ("", {"gatewayRest": {"enabled": False}}),
    "outside": ("", OUTSIDE),
    "outside-without-redis": ("", {**OUTSIDE, "redis": {"embedded": False}}),
    "outside-ha": ("ha", OUTSIDE),
    "outside-postgres-with-standbys": (
        "",
        overlaid(OUTSIDE_POSTGRES, {"postgres": {"replicaUrls": {"name": "postgres"}}}),
    ),
    "outside-ports": ("", overlaid(OUTSIDE, {"postgres": {"ports": [5433, 5434]}})),
    "own-secret": ("", {"secrets": {"existing": "mine", "adminPassword": False}}),
    "own-secret-ha": ("ha", {"secrets": {"existing": "mine"}}),
    "standbys": ("", {"postgres": {"replicas": 2}}),
    "bus-of-three": ("", {"nats": {"replicas": 3}}),
    "bus-with-tls": ("", {"nats": {"tls": {"secret": "bus-tls", "client": True}}}),
    "bus-credentials": ("", overlaid(OUTSIDE, {"nats": {"credentials": True}})),
    "bus-outside-with-ca": ("", overlaid(OUTSIDE, {"nats": {"tls": {"secret": "bus-ca"}}})),
    "zookeeper-of-five": ("", {"zookeeper": {"replicas": 5}}),
    "zookeeper-with-tls": (
        "",
        overlaid(OUTSIDE, {"zookeeper": {"tls": {"secret": "zk", "client": True}}}),
    ),
    "storage-class": (
        "",
        {name: {"storage": {"className": "fast"}} for name in ("nats", "postgres", "zookeeper")},
    ),
    "scaled-by-metrics": (
        "",
        {
            "kernel": {"autoscaling": SCALED | {"perPod": {"oql_requests_in_flight": "64"}}},
            "gatewayWs": {"autoscaling": SCALED | {"perPod": {"oql_live_sockets": "5k"}}},
        },
    ),
    "settings": (
        "",
        {
            "settings": {"log": {"level": "debug"}, "drain_s": 30},
            "auth": {
                "settings": {
                    "issuer": "https://id.example",
                    "discovery": True,
                    "audience": "shop",
                    "issuers": {"partner": {"issuer": "https://p", "tenants": ["a", "b"]}},
                },
                "jwtSecret": {"name": "development"},
            },
            "kernel": {
                "settings": {
                    "pool": {"max_size": 32, "max_total": 1000},
                    "cache": {"max_entry_bytes": 1_048_576, "ttl_s": 0.5},
                    "webhooks": {"ports": [443, 8443], "allow": ["10.1.0.0/16"]},
                    "seed": False,
                    "log": {"level": "warning"},
                },
                "secrets": {
                    "datasources.warehouse": KEY,
                    "replicas.warehouse": KEY,
                    "webhooks.keys": KEY,
                    "identity.admin_password": KEY,
                },
            },
            "gatewayRest": {
                "settings": {
                    "http": {"hosts": ["api.example"], "trusted_proxies": ["10.0.0.0/8"]},
                    "cors": {"origins": ["https://app.example"]},
                    "rates": {"principal": "100/s:50", "roles": ["viewer=10/s"]},
                }
            },
        },
    ),
    "any-webhook-port": ("", {"kernel": {"settings": {"webhooks": {"ports": []}}}}),
    "packages": (
        "",
        {
            "metadata": [
                {"name": "crm", "configMap": "crm-metadata"},
                {"name": "shop", "image": "registry.example:5000/shop:1.4.0"},
                {"name": "base", "path": "/opt/packages/base"},
                {"name": "tiny", "files": {"note.object.yml": "fields: {text: {type: text}}\n"}},
            ]
        },
    ),
    "images": (
        "",
        {
            "image": {
                "prefix": "registry.example:5000/team/",
                "tag": "1.2.0",
                "pullPolicy": "Always",
                "pullSecrets": ["registry"],
            },
            "kernel": {"image": {"tag": "1.3.0"}},
        },
    ),
    "placement": (
        "",
        {
            "pod": {
                "annotations": {"team": "data"},
                "labels": {"cost": "42"},
                "nodeSelector": {"kubernetes.io/arch": "amd64"},
                "priorityClassName": "high",
            },
            "kernel": {
                "pod": {
                    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
                    "affinity": {
                        "nodeAffinity": {
                            "requiredDuringSchedulingIgnoredDuringExecution": {
                                "nodeSelectorTerms": [
                                    {"matchExpressions": [{"key": "ssd", "operator": "Exists"}]}
                                ]
                            }
                        }
                    },
                }
            },
            "spread": {"zone": "DoNotSchedule"},
        },
    ),
    "services": (
        "",
        {
            "gatewayRest": {"service": {"type": "LoadBalancer", "annotations": {"lb": "internal"}}},
            "gatewayGrpc": {"enabled": True, "service": {"headless": True}},
        },
    ),
    "tls": (
        "",
        {
            "gatewayRest": {"tls": {"secret": "rest-tls"}},
            "gatewayWs": {"tls": {"secret": "ws-tls"}},
            "gatewayGrpc": {"enabled": True, "tls": {"secret": "grpc-tls"}},
        },
    ),
    "ingress": (
        "",
        {
            "gatewayGrpc": {"enabled": True},
            "ingress": {
                "enabled": True,
                "className": "nginx",
                "host": "api.example",
                "annotations": {"proxy": "off"},
                "tls": {"secret": "web-tls"},
                "grpc": {"host": "grpc.example", "annotations": {"h2": "on"}},
            },
        },
    ),
    "ingress-plain": ("", {"ingress": {"enabled": True, "host": "api.example"}}),
    "routes": (
        "",
        {
            "gatewayGrpc": {"enabled": True},
            "gatewayApi": {
                "enabled": True,
                "parentRefs": [{"name": "public", "namespace": "gateways"}],
                "hostnames": ["api.example"],
            },
        },
    ),
    "peers": (
        "",
        {
            "networkPolicy": {
                "clients": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
                "monitoring": [],
                "operators": [{"podSelector": {"matchLabels": {"role": "operator"}}}],
            },
            "kernel": {"network": {"egress": [{"ports": [{"protocol": "TCP", "port": 8443}]}]}},
        },
    ),
    "no-network-policies": ("", {"networkPolicy": {"enabled": False}}),
    "monitored": (
        "",
        {
            "monitoring": {
                "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
                "alerts": {"enabled": True},
                "dashboards": {"enabled": True},
            }
        },
    ),
    "at-once": ("", {"preStopSeconds": 0, "kernel": {"settings": {"drain_s": 0}}}),
    "named": ("", {"fullnameOverride": "a-name-of-forty-characters-is-cut-to-36"}),
}


@cache
def rendered(name: str) -> Rendered:
    """The chart with the values of that combination."""
    base, over = COMBINATIONS[name]
    return render(overlaid(profile(base), over))
