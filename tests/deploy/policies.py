"""What every pod of the chart must be, as functions that say what is wrong with a manifest.

The first rules are the restricted profile of Kubernetes' pod security standards, as far as it goes beyond what a pod
has that says nothing; the others are this project's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

Manifest = dict[str, Any]
Rule = Callable[[Manifest], Iterator[str]]

_VOLUMES: Final = {"configMap", "emptyDir", "projected", "secret", "persistentVolumeClaim"}
_SECRET_NAME: Final = re.compile(r"(SECRET|PASSWORD|TOKEN|_KEYS?)$")
_PASSWORD_IN_URL: Final = re.compile(r"://[^/\s]*:[^/\s]*@")


def pod_of(manifest: Manifest) -> Manifest | None:
    """The specification of its pods."""
    match manifest["kind"]:
        case "Pod":
            return cast("Manifest", manifest["spec"])
        case "Deployment" | "StatefulSet" | "Job":
            return cast("Manifest", manifest["spec"]["template"]["spec"])
        case _:
            return None


def containers_of(manifest: Manifest) -> list[Manifest]:
    """All its containers."""
    pod = pod_of(manifest) or {}
    return [*pod.get("initContainers", []), *pod.get("containers", [])]


def runs_without_root(manifest: Manifest) -> Iterator[str]:
    pod = pod_of(manifest)
    if pod is None:
        return
    security: Mapping[str, Any] = pod.get("securityContext", {})
    if security.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if not security.get("runAsUser"):
        yield "runAsUser is root, or up to the image"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "no seccomp profile"
    if any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        yield "shares namespaces of the host"


def has_no_privileges(manifest: Manifest) -> Iterator[str]:
    for container in containers_of(manifest):
        security: Mapping[str, Any] = container.get("securityContext", {})
        if security.get("allowPrivilegeEscalation") is not False:
            yield f"{container['name']}: privileges may be escalated"
        if security.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{container['name']}: keeps capabilities"
        if security.get("privileged"):
            yield f"{container['name']}: is privileged"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{container['name']}: takes a port of the host"


def mounts_nothing_of_the_host(manifest: Manifest) -> Iterator[str]:
    for volume in (pod_of(manifest) or {}).get("volumes", []):
        if kinds := volume.keys() - {"name"} - _VOLUMES:
            yield f"{volume['name']}: {', '.join(kinds)}"


def cannot_write_its_image(manifest: Manifest) -> Iterator[str]:
    for container in containers_of(manifest):
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
            yield f"{container['name']}: the root file system can be written"


def has_no_token(manifest: Manifest) -> Iterator[str]:
    pod = pod_of(manifest)
    if manifest["kind"] == "ServiceAccount":
        pod = manifest
    if pod is not None and pod.get("automountServiceAccountToken") is not False:
        yield "has a token for the API of Kubernetes"


def has_no_service_links(manifest: Manifest) -> Iterator[str]:
    """Else a Service named `oql-kernel` is the variable OQL_KERNEL_PORT, which stops the start."""
    pod = pod_of(manifest)
    if pod is not None and pod.get("enableServiceLinks") is not False:
        yield "Services become variables"


def has_requests_and_limits(manifest: Manifest) -> Iterator[str]:
    for container in containers_of(manifest):
        resources: Mapping[str, Mapping[str, str]] = container.get("resources", {})
        for kind in ("requests", "limits"):
            if missing := {"cpu", "memory"} - resources.get(kind, {}).keys():
                yield f"{container['name']}: no {kind} of {', '.join(sorted(missing))}"


def limits_what_it_writes(manifest: Manifest) -> Iterator[str]:
    for volume in (pod_of(manifest) or {}).get("volumes", []):
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"{volume['name']}: may fill the host's disk"


def has_probes(manifest: Manifest) -> Iterator[str]:
    if manifest["kind"] not in {"Deployment", "StatefulSet"}:
        return
    for container in (pod_of(manifest) or {})["containers"]:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe not in container:
                yield f"{container['name']}: no {probe}"


def pins_its_images(manifest: Manifest) -> Iterator[str]:
    for container in containers_of(manifest):
        tag = container["image"].rpartition("/")[2].partition(":")[2]
        if tag in {"", "latest"}:
            yield f"{container['name']}: {container['image']}"


def has_no_secret_in_plain_sight(manifest: Manifest) -> Iterator[str]:
    """Neither in a variable, also by reference, nor in a ConfigMap."""
    for container in containers_of(manifest):
        for variable in container.get("env", []):
            name, value = variable["name"], variable.get("value", "")
            is_path = value.startswith("/")
            is_named_so = _SECRET_NAME.search(name) is not None
            if "secretKeyRef" in variable.get("valueFrom", {}) or (is_named_so and not is_path):
                yield f"{container['name']}: {name} is a secret"
            if _PASSWORD_IN_URL.search(value):
                yield f"{container['name']}: {name} holds a password"
        if container.get("envFrom"):
            yield f"{container['name']}: takes whole objects as variables"
    if manifest["kind"] == "ConfigMap":
        for key, text in manifest["data"].items():
            if _PASSWORD_IN_URL.search(text):
                yield f"{key} holds a password"


def stops_in_time(manifest: Manifest) -> Iterator[str]:
    """What serves on, and then drains, needs the sum of both before it is killed."""
    if manifest["kind"] != "Deployment":
        return
    pod = pod_of(manifest) or {}
    (container,) = pod["containers"]
    drain = next((v["value"] for v in container["env"] if v["name"].endswith("_DRAIN_S")), "20")
    command = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [])
    serves_on = command[-1] if command else "0"
    if pod["terminationGracePeriodSeconds"] <= float(drain) + float(serves_on):
        yield "is killed before it has drained"


def is_spread(manifest: Manifest) -> Iterator[str]:
    pod = pod_of(manifest) or {}
    if manifest["kind"] == "Deployment":
        keys = {spread["topologyKey"] for spread in pod.get("topologySpreadConstraints", [])}
        if missing := {"kubernetes.io/hostname", "topology.kubernetes.io/zone"} - keys:
            yield f"is not spread by {', '.join(sorted(missing))}"
    elif manifest["kind"] == "StatefulSet" and "podAntiAffinity" not in pod.get("affinity", {}):
        yield "its pods like to be on one host"


def belongs_to_the_release(manifest: Manifest) -> Iterator[str]:
    labels: Mapping[str, str] = manifest["metadata"].get("labels", {})
    wanted = {"name", "instance", "component", "part-of", "version", "managed-by"}
    if missing := {f"app.kubernetes.io/{name}" for name in wanted} - labels.keys():
        yield f"has no labels {', '.join(sorted(missing))}"
    if "namespace" not in manifest["metadata"]:
        yield "is in whatever namespace is the current one"


RULES: Final[tuple[Rule, ...]] = (
    runs_without_root,
    has_no_privileges,
    mounts_nothing_of_the_host,
    cannot_write_its_image,
    has_no_token,
    has_no_service_links,
    has_requests_and_limits,
    limits_what_it_writes,
    has_probes,
    pins_its_images,
    has_no_secret_in_plain_sight,
    stops_in_time,
    is_spread,
    belongs_to_the_release,
)
