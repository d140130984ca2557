"""Components told apart by their shape: plugins, drivers and applications.

A plugin has a name and at least one phase function; a driver reads and writes; an application is
a mapping (or a directory of metadata files) and has no functions. Anything else is an error that
names the component's index and what it has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import msgspec

from objectql.drivers.protocol import Driver
from objectql.errors import Issue, PluginInvalid
from objectql.plugins.manifest import PluginManifest

Phase: TypeAlias = Literal["init", "install", "start", "stop"]
PhaseFunction: TypeAlias = Callable[..., Awaitable[None] | None]

PHASES: Mapping[Phase, tuple[str, ...]] = {
    "init": ("init",),
    "install": ("install",),
    "start": ("on_start", "onStart", "start"),
    "stop": ("on_stop", "onStop", "stop", "destroy"),
}
"""The phases in order, with the spellings of the function that runs in each."""

DRIVER_METHODS = ("connect", "close", "lower", "fetch", "fetch_one", "write", "begin")
APP_KEYS = frozenset(
    "objects apps data actions permissions views forms pages menus reports workflows directory "
    "items validations datasets translations".split()
)
_MANIFEST_KEYS = ("version", "dependencies", "optional_dependencies", "provides", "exclusive")


class PluginComponent(msgspec.Struct, frozen=True):
    """A plugin with its phase functions found."""

    manifest: PluginManifest
    source: object
    phases: Mapping[Phase, PhaseFunction]


class AppConfig(msgspec.Struct, frozen=True):
    """An application: metadata by kind and name in `content`, or files under `directory`."""

    name: str
    directory: Path | None = None
    content: Mapping[str, Any] = {}


class Components(msgspec.Struct, frozen=True):
    """All components by kind, each in the order given."""

    plugins: tuple[PluginComponent, ...] = ()
    drivers: tuple[Driver, ...] = ()
    apps: tuple[AppConfig, ...] = ()


def classify(components: Iterable[object]) -> Components:
    """The components by kind.

    Raises:
        PluginInvalid: with an issue for every component that is none of the kinds, or one with
            parts missing.

    """
    plugins: list[PluginComponent] = []
    drivers: list[Driver] = []
    apps: list[AppConfig] = []
    issues: list[Issue] = []
    for index, component in enumerate(components):
        if _is_driver(component):
            missing = [m for m in (*DRIVER_METHODS, "name") if _member(component, m) is None]
            if missing:
                issues.append(_issue(index, "incomplete_driver", f"lacks {', '.join(missing)}"))
            else:
                drivers.append(cast("Driver", component))
        elif (plugin := _as_plugin(component, index, issues)) is not None:
            plugins.append(plugin)
        elif (app := _as_app(component)) is not None:
            apps.append(app)
        elif not issues or issues[-1].path != f"components.{index}":
            issues.append(_issue(index, "unknown_component", _describe(component)))
    if issues:
        raise PluginInvalid(issues=tuple(issues))
    return Components(tuple(plugins), tuple(drivers), tuple(apps))


def _issue(index: int, code: str, message: str) -> Issue:
    return Issue(path=f"components.{index}", code=code, message=message)


def _describe(component: object) -> str:
    if isinstance(component, Mapping):
        keys = sorted(str(key) for key in cast("Mapping[object, object]", component))
    else:
        keys = sorted(key for key in dir(component) if not key.startswith("_"))
    shown = ", ".join(keys[:12]) or "nothing"
    return (
        f"a component of type {type(cast('object', component)).__name__} is no plugin (name and a phase), "
        f"driver or application; it has {shown}"
    )


def _member(component: object, name: str) -> object:
    if isinstance(component, Mapping):
        return cast("Mapping[str, object]", component).get(name)
    return getattr(component, name, None)


def _is_driver(component: object) -> bool:
    if _member(component, "type") == "driver":
        return True
    return callable(_member(component, "fetch")) and callable(_member(component, "write"))


def _as_plugin(component: object, index: int, issues: list[Issue]) -> PluginComponent | None:
    declared = _member(component, "manifest")
    has_name = isinstance(_member(component, "name"), str) or declared is not None
    phases: dict[Phase, PhaseFunction] = {}
    for phase, spellings in PHASES.items():
        for spelling in spellings:
            function = _member(component, spelling)
            if callable(function):
                phases[phase] = cast("PhaseFunction", function)
                break
    if not has_name or not phases:
        return None
    if isinstance(declared, PluginManifest):
        return PluginComponent(declared, component, phases)
    document: dict[str, object] = {"name": _member(component, "name")}
    for key in (*_MANIFEST_KEYS, "conflicts"):
        value = _member(component, key)
        if value is not None:
            document[key] = value
    if isinstance(declared, Mapping):
        document.update(cast("Mapping[str, object]", declared))
    try:
        manifest = msgspec.convert(document, PluginManifest)
    except msgspec.ValidationError as exc:
        issues.append(_issue(index, "invalid_manifest", str(exc)))
        return None
    return PluginComponent(manifest, component, phases)


def _as_app(component: object) -> AppConfig | None:
    if isinstance(component, AppConfig):
        return component
    if isinstance(component, Path):
        return AppConfig(name=component.name, directory=component)
    if not isinstance(component, Mapping):
        return None
    document = cast("Mapping[str, Any]", component)
    name = document.get("name", document.get("id"))
    if not isinstance(name, str) or not APP_KEYS & document.keys():
        return None
    if any(callable(value) for value in document.values()):
        return None
    directory = document.get("directory")
    content = {key: value for key, value in document.items() if key in APP_KEYS}
    content.pop("directory", None)
    return AppConfig(name, Path(directory) if directory is not None else None, content)
