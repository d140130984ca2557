"""Application components read anew while the kernel runs.

Everything is read and loaded beside what is in force; only when all of it is right does it take
the place of the old. Used by `Kernel.reload` and, before anything runs, by `check_applications`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from objectql.errors import Issue, MetadataInvalid, PluginInvalid
from objectql.kernel.meanings import check_meanings
from objectql.kernel.packages import load_package, register_package_code
from objectql.metadata.build import build_snapshot
from objectql.metadata.diff import Change
from objectql.metadata.loader import LoadedPackage
from objectql.metadata.registry import MetadataSnapshot
from objectql.plugins.actions import ActionRegistry
from objectql.plugins.components import AppConfig, classify
from objectql.plugins.hooks import HookRegistry


class Reloaded(msgspec.Struct, frozen=True):
    """What a reload brought: the version in force, what is declared differently, the tables.

    `functions` counts the hooks and actions of the packages, the unchanged ones among them.
    """

    version: int
    changes: tuple[Change, ...] = ()
    schema: tuple[str, ...] = ()
    functions: int = 0


class Staged(msgspec.Struct, frozen=True):
    """Packages that were read without a problem, and registries that hold their code."""

    packages: tuple[LoadedPackage, ...]
    hooks: HookRegistry
    actions: ActionRegistry
    functions: int = 0


def stage(
    apps: Iterable[AppConfig],
    names: Collection[str],
    hooks: HookRegistry,
    actions: ActionRegistry,
) -> Staged:
    """Read `apps`, whose packages were called `names`; their code goes into copies of the registries.

    Raises:
        MetadataInvalid: with every problem of all files, those of code among them; a package whose
            name is not among `names` is one.

    """
    staged = Staged((), hooks.without(names), actions.without(names))
    packages, functions = _read(apps, staged.hooks, staged.actions)
    for package in packages:
        if package.name not in names:
            message = f'the package is called "{package.name}" now; that takes a new start'
            issue = Issue("", "package_renamed", message, file="package.yml")
            raise MetadataInvalid(issues=(issue,))
    return msgspec.structs.replace(staged, packages=packages, functions=functions)


def check_applications(directories: Iterable[Path]) -> MetadataSnapshot:
    """The metadata of `directories` together, after their code was loaded as well.

    Raises:
        MetadataInvalid: with every problem of all files.

    """
    apps = classify(directories).apps
    packages, _ = _read(apps, HookRegistry(), ActionRegistry())
    snapshot = build_snapshot([d for package in packages for d in package.items], version=1)
    if issues := check_meanings(snapshot):
        raise MetadataInvalid(issues=issues)
    return snapshot


def _read(
    apps: Iterable[AppConfig], hooks: HookRegistry, actions: ActionRegistry
) -> tuple[tuple[LoadedPackage, ...], int]:
    """The packages, and how many functions of theirs were registered; or every problem that can be found at once."""
    packages: list[LoadedPackage] = []
    issues: list[Issue] = []
    functions = 0
    for app in apps:
        try:
            package = load_package(app)
            packages.append(package)
            functions += register_package_code(app, package, hooks, actions)
        except (MetadataInvalid, PluginInvalid) as exc:
            issues += exc.issues
    if not issues:
        return tuple(packages), functions
    try:  # what the documents say is wrong belongs into the same answer
        build_snapshot([d for package in packages for d in package.items], version=1)
    except MetadataInvalid as exc:
        issues += exc.issues
    raise MetadataInvalid(issues=tuple(issues))
