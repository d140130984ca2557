"""What Helm makes of the chart is what Kubernetes takes."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import msgspec
import pytest
import yaml
from deploy.monitoring.alerts import rules
from deploy.monitoring.boards import BOARDS
from deploy.monitoring.grafana import to_json
from kubernetes_validate import utils
from scripts.chart.engine import CHART, ROOT, profile, render
from scripts.chart.values import ChartValues

from objectql_devstack import programs
from tests.deploy import custom_kinds
from tests.deploy.combinations import COMBINATIONS, rendered

VERSIONS = ("1.27", "1.32", "1.37")
"""Of Kubernetes: the oldest that the chart says it takes, the newest there is, and one between."""

PROFILES = ("", "dev", "ha")


def test_the_combinations_are_many() -> None:
    assert len(COMBINATIONS) >= 30 + len(PROFILES)


@pytest.fixture(scope="module", autouse=True)
def schemas_are_read_once() -> Iterator[None]:
    """The validator reads a megabyte of definitions for each manifest otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("schema_contents", "all_versions"):
            patch.setattr(utils, name, cache(getattr(utils, name)))
        yield


@cache
def is_valid(text: str) -> bool:
    """Whether all versions take a manifest; most are the same in many combinations."""
    manifest = json.loads(text)
    if manifest["kind"] in custom_kinds.KINDS:
        custom_kinds.check(manifest)
    else:
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)
    return True


@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_manifest_is_valid_in_three_versions_of_kubernetes(name: str) -> None:
    assert all(is_valid(json.dumps(manifest)) for manifest in rendered(name).manifests)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_no_two_objects_are_the_same_one(name: str) -> None:
    made = [(m["kind"], m["metadata"]["name"]) for m in rendered(name).manifests]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_names_are_short_enough_for_pods_and_hosts(name: str) -> None:
    for manifest in rendered(name).of_kind("Deployment", "StatefulSet", "Service"):
        assert len(manifest["metadata"]["name"]) <= 52, manifest["metadata"]["name"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_check_refuses_a_field_that_kubernetes_does_not_know(version: str) -> None:
    service = rendered("defaults").one("Service", "objectql-gateway-rest")
    broken = service | {"spec": service["spec"] | {"selektor": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


def test_the_check_of_other_kinds_refuses_a_field_that_they_do_not_have() -> None:
    monitor = rendered("monitored").one("ServiceMonitor", "objectql")
    with pytest.raises(msgspec.ValidationError, match="jobLable"):
        custom_kinds.check(monitor | {"spec": monitor["spec"] | {"jobLable": "x"}})


@pytest.mark.parametrize("name", PROFILES)
def test_helm_has_nothing_to_say_against_the_chart(name: str) -> None:
    found = helm_python.lint(CHART, profile(name), strict=True)
    assert found["errors"] == []
    assert [m["error"] for m in found["messages"] if m["severity"] > 1] == []


def test_every_value_has_a_default_of_its_type() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    msgspec.convert(values, ChartValues)


def test_the_chart_has_the_version_of_the_project() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == project["version"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"kernel": {"settings": {"pool": {"max_sice": 3}}}},
            "at '/kernel/settings/pool': additional properties 'max_sice' not allowed",
        ),
        (
            {"kernel": {"settings": {"pool": {"max_size": "many"}}}},
            "at '/kernel/settings/pool/max_size': got string, want integer",
        ),
        (
            {"kernel": {"settings": {"pool": {"max_size": 0}}}},
            "at '/kernel/settings/pool/max_size': minimum: got 0, want 1",
        ),
        ({"kernal": {}}, "additional properties 'kernal' not allowed"),
        ({"settings": {"log": {"level": "loud"}}}, "at '/settings/log/level': value must be one"),
        (
            {"kernel": {"settings": {"bus": {"url": "nats://x"}}}},
            "at '/kernel/settings': additional properties 'bus' not allowed",
        ),
        (
            {"kernel": {"settings": {"datasources": {"default": "postgresql://u:p@h/d"}}}},
            "at '/kernel/settings': additional properties 'datasources' not allowed",
        ),
        (
            {"auth": {"settings": {"jwt_secret": "x"}}},
            "at '/auth/settings': additional properties 'jwt_secret' not allowed",
        ),
        (
            {"kernel": {"secrets": {"pool.max_size": {"name": "a", "key": "b"}}}},
            "invalid propertyName 'pool.max_size'",
        ),
        ({"metadata": [{"name": "a"}]}, "at '/metadata/0': minProperties: got 1, want 2"),
        (
            {"metadata": [{"name": "a", "path": "/a", "configMap": "a"}]},
            "at '/metadata/0': maxProperties: got 3, want 2",
        ),
        ({"nats": {"replicas": 2}}, "at '/nats/replicas': value must be one of 1, 3, 5"),
        ({"nats": {"image": "nats"}}, "at '/nats/image': 'nats' does not match pattern"),
        ({"nats": {"url": "nats://u:p@h"}}, "at '/nats/url': 'nats://u:p@h' does not match"),
        ({"kernel": {"resources": {"limits": {"cpu": 2}}}}, "limits/cpu': got number, want string"),
        (
            {"kernel": {"resources": None}},
            "at '/kernel': missing property 'resources'",
        ),
        ({"postgres": {"embedded": False}}, "postgres.url.name is required"),
        ({"nats": {"embedded": False}}, "nats.url is required"),
        ({"zookeeper": {"embedded": False}}, "zookeeper.hosts is required"),
        ({"ingress": {"enabled": True}}, "ingress.host is required"),
    ],
)
def test_wrong_values_are_refused_with_a_place_and_a_reason(
    values: dict[str, Any], said: str
) -> None:
    with pytest.raises(helm_python.HelmError) as caught:
        render(values)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["defaults", "bus-of-three", "without-grpc"])
