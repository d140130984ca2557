"""The composition root: wires the gateway into a service process."""

from __future__ import annotations

from datetime import datetime

from objectql.bus.client import KernelClient, RetryPolicy
from objectql.bus.nats import NatsEventStream
from objectql.live.cursor import Cursors
from objectql.service.addresses import Proxies
from objectql.service.auth import TokenVerifier
from objectql.service.caller_rates import Rates
from objectql.service.identity import IdentityView
from objectql.service.rates import open_limiter
from objectql.service.run import Process
from objectql_gateway_ws.following import MetadataVersion, TenantStanding
from objectql_gateway_ws.gateway import Gateway
from objectql_gateway_ws.hub import Hub
from objectql_gateway_ws.requests import Requests
from objectql_gateway_ws.server import SocketServer
from objectql_gateway_ws.settings import GatewayWsSettings
from objectql_gateway_ws.strangers import Strangers
from objectql_gateway_ws.subscribing import Subscribing


async def build(process: Process[GatewayWsSettings]) -> None:
    """Serve clients from now on; ready once the stream and the kernels have been heard."""
    settings, metrics, clock = process.settings, process.metrics, process.clock
    kernel = KernelClient(process.bus, clock=clock, retry=RetryPolicy(), keys=process.context_keys)
    identities = IdentityView(kernel, clock)
    limiter = open_limiter(settings.rates, clock)
    metrics.read("oql_rates_shared", lambda: float(limiter.is_shared))
    secret = "".join(settings.bus.context_key[:1]) or "a bus without keys"

    def told(count: int, at: str) -> None:
        metrics.count("oql_live_deliveries_total", by=count)
        delay_s = clock.now_ms() / 1000 - datetime.fromisoformat(at).timestamp()
        metrics.observe("oql_live_delay_seconds", max(0.0, delay_s))

    gateway = Gateway(
        hub=lambda lost: Hub(
            NatsEventStream(process.bus),
            Cursors(secret.encode()),
            clock,
            lost=lost,
            told=told,
        ),
        subscribing=lambda hub: Subscribing(
            kernel, hub, clock, snapshot_records=settings.limits.snapshot_records
        ),
        verifier=TokenVerifier(
            settings.auth,
            clock=clock,
            refused=lambda cause: metrics.count("oql_auth_failures_total", cause),
            identities=identities,
        ),
        revocations=identities.revocations,
        clock=clock,
        limits=settings.limits,
        strangers=Strangers(settings.limits, Proxies(settings.http.trusted_proxies)),
        count=metrics.count,
        requests=Requests(
            kernel,
            clock,
            settings.requests,
            Rates(
                settings.rates,
                limiter,
                refused=lambda kind: metrics.count("oql_rate_limited_total", kind),
            ),
            observe=metrics.observe_request,
        ),
    )
    process.start(limiter.run())
    metadata = MetadataVersion(kernel, clock, gateway.metadata_changed)
    standing = TenantStanding(
        kernel, clock, gateway.tenants, gateway.tenants_refused, gateway.own_metadata_changed
    )
    server = SocketServer(gateway, settings.http, frame_bytes=settings.limits.frame_bytes)
    scheme = "ws" if settings.http.certificate is None else "wss"
    process.address = f"{scheme}://{settings.http.host}:{settings.http.port}/ws"
    process.metadata_version = lambda: metadata.version
    process.load = lambda: float(gateway.sockets)
    metrics.read("oql_live_sockets", process.load)
    metrics.read("oql_live_subscriptions", lambda: float(gateway.hub.subscriptions))
    metrics.read("oql_live_waiting_bytes", lambda: float(gateway.waiting_bytes))
    health = process.health
    health.add_check("stream", lambda: None if gateway.hub.is_reading else "not found")
    health.add_check("metadata", lambda: None if metadata.version else "not loaded")
    health.add_check("identity", lambda: None if identities.is_loaded else "not loaded")
    health.add_check("sockets", lambda: None if server.is_listening else "not listening")
    await identities.start(process.bus)
    process.on_stop(identities.stop)
    metadata.start(process.bus)
    process.on_stop(metadata.stop)
    standing.start(process.bus)
    process.on_stop(standing.stop)
    process.start(gateway.hub.run())
    process.start(gateway.watch_expiry())
    process.start(gateway.rebind())
    await server.start()
    process.on_drain(server.stop)
