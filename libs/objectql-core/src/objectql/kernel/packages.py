"""Application components as loaded packages, with the code files that belong to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec

from objectql.errors import Issue, MetadataInvalid, PluginInvalid
from objectql.metadata.document import Document
from objectql.metadata.loader import LoadedPackage, load_directory
from objectql.metadata.registry import singular
from objectql.plugins.actions import ActionRegistry
from objectql.plugins.code import CodeFile, register_code
from objectql.plugins.components import AppConfig
from objectql.plugins.hooks import HookRegistry


def load_package(app: AppConfig) -> LoadedPackage:
    """The metadata of an application: its directory, or the documents given inline.

    Raises:
        MetadataInvalid: files that cannot be read, or content that is no documents.

    """
    if app.directory is not None:
        return load_directory(app.directory, package=None if not app.content else app.name)
    documents: list[Document] = []
    for key, members in app.content.items():
        kind = singular(key)
        documents += [
            Document(app.name, kind, name, content) for name, content in _members(app, key, members)
        ]
    return LoadedPackage(app.name, tuple(documents), ())


def _members(app: AppConfig, key: str, members: Any) -> list[tuple[str, Any]]:
    """Named documents of a mapping by name, or of a list of documents that name themselves."""
    if isinstance(members, Mapping):
        return list(cast("Mapping[str, Any]", members).items())
    if isinstance(members, list | tuple):
        found: list[tuple[str, Any]] = []
        for member in cast("list[Any]", members):
            if not isinstance(member, Mapping):
                break
            document = cast("Mapping[str, Any]", member)
            name = document.get("name", document.get("object"))
            if not isinstance(name, str):
                break
            found.append((name, document))
        else:
            return found
    message = f'"{key}" must map names to documents, or list documents with a name'
    raise MetadataInvalid(
        issues=(Issue(path=f"{app.name}.{key}", code="wrong_type", message=message),)
    )


def register_package_code(
    app: AppConfig, package: LoadedPackage, hooks: HookRegistry, actions: ActionRegistry
) -> int:
    """Register the hooks and actions of a package's code files; how many.

    Raises:
        PluginInvalid: with the place in each file that cannot be loaded; the others are registered.

    """
    if app.directory is None:
        return 0
    count = 0
    issues: list[Issue] = []
    for file in package.code_files:
        kind = cast("Literal['hook', 'action']", file.kind)
        code = CodeFile(kind, file.object, app.directory / file.path)
        try:
            count += register_code(code, hooks, actions, package=package.name)
        except PluginInvalid as exc:
            where = str(file.path)  # from the package's folder, as in every other problem
            issues += [msgspec.structs.replace(issue, file=where) for issue in exc.issues]
    if issues:
        raise PluginInvalid(issues=tuple(issues))
    return count
