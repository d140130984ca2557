"""`deploy/k8s`: what the chart makes of its profiles, as plain manifests that Kustomize puts together.

`base` is what the profiles have in common; an overlay adds what its profile has of its own, whole objects. There are
no patches, so what is applied can be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml
from scripts.chart.engine import ROOT, Manifest, overlaid, profile, render

FOLDER: Final = ROOT / "deploy" / "k8s"
PROFILES: Final = ("dev", "ha")

SECRET: Final = "objectql"  # noqa: S105 - the name of one
"""Made by `secrets.sh`: a rendering cannot keep what it has made up."""

NAMESPACE: Final[Manifest] = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {
        "name": "objectql",
        "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
    },
}


def objects(name: str) -> dict[str, Manifest]:
    """The objects of a profile by the names of their files."""
    values = overlaid(profile(name), {"secrets": {"existing": SECRET}})
    found = {"namespace.yaml": NAMESPACE}
    for manifest in render(values).manifests:
        labels = manifest["metadata"]["labels"]
        if labels["app.kubernetes.io/component"] != "test":  # `helm test` alone runs it
            found[_file_name(manifest)] = _without_helm(manifest)
    return found


def files() -> dict[str, str]:
    """The text of every generated file below `deploy/k8s`, by its path."""
    of_profiles = {name: objects(name) for name in PROFILES}
    first, *others = of_profiles.values()
    common = {
        file: manifest
        for file, manifest in first.items()
        if all(other.get(file) == manifest for other in others)
    }
    texts = _folder("base", common, ())
    for name, manifests in of_profiles.items():
        own = {file: manifest for file, manifest in manifests.items() if file not in common}
        texts |= _folder(f"overlays/{name}", own, ("../../base",))
    return texts


def write() -> list[Path]:
    """Bring `deploy/k8s` up to date; what was written or deleted."""
    wanted = {FOLDER / path: text for path, text in files().items()}
    changed = [
        path for path, text in wanted.items() if not path.exists() or path.read_text() != text
    ]
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    left_over = sorted(set(FOLDER.rglob("*.yaml")) - wanted.keys())
    for path in left_over:
        path.unlink()
    return [*changed, *left_over]


def _folder(
    folder: str, manifests: dict[str, Manifest], resources: tuple[str, ...]
) -> dict[str, str]:
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [*resources, *sorted(manifests)],
    }
    texts = {file: _text(manifest) for file, manifest in manifests.items()}
    texts["kustomization.yaml"] = _text(kustomization)
    return {f"{folder}/{file}": text for file, text in texts.items()}


def _file_name(manifest: Manifest) -> str:
    name = manifest["metadata"]["name"].removeprefix("objectql").removeprefix("-")
    return f"{name}-{manifest['kind'].lower()}.yaml"


def _without_helm(manifest: Manifest) -> Manifest:
    metadata = manifest["metadata"]
    labels = {k: v for k, v in metadata["labels"].items() if k != "helm.sh/chart"}
    labels["app.kubernetes.io/managed-by"] = "kustomize"
    return manifest | {"metadata": metadata | {"labels": labels}}


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, and no references from one place to another."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - of none at all
        return True


def _represent_text(_: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _text(document: Manifest) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120)
