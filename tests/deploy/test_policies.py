"""No combination of values makes a pod that is less than safe."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.deploy import policies
from tests.deploy.combinations import COMBINATIONS, rendered
from tests.deploy.policies import RULES, Manifest, Rule, containers_of, pod_of


@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_manifest_keeps_every_rule(name: str) -> None:
    broken = {
        f"{rule.__name__}: {manifest['kind']} {manifest['metadata']['name']}": problems
        for manifest in rendered(name).manifests
        for rule in RULES
        if (problems := list(rule(manifest)))
    }
    assert broken == {}


def kernel() -> Manifest:
    return deepcopy(rendered("packages").one("Deployment", "objectql-kernel"))


def without(*path: str) -> Callable[[Manifest], None]:
    """Take a field out of every container, or of the pod where the path says so."""

    def change(manifest: Manifest) -> None:
        places = containers_of(manifest)
        if path[0] == "pod":
            places = [pod_of(manifest) or {}]
        for place in places:
            *groups, last = path[1:] if path[0] == "pod" else path
            for group in groups:
                place = place[group]
            del place[last]

    return change


def with_variable(name: str, **value: Any) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        containers_of(manifest)[-1]["env"].append({"name": name, **value})

    return change


def with_image(image: str) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        containers_of(manifest)[0]["image"] = image

    return change


def with_volume(**volume: Any) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        (pod_of(manifest) or {})["volumes"].append({"name": "more", **volume})

    return change


def as_root(manifest: Manifest) -> None:
    (pod_of(manifest) or {})["securityContext"]["runAsUser"] = 0


def killed_early(manifest: Manifest) -> None:
    (pod_of(manifest) or {})["terminationGracePeriodSeconds"] = 25


def nowhere(manifest: Manifest) -> None:
    del manifest["metadata"]["namespace"]


BROKEN = [
    (policies.runs_without_root, as_root),
    (policies.runs_without_root, without("pod", "securityContext", "runAsNonRoot")),
    (policies.runs_without_root, without("pod", "securityContext", "seccompProfile")),
    (policies.has_no_privileges, without("securityContext", "allowPrivilegeEscalation")),
    (policies.has_no_privileges, without("securityContext", "capabilities")),
    (policies.mounts_nothing_of_the_host, with_volume(hostPath={"path": "/"})),
    (policies.cannot_write_its_image, without("securityContext", "readOnlyRootFilesystem")),
    (policies.has_no_token, without("pod", "automountServiceAccountToken")),
    (policies.has_no_service_links, without("pod", "enableServiceLinks")),
    (policies.has_requests_and_limits, without("resources", "limits", "memory")),
    (policies.has_requests_and_limits, without("resources", "requests")),
    (policies.limits_what_it_writes, with_volume(emptyDir={})),
    (policies.pins_its_images, with_image("objectql/kernel")),
    (policies.pins_its_images, with_image("registry:5000/objectql/kernel:latest")),
    (policies.has_no_secret_in_plain_sight, with_variable("OQL_X_PASSWORD", value="x")),
    (policies.has_no_secret_in_plain_sight, with_variable("URL", value="redis://:pw@host")),
    (
        policies.has_no_secret_in_plain_sight,
        with_variable("X", valueFrom={"secretKeyRef": {"name": "a", "key": "b"}}),
    ),
    (policies.stops_in_time, killed_early),
    (policies.is_spread, without("pod", "topologySpreadConstraints")),
    (policies.belongs_to_the_release, nowhere),
]


@pytest.mark.parametrize(("rule", "change"), BROKEN)
def test_a_broken_rule_is_noticed(rule: Rule, change: Callable[[Manifest], None]) -> None:
    manifest = kernel()
    assert not list(rule(manifest))
    change(manifest)
    assert list(rule(manifest))


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_a_missing_probe_is_noticed(probe: str) -> None:
    manifest = kernel()
    del (pod_of(manifest) or {})["containers"][0][probe]
    assert list(policies.has_probes(manifest)) == [f"kernel: no {probe}"]


def test_every_rule_is_broken_once() -> None:
    assert {rule for rule, _ in BROKEN} | {policies.has_probes} == set(RULES)
