"""Hooks: functions that run before and after the operations on an object.

For each object and event the registered hooks are compiled once into a pipeline: the hooks for
the object and those for `*` together, lower priority first, ties by registration. Hooks that
declare `parallel` run together after all others and see a read-only context.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias, cast

import msgspec

from objectql.errors import (
    HookAborted,
    HookFailed,
    Issue,
    ObjectQLError,
    PluginInvalid,
    suggestion_text,
)
from objectql.plugins.context import HookAbort, HookContext, ReadOnlyContext

HookHandler: TypeAlias = Callable[[Any], Awaitable[None] | None]
OnError: TypeAlias = Literal["throw", "log", "ignore"]

OPERATIONS = ("Find", "Count", "Create", "Update", "Delete")
EVENTS: tuple[str, ...] = (
    *(f"before{operation}" for operation in OPERATIONS),
    *(f"after{operation}" for operation in OPERATIONS),
    "afterCommit",
)
"""All hook points. `afterCommit` runs once a write is durable; its failures are only logged."""

WILDCARD = "*"

_SPELLINGS: dict[str, str] = {event.lower(): event for event in EVENTS} | {
    "beforeinsert": "beforeCreate",
    "afterinsert": "afterCreate",
}
_log = logging.getLogger(__name__)


def canonical_event(name: str) -> str:
    """The hook point that `name` spells: `beforeInsert`, `before:create`, `before_create`, ...

    Raises:
        ValueError: there is no such hook point.

    """
    event = _SPELLINGS.get(name.replace(":", "").replace("_", "").lower())
    if event is None:
        near = tuple(get_close_matches(name, EVENTS, n=2))
        raise ValueError(f'there is no hook point "{name}"{suggestion_text(near)}')
    return event


class Hook(msgspec.Struct, frozen=True):
    """One registered hook. `sequence` is its place in the order of registration."""

    event: str
    objects: frozenset[str]
    handler: HookHandler
    name: str
    sequence: int
    priority: int = 100
    parallel: bool = False
    on_error: OnError = "throw"
    package: str | None = None


class HookPipeline:
    """The compiled hooks of one object and event."""

    __slots__ = ("_parallel", "_sequential", "hooks")

    def __init__(self, hooks: Iterable[Hook]) -> None:
        self.hooks = tuple(sorted(hooks, key=lambda hook: (hook.priority, hook.sequence)))
        self._sequential = tuple((h, h.handler) for h in self.hooks if not h.parallel)
        self._parallel = tuple(hook for hook in self.hooks if hook.parallel)

    async def run(self, context: HookContext) -> None:
        """Run all hooks; one that sets `stop_propagation` is the last.

        Raises:
            HookAborted: a hook refused the operation.
            HookFailed: a hook raised something that is no `ObjectQLError` (those pass as they are).

        """
        for hook, handler in self._sequential:
            try:
                answer = handler(context)
                if answer is not None:
                    await answer
            except Exception as exc:  # noqa: BLE001 - a hook is foreign code; nothing is lost
                _settle(hook, exc)
            if context.stop_propagation:
                return
        if self._parallel:
            view = ReadOnlyContext(context)
            outcomes = await asyncio.gather(
                *(_call(hook, view) for hook in self._parallel), return_exceptions=True
            )
            # All of them have ended; the first failure in pipeline order decides.
            for hook, outcome in zip(self._parallel, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    _settle(hook, outcome)
                elif outcome is not None:
                    raise outcome


async def _call(hook: Hook, context: object) -> None:
    answer = hook.handler(context)
    if answer is not None:
        await answer


def _settle(hook: Hook, exc: Exception) -> None:
    """Do with a hook's failure what the hook says."""
    if hook.on_error == "ignore":
        return
    if hook.on_error == "log":
        _log.error("hook failed", exc_info=exc, extra={"hook": hook.name})
        return
    raise typed_failure(hook.name, exc) from exc


def typed_failure(name: str, exc: Exception) -> ObjectQLError:
    """What the caller is told when the hook or action `name` raised `exc`."""
    if isinstance(exc, ObjectQLError):
        return exc
    if isinstance(exc, HookAbort):
        return HookAborted(hook=name, reason=exc.reason, hook_code=exc.code, status=exc.http)
    return HookFailed(hook=name)


class HookRegistry:
    """All hooks, and the pipelines compiled from them."""

    def __init__(self) -> None:
        self._hooks: dict[int, Hook] = {}
        self._sequence = 0
        self._compiled: dict[tuple[str, str], HookPipeline | None] = {}

    def register(
        self,
        event: str,
        objects: str | Iterable[str],
        handler: HookHandler,
        *,
        priority: int = 100,
        parallel: bool = False,
        on_error: OnError = "throw",
        name: str = "",
        package: str | None = None,
    ) -> Callable[[], None]:
        """Add a hook for one object, several, or `*`; the answer removes it.

        `before:*` and `after:*` as event stand for every hook point of that moment.

        Raises:
            PluginInvalid: there is no such hook point, or the handler cannot be called.

        """
        title = name or cast("str", getattr(handler, "__qualname__", "")) or repr(handler)
        if not callable(handler):
            issue = Issue(path=title, code="invalid_hook", message="the handler is no function")
            raise PluginInvalid(issues=(issue,))
        named = frozenset([objects] if isinstance(objects, str) else objects)
        added: list[int] = []
        for point in _points(event, title):
            self._sequence += 1
            self._hooks[self._sequence] = Hook(
                event=point,
                objects=named,
                handler=handler,
                name=title,
                sequence=self._sequence,
                priority=priority,
                parallel=parallel,
                on_error=on_error,
                package=package,
            )
            added.append(self._sequence)
        self._compiled.clear()

        def unregister() -> None:
            for sequence in added:
                self._hooks.pop(sequence, None)
            self._compiled.clear()

        return unregister

    def unregister_package(self, package: str) -> int:
        """Remove a package's hooks; how many there were."""
        gone = [key for key, hook in self._hooks.items() if hook.package == package]
        for key in gone:
            del self._hooks[key]
        self._compiled.clear()
        return len(gone)

    def pipeline(self, object_name: str, event: str) -> HookPipeline | None:
        """The compiled hooks of an object and a canonical event; None when there are none."""
        key = (object_name, event)
        try:
            return self._compiled[key]
        except KeyError:
            found = [
                hook
                for hook in self._hooks.values()
                if hook.event == event and (object_name in hook.objects or WILDCARD in hook.objects)
            ]
            compiled = self._compiled[key] = HookPipeline(found) if found else None
            return compiled

    def describe(self) -> tuple[Hook, ...]:
        """Every hook, in order of registration."""
        return tuple(self._hooks.values())


def _points(event: str, name: str) -> tuple[str, ...]:
    moment, _, rest = event.partition(":")
    if rest == WILDCARD and moment in ("before", "after"):
        return tuple(e for e in EVENTS if e.startswith(moment) and e != "afterCommit")
    try:
        return (canonical_event(event),)
    except ValueError as exc:
        issue = Issue(path=name, code="unknown_hook_point", message=str(exc))
        raise PluginInvalid(issues=(issue,)) from exc
