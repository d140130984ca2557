"""What can be set on a REST gateway."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from objectql.service.settings import AuthSettings, HttpSettings, ServiceSettings


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What one request may cost, and how many there may be at a time."""

    body_bytes: Annotated[int, Meta(ge=1024, description="longest body")] = 1_048_576
    query_string_bytes: Annotated[int, Meta(ge=256)] = 16_384
    nesting: Annotated[int, Meta(ge=1, le=500, description="levels of JSON")] = 64
    default_page: Annotated[int, Meta(ge=1)] = 100
    max_page: Annotated[int, Meta(ge=1)] = 1000
    bulk_records: Annotated[int, Meta(ge=1, le=1000, description="records per request")] = 1000
    v1_batch_records: Annotated[
        int, Meta(ge=1, le=1000, description="the same for the ObjectStack client's batches")
    ] = 200
    timeout_s: Annotated[float, Meta(gt=0, description="where the client names none")] = 10.0
    max_timeout_s: Annotated[float, Meta(gt=0)] = 60.0
    in_flight: Annotated[int, Meta(ge=1, description="requests at a time; more are 503")] = 2048


class GatewayRestSettings(ServiceSettings, frozen=True, kw_only=True):
    """`OQL_GATEWAY_REST_*`."""

    service: ClassVar[str] = "gateway-rest"

    http: HttpSettings = HttpSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    server_timing: Annotated[
        bool, Meta(description="tell in the header Server-Timing what each answer took")
    ] = True
