"""The kernel: components in, operations out.

`Kernel(components)` sorts its components into plugins, drivers and applications; `start` brings
them up in a fixed order and undoes what it has done when a step fails; `stop` goes back. The
methods here speak Python values and act as the system unless a context is given; `handle_*`
(from `Operations`) speak the structs of the bus.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any, cast

import msgspec

from objectql.clock import Clock, SystemClock
from objectql.context import Context, system_actor
from objectql.drivers.protocol import Driver
from objectql.errors import Issue, KernelNotStarted, ObjectQLError, PluginInvalid, RecordNotFound
from objectql.events import DriverConnected, DriverDisconnected, KernelStarted, KernelStopped
from objectql.ids import DataSource, uuid7
from objectql.kernel.actions import parse_action_reference
from objectql.kernel.engine import Engine
from objectql.kernel.features import KernelSettings
from objectql.kernel.json import decode_json, encode_json
from objectql.kernel.metadata import Publication
from objectql.kernel.operations import Operations
from objectql.kernel.packages import load_package, register_package_code
from objectql.kernel.reload import Reloaded, stage
from objectql.kernel.result_cache.cache import ResultCache
from objectql.kernel.seed import seed
from objectql.metadata.diff import diff_snapshots
from objectql.metadata.loader import LoadedPackage
from objectql.plugins.components import PluginComponent, classify
from objectql.plugins.lifecycle import PluginContext, PluginLifecycle
from objectql.plugins.middleware import Middleware, MiddlewareFunction
from objectql.query.ast import Query
from objectql.query.parse import parse_query
from objectql.rates.limiter import Limiter
from objectql.wire.messages import (
    ActionRequest,
    AggregateRequest,
    BatchReply,
    BatchRequest,
    BulkReply,
    BulkRequest,
    CreateRequest,
    DeleteRequest,
    FindRequest,
    GetRequest,
    PageReply,
    UpdateRequest,
)

_log = logging.getLogger(__name__)


class QueryResult(msgspec.Struct, frozen=True):
    """Records of a `find`. `total` is set when the query asks to count."""

    value: list[dict[str, Any]]
    has_next: bool = False
    next: str | None = None
    total: int | None = None


class Kernel(Operations):
    """The engine of one process."""

    def __init__(
        self,
        components: Iterable[object] = (),
        *,
        settings: KernelSettings | None = None,
        clock: Clock | None = None,
        config: Mapping[str, Any] | None = None,
        cache: ResultCache | None = None,
        limiter: Limiter | None = None,
    ) -> None:
        """Sort the components. Kernels share a `cache` only if they share the data sources.

        Without a `limiter` this kernel counts for itself.

        Raises:
            PluginInvalid: components that are none, plugins that cannot be loaded together, or
                two drivers of one name; with every problem.

        """
        found = classify(components)
        settings = settings or KernelSettings()
        drivers = _by_name(found.drivers)
        super().__init__(Engine(drivers, settings, clock or SystemClock(), cache, limiter))
        self._config = config or {}
        self._apps = found.apps
        self._lifecycle = PluginLifecycle(
            found.plugins,
            self._plugin_context,
            self.engine.events,
            phase_timeout_s=settings.phase_timeout_s,
        )
        self._packages: frozenset[str] = frozenset()
        self._undo: AsyncExitStack | None = None

    # --- life ---

    @property
    def is_running(self) -> bool:
        """Whether `start` has ended and `stop` has not begun."""
        return self._undo is not None

    async def start(self) -> None:
        """Bring everything up; a second call does nothing.

        Plugins are installed, packages loaded, drivers connected, metadata published (or taken
        from the store when no package is given), plugins started.

        Raises:
            Whatever a step raises, after the steps before it were undone.

        """
        if self._undo is not None:
            return
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._lifecycle.stop)  # for what `install` registered
            await self._lifecycle.install()
            packages = self._load_apps(undo)
            for driver in self.engine.drivers.values():
                await self._connect(driver, undo)
            if self.engine.drivers:
                undo.push_async_callback(self.refusals.close)
            if packages:
                await self.publisher.publish_packages(packages)
            elif self.engine.drivers:
                await self.publisher.converge()
            if self.engine.drivers:
                await self.tenants.converge()
            undo.push_async_callback(self._lifecycle.stop)  # before the drivers go
            self.pipeline.open()
            undo.push_async_callback(self._drain)
            await self._lifecycle.start()
            self._undo = undo.pop_all()
        await self.engine.events.emit(
            KernelStarted(timestamp_ms=self.engine.clock.now_ms(), node=self.engine.settings.node)
        )

    async def stop(self) -> None:
        """Refuse new work, let what runs end, stop plugins, disconnect; may be called twice."""
        undo, self._undo = self._undo, None
        if undo is None:
            return
        await undo.aclose()
        self.identity.close()
        await self.engine.events.emit(
            KernelStopped(timestamp_ms=self.engine.clock.now_ms(), node=self.engine.settings.node)
        )

    async def seed(self) -> int:
        """Insert the packages' data rows that are missing; how many that were."""
        context = self._context(None)
        self._check_running()
        return await seed(self.engine.model.snapshot, self.api(self.reader.scope(context)))

    async def publish(self, packages: list[LoadedPackage]) -> Publication:
        """Publish further packages while running."""
        self._check_running()
        return await self.publisher.publish_packages(packages)

    async def reload(self) -> Reloaded:
        """Read the application components anew and put them in force: metadata, hooks and actions.

        Either all of it comes into force, or nothing does. Requests that run end with what they
        began with.

        Raises:
            MetadataInvalid: with every problem of all files; what was in force stays.

        """
        self._check_running()
        hooks, actions = self.engine.hooks, self.engine.actions
        staged = stage(self._apps, self._packages, hooks, actions)
        before = self.engine.model.snapshot
        publication = await self.publisher.publish_packages(staged.packages)
        hooks.replace_packages(self._packages, staged.hooks)
        actions.replace_packages(self._packages, staged.actions)
        changes = diff_snapshots(before, self.engine.model.snapshot)
        return Reloaded(publication.version, changes, publication.changes, staged.functions)

    def use(
        self,
        middleware: MiddlewareFunction | Middleware,
        *,
        object: str = "*",
        operation: str = "*",
        priority: int = 0,
    ) -> Callable[[], None]:
        """Add a middleware; the answer removes it. See `MiddlewareRegistry.use`."""
        return self.engine.middleware.use(
            middleware, object=object, operation=operation, priority=priority
        )

    def _load_apps(self, undo: AsyncExitStack) -> list[LoadedPackage]:
        packages: list[LoadedPackage] = []
        for app in self._apps:
            package = load_package(app)
            undo.callback(self.engine.hooks.unregister_package, package.name)
            undo.callback(self.engine.actions.unregister_package, package.name)
            register_package_code(app, package, self.engine.hooks, self.engine.actions)
            packages.append(package)
        self._packages = frozenset(package.name for package in packages)
        return packages

    async def _connect(self, driver: Driver, undo: AsyncExitStack) -> None:
        await driver.connect()
        undo.push_async_callback(self._disconnect, driver)
        await self.engine.events.emit(DriverConnected(driver=driver.name))

    async def _disconnect(self, driver: Driver) -> None:
        try:
            await driver.close()
        except ObjectQLError as exc:
            _log.error("driver failed to close", exc_info=exc, extra={"driver": driver.name})
        await self.engine.events.emit(DriverDisconnected(driver=driver.name))

    async def _drain(self) -> None:
        if not await self.pipeline.close(self.engine.settings.drain_timeout_s):
            _log.error("operations cut off", extra={"in_flight": self.pipeline.in_flight})

    def _check_running(self) -> None:
        if self._undo is None:
            raise KernelNotStarted

    def _plugin_context(self, plugin: PluginComponent) -> PluginContext:
        name = plugin.manifest.name
        config = self._config.get(name, {})
        return PluginContext(
            engine=self,
            plugin=name,
            hooks=self.engine.hooks,
            middleware=self.engine.middleware,
            actions=self.engine.actions,
            services=self.engine.services,
            events=self.engine.events,
            logger=logging.getLogger(f"objectql.plugin.{name}"),
            config=cast("Mapping[str, Any]", config),
        )

    # --- operations in Python values ---

    def _context(self, context: Context | None) -> Context:
        """The given context, or the system's with the default deadline."""
        if context is not None:
            return context
        deadline_ms = self.engine.clock.now_ms() + int(
            self.engine.settings.default_deadline_s * 1000
        )
        return Context(actor=system_actor(), deadline_ms=deadline_ms, request_id=uuid7())

    async def find(
        self,
        object: str,
        query: Mapping[str, Any] | None = None,
        *,
        context: Context | None = None,
    ) -> QueryResult:
        """The records that match a query document; without a limit all of them."""
        request = FindRequest(parse_query(query or {}, object=object))
        reply = await self._read("find", request, self._context(context))
        items = cast("list[dict[str, Any]]", decode_json(reply.items))
        return QueryResult(items, reply.has_next, reply.next, reply.total)

    async def aggregate(
        self, object: str, query: Mapping[str, Any], *, context: Context | None = None
    ) -> list[dict[str, Any]]:
        """The groups of a query document with aggregations or groups."""
        request = AggregateRequest(parse_query(query, object=object))
        reply = await self._read("aggregate", request, self._context(context))
        return cast("list[dict[str, Any]]", decode_json(reply.items))

    async def _read(
        self, operation: str, request: FindRequest | AggregateRequest, context: Context
    ) -> PageReply:
        async def core(request: FindRequest | AggregateRequest, context: Context) -> PageReply:
            scope = self.reader.scope(context)
            return await self.reader.find(request, scope, self.api(scope, 1), is_internal=True)

        return await self.pipeline.run(operation, request.query.object, request, context, core)

    async def count(
        self,
        object: str,
        query: Mapping[str, Any] | None = None,
        *,
        context: Context | None = None,
    ) -> int:
        """How many records match a query document."""

        async def core(query: Query, context: Context) -> int:
            scope = self.reader.scope(context)
            return await self.reader.count(query, scope, self.api(scope, 1))

        parsed = parse_query(query or {}, object=object)
        return await self.pipeline.run("count", object, parsed, self._context(context), core)

    async def get(
        self, object: str, id: str, *, context: Context | None = None
    ) -> dict[str, Any] | None:
        """The record, or None when there is none that the caller may see."""
        try:
            reply = await self.handle_get(GetRequest(object, id), self._context(context))
        except RecordNotFound:
            return None
        return cast("dict[str, Any]", decode_json(reply.record))

    async def create(
        self, object: str, data: Mapping[str, Any], *, context: Context | None = None
    ) -> dict[str, Any]:
        """The new record."""
        request = CreateRequest(object, encode_json(data))
        reply = await self.handle_create(request, self._context(context))
        return cast("dict[str, Any]", decode_json(reply.record))

    async def update(
        self,
        object: str,
        id: str,
        data: Mapping[str, Any],
        *,
        if_version: int | None = None,
        context: Context | None = None,
    ) -> dict[str, Any]:
        """The changed record.

        Raises:
            RecordNotFound: there is none.

        """
        request = UpdateRequest(object, id, encode_json(data), if_version=if_version)
        reply = await self.handle_update(request, self._context(context))
        return cast("dict[str, Any]", decode_json(reply.record))

    async def delete(self, object: str, id: str, *, context: Context | None = None) -> bool:
        """Whether there was such a record."""
        try:
            await self.handle_delete(DeleteRequest(object, id), self._context(context))
        except RecordNotFound:
            return False
        return True

    async def bulk(self, request: BulkRequest, *, context: Context | None = None) -> BulkReply:
        """See `Operations.handle_bulk`."""
        return await self.handle_bulk(request, self._context(context))

    async def batch(self, request: BatchRequest, *, context: Context | None = None) -> BatchReply:
        """See `Operations.handle_batch`."""
        return await self.handle_batch(request, self._context(context))

    async def action(
        self,
        reference: str,
        params: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        context: Context | None = None,
    ) -> Any:
        """What an action returns; `reference` is `object.action`, or a global action's name."""
        object_name, name = parse_action_reference(reference)
        request = ActionRequest(object_name, name, id, encode_json(params or {}))
        return decode_json((await self.handle_action(request, self._context(context))).body)

    def get_metadata(self, object: str) -> dict[str, Any]:
        """The document of an object, with every default filled in.

        Raises:
            ObjectUnknown: there is none.

        """
        self.engine.model.object(object)
        return self.document("object", object)

    def get_view(self, object: str, type: str = "list") -> dict[str, Any]:
        """The stored or generated view of an object."""
        return self.view(object, type)


def _by_name(drivers: Iterable[Driver]) -> dict[DataSource, Driver]:
    found: dict[DataSource, Driver] = {}
    issues: list[Issue] = []
    for driver in drivers:
        if driver.name in found:
            message = "two drivers have this name"
            issues.append(Issue(path=driver.name, code="duplicate_driver", message=message))
        found[driver.name] = driver
    if issues:
        raise PluginInvalid(issues=tuple(issues))
    return found
