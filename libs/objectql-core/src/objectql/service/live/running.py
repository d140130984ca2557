"""Wires the clients who are told of changes into a gateway's process."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from objectql.bus.nats import NatsEventStream
from objectql.live.cursor import Cursors
from objectql.service.caller_rates import Rates
from objectql.service.kernel import Kernel
from objectql.service.live.following import follow_metadata, follow_tenants
from objectql.service.live.hub import Hub
from objectql.service.live.limits import LiveLimits, Seats
from objectql.service.live.listeners import Listeners, Verifier
from objectql.service.live.subscribing import Subscribing
from objectql.service.revocations import Revocations
from objectql.service.run import Process
from objectql.service.settings import ServiceSettings

S = TypeVar("S", bound=ServiceSettings)


def run_listeners(
    process: Process[S],
    kernel: Kernel,
    *,
    verifier: Verifier,
    revocations: Revocations,
    rates: Rates,
    limits: LiveLimits,
    seats: Seats,
) -> Listeners:
    """Read the event stream, and follow what listeners depend on, until the process stops.

    It is ready when the stream was found.
    """
    metrics, clock = process.metrics, process.clock
    # All gateways have this key, so that each reads the cursors of the others.
    secret = "".join(process.settings.bus.context_key[:1]) or "a bus without keys"

    def told(count: int, at: str) -> None:
        metrics.count("oql_live_deliveries_total", by=count)
        delay_s = clock.now_ms() / 1000 - datetime.fromisoformat(at).timestamp()
        metrics.observe("oql_live_delay_seconds", max(0.0, delay_s))

    listeners = Listeners(
        hub=lambda lost: Hub(
            NatsEventStream(process.bus), Cursors(secret.encode()), clock, lost=lost, told=told
        ),
        subscribing=lambda hub: Subscribing(
            kernel, hub, clock, snapshot_records=limits.snapshot_records
        ),
        verifier=verifier,
        revocations=revocations,
        rates=rates,
        clock=clock,
        limits=limits,
        seats=seats,
        missed=lambda: metrics.count("oql_live_resyncs_total"),
    )
    hub = listeners.hub
    metrics.read("oql_live_subscriptions", lambda: float(hub.subscriptions))
    process.health.add_check("stream", lambda: None if hub.is_reading else "not found")
    for follower in (
        follow_metadata(
            kernel, clock, lambda: listeners.metadata_version, listeners.metadata_changed
        ),
        follow_tenants(kernel, clock, listeners.tenants, listeners.tenants_stand),
    ):
        follower.start(process.bus)
        process.on_stop(follower.stop)
    for work in (hub.run(), listeners.watch_expiry(), listeners.rebind()):
        process.start(work)
    return listeners
