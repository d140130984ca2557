"""What our parts replace: the same results in the way one writes first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import asyncpg

from objectql.metadata.model import Item
from objectql.plugins.context import HookContext
from objectql.plugins.hooks import WILDCARD, Hook


class Registry:
    """Items in one list, searched from its start; the indexes are made anew by each removal."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._rebuild(items)

    def get(self, type: str, name: str) -> Item | None:
        for item in self.items:
            if item.type == type and item.name == name:
                return item
        return None

    def unregister_package(self, package: str) -> int:
        count = len(self.by_package.get(package, ()))
        self._rebuild([item for item in self.items if item.package != package])
        return count

    def _rebuild(self, items: Iterable[Item]) -> None:
        self.items = list(items)
        self.by_package: dict[str | None, list[Item]] = {}
        self.by_type: dict[str, list[Item]] = {}
        self.by_tag: dict[str, list[Item]] = {}
        for item in self.items:
            self.by_package.setdefault(item.package, []).append(item)
            self.by_type.setdefault(item.type, []).append(item)
            for tag in item.content.get("tags", ()):
                self.by_tag.setdefault(tag, []).append(item)


async def run_hooks(hooks: Iterable[Hook], event: str, context: HookContext) -> None:
    """Find, sort and call at every operation."""
    found = [
        hook
        for hook in hooks
        if hook.event == event and (context.object_name in hook.objects or WILDCARD in hook.objects)
    ]
    for hook in sorted(found, key=lambda hook: (hook.priority, hook.sequence)):
        answer: Any = hook.handler(context)
        if answer is not None:
            await answer
        if context.stop_propagation:
            return


async def connect_each_time(url: str) -> None:
    """A connection for one statement."""
    connection = await asyncpg.connect(url)
    await connection.close()
