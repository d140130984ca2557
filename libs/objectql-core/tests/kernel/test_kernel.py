from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from objectql.drivers.memory import MemoryDriver
from objectql.errors import (
    DeadlineExceeded,
    KernelNotStarted,
    MetadataInvalid,
    ObjectUnknown,
    PluginFailed,
    PluginInvalid,
    Unavailable,
)
from objectql.ids import DataSource
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.kernel.protocol import RuntimeProtocol
from objectql.plugins.lifecycle import PluginContext
from objectql.plugins.middleware import Next, OperationContext

NOTE: dict[str, Any] = {
    "name": "notes",
    "objects": {"note": {"fields": {"text": {"type": "text"}}}},
}


async def test_components_come_up_in_order_and_go_down_in_reverse() -> None:
    trace: list[str] = []
    driver = MemoryDriver()

    class Tracer:
        name = "tracer"
        version = "1.0.0"

        async def install(self, ctx: PluginContext) -> None:
            trace.append("install")

        async def on_start(self, ctx: PluginContext) -> None:
            await driver.check_health()
            trace.append(f"start with {ctx.engine.get_metadata('note')['name']}")

        async def on_stop(self) -> None:
            await driver.check_health()
            trace.append("stop")

    kernel = Kernel([NOTE, Tracer(), driver], settings=KernelSettings(node="n1"))
    kernel.engine.events.on("**", lambda event: trace.append(event.name))
    await kernel.start()
    await kernel.start()
    assert kernel.is_running
    await kernel.stop()
    await kernel.stop()
    assert trace == [
        "install",
        "plugin:installed",
        "driver:connected",
        "metadata:published",
        "start with note",
        "plugin:started",
        "kernel:started",
        "stop",
        "plugin:stopped",
        "driver:disconnected",
        "kernel:stopped",
    ]


async def test_operations_before_start_and_after_stop_are_refused() -> None:
    kernel = Kernel([NOTE, MemoryDriver()])
    with pytest.raises(KernelNotStarted):
        await kernel.find("note")
    with pytest.raises(KernelNotStarted):
        await kernel.seed()
    await kernel.start()
    await kernel.stop()
    with pytest.raises(KernelNotStarted):
        await kernel.create("note", {})


async def test_a_failing_start_undoes_what_was_done() -> None:
    driver = MemoryDriver()

    def fails() -> None:
        raise RuntimeError("no")

    kernel = Kernel([NOTE, driver, {"name": "bad", "start": fails}])
    with pytest.raises(PluginFailed):
        await kernel.start()
    assert not kernel.is_running
    with pytest.raises(Unavailable):
        await driver.check_health()
    with pytest.raises(KernelNotStarted):
        await kernel.find("note")


