from __future__ import annotations

import pytest

from objectql.errors import PluginInvalid
from objectql.plugins.manifest import PluginManifest
from objectql.plugins.resolver import resolve_order


def manifest(name: str, version: str = "1.0.0", **more: object) -> PluginManifest:
    needs = more.pop("needs", {})
    return PluginManifest(name=name, version=version, dependencies=needs, **more)  # type: ignore[arg-type]


def problems(*manifests: PluginManifest) -> dict[str, str]:
    with pytest.raises(PluginInvalid) as caught:
        resolve_order(manifests)
    return {issue.code: f"{issue.path}: {issue.message}" for issue in caught.value.issues}


def test_dependencies_start_first_and_ties_keep_their_order() -> None:
    order = resolve_order(
        [
            manifest("z"),
            manifest("app", needs={"store": "^1.0.0"}),
            manifest("a"),
            manifest("store"),
        ]
    )
    assert order == (0, 2, 3, 1)


def test_a_capability_satisfies_a_dependency_with_its_own_version() -> None:
    order = resolve_order(
        [manifest("app", needs={"cache": ">=2"}), manifest("redis", provides=("cache@2.1",))]
    )
    assert order == (1, 0)


def test_an_optional_dependency_orders_only_where_present() -> None:
    app = manifest("app", optional_dependencies={"log": "*"})
    assert resolve_order([app]) == (0,)
    assert resolve_order([app, manifest("log")]) == (1, 0)


def test_a_cycle_is_reported_with_its_path() -> None:
    found = problems(
        manifest("a", needs={"b": "*"}),
        manifest("b", needs={"c": "*"}),
        manifest("c", needs={"a": "*"}),
    )
    assert found == {"dependency_cycle": "a: a → b → c → a"}


def test_a_plugin_that_needs_itself_is_a_cycle() -> None:
    assert "dependency_cycle" in problems(manifest("a", needs={"a": "*"}))


def test_all_problems_are_reported_together() -> None:
    found = problems(
        manifest("a", needs={"gone": "^1.0.0", "b": "^2.0.0", "d": "*"}),
        manifest("b", "1.5.0", conflicts=("a@<2",)),
        manifest("c", provides=("lock",), exclusive=("lock",)),
        manifest("d", needs={"a": "*"}, provides=("lock",)),
        manifest("e"),
        manifest("e", version="one"),
        manifest("f", needs={"c": "what"}),
    )
    assert found == {
        "duplicate_plugin": "e: 2 plugins have this name",
        "invalid_version": 'e: "one" is not a semantic version',
        "exclusive_capability": "lock: only one plugin may provide it: c, d",
        "missing_dependency": 'a: needs "gone" ^1.0.0, which nothing provides',
        "version_mismatch": 'a: needs "b" ^2.0.0, found 1.5.0',
        "plugin_conflict": 'b: conflicts with "a" 1.0.0',
        "invalid_range": 'f: "what" is not a version range: "what" is not understood',
        "dependency_cycle": "a: a → d → a",
    }


def test_a_conflict_reaches_a_provided_capability() -> None:
    found = problems(manifest("a", conflicts=("audit",)), manifest("b", provides=("audit",)))
    assert found == {"plugin_conflict": 'a: conflicts with "b" 1.0.0 (as "audit")'}


def test_a_missing_dependency_suggests_a_near_name() -> None:
    found = problems(manifest("app", needs={"audti": "*"}), manifest("audit"))
    assert 'did you mean "audit"' in found["missing_dependency"]
