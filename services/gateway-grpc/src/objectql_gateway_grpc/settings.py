"""What can be set on a gRPC gateway."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from objectql.service.data.limits import RequestLimits
from objectql.service.edge import EdgeSettings
from objectql.service.rates import CallerRateSettings
from objectql.service.settings import AuthSettings, ServiceSettings

MAX_CLIENT_BYTES = 4 * 1024 * 1024
"""What clients take in one message unless told otherwise (`grpc.max_receive_message_length`)."""


class ListenSettings(EdgeSettings, frozen=True, kw_only=True):
    """Where and how clients are served."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 50051
    compression: Annotated[
        Literal["none", "deflate", "gzip"],
        Meta(description="of answers, for clients that take it; what clients compress is read"),
    ] = "none"
    reflection: Annotated[
        bool, Meta(description="tell callers who say who they are which services there are")
    ] = True
    keepalive_s: Annotated[
        float,
        Meta(gt=0, description="without traffic before a client is asked whether it is there"),
    ] = 60.0
    keepalive_timeout_s: Annotated[float, Meta(gt=0, description="for it to answer")] = 20.0
    min_ping_s: Annotated[
        float, Meta(gt=0, description="a client that pings more often is hung up on")
    ] = 10.0
    max_idle_s: Annotated[
        float, Meta(gt=0, description="without calls before a client is asked to go")
    ] = 1800.0
    max_age_s: Annotated[
        float,
        Meta(gt=0, description="before a client is asked to connect anew, and finds new gateways"),
    ] = 3600.0
    handshake_timeout_s: Annotated[
        float, Meta(gt=0, description="for TLS and the first frames of HTTP/2")
    ] = 15.0


class CallLimits(RequestLimits, frozen=True, kw_only=True):
    """What one call may cost, and how many there may be at a time."""

    message_bytes: Annotated[
        int, Meta(ge=1024, description="longest message that is taken, also when unpacked")
    ] = 1_048_576
    answer_bytes: Annotated[int, Meta(ge=65_536, description="longest message that is sent")] = (
        MAX_CLIENT_BYTES
    )
    chunk_bytes: Annotated[
        int, Meta(ge=1024, description="of records in one message of a stream, about")
    ] = 524_288
    metadata_bytes: Annotated[
        int, Meta(ge=4096, description="of all headers of a call; more are refused")
    ] = 16_384
    streams: Annotated[int, Meta(ge=1, description="calls of one connection at a time")] = 256
    nesting: Annotated[int, Meta(ge=1, le=500, description="levels of JSON")] = 64


class GatewayGrpcSettings(ServiceSettings, frozen=True, kw_only=True):
    """`OQL_GATEWAY_GRPC_*`."""

    service: ClassVar[str] = "gateway-grpc"

    grpc: ListenSettings = ListenSettings()
    auth: AuthSettings = AuthSettings()
    limits: CallLimits = CallLimits()
    rates: CallerRateSettings = CallerRateSettings()
