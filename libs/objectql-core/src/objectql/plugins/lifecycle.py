"""The life of plugins: init, install, start, stop, in dependency order.

A phase that fails or runs out of time stops what had been started, in reverse, and raises.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from objectql.errors import ObjectQLError, PluginFailed
from objectql.events import EventBus, PluginInstalled, PluginStarted, PluginStopped
from objectql.plugins.actions import ActionRegistry
from objectql.plugins.components import Phase, PluginComponent
from objectql.plugins.hooks import HookRegistry
from objectql.plugins.middleware import MiddlewareRegistry
from objectql.plugins.resolver import resolve_order
from objectql.plugins.services import ServiceRegistry

_log = logging.getLogger(__name__)


class PluginContext(msgspec.Struct, frozen=True):
    """What a plugin's phases are given. `engine` is the kernel, for data operations."""

    engine: Any
    plugin: str
    hooks: HookRegistry
    middleware: MiddlewareRegistry
    actions: ActionRegistry
    services: ServiceRegistry
    events: EventBus
    logger: logging.Logger
    config: Mapping[str, Any] = {}


class PluginLifecycle:
    """Runs the phases of a fixed set of plugins."""

    def __init__(
        self,
        plugins: Sequence[PluginComponent],
        make_context: Callable[[PluginComponent], PluginContext],
        events: EventBus,
        *,
        phase_timeout_s: float = 30.0,
    ) -> None:
        """Sort the plugins.

        Raises:
            PluginInvalid: they cannot be loaded together.

        """
        order = resolve_order([plugin.manifest for plugin in plugins])
        self.plugins = tuple(plugins[index] for index in order)
        self._make_context = make_context
        self._events = events
        self._timeout_s = phase_timeout_s
        self._contexts: dict[str, PluginContext] = {}
        self._started: list[PluginComponent] = []

    async def install(self) -> None:
        """Run `init` of all plugins, then `install` of all.

        Raises:
            PluginFailed: a phase failed; what it registered has been removed again.

        """
        for plugin in self.plugins:
            self._contexts[plugin.manifest.name] = self._make_context(plugin)
        try:
            for phase in ("init", "install"):
                for plugin in self.plugins:
                    await self._run(plugin, phase)
        except BaseException:
            self._withdraw()
            raise
        for plugin in self.plugins:
            manifest = plugin.manifest
            await self._events.emit(PluginInstalled(plugin=manifest.name, version=manifest.version))

    async def start(self) -> None:
        """Run `start` of all plugins.

        Raises:
            PluginFailed: one failed; those started before it have been stopped in reverse.

        """
        for plugin in self.plugins:
            try:
                await self._run(plugin, "start")
            except BaseException:
                await self.stop()
                raise
            self._started.append(plugin)
            manifest = plugin.manifest
            await self._events.emit(PluginStarted(plugin=manifest.name, version=manifest.version))

    async def stop(self) -> None:
        """Run `stop` of the started plugins in reverse; a failure is logged, the rest still stop.

        What the plugins registered is removed. May be called twice.
        """
        while self._started:
            plugin = self._started.pop()
            manifest = plugin.manifest
            try:
                await self._run(plugin, "stop")
            except ObjectQLError as exc:
                _log.error("plugin failed to stop", exc_info=exc, extra={"plugin": manifest.name})
            await self._events.emit(PluginStopped(plugin=manifest.name, version=manifest.version))
        self._withdraw()

    async def _run(self, plugin: PluginComponent, phase: Phase) -> None:
        function = plugin.phases.get(phase)
        if function is None:
            return
        name = plugin.manifest.name
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = _call(function, self._contexts[name])
                if answer is not None:
                    await answer
        except TimeoutError as exc:
            reason = f"not done after {self._timeout_s:g} s"
            raise PluginFailed(plugin=name, phase=phase, reason=reason) from exc
        except ObjectQLError:
            raise
        except Exception as exc:
            reason = f"{type(exc).__name__}: {exc}"
            raise PluginFailed(plugin=name, phase=phase, reason=reason) from exc

    def _withdraw(self) -> None:
        for name, context in self._contexts.items():
            context.hooks.unregister_package(name)
            context.middleware.unregister_package(name)
            context.actions.unregister_package(name)
        self._contexts.clear()


def _call(
    function: Callable[..., Awaitable[None] | None], context: PluginContext
) -> Awaitable[None] | None:
    """Call a phase function with the context, or with nothing where it takes nothing."""
    return function(context) if inspect.signature(function).parameters else function()