async def test_stop_waits_for_what_runs() -> None:
    kernel = Kernel([NOTE, MemoryDriver()])
    await kernel.start()
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow(ctx: OperationContext, next: Next) -> None:
        inside.set()
        await go_on.wait()
        await next()

    kernel.use(slow)
    running = asyncio.create_task(kernel.create("note", {"text": "x"}))
    await inside.wait()
    stopping = asyncio.create_task(kernel.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    go_on.set()
    assert (await running)["text"] == "x"
    await stopping


def test_components_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(PluginInvalid) as caught:
        Kernel([MemoryDriver(), MemoryDriver()])
    assert [issue.code for issue in caught.value.issues] == ["duplicate_driver"]
    with pytest.raises(PluginInvalid):
        Kernel([{"name": "p", "init": print, "dependencies": {"q": "*"}}])


async def test_invalid_metadata_stops_the_start_with_every_problem() -> None:
    bad: dict[str, Any] = {
        "name": "bad",
        "objects": {"a": {"fields": {"x": {"type": "nope"}, "y": {"typ": 1}}}},
    }
    with pytest.raises(MetadataInvalid) as caught:
        await Kernel([bad, MemoryDriver()]).start()
    assert len(caught.value.issues) >= 2


async def test_an_object_of_an_unknown_data_source_is_refused() -> None:
    app: dict[str, Any] = {
        "name": "x",
        "objects": {"a": {"datasource": "gone", "fields": {"t": {}}}},
    }
    with pytest.raises(MetadataInvalid) as caught:
        await Kernel([app, MemoryDriver()]).start()
    assert caught.value.issues[0].code == "unknown_datasource"


async def test_a_directory_brings_metadata_code_and_rows(tmp_path: Path) -> None:
    (tmp_path / "task.object.yml").write_text(
        "fields:\n  title: {type: text, required: true, unique: true}\n"
        "actions:\n  close: {type: record}\n"
    )
    (tmp_path / "task.data.yml").write_text("- title: first\n- title: second\n")
    (tmp_path / "task.hook.py").write_text(
        "def before_create(ctx):\n    ctx.data['title'] = ctx.data['title'].upper()\n"
    )
    (tmp_path / "task.action.py").write_text(
        "async def close(ctx):\n    return {'closed': ctx.record['title']}\n"
    )
    kernel = Kernel([tmp_path, MemoryDriver()])
    await kernel.start()
    assert await kernel.seed() == 2
    rows = (await kernel.find("task", {"orderBy": ["title"]})).value
    assert [row["title"] for row in rows] == ["FIRST", "SECOND"]
    assert await kernel.action("task.close", id=rows[0]["id"]) == {"closed": "FIRST"}
    await kernel.stop()
    assert kernel.engine.hooks.describe() == ()


async def test_seeding_twice_inserts_once() -> None:
    app: dict[str, Any] = {
        **NOTE,
        "data": [{"object": "note", "records": [{"id": "n1", "text": "a"}, {"text": "b"}]}],
    }
    kernel = Kernel([app, MemoryDriver()])
    await kernel.start()
    assert await kernel.seed() == 2
    assert await kernel.seed() == 0
    assert await kernel.count("note") == 2
    await kernel.stop()


async def test_an_expired_request_is_answered_and_not_executed(kernel: Kernel, ask: Any) -> None:
    late = msgspec.structs.replace(ask("admin"), deadline_ms=1)
    with pytest.raises(DeadlineExceeded):
        await kernel.create("account", {"name": "A"}, context=late)
    assert await kernel.count("account") == 0


async def test_observers_hear_how_every_operation_went(kernel: Kernel) -> None:
    heard: list[tuple[str, str, str]] = []
    stop = kernel.pipeline.observe(lambda r: heard.append((r.operation, r.object, r.code)))
    await kernel.create("account", {"name": "A"})
    with pytest.raises(ObjectUnknown):
        await kernel.find("acount")
    stop()
    await kernel.count("account")
    assert heard == [("create", "account", ""), ("find", "acount", "OBJECT_NOT_FOUND")]


async def test_middleware_wraps_operations_and_may_answer_for_them(kernel: Kernel) -> None:
    seen: list[str] = []

    async def record(ctx: OperationContext, next: Next) -> None:
        seen.append(ctx.operation)
        await next()
        seen.append(type(ctx.result).__name__)

    remove = kernel.use(record, object="account", operation="create")
    await kernel.create("account", {"name": "A"})
    await kernel.count("account")
    remove()
    await kernel.create("account", {"name": "B"})
    assert seen == ["create", "RecordReply"]


async def test_metadata_and_views_are_served(kernel: Kernel) -> None:
    assert kernel.get_metadata("account")["fields"]["name"]["required"] is True
    assert kernel.get_view("account")["columns"]
    with pytest.raises(ObjectUnknown) as caught:
        kernel.get_metadata("acount")
    assert caught.value.suggestions[0] == "account"


async def test_the_protocol_bridge_offers_metadata_data_and_actions(kernel: Kernel) -> None:
    bridge = RuntimeProtocol(kernel)
    kernel.engine.actions.register("account", "promote", lambda c: c.input["by"])
    assert {"object", "permission"} <= set(bridge.get_meta_types())
    assert bridge.get_meta_item("objects", "account") is not None
    assert bridge.get_meta_item("object", "nope") is None
    assert len(bridge.list_meta_items("objects")) == 4
    made = await bridge.create_data("account", {"name": "A"})
    assert await bridge.get_data("account", made["id"]) == made
    assert (await bridge.update_data("account", made["id"], {"name": "B"}))["version"] == 2
    assert [r["name"] for r in await bridge.find_data("account")] == ["B"]
    assert await bridge.execute_action("account:promote", {"id": made["id"], "by": 3}) == 3
    assert await bridge.delete_data("account", made["id"]) is True
    assert await bridge.delete_data("account", made["id"]) is False


async def test_two_sources_keep_their_objects_apart() -> None:
    app: dict[str, Any] = {
        "name": "x",
        "objects": {
            "near": {"fields": {"t": {"type": "text"}}},
            "far": {"datasource": "east", "fields": {"t": {"type": "text"}}},
        },
    }
    east = MemoryDriver(name=DataSource("east"))
    kernel = Kernel([app, MemoryDriver(), east])
    await kernel.start()
    await kernel.create("far", {"t": "x"})
    assert (await kernel.count("far"), await kernel.count("near")) == (1, 0)
    assert len(await east.outbox.pending(10)) == 1
    await kernel.stop()
