from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from objectql.errors import PluginFailed
from objectql.events import Event, EventBus
from objectql.plugins.actions import ActionRegistry
from objectql.plugins.components import PluginComponent, classify
from objectql.plugins.hooks import HookRegistry
from objectql.plugins.lifecycle import PluginContext, PluginLifecycle
from objectql.plugins.middleware import MiddlewareRegistry
from objectql.plugins.services import ServiceRegistry


class World:
    def __init__(self) -> None:
        self.trace: list[str] = []
        self.events = EventBus()
        self.emitted: list[str] = []
        self.hooks = HookRegistry()
        self.events.on("plugin:*", lambda e: self.emitted.append(self._text(e)))

    @staticmethod
    def _text(event: Event) -> str:
        return f"{event.name} {getattr(event, 'plugin', '')}"

    def plugin(self, name: str, *, fails_in: str = "", needs: dict[str, str] | None = None) -> Any:
        def phase(title: str) -> Any:
            async def run(ctx: PluginContext) -> None:
                self.trace.append(f"{title} {name}")
                ctx.hooks.register("beforeCreate", "*", print, package=ctx.plugin)
                if title == fails_in:
                    raise RuntimeError("boom")

            return run

        phases = {title: phase(title) for title in ("init", "install", "start", "stop")}
        return {"name": name, "version": "1.0.0", "dependencies": needs or {}, **phases}

    def lifecycle(self, *plugins: Any, timeout_s: float = 30.0) -> PluginLifecycle:
        def make(plugin: PluginComponent) -> PluginContext:
            return PluginContext(
                engine=None,
                plugin=plugin.manifest.name,
                hooks=self.hooks,
                middleware=MiddlewareRegistry(),
                actions=ActionRegistry(),
                services=ServiceRegistry(),
                events=self.events,
                logger=logging.getLogger("test"),
            )

        found = classify(plugins).plugins
        return PluginLifecycle(found, make, self.events, phase_timeout_s=timeout_s)


async def test_phases_run_in_dependency_order_and_stop_in_reverse() -> None:
    world = World()
    life = world.lifecycle(world.plugin("app", needs={"store": "*"}), world.plugin("store"))
    await life.install()
    await life.start()
    await life.stop()
    await life.stop()
    assert world.trace == [
        "init store", "init app", "install store", "install app",
        "start store", "start app", "stop app", "stop store",
    ]  # fmt: skip
    assert world.emitted == [
        "plugin:installed store", "plugin:installed app", "plugin:started store",
        "plugin:started app", "plugin:stopped app", "plugin:stopped store",
    ]  # fmt: skip
    assert world.hooks.describe() == ()


async def test_a_failing_start_stops_the_started_ones_in_reverse_and_raises() -> None:
    world = World()
    life = world.lifecycle(
        world.plugin("a"), world.plugin("b"), world.plugin("c", fails_in="start")
    )
    await life.install()
    with pytest.raises(PluginFailed) as caught:
        await life.start()
    assert (caught.value.plugin, caught.value.phase) == ("c", "start")
    assert world.trace[-3:] == ["start c", "stop b", "stop a"]
    assert world.hooks.describe() == ()


async def test_a_failing_install_withdraws_what_was_registered() -> None:
    world = World()
    life = world.lifecycle(world.plugin("a"), world.plugin("b", fails_in="install"))
    with pytest.raises(PluginFailed, match="boom"):
        await life.install()
    assert world.hooks.describe() == ()


async def test_a_failing_stop_does_not_keep_the_others_from_stopping(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    life = world.lifecycle(world.plugin("a"), world.plugin("b", fails_in="stop"))
    await life.install()
    await life.start()
    with caplog.at_level(logging.ERROR):
        await life.stop()
    assert world.trace[-2:] == ["stop b", "stop a"]
    assert "plugin failed to stop" in caplog.text


async def test_a_phase_that_hangs_is_cut_off() -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    world = World()
    life = world.lifecycle({"name": "slow", "init": hangs}, timeout_s=0.01)
    with pytest.raises(PluginFailed, match="not done after"):
        await life.install()
