"""Who may talk to whom: the network policies say what the architecture says, at both ends of each connection."""

from __future__ import annotations

from typing import Any

import pytest
from scripts.chart.engine import Manifest, Rendered

from tests.deploy.combinations import COMBINATIONS, rendered

COMPONENT = "app.kubernetes.io/component"

BUS, CACHE, SQL = ("nats", 4222), ("redis", 6379), ("postgres", 5432)
ARCHITECTURE: dict[str, set[tuple[str, int]]] = {
    "gateway-rest": {BUS, CACHE},
    "gateway-ws": {BUS, CACHE},
    "gateway-grpc": {BUS, CACHE},
    "kernel": {BUS, CACHE, SQL, ("postgres-replica", 5432)},
    "coordinator": {BUS, ("zookeeper", 2181)},
    "nats": {("nats", 6222)},
    "zookeeper": {("zookeeper", 2888), ("zookeeper", 3888)},
    "postgres": set(),
    "postgres-replica": {SQL},
    "redis": set(),
    "test": {
        *(("gateway-rest", 8080), ("gateway-ws", 8081), ("gateway-grpc", 50051)),
        ("coordinator", 8090),
    },
}
"""Every connection within an installation, from its beginning to its end. Nothing else is let through."""

WITH_POLICIES = [name for name in COMBINATIONS if name != "no-network-policies"]


def policies(made: Rendered) -> dict[str, Manifest]:
    return {
        policy["spec"]["podSelector"]["matchLabels"][COMPONENT]: policy["spec"]
        for policy in made.of_kind("NetworkPolicy")
    }


def within(rules: list[Manifest], end: str) -> set[tuple[str, int]]:
    """The parts of the installation at the other end, with their ports."""
    return {
        (peer["podSelector"]["matchLabels"][COMPONENT], port["port"])
        for rule in rules
        for peer in rule.get(end, [])
        if COMPONENT in peer.get("podSelector", {}).get("matchLabels", {})
        for port in rule["ports"]
    }


def to_anywhere(spec: Manifest) -> set[int]:
    """Ports that pods may connect to wherever they are."""
    return {port["port"] for rule in spec["egress"] if "to" not in rule for port in rule["ports"]}


@pytest.mark.parametrize("name", WITH_POLICIES)
def test_nothing_is_let_through_that_the_architecture_does_not_have(name: str) -> None:
    for part, spec in policies(rendered(name)).items():
        assert within(spec["egress"], "to") <= ARCHITECTURE[part], part


@pytest.mark.parametrize("name", WITH_POLICIES)
def test_what_may_leave_one_end_may_enter_at_the_other(name: str) -> None:
    found = policies(rendered(name))
    leaving = {
        (part, to, port)
        for part, spec in found.items()
        for to, port in within(spec["egress"], "to")
    }
    entering = {
        (sender, part, port)
        for part, spec in found.items()
        for sender, port in within(spec["ingress"], "from")
    }
    assert leaving == entering
    assert leaving


@pytest.mark.parametrize("name", WITH_POLICIES)
def test_every_pod_has_a_policy_for_both_directions(name: str) -> None:
    made = rendered(name)
    pods = {
        owner["metadata"]["labels"][COMPONENT]
        for owner in made.of_kind("Deployment", "StatefulSet", "Pod")
    }
    found = policies(made)
    assert pods == found.keys()
    assert all(spec["policyTypes"] == ["Ingress", "Egress"] for spec in found.values())


def test_every_connection_of_the_architecture_is_there_where_all_parts_are() -> None:
    found: dict[str, set[tuple[str, int]]] = {}
    for name in ("defaults", "without-grpc", "standbys", "bus-of-three", "zookeeper-of-five"):
        for part, spec in policies(rendered(name)).items():
            found[part] = found.get(part, set()) | within(spec["egress"], "to")
    assert found == ARCHITECTURE


def test_only_gateways_let_everybody_in() -> None:
    open_to_all = {
        part
        for part, spec in policies(rendered("defaults")).items()
        if any("from" not in rule for rule in spec["ingress"])
    }
    assert open_to_all == {"gateway-rest", "gateway-ws", "gateway-grpc"}


def test_named_clients_are_the_only_ones() -> None:
    spec = policies(rendered("peers"))["gateway-rest"]
    assert all("from" in rule for rule in spec["ingress"])


def test_metrics_are_read_by_whom_the_values_name() -> None:
    def readers(name: str) -> list[Any]:
        spec = policies(rendered(name))["kernel"]
        return [
            r["from"] for r in spec["ingress"] if r["ports"] == [{"protocol": "TCP", "port": 9090}]
        ]

    label = {"kubernetes.io/metadata.name": "monitoring"}
    assert readers("defaults") == [[{"namespaceSelector": {"matchLabels": label}}]]
    assert readers("peers") == []


def test_what_lies_outside_is_reached_on_its_ports_alone() -> None:
    outside = policies(rendered("outside"))
    assert to_anywhere(outside["kernel"]) == {53, 4222, 6379, 5432}
    assert to_anywhere(outside["coordinator"]) == {53, 4222, 2181}
    assert to_anywhere(policies(rendered("outside-ports"))["kernel"]) == {
        53,
        4222,
        6379,
        5433,
        5434,
    }
    assert to_anywhere(policies(rendered("defaults"))["kernel"]) == {53}


def test_keys_of_issuers_are_fetched_only_where_there_are_issuers() -> None:
    assert 443 not in to_anywhere(policies(rendered("defaults"))["gateway-rest"])
    assert 443 in to_anywhere(policies(rendered("settings"))["gateway-rest"])
    assert 443 not in to_anywhere(policies(rendered("settings"))["kernel"])


@pytest.mark.parametrize(
    ("name", "ports"),
    [("defaults", [443]), ("settings", [443, 8443]), ("any-webhook-port", [None])],
)
def test_webhooks_reach_the_internet_and_never_the_metadata_of_a_cloud(
    name: str, ports: list[int | None]
) -> None:
    spec = policies(rendered(name))["kernel"]
    public = [rule for rule in spec["egress"] if any("ipBlock" in p for p in rule.get("to", []))]
    assert [rule["ports"][0].get("port") for rule in public] == ports
    for rule in public:
        assert rule["to"][0]["ipBlock"] == {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}


def test_no_policies_are_made_where_they_are_not_wanted() -> None:
    assert policies(rendered("no-network-policies")) == {}
