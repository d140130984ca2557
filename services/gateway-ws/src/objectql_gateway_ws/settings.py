"""What can be set on a WebSocket gateway."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from objectql.service.data.limits import RequestLimits
from objectql.service.edge import EdgeSettings
from objectql.service.live.limits import LiveLimits
from objectql.service.rates import CallerRateSettings
from objectql.service.settings import AuthSettings, ServiceSettings


class SocketLimits(LiveLimits, frozen=True, kw_only=True):
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
    frame_bytes: Annotated[int, Meta(ge=1024, description="longest frame that is taken")] = 262_144


class SocketSettings(EdgeSettings, frozen=True, kw_only=True):
    """Where and how clients are served."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 8081
    origins: Annotated[
        tuple[str, ...],
        Meta(
            description="pages that may connect from browsers, as `https://app.example.org`; `*`:"
            " every page; empty: those of the host that is connected to"
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


class GatewayWsSettings(ServiceSettings, frozen=True, kw_only=True):
    """`OQL_GATEWAY_WS_*`."""

    service: ClassVar[str] = "gateway-ws"

    http: SocketSettings = SocketSettings()
    auth: AuthSettings = AuthSettings()
    limits: SocketLimits = SocketLimits()
    requests: RequestLimits = RequestLimits()
    rates: CallerRateSettings = CallerRateSettings()
