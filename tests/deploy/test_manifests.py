"""The plain manifests are what Helm renders, and the Secret that they need can be made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from scripts.chart import manifests
from scripts.chart.engine import Manifest

from objectql_devstack import programs
from tests.deploy.policies import pod_of


def put_together(folder: Path) -> list[Manifest]:
    """What `kustomize build` makes of a folder that only lists resources."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert kustomization.keys() == {"apiVersion", "kind", "resources"}
    found: list[Manifest] = []
    for resource in kustomization["resources"]:
        path = folder / resource
        found += put_together(path) if path.is_dir() else [yaml.safe_load(path.read_text())]
    return found


def key(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


@pytest.mark.parametrize("profile", manifests.PROFILES)
def test_an_overlay_is_what_helm_makes_of_the_profile(profile: str) -> None:
    built = put_together(manifests.FOLDER / "overlays" / profile)
    rendered = list(manifests.objects(profile).values())
    assert sorted(built, key=key) == sorted(rendered, key=key), "run `make reference`"


def test_no_file_lies_there_that_is_not_generated() -> None:
    there = {path.relative_to(manifests.FOLDER) for path in manifests.FOLDER.rglob("*.yaml")}
    assert {str(path) for path in there} == manifests.files().keys()


def test_profiles_share_most_of_what_they_have() -> None:
    folders = [path.partition("/")[0] for path in manifests.files()]
    assert folders.count("base") > 15


@pytest.mark.parametrize("profile", manifests.PROFILES)
def test_nothing_of_helm_is_left(profile: str) -> None:
    for manifest in manifests.objects(profile).values():
        text = yaml.safe_dump(manifest)
        assert "helm.sh" not in text
        assert "managed-by: Helm" not in text


def secret_keys(pod: Manifest) -> set[str]:
    """Keys of the Secret that volumes ask for."""
    found: set[str] = set()
    for volume in pod.get("volumes", []):
        sources: list[Manifest] = volume.get("projected", {}).get("sources", [volume])
        for secret in (source["secret"] for source in sources if "secret" in source):
            if secret.get("name", secret.get("secretName")) == manifests.SECRET:
                found |= {item["key"] for item in secret["items"]}
    return found


def made(nodes: int) -> Manifest:
    done = subprocess.run(
        [manifests.FOLDER / "secrets.sh", str(nodes)], check=True, capture_output=True, text=True
    )
    return yaml.safe_load(done.stdout)


@pytest.mark.parametrize(("profile", "nodes"), [("dev", 1), ("ha", 3)])
def test_the_secret_has_every_key_that_is_asked_for(profile: str, nodes: int) -> None:
    pods = [pod_of(manifest) or {} for manifest in manifests.objects(profile).values()]
    asked = {key for pod in pods for key in secret_keys(pod)}
    secret = made(nodes)
    assert len(asked) > 5
    assert asked <= secret["stringData"].keys()
    assert len(set(secret["stringData"].values())) == len(secret["stringData"])


@pytest.mark.parametrize(("profile", "nodes"), [("dev", 1), ("ha", 3)])
def test_the_bus_takes_the_passwords(profile: str, nodes: int, tmp_path: Path) -> None:
    objects = manifests.objects(profile)
    configuration = objects["nats-configmap.yaml"]["data"]["bus.conf"]
    (tmp_path / "bus.conf").write_text(configuration)
    (tmp_path / "bus-passwords.conf").write_text(made(nodes)["stringData"]["bus-passwords.conf"])
    command = [programs.nats_server(), "-t", "--config", str(tmp_path / "bus.conf")]
    done = subprocess.run(
        command, check=False, env={"POD_NAME": "nats-0"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
