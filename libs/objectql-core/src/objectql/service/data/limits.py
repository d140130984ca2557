"""What requests for data may cost, at every gateway."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class RequestLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one request may cost, and how many may be answered at a time."""

    default_page: Annotated[int, Meta(ge=1)] = 100
    max_page: Annotated[int, Meta(ge=1)] = 1000
    bulk_records: Annotated[int, Meta(ge=1, le=1000, description="records per request")] = 1000
    timeout_s: Annotated[float, Meta(gt=0, description="where the client names none")] = 10.0
    max_timeout_s: Annotated[float, Meta(gt=0)] = 60.0
    in_flight: Annotated[
        int, Meta(ge=1, description="requests of all clients at a time; more are refused")
    ] = 2048