def test_the_bus_takes_its_configuration(name: str, tmp_path: Path) -> None:
    made = rendered(name)
    (tmp_path / "bus.conf").write_text(made.one("ConfigMap", "objectql-nats")["data"]["bus.conf"])
    passwords = made.one("Secret", "objectql")["stringData"]["bus-passwords.conf"]
    (tmp_path / "bus-passwords.conf").write_text(passwords)
    command = [programs.nats_server(), "-t", "--config", str(tmp_path / "bus.conf")]
    done = subprocess.run(
        command, check=False, env={"POD_NAME": "nats-0"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_alerts_and_dashboards_are_those_of_the_code_and_installed_when_asked_for() -> None:
    made = rendered("monitored")
    rule = made.one("PrometheusRule", "objectql")
    custom_kinds.check(rule)
    assert rule["spec"] == rules()
    for board in BOARDS:
        dashboard = made.one("ConfigMap", f"objectql-dashboard-{board.uid}")
        assert dashboard["data"] == {f"{board.uid}.json": to_json(board)}
    plain = render()
    assert not plain.of_kind("PrometheusRule")
    assert not [one for one in plain.of_kind("ConfigMap") if "dashboard" in one["metadata"]["name"]]


def test_what_is_measured_is_called_like_the_service() -> None:
    made = rendered("monitored")
    [endpoint] = made.one("ServiceMonitor", "objectql")["spec"]["endpoints"]
    label = "__meta_kubernetes_pod_label_app_kubernetes_io_component"
    assert {"sourceLabels": [label], "targetLabel": "job"} in endpoint["relabelings"]


def test_the_profile_without_a_single_point_keeps_the_stream_on_every_server_of_the_bus() -> None:
    ha = yaml.safe_load((CHART / "values-ha.yaml").read_text())
    assert ha["kernel"]["settings"]["stream"]["replicas"] == ha["nats"]["replicas"] == 3


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_notes_tell_how_to_reach_it(name: str) -> None:
    notes = rendered(name).notes
    assert "helm test" in notes
    assert any(way in notes for way in ("port-forward", "/docs", "by the Gateway")), notes
    assert "<no value>" not in notes
