from __future__ import annotations

from pathlib import Path

import pytest

from objectql.errors import PluginInvalid
from objectql.plugins.components import AppConfig, classify


class Audit:
    name = "audit"
    version = "1.2.0"
    provides = ("changelog",)

    def on_start(self) -> None: ...
    def stop(self) -> None: ...


def test_a_plugin_is_what_has_a_name_and_a_phase() -> None:
    (plugin,) = classify([Audit()]).plugins
    assert plugin.manifest.name == "audit"
    assert plugin.manifest.provides == ("changelog",)
    assert set(plugin.phases) == {"start", "stop"}


def test_a_mapping_with_functions_is_a_plugin() -> None:
    (plugin,) = classify(
        [{"name": "m", "onStart": print, "manifest": {"version": "2.0.0"}}]
    ).plugins
    assert (plugin.manifest.version, set(plugin.phases)) == ("2.0.0", {"start"})


def test_an_application_is_a_mapping_without_functions_or_a_directory(tmp_path: Path) -> None:
    found = classify([{"id": "crm", "objects": {}}, tmp_path])
    assert found.apps == (
        AppConfig(name="crm", content={"objects": {}}),
        AppConfig(name=tmp_path.name, directory=tmp_path),
    )


def test_unknown_components_are_reported_with_index_and_keys() -> None:
    with pytest.raises(PluginInvalid) as caught:
        classify([Audit(), {"nmae": "x", "objects": {}}, {"name": "only"}, 7])
    assert [(i.path, i.code) for i in caught.value.issues] == [
        ("components.1", "unknown_component"),
        ("components.2", "unknown_component"),
        ("components.3", "unknown_component"),
    ]
    assert "nmae, objects" in caught.value.issues[0].message


def test_an_incomplete_driver_and_a_bad_manifest_are_named() -> None:
    class HalfDriver:
        type = "driver"
        name = "half"

    with pytest.raises(PluginInvalid) as caught:
        classify([HalfDriver(), {"name": "p", "init": print, "dependencies": ["x"]}])
    assert [i.code for i in caught.value.issues] == ["incomplete_driver", "invalid_manifest"]
    assert "fetch_one" in caught.value.issues[0].message
