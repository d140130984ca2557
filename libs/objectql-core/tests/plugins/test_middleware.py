from __future__ import annotations

from typing import Any

import pytest

from objectql.context import Actor, Context
from objectql.errors import MiddlewareMisused, PluginInvalid, Unavailable
from objectql.plugins.middleware import MiddlewareRegistry, Next, OperationContext


def operation(name: str = "find") -> OperationContext:
    caller = Context(actor=Actor(id="u"), deadline_ms=0, request_id="r")
    return OperationContext("account", name, {"n": 1}, caller)


async def core(ctx: OperationContext) -> Any:
    return ("core", ctx.request)


async def run(registry: MiddlewareRegistry, ctx: OperationContext) -> Any:
    onion = registry.onion(ctx.object_name, ctx.operation)
    assert onion is not None
    return await onion.run(ctx, core)


def tracing(name: str, trace: list[str]) -> Any:
    async def layer(_: OperationContext, next: Next) -> None:
        trace.append(f"{name} in")
        await next()
        trace.append(f"{name} out")

    return layer


async def test_the_first_used_is_the_outermost() -> None:
    registry = MiddlewareRegistry()
    trace: list[str] = []
    registry.use(tracing("a", trace))
    registry.use(tracing("b", trace))
    registry.use(tracing("c", trace), priority=-1)
    assert await run(registry, operation()) == ("core", {"n": 1})
    assert trace == ["c in", "a in", "b in", "b out", "a out", "c out"]


async def test_selection_by_object_and_operation_is_compiled_and_undone() -> None:
    registry = MiddlewareRegistry()
    remove = registry.use(tracing("x", []), object="account", operation="find", package="p")
    assert registry.onion("account", "find") is not None
    assert registry.onion("account", "get") is None
    assert registry.onion("contact", "find") is None
    remove()
    assert registry.onion("account", "find") is None
    registry.use(tracing("y", []), package="p")
    assert registry.unregister_package("p") == 1


async def test_calling_next_twice_is_an_error() -> None:
    registry = MiddlewareRegistry()

    async def twice(_: OperationContext, next: Next) -> None:
        await next()
        await next()

    registry.use(twice)
    with pytest.raises(MiddlewareMisused, match="twice"):
        await run(registry, operation())


async def test_a_short_circuit_answers_by_itself_but_needs_a_result() -> None:
    registry = MiddlewareRegistry()

    async def answers(ctx: OperationContext, next: Next) -> None:
        ctx.result = ctx.state.get("result")

    registry.use(answers)
    ctx = operation()
    ctx.state["result"] = "cached"
    assert await run(registry, ctx) == "cached"
    with pytest.raises(MiddlewareMisused, match="without a result"):
        await run(registry, operation())


async def test_error_middleware_translates_or_swallows() -> None:
    class Shield:
        name = "shield"

        def __init__(self, *, swallow: bool) -> None:
            self.swallow = swallow

        async def execute(self, ctx: OperationContext, next: Next) -> None:
            raise RuntimeError("inner")

        async def on_error(self, ctx: OperationContext, exc: Exception) -> bool:
            if not self.swallow:
                raise Unavailable(what="inner") from exc
            ctx.result = "fallback"
            return True

    swallowing = MiddlewareRegistry()
    swallowing.use(Shield(swallow=True))
    assert await run(swallowing, operation()) == "fallback"
    translating = MiddlewareRegistry()
    translating.use(Shield(swallow=False))
    with pytest.raises(Unavailable):
        await run(translating, operation())


@pytest.mark.parametrize("args", [{"middleware": 5}, {"middleware": print, "operation": "fnd"}])
def test_what_is_no_middleware_is_refused(args: dict[str, Any]) -> None:
    with pytest.raises(PluginInvalid):
        MiddlewareRegistry().use(**args)
