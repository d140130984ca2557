"""The composition root: wires the engine into a service process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from objectql import failpoints
from objectql.bus.nats import NatsEventStream
from objectql.bus.port import Envelope
from objectql.bus.server import BusServer, LoadLimits
from objectql.drivers.pool import PoolManager
from objectql.errors import MetadataInvalid, ObjectQLError, PluginInvalid, Unavailable
from objectql.kernel.features import KernelSettings as EngineSettings
from objectql.kernel.kernel import Kernel
from objectql.kernel.pipeline import OperationRecord
from objectql.service.health import Page, json_page
from objectql.service.rates import open_limiter
from objectql.service.run import Process
from objectql.txn.names import kernel_name
from objectql.wire.cluster import told
from objectql.wire.codec import decode, encode
from objectql.wire.headers import parse_read_policy
from objectql.wire.identity import IdentityChanged
from objectql.wire.messages import MetadataChanged
from objectql.wire.subjects import IDENTITY, kernel_event, parts_rpc
from objectql.wire.tenants import TenantsChanged
from objectql_kernel.changes import Changes
from objectql_kernel.coordination import CoordinatorLink
from objectql_kernel.gauges import Gauges
from objectql_kernel.handlers import parts_verbs, verbs
from objectql_kernel.sealers import open_sealers
from objectql_kernel.settings import KernelSettings
from objectql_kernel.shared_cache import SharedCache
from objectql_kernel.sources import open_sources
from objectql_kernel.watch import log_problems, watch
from objectql_kernel.webhooks import WebhookDelivery

log = logging.getLogger(__name__)

CONVERGE_EVERY_S = 0.5
"""How long a lost announcement may go unnoticed."""

TIDY_EVERY_S = 600.0
"""How often expired sessions and the like are deleted."""

PUBLISHED = "metadata:published"
TENANTS = "tenants"
READS = frozenset(
    {
        *("find", "explain", "get", "count", "aggregate", "search", "history", "export"),
        *("subscribe", "meta", "auth", "audit", "webhooks", "transaction"),
    }
)


async def build(process: Process[KernelSettings]) -> None:
    """Answer the bus from now on; ready once the data sources are connected."""
    settings = process.settings
    failpoints.arm(settings.failpoints)
    pools = PoolManager(settings.pool.max_total)
    sources = open_sources(settings, pools)
    read_policy, max_lag_ms = parse_read_policy(settings.reads.policy)
    cache = SharedCache(process, sources) if settings.cache.url else None
    folders = [Path(folder) for folder in settings.metadata]
    limiter = open_limiter(settings.rates, process.clock)
    process.metrics.read("oql_rates_shared", lambda: float(limiter.is_shared))
    kernel = Kernel(
        [*sources, *folders],
        settings=EngineSettings(
            node=process.instance,
            max_limit=settings.max_page,
            drain_timeout_s=settings.drain_s,
            timezone=settings.timezone,
            default_access=settings.default_access,
            features=settings.features,
            read_policy=read_policy,
            max_lag_ms=max_lag_ms or 0,
            token_wait_ms=int(settings.reads.token_wait_s * 1000),
            max_reads=settings.pool.max_size,
            tenant_share=settings.load.tenant_share,
            unknown_tenants=settings.tenancy.unknown,
            query=settings.query,
            identity=settings.identity,
            webhooks=settings.webhooks,
        ),
        clock=process.clock,
        cache=cache.results if cache else None,
        limiter=limiter,
    )
    sealers = open_sealers(kernel, process)
    changes = Changes(
        kernel.engine.drivers,
        kernel.engine.placed,
        lambda: kernel.tenants.ready_places,
        sealers,
        process.bus,
        NatsEventStream(process.bus, replicas=settings.stream.replicas),
        holder=process.instance,
        clock=process.clock,
        queue=kernel.webhooks.queueing,
    )
    gauges = Gauges(process, kernel, pools, changes, cache)
    deliverer = WebhookDelivery(process, kernel.webhooks)
    server = BusServer(
        process.bus,
        verbs(kernel),
        version=process.version,
        limits=LoadLimits(
            max_running=settings.load.max_running,
            max_waiting=settings.load.max_waiting,
            tenant_share=settings.load.tenant_share,
        ),
        clock=process.clock,
        observe=process.metrics.observe_request,
        keys=process.context_keys,
    )

    parts_server = BusServer(
        process.bus,
        parts_verbs(kernel),
        service="kernel-txn",
        subject=parts_rpc,
        version=process.version,
        clock=process.clock,
        observe=process.metrics.observe_request,
        keys=process.context_keys,
    )
    coordinator = CoordinatorLink(
        process.bus,
        process.clock,
        process.context_keys,
        kernel=kernel_name(process.instance, process.started_ms),
    )
    kernel.engine.coordinator = coordinator

    def observe(record: OperationRecord) -> None:
        if record.operation not in READS:
            changes.committed(record.tenant)

    async def announce(version: int) -> None:
        message = MetadataChanged(version=version, origin=process.instance)
        with suppress(Unavailable):  # the others see the version move
            await process.bus.publish(kernel_event(PUBLISHED), encode(message))

    async def announce_identity(news: IdentityChanged) -> None:
        with suppress(Unavailable):  # gateways ask for what they have not heard
            await process.bus.publish(kernel_event(IDENTITY), encode(news))

    async def start() -> None:
        try:
            await kernel.start()
        except (MetadataInvalid, PluginInvalid) as exc:
            log_problems(exc)
            raise
        if settings.seed:
            await kernel.seed()
        if settings.identity.admin_password is not None:
            await kernel.identity.ensure_administrator(
                settings.identity.admin_name, settings.identity.admin_password
            )
        await server.start()
        await process.bus.subscribe(kernel_event(PUBLISHED), on_published)
        await process.bus.subscribe(kernel_event(TENANTS), on_tenants)
        process.start(changes.run())
        for sealer in sealers.values():
            process.start(sealer.run())
        process.start(deliverer.run())
        process.start(kernel.refusals.run())
        process.start(limiter.run())
        process.start(kernel.engine.tally.run())
        process.start(follow(kernel, process))
        process.start(finish(process, kernel.tenancy.admin.finish_places))
        process.start(finish(process, kernel.tenancy.admin.finish_deletions))
        process.start(tidy_identities(kernel, process))
        process.start(gauges.run())
        if settings.watch and folders:
            process.start(watch(kernel, folders, seeds=settings.seed))

    async def on_published(envelope: Envelope) -> None:
        # Whoever has published goes on by the new metadata: this worker must not answer by the old.
        if decode(MetadataChanged, envelope.body).version > kernel.engine.model.version:
            with kernel.pipeline.held():
                await converge(kernel.publisher)

    async def announce_tenants(version: int) -> None:
        message = TenantsChanged(version=version, origin=process.instance)
        with suppress(Unavailable):  # the others see the version move
            await process.bus.publish(kernel_event(TENANTS), encode(message))

    async def on_tenants(envelope: Envelope) -> None:
        if decode(TenantsChanged, envelope.body).version > kernel.tenants.version:
            await converge(kernel.tenants)

    async def index_uses() -> Page:  # noqa: RUF029 - a route is a coroutine
        return json_page(kernel.reader.planner.index_uses())

    async def drain() -> None:
        await asyncio.gather(server.drain(settings.drain_s), parts_server.drain(settings.drain_s))

    if cache:
        changes.on_published = cache.published
        await cache.start()
    kernel.pipeline.observe(observe)
    kernel.publisher.announce = announce
    kernel.identity.announce_by(announce_identity)
    kernel.tenants.announce = announce_tenants
    process.load = lambda: float(server.admitted)
    process.metadata_version = lambda: kernel.engine.model.version
    process.details = lambda: {
        "relays": sum(r.is_leading for r in changes.relays.values()),
        **told(gauges.sources),
    }
    process.metrics.read("oql_requests_in_flight", process.load)
    process.pages["/index-uses"] = index_uses
    process.on_drain(drain)
    process.on_stop(kernel.stop)
    # Before the engine: a change of a table may wait for parts that only a kernel can end.
    await parts_server.start()
    process.start(coordinator.run())
    process.keep_trying("engine", start)


class Followed(Protocol):
    """What another kernel may have changed."""

    async def converge(self) -> bool: ...


async def follow(kernel: Kernel, process: Process[KernelSettings]) -> None:
    """Notice changes whose announcement was lost."""
    while True:
        await process.clock.sleep(CONVERGE_EVERY_S)
        await converge(kernel.publisher)
        await converge(kernel.tenants)


async def finish(process: Process[KernelSettings], work: Callable[[], Awaitable[None]]) -> None:
    """Do what was left of tenants half-way, again and again; it may take as long as it takes."""
    while True:
        await process.clock.sleep(CONVERGE_EVERY_S)
        try:
            await work()
        except ObjectQLError as exc:
            log.warning("tenants_not_finished", extra={"reason": str(exc)})


async def tidy_identities(kernel: Kernel, process: Process[KernelSettings]) -> None:
    """Delete what has expired, now and then; what fails is done the next time."""
    while True:
        await process.clock.sleep(TIDY_EVERY_S)
        try:
            await kernel.identity.purge()
        except ObjectQLError as exc:
            log.warning("identities_not_tidied", extra={"reason": str(exc)})


async def converge(followed: Followed) -> None:
    """Take over what is newer; a failure is logged and tried again half a second later."""
    try:
        await followed.converge()
    except ObjectQLError as exc:
        what = type(followed).__name__
        log.warning("change_not_followed", extra={"what": what, "reason": str(exc)})
