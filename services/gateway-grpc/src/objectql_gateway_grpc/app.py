"""The composition root: wires the gateway into a service process."""

from __future__ import annotations

from objectql.bus.client import KernelClient, RetryPolicy
from objectql.metadata.transfer import decode_snapshot
from objectql.service.addresses import Proxies
from objectql.service.auth import TokenVerifier
from objectql.service.caller_rates import Rates
from objectql.service.identity import IdentityView
from objectql.service.metadata_view import MetadataView
from objectql.service.rates import open_limiter
from objectql.service.recent_writes import RecentWrites
from objectql.service.run import Process
from objectql_gateway_grpc.calls import Calls
from objectql_gateway_grpc.catalog import Catalog
from objectql_gateway_grpc.health import HealthService
from objectql_gateway_grpc.reflection import ReflectionService
from objectql_gateway_grpc.request import Services
from objectql_gateway_grpc.router import Router
from objectql_gateway_grpc.server import GrpcServer
from objectql_gateway_grpc.settings import GatewayGrpcSettings


async def build(process: Process[GatewayGrpcSettings]) -> None:
    """Serve clients from now on; ready once there are metadata."""
    settings, metrics, clock = process.settings, process.metrics, process.clock
    kernel = KernelClient(process.bus, clock=clock, retry=RetryPolicy(), keys=process.context_keys)
    metadata = MetadataView(kernel, clock, decode_snapshot)
    identities = IdentityView(kernel, clock)
    limiter = open_limiter(settings.rates, clock)
    metrics.read("oql_rates_shared", lambda: float(limiter.is_shared))
    calls = Calls(
        Services(
            kernel=kernel,
            verifier=TokenVerifier(
                settings.auth,
                clock=clock,
                refused=lambda cause: metrics.count("oql_auth_failures_total", cause),
                identities=identities,
            ),
            clock=clock,
            limits=settings.limits,
            writes=RecentWrites(),
            observe=metrics.observe_request,
            proxies=Proxies(settings.grpc.trusted_proxies),
            rates=Rates(
                settings.rates,
                limiter,
                refused=lambda kind: metrics.count("oql_rate_limited_total", kind),
            ),
        )
    )
    process.start(limiter.run())
    catalog = Catalog(metadata)
    health = HealthService(lambda: process.health.is_ready, catalog.has, clock)
    handlers = [Router(calls, catalog), health.handler()]
    if settings.grpc.reflection:
        handlers += ReflectionService(calls, catalog).handlers()
    server = GrpcServer(handlers, settings.grpc, settings.limits, drain_s=settings.drain_s)
    process.address = f"{settings.grpc.host}:{settings.grpc.port}"
    process.metadata_version = lambda: metadata.version
    process.load = lambda: float(calls.in_flight)
    metrics.read("oql_requests_in_flight", process.load)
    process.health.add_check("metadata", lambda: None if metadata.is_ready else "not loaded")
    process.health.add_check("grpc", lambda: None if server.is_listening else "not listening")
    process.health.add_check("identity", lambda: None if identities.is_loaded else "not loaded")
    await identities.start(process.bus)
    process.on_stop(identities.stop)
    await metadata.start(process.bus)
    process.on_stop(metadata.stop)
    await server.start()

    async def drain() -> None:
        health.close()
        await server.stop()

    process.on_drain(drain)
