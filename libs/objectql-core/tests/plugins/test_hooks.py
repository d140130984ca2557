from __future__ import annotations

import asyncio
import logging
import timeit
from typing import Any

import pytest

from objectql.context import Actor
from objectql.errors import HookAborted, HookFailed, PluginInvalid, UniqueViolation
from objectql.plugins.context import HookAbort, HookContext
from objectql.plugins.hooks import EVENTS, HookRegistry, canonical_event


def context(**more: Any) -> HookContext:
    return HookContext("account", "create", Actor(id="u1", roles=("sales",)), **more)


async def run(registry: HookRegistry, ctx: HookContext, event: str = "beforeCreate") -> None:
    pipeline = registry.pipeline(ctx.object_name, event)
    assert pipeline is not None
    await pipeline.run(ctx)


@pytest.mark.parametrize(
    "spelling", ["beforeCreate", "beforeInsert", "before:create", "before_create", "before_insert"]
)
def test_every_spelling_of_a_hook_point_is_the_same(spelling: str) -> None:
    assert canonical_event(spelling) == "beforeCreate"


def test_an_unknown_hook_point_is_refused_with_a_suggestion() -> None:
    with pytest.raises(PluginInvalid, match="beforeCreate"):
        HookRegistry().register("beforeCreat", "account", print)


async def test_wildcard_and_specific_hooks_run_in_one_order_of_priority() -> None:
    registry = HookRegistry()
    ran: list[str] = []
    for name, objects, priority in [
        ("late", "*", 200),
        ("specific", "account", 100),
        ("first", "*", 0),
        ("tie", ["account", "contact"], 100),
        ("other", "contact", 1),
    ]:
        registry.register(
            "beforeCreate", objects, lambda _c, n=name: ran.append(n), priority=priority
        )
    await run(registry, context())
    assert ran == ["first", "specific", "tie", "late"]


async def test_registering_and_unregistering_recompiles_every_object() -> None:
    registry = HookRegistry()
    assert registry.pipeline("account", "beforeCreate") is None
    remove = registry.register("before:*", "*", lambda _: None, package="audit")
    assert registry.pipeline("account", "beforeCreate") is not None
    assert registry.pipeline("account", "afterCreate") is None
    remove()
    assert registry.pipeline("account", "beforeCreate") is None
    registry.register("afterDelete", "*", lambda _: None, package="audit")
    assert registry.unregister_package("audit") == 1
    assert registry.describe() == ()
    assert len(EVENTS) == 11


async def test_hooks_change_data_share_state_and_know_what_is_modified() -> None:
    registry = HookRegistry()
    seen: list[Any] = []

    async def first(ctx: HookContext) -> None:
        assert ctx.new is not None
        ctx.new["name"] = ctx.new["name"].upper()
        ctx.state["n"] = 1

    def second(ctx: HookContext) -> None:
        seen.extend([ctx.data, ctx.state, ctx.is_modified("name"), ctx.is_modified("size")])

    registry.register("beforeUpdate", "account", first)
    registry.register("beforeUpdate", "account", second)
    ctx = context(data={"name": "a", "size": 3}, previous_data={"name": "a", "size": 3})
    await run(registry, ctx, "beforeUpdate")
    assert seen == [{"name": "A", "size": 3}, {"n": 1}, True, False]
    assert ctx.old == {"name": "a", "size": 3}


async def test_stop_propagation_skips_the_rest() -> None:
    registry = HookRegistry()
    ran: list[str] = []

    def stops(ctx: HookContext) -> None:
        ctx.stop_propagation = True

    registry.register("beforeCreate", "*", stops)
    registry.register("beforeCreate", "*", lambda _: ran.append("second"))
    registry.register("beforeCreate", "*", lambda _: ran.append("parallel"), parallel=True)
    await run(registry, context())
    assert ran == []


async def test_parallel_hooks_run_together_after_the_others() -> None:
    registry = HookRegistry()
    gate = asyncio.Event()
    ran: list[str] = []

    async def waits(_: Any) -> None:
        await gate.wait()
        ran.append("waited")

    async def opens(_: Any) -> None:
        gate.set()

    registry.register("afterCreate", "*", waits, parallel=True, priority=0)
    registry.register("afterCreate", "*", opens, parallel=True, priority=1)
    registry.register("afterCreate", "*", lambda _: ran.append("sequential"), priority=500)
    await asyncio.wait_for(run(registry, context(), "afterCreate"), timeout=5)
    assert ran == ["sequential", "waited"]


def _updates(ctx: HookContext) -> None:
    assert ctx.data is not None
    ctx.data.update(x=1)


def _appends(ctx: HookContext) -> None:
    assert ctx.data is not None
    ctx.data["tags"].append(1)


def _assigns(ctx: HookContext) -> None:
    ctx.data = {}


def _sets_through_the_alias(ctx: HookContext) -> None:
    assert ctx.new is not None
    ctx.new["x"] = 1


@pytest.mark.parametrize("mutation", [_updates, _appends, _assigns, _sets_through_the_alias])
async def test_parallel_hooks_cannot_change_the_data(mutation: Any) -> None:
    registry = HookRegistry()
    registry.register("beforeCreate", "*", mutation, parallel=True, name="bad")
    ctx = context(data={"tags": [1]})
    with pytest.raises(HookFailed):
        await run(registry, ctx)
    assert ctx.data == {"tags": [1]}


async def test_on_error_throws_logs_or_ignores(caplog: pytest.LogCaptureFixture) -> None:
    registry = HookRegistry()

    def fails(_: Any) -> None:
        raise RuntimeError("boom")

    registry.register("beforeCreate", "*", fails, on_error="ignore", name="ignored")
    registry.register("beforeCreate", "*", fails, on_error="log", name="logged")
    with caplog.at_level(logging.ERROR):
        await run(registry, context())
    assert [getattr(r, "hook", "") for r in caplog.records] == ["logged"]
    registry.register("beforeCreate", "*", fails, name="thrown")
    with pytest.raises(HookFailed) as caught:
        await run(registry, context())
    assert caught.value.hook == "thrown"
    assert isinstance(caught.value.__cause__, RuntimeError)


async def test_a_refusal_carries_its_reason_and_typed_errors_pass() -> None:
    registry = HookRegistry()
    refuse = registry.register(
        "beforeCreate", "*", lambda c: c.abort("not today", code="CLOSED"), name="gate"
    )
    with pytest.raises(HookAborted) as caught:
        await run(registry, context())
    assert (caught.value.reason, caught.value.hook_code) == ("not today", "CLOSED")
    assert isinstance(caught.value.__cause__, HookAbort)
    refuse()

    def typed(_: Any) -> None:
        raise UniqueViolation(object="account", fields=("name",))

    registry.register("beforeCreate", "*", typed)
    with pytest.raises(UniqueViolation):
        await run(registry, context())


async def test_five_no_op_hooks_cost_little() -> None:
    registry = HookRegistry()
    for _ in range(5):
        registry.register("beforeCreate", "*", lambda _: None)
    pipeline = registry.pipeline("account", "beforeCreate")
    assert pipeline is not None
    ctx = context()

    def once() -> None:
        coroutine = pipeline.run(ctx)
        with pytest.raises(StopIteration):
            coroutine.send(None)

    def many() -> None:
        for _ in range(200):
            try:
                pipeline.run(ctx).send(None)
            except StopIteration:
                continue

    once()
    best = min(timeit.repeat(many, number=1, repeat=20)) / 200
    assert best < 10e-6
