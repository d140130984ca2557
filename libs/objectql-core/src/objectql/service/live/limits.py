"""What clients may take of a gateway that tells of changes."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from objectql.service.rates import RateText


class LiveLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may subscribe to, and what may wait for it."""

    subscriptions: Annotated[int, Meta(ge=1, description="of one client")] = 100
    subscribing: Annotated[
        RateText, Meta(description="how often one user or key may subscribe, as `100/s:1000`")
    ] = "100/s:1000"
    tenant_subscriptions: Annotated[int, Meta(ge=1, description="of all clients of a tenant")] = (
        100_000
    )
    queue_bytes: Annotated[
        int, Meta(ge=1024, description="what may wait for a client that reads slowly")
    ] = 524_288
    snapshot_records: Annotated[
        int, Meta(ge=1, le=1000, description="most records of a snapshot")
    ] = 1000
    waiting_frames: Annotated[
        int, Meta(ge=1, description="frames of one client that are worked on at a time")
    ] = 16


class Seats(NamedTuple):
    """How many clients may listen at a time; `what` they are called in errors, as `sockets`."""

    what: str
    of_tenant: int
    of_principal: int
