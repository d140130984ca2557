"""What Helm makes of the chart: the engine itself, by its Python binding, without a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import helm_python
import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "deploy" / "helm" / "objectql"

Values = Mapping[str, Any]
Manifest = dict[str, Any]


class Rendered:
    """One rendering."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files
        """Their texts by the names of templates."""
        self.manifests: tuple[Manifest, ...] = tuple(_manifests(files))

    @property
    def notes(self) -> str:
        """What is printed after an installation."""
        return next(text for path, text in self.files.items() if path.endswith("NOTES.txt"))

    def of_kind(self, *kinds: str) -> list[Manifest]:
        """All manifests of some kinds."""
        return [manifest for manifest in self.manifests if manifest["kind"] in kinds]

    def one(self, kind: str, name: str) -> Manifest:
        """The manifest of that kind and name.

        Raises:
            KeyError: there is none.
        """
        for manifest in self.of_kind(kind):
            if manifest["metadata"]["name"] == name:
                return manifest
        raise KeyError((kind, name))


def render(
    values: Values | None = None,
    *,
    release: str = "objectql",
    namespace: str = "objectql",
    chart: Path = CHART,
) -> Rendered:
    """The objects that `helm install` would make, hooks included, in no cluster.

    Raises:
        helm_python.HelmError: the values are refused, or a template fails.
    """
    with helm_python.Chart.load(chart) as loaded:
        return Rendered(
            loaded.render(dict(values or {}), name=release, namespace=namespace, is_install=True)
        )


def profile(name: str) -> Manifest:
    """The values of `values-<name>.yaml`; nothing where `name` is empty."""
    if not name:
        return {}
    return cast("Manifest", yaml.safe_load((CHART / f"values-{name}.yaml").read_text()))


def overlaid(values: Values, over: Values) -> Manifest:
    """`values` with `over` laid on top, maps by their keys, as Helm does with several files."""
    merged = dict(values)
    for key, value in over.items():
        before = merged.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[key] = overlaid(
                cast("Mapping[str, Any]", before), cast("Mapping[str, Any]", value)
            )
        else:
            merged[key] = value
    return merged


def _manifests(files: Mapping[str, str]) -> Iterator[Manifest]:
    for path, text in sorted(files.items()):
        if path.endswith(".yaml"):
            for document in yaml.load_all(text, Loader=yaml.CSafeLoader):
                if document is not None:
                    yield cast("Manifest", document)
