"""Middleware: an onion around every operation, hooks included.

The first used is the outermost (lower `priority` moves it further out). A middleware that does not
call `next` answers by itself with `ctx.result`. Which middleware applies to an object and operation
is compiled once; where none does, the operation runs without any of this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

import msgspec

from objectql.context import Context
from objectql.errors import Issue, MiddlewareMisused, PluginInvalid

Next: TypeAlias = Callable[[], Awaitable[None]]
MiddlewareFunction: TypeAlias = Callable[["OperationContext", Next], Awaitable[None]]
ErrorFunction: TypeAlias = Callable[["OperationContext", Exception], Awaitable[bool | None]]

OPERATIONS = frozenset(
    "find get count create update delete aggregate action bulk batch search".split()
)


class OperationContext:
    """One operation on its way through the onion. `result` is the reply struct once there is one.

    A middleware may replace `request` before it calls `next`, and `result` afterwards.
    """

    __slots__ = ("context", "object_name", "operation", "request", "result", "state")

    def __init__(self, object_name: str, operation: str, request: object, context: Context) -> None:
        self.object_name = object_name
        self.operation = operation
        self.request = request
        self.context = context
        self.result: Any = None
        self.state: dict[str, Any] = {}


@runtime_checkable
class Middleware(Protocol):
    """The object form: a name and `execute`, perhaps `on_error(ctx, exc)`.

    `on_error` may raise another error, or return True to swallow this one after it has set
    `ctx.result`.
    """

    @property
    def name(self) -> str: ...
    async def execute(self, ctx: OperationContext, next: Next) -> None: ...


class _Layer(msgspec.Struct, frozen=True):
    name: str
    execute: MiddlewareFunction
    on_error: ErrorFunction | None
    object: str
    operation: str
    priority: int
    sequence: int
    package: str | None


Core: TypeAlias = Callable[[OperationContext], Awaitable[Any]]


class Onion:
    """The compiled middleware of one object and operation."""

    __slots__ = ("_layers",)

    def __init__(self, layers: tuple[_Layer, ...]) -> None:
        self._layers = layers

    async def run(self, ctx: OperationContext, core: Core) -> Any:
        """Run the layers around `core`; the final `ctx.result`.

        Raises:
            MiddlewareMisused: a layer called `next` twice, or nobody gave a result.

        """
        await self._enter(0, ctx, core)
        if ctx.result is None:
            names = ", ".join(layer.name for layer in self._layers)
            raise MiddlewareMisused(middleware=names, reason="the operation ended without a result")
        return ctx.result

    async def _enter(self, depth: int, ctx: OperationContext, core: Core) -> None:
        if depth == len(self._layers):
            ctx.result = await core(ctx)
            return
        layer = self._layers[depth]
        is_called = False

        async def proceed() -> None:
            nonlocal is_called
            if is_called:
                raise MiddlewareMisused(middleware=layer.name, reason="next() was called twice")
            is_called = True
            await self._enter(depth + 1, ctx, core)

        if layer.on_error is None:
            await layer.execute(ctx, proceed)
            return
        try:
            await layer.execute(ctx, proceed)
        except Exception as exc:
            if not await layer.on_error(ctx, exc):
                raise


class MiddlewareRegistry:
    """All middleware, and the onions compiled from it."""

    def __init__(self) -> None:
        self._layers: list[_Layer] = []
        self._sequence = 0
        self._compiled: dict[tuple[str, str], Onion | None] = {}

    def use(
        self,
        middleware: MiddlewareFunction | Middleware,
        *,
        object: str = "*",
        operation: str = "*",
        priority: int = 0,
        package: str | None = None,
    ) -> Callable[[], None]:
        """Add a middleware for an object and operation (`*`: all); the answer removes it.

        Raises:
            PluginInvalid: it is neither a function nor has it `execute`, or there is no such
                operation.

        """
        if operation != "*" and operation not in OPERATIONS:
            message = f'there is no operation "{operation}"; use one of {sorted(OPERATIONS)}'
            issue = Issue(path="operation", code="unknown_operation", message=message)
            raise PluginInvalid(issues=(issue,))
        on_error = cast("ErrorFunction | None", getattr(middleware, "on_error", None))
        if isinstance(middleware, Middleware):
            name, execute = middleware.name, middleware.execute
        elif callable(middleware):
            name, execute = getattr(middleware, "__qualname__", repr(middleware)), middleware
        else:
            message = "a middleware is a function or has `name` and `execute`"
            issue = Issue(path="middleware", code="invalid_middleware", message=message)
            raise PluginInvalid(issues=(issue,))
        self._sequence += 1
        layer = _Layer(
            name, execute, on_error, object, operation, priority, self._sequence, package
        )
        self._layers.append(layer)
        self._compiled.clear()

        def remove() -> None:
            self._drop(lambda other: other is layer)

        return remove

    def unregister_package(self, package: str) -> int:
        """Remove a package's middleware; how many there were."""
        return self._drop(lambda layer: layer.package == package)

    def onion(self, object_name: str, operation: str) -> Onion | None:
        """The compiled middleware; None when there is none."""
        key = (object_name, operation)
        try:
            return self._compiled[key]
        except KeyError:
            chosen = [
                layer
                for layer in self._layers
                if layer.object in ("*", object_name) and layer.operation in ("*", operation)
            ]
            chosen.sort(key=lambda layer: (layer.priority, layer.sequence))
            compiled = self._compiled[key] = Onion(tuple(chosen)) if chosen else None
            return compiled

    def _drop(self, is_gone: Callable[[_Layer], bool]) -> int:
        kept = [layer for layer in self._layers if not is_gone(layer)]
        count = len(self._layers) - len(kept)
        self._layers = kept
        self._compiled.clear()
        return count
