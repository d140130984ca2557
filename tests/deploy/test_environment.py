"""What the chart tells a service is what the service takes: its own loader reads the rendered environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scripts.chart.engine import Manifest, Rendered
from scripts.reference import SERVICE_SETTINGS

from objectql.service.settings import (
    ServiceSettings,
    SettingsInvalid,
    load_settings,
    require_context_key,
)
from objectql_coordinator.settings import CoordinatorSettings
from objectql_gateway_rest.settings import GatewayRestSettings
from objectql_gateway_ws.settings import GatewayWsSettings
from objectql_kernel.settings import KernelSettings
from tests.deploy.combinations import COMBINATIONS, rendered

TYPES = {type_.service: type_ for type_ in SERVICE_SETTINGS}
SECRETS = Path("/run/secrets/objectql")
CONTENT = {
    "bus.context_key": "k" * 40,
    "auth.jwt_secret": "j" * 40,
    "cache.url": "redis://:p@redis:6379/0",
    "rates.url": "redis://:p@redis:6379/0",
}
"""What stands in files of which a service expects a form."""


def pods(made: Rendered) -> dict[str, Manifest]:
    return {
        deployment["metadata"]["labels"]["app.kubernetes.io/component"]: deployment["spec"][
            "template"
        ]["spec"]
        for deployment in made.of_kind("Deployment")
    }


def files_of(pod: Manifest) -> set[str]:
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "secrets")
    return {
        item["path"]
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }


def environment(pod: Manifest, folder: Path) -> dict[str, str]:
    """The variables, with the files that they name made below `folder`."""
    found: dict[str, str] = {}
    for variable in pod["containers"][0]["env"]:
        value: str = variable.get("value", "pod-7f9c-x")
        if value.startswith(str(SECRETS)):
            name = str(Path(value).relative_to(SECRETS))
            assert name in files_of(pod), f"{variable['name']} names a file that is not there"
            path = folder / name
            path.write_text(CONTENT.get(name, f"value of {name}"))
            value = str(path)
        found[variable["name"]] = value
    return found


def told(name: str, service: str, folder: Path) -> ServiceSettings:
    type_ = TYPES[service]
    settings = load_settings(
        type_, type_.prefix(), environment(pods(rendered(name))[service], folder)
    )
    require_context_key(settings)
    return settings


@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_service_takes_its_environment(name: str, tmp_path: Path) -> None:
    for service in pods(rendered(name)).keys() & TYPES.keys():
        folder = tmp_path / service
        folder.mkdir()
        told(name, service, folder)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_no_variable_is_another_service_s(name: str) -> None:
    for service, pod in pods(rendered(name)).items():
        prefix = f"OQL_{service.upper().replace('-', '_')}_"
        strange = [
            v["name"] for v in pod["containers"][0]["env"] if not v["name"].startswith(prefix)
        ]
        assert strange == []


@pytest.mark.parametrize("name", COMBINATIONS)
def test_no_file_is_mounted_that_nobody_reads(name: str) -> None:
    for service, pod in pods(rendered(name)).items():
        named = {variable.get("value", "") for variable in pod["containers"][0]["env"]}
        assert {str(SECRETS / path) for path in files_of(pod)} <= named, service


def test_a_setting_that_does_not_exist_would_be_noticed(tmp_path: Path) -> None:
    given = environment(pods(rendered("defaults"))["kernel"], tmp_path)
    with pytest.raises(SettingsInvalid, match="OQL_KERNEL_POOL__SIZE: no such setting"):
        load_settings(KernelSettings, "OQL_KERNEL", {**given, "OQL_KERNEL_POOL__SIZE": "1"})


def test_a_kernel_is_told_what_the_values_say(tmp_path: Path) -> None:
    settings = told("settings", "kernel", tmp_path)
    assert isinstance(settings, KernelSettings)
    assert settings.instance == "pod-7f9c-x"
    assert (settings.pool.max_size, settings.pool.max_total) == (32, 1000)
    assert (settings.cache.max_entry_bytes, settings.cache.ttl_s) == (1_048_576, 0.5)
    assert settings.webhooks.ports == (443, 8443)
    assert settings.seed is False
    assert settings.log.level == "warning"
    assert settings.drain_s == 30
    assert settings.datasources.keys() == {"default", "warehouse"}
    assert settings.rates.processes == 2


def test_gateways_and_coordinators_believe_the_same_issuers(tmp_path: Path) -> None:
    found: list[Any] = []
    for service in ("gateway-rest", "gateway-ws", "coordinator"):
        folder = tmp_path / service
        folder.mkdir()
        settings = told("settings", service, folder)
        assert isinstance(settings, GatewayRestSettings | GatewayWsSettings | CoordinatorSettings)
        assert settings.auth.discovery
        assert settings.auth.jwt_secret == "j" * 40
        assert settings.auth.issuers["partner"].tenants == ("a", "b")
        assert settings.log.level == "debug"
        found.append(settings.auth)
    assert found[0] == found[1] == found[2]


def test_packages_are_where_the_kernel_looks(tmp_path: Path) -> None:
    settings = told("packages", "kernel", tmp_path)
    assert isinstance(settings, KernelSettings)
    assert settings.metadata == (
        *("/metadata/crm", "/metadata/shop", "/opt/packages/base", "/metadata/tiny"),
    )
    (container,) = pods(rendered("packages"))["kernel"]["containers"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {folder for folder in settings.metadata if folder.startswith("/metadata")} <= mounted


def test_a_gateway_with_a_certificate_finds_it(tmp_path: Path) -> None:
    settings = told("tls", "gateway-rest", tmp_path)
    assert isinstance(settings, GatewayRestSettings)
    assert settings.http.certificate == "/run/tls/server/tls.crt"
    pod = pods(rendered("tls"))["gateway-rest"]
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounts["/run/tls/server"]]["secret"]["secretName"] == "rest-tls"


def test_more_processes_than_there_may_be_do_not_share_a_rate(tmp_path: Path) -> None:
    settings = told("scaled-by-metrics", "gateway-ws", tmp_path)
    assert isinstance(settings, GatewayWsSettings)
    assert settings.rates.processes == 9


def test_coordinators_know_every_node_of_zookeeper(tmp_path: Path) -> None:
    settings = told("zookeeper-of-five", "coordinator", tmp_path)
    assert isinstance(settings, CoordinatorSettings)
    node = "objectql-zookeeper-{0}.objectql-zookeeper:2181"
    assert settings.zookeeper.hosts == ",".join(map(node.format, range(5)))


def test_a_file_is_named_by_what_the_chart_s_own_secret_has() -> None:
    for name in COMBINATIONS:
        made = rendered(name)
        secrets = {
            secret["metadata"]["name"]: secret["stringData"] for secret in made.of_kind("Secret")
        }
        for pod in pods(made).values():
            (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "secrets")
            for source in volume["projected"]["sources"]:
                if source["secret"]["name"] in secrets and name != "bus-credentials":
                    (item,) = source["secret"]["items"]
                    assert item["key"] in secrets[source["secret"]["name"]], name
