"""What can be set on a WebSocket gateway."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from objectql.service.addresses import Proxies
from objectql.service.rates import CallerRateSettings, RateText
from objectql.service.settings import AuthSettings, HttpSettings, ServiceSettings


class SocketLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may take, and how many there may be."""

    sockets: Annotated[int, Meta(ge=1, description="open at a time; more are refused")] = 20_000
    tenant_sockets: Annotated[int, Meta(ge=1, description="of one tenant")] = 10_000
    principal_sockets: Annotated[int, Meta(ge=1, description="of one user or key")] = 100
    strangers: Annotated[
        int, Meta(ge=1, description="connections of callers who have not said who they are")
    ] = 2000
    site_strangers: Annotated[
        int, Meta(ge=1, description="of those, from one address (a network of IPv6)")
    ] = 100
    subscriptions: Annotated[int, Meta(ge=1, description="of one socket")] = 100
    subscribing: Annotated[
        RateText, Meta(description="how often one user or key may subscribe, as `100/s:1000`")
    ] = "100/s:1000"
    tenant_subscriptions: Annotated[int, Meta(ge=1, description="of all sockets of a tenant")] = (
        100_000
    )
    frame_bytes: Annotated[int, Meta(ge=1024, description="longest frame that is taken")] = 262_144
    queue_bytes: Annotated[
        int, Meta(ge=1024, description="what may wait for a client that reads slowly")
    ] = 524_288
    snapshot_records: Annotated[
        int, Meta(ge=1, le=1000, description="most records of a snapshot")
    ] = 1000
    waiting_frames: Annotated[
        int, Meta(ge=1, description="frames of one client that are worked on at a time")
    ] = 16


class RequestLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What `request` frames may cost, and how many may be answered at a time."""

    default_page: Annotated[int, Meta(ge=1)] = 100
    max_page: Annotated[int, Meta(ge=1)] = 1000
    bulk_records: Annotated[int, Meta(ge=1, le=1000, description="records per request")] = 1000
    timeout_s: Annotated[float, Meta(gt=0, description="where the client names none")] = 10.0
    max_timeout_s: Annotated[float, Meta(gt=0)] = 60.0
    in_flight: Annotated[int, Meta(ge=1, description="requests of all clients at a time")] = 2048


class SocketSettings(HttpSettings, frozen=True, kw_only=True):
    """Where and how clients are served."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 8081
    origins: Annotated[
        tuple[str, ...],
        Meta(
            description="pages that may connect from browsers, as `https://app.example.org`; `*`:"
            " every page; empty: those of the host that is connected to"
        ),
    ] = ()
    certificate: Annotated[
        str | None, Meta(description="path of the certificate chain; clients then use wss")
    ] = None
    key: Annotated[str | None, Meta(description="path of its key")] = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="addresses and networks, as `10.0.0.0/8`, whose X-Forwarded-For is believed;"
            " empty: clients have the address that they connect from"
        ),
    ] = ()
    auth_timeout_s: Annotated[float, Meta(gt=0, description="for a client to say who it is")] = 10.0
    heartbeat_s: Annotated[
        float, Meta(gt=0, description="between pings; a client that misses two is closed")
    ] = 30.0
    compression: Annotated[
        bool, Meta(description="permessage-deflate, for clients that ask for it")
    ] = True
    reconnect_within_s: Annotated[
        float, Meta(ge=0, description="over which time clients are spread when a gateway stops")
    ] = 5.0

    def __post_init__(self) -> None:
        """Refuse proxies that are neither addresses nor networks."""
        Proxies(self.trusted_proxies)


class GatewayWsSettings(ServiceSettings, frozen=True, kw_only=True):
    """`OQL_GATEWAY_WS_*`."""

    service: ClassVar[str] = "gateway-ws"

    http: SocketSettings = SocketSettings()
    auth: AuthSettings = AuthSettings()
    limits: SocketLimits = SocketLimits()
    requests: RequestLimits = RequestLimits()
    rates: CallerRateSettings = CallerRateSettings()
