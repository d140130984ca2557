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
from objectql_gateway_rest.application import create_application
from objectql_gateway_rest.call import Services
from objectql_gateway_rest.cookies import Cookies
from objectql_gateway_rest.cors import Cors
from objectql_gateway_rest.server import HttpServer
from objectql_gateway_rest.settings import GatewayRestSettings
from objectql_gateway_rest.url_cache import UrlCache


async def build(process: Process[GatewayRestSettings]) -> None:
    """Serve clients from now on; ready once there are metadata."""
    settings, metrics = process.settings, process.metrics
    kernel = KernelClient(
        process.bus, clock=process.clock, retry=RetryPolicy(), keys=process.context_keys
    )
    metadata = MetadataView(kernel, process.clock, decode_snapshot)
    identities = IdentityView(kernel, process.clock)
    limiter = open_limiter(settings.rates, process.clock)
    metrics.read("oql_rates_shared", lambda: float(limiter.is_shared))
    proxies = Proxies(settings.http.trusted_proxies)
    services = Services(
        kernel=kernel,
        verifier=TokenVerifier(
            settings.auth,
            clock=process.clock,
            refused=lambda cause: metrics.count("oql_auth_failures_total", cause),
            identities=identities,
        ),
        metadata=metadata,
        clock=process.clock,
        limits=settings.limits,
        writes=RecentWrites(),
        urls=UrlCache(),
        observe=metrics.observe_request,
        proxies=proxies,
        cookies=Cookies(
            settings.cookies, settings.cors.origins if settings.cors.credentials else ()
        ),
        public_keys=identities.public_keys if settings.publish_keys else None,
        server_timing=settings.server_timing,
        rates=Rates(
            settings.rates,
            limiter,
            refused=lambda kind: metrics.count("oql_rate_limited_total", kind),
            address=settings.rates.address,
        ),
    )
    process.start(limiter.run())
    application = create_application(
        services,
        hosts=settings.http.hosts,
        cors=Cors(settings.cors) if settings.cors.origins else None,
    )
    server = HttpServer(application, settings.http, drain_s=settings.drain_s)
    scheme = "http" if settings.http.certificate is None else "https"
    process.address = f"{scheme}://{settings.http.host}:{settings.http.port}"
    process.metadata_version = lambda: metadata.version
    process.load = lambda: float(application.gateway.in_flight)
    metrics.read("oql_requests_in_flight", process.load)
    process.health.add_check("metadata", lambda: None if metadata.is_ready else "not loaded")
    process.health.add_check("http", lambda: None if server.is_listening else "not listening")
    process.health.add_check("identity", lambda: None if identities.is_loaded else "not loaded")
    await identities.start(process.bus)
    process.on_stop(identities.stop)
    await metadata.start(process.bus)
    process.on_stop(metadata.stop)
    process.on_drain(server.stop)
    process.start(server.run())
