"""Handlers of actions, by object and name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeAlias

import msgspec

from objectql.errors import Issue, PluginInvalid

ActionHandler: TypeAlias = Callable[[Any], Awaitable[Any] | Any]
"""Takes the action context of the kernel and returns any JSON value."""

GLOBAL = "global"
"""The object name of actions that belong to no object."""


class ActionEntry(msgspec.Struct, frozen=True):
    """A registered handler."""

    object: str
    name: str
    handler: ActionHandler
    package: str | None = None


class ActionRegistry:
    """Action handlers; a name is unique within its object."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], ActionEntry] = {}

    def register(
        self, object: str, name: str, handler: ActionHandler, *, package: str | None = None
    ) -> Callable[[], None]:
        """Add a handler; the answer removes it.

        Raises:
            PluginInvalid: the object has a handler for this action.

        """
        key = (object, name)
        if key in self._entries:
            issue = Issue(
                path=f"{object}.{name}",
                code="duplicate_action",
                message="the action has a handler",
            )
            raise PluginInvalid(issues=(issue,))
        entry = self._entries[key] = ActionEntry(object, name, handler, package)

        def unregister() -> None:
            if self._entries.get(key) is entry:
                del self._entries[key]

        return unregister

    def get(self, object: str, name: str) -> ActionEntry | None:
        """The handler, if any."""
        return self._entries.get((object, name))

    def names(self, object: str) -> tuple[str, ...]:
        """The actions of `object` that have a handler."""
        return tuple(name for owner, name in self._entries if owner == object)

    def unregister_package(self, package: str) -> int:
        """Remove a package's handlers; how many there were."""
        gone = [key for key, entry in self._entries.items() if entry.package == package]
        for key in gone:
            del self._entries[key]
        return len(gone)

    def without(self, packages: Collection[str]) -> ActionRegistry:
        """A copy without the handlers of `packages`."""
        copy = ActionRegistry()
        copy._entries = {k: e for k, e in self._entries.items() if e.package not in packages}
        return copy

    def replace_packages(self, packages: Collection[str], source: ActionRegistry) -> None:
        """Put the handlers that `source` has of `packages` in the place of ours, all at once."""
        new = {k: e for k, e in source._entries.items() if e.package in packages}
        kept = {k: e for k, e in self._entries.items() if e.package not in packages}
        self._entries = kept | new
