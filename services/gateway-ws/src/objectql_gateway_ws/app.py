"""The composition root: wires the gateway into a service process."""

from __future__ import annotations

from objectql.bus.client import KernelClient, RetryPolicy
from objectql.service.addresses import Proxies
from objectql.service.auth import TokenVerifier
from objectql.service.caller_rates import Rates
from objectql.service.identity import IdentityView
from objectql.service.live.limits import Seats
from objectql.service.live.requests import Requests
from objectql.service.live.running import run_listeners
from objectql.service.rates import open_limiter
from objectql.service.run import Process
from objectql_gateway_ws.gateway import Gateway
from objectql_gateway_ws.server import SocketServer
from objectql_gateway_ws.settings import GatewayWsSettings
from objectql_gateway_ws.strangers import Strangers


async def build(process: Process[GatewayWsSettings]) -> None:
    """Serve clients from now on; ready once the stream and the kernels have been heard."""
    settings, metrics, clock = process.settings, process.metrics, process.clock
    limits = settings.limits
    kernel = KernelClient(process.bus, clock=clock, retry=RetryPolicy(), keys=process.context_keys)
    identities = IdentityView(kernel, clock)
    limiter = open_limiter(settings.rates, clock)
    metrics.read("oql_rates_shared", lambda: float(limiter.is_shared))
    process.start(limiter.run())
    rates = Rates(
        settings.rates,
        limiter,
        refused=lambda kind: metrics.count("oql_rate_limited_total", kind),
    )
    await identities.start(process.bus)
    process.on_stop(identities.stop)
    listeners = run_listeners(
        process,
        kernel,
        verifier=TokenVerifier(
            settings.auth,
            clock=clock,
            refused=lambda cause: metrics.count("oql_auth_failures_total", cause),
            identities=identities,
        ),
        revocations=identities.revocations,
        rates=rates,
        limits=limits,
        seats=Seats("sockets", limits.tenant_sockets, limits.principal_sockets),
    )
    gateway = Gateway(
        listeners,
        Requests(kernel, clock, settings.requests, rates, observe=metrics.observe_request),
        limits=limits,
        strangers=Strangers(limits, Proxies(settings.http.trusted_proxies)),
        count=metrics.count,
    )
    server = SocketServer(gateway, settings.http, frame_bytes=limits.frame_bytes)
    scheme = "ws" if settings.http.certificate is None else "wss"
    process.address = f"{scheme}://{settings.http.host}:{settings.http.port}/ws"
    process.metadata_version = lambda: listeners.metadata_version
    process.load = lambda: float(gateway.sockets)
    metrics.read("oql_live_sockets", process.load)
    metrics.read("oql_live_waiting_bytes", lambda: float(gateway.waiting_bytes))
    health = process.health
    health.add_check("metadata", lambda: None if listeners.metadata_version else "not loaded")
    health.add_check("identity", lambda: None if identities.is_loaded else "not loaded")
    health.add_check("sockets", lambda: None if server.is_listening else "not listening")
    await server.start()
    process.on_drain(server.stop)
