"""What an installation allows of webhooks, and how it delivers."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class WebhookPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests may go, how many run, how long is tried."""

    insecure: Annotated[bool, Meta(description="`http://` as well; for development")] = False
    ports: Annotated[
        tuple[int, ...], Meta(description="ports of endpoints; none named allows all")
    ] = (443,)
    allow: Annotated[
        tuple[str, ...],
        Meta(description="networks or addresses to send to that are not of the public internet"),
    ] = ()
    ca: Annotated[
        str | None, Meta(description="path of authorities of certificates beyond the system's")
    ] = None
    keys: Annotated[
        tuple[str, ...],
        Meta(
            extra={"secret": True},
            description="Fernet keys that seal what is kept of secrets and headers: the first"
            " seals, all open; without one they are kept as they are",
        ),
    ] = ()
    per_tenant: Annotated[
        int, Meta(ge=0, description="webhooks of a tenant whose quota says nothing else")
    ] = 100
    concurrency: Annotated[int, Meta(ge=1, description="requests at once to one endpoint")] = 8
    endpoints: Annotated[
        int, Meta(ge=1, description="endpoints that a worker sends to at once")
    ] = 256
    connections: Annotated[int, Meta(ge=1, description="requests of a worker at once")] = 100
    tenant_share: Annotated[
        float, Meta(gt=0, le=1, description="the most of either that one tenant may have")
    ] = 0.25
    first_pause_s: Annotated[
        float, Meta(gt=0, description="the longest pause after a first failure; it doubles")
    ] = 5.0
    longest_pause_s: Annotated[float, Meta(gt=0)] = 3600.0
    max_age_s: Annotated[
        float, Meta(gt=0, description="what has not been delivered by then is dead")
    ] = 259_200.0
    kept_s: Annotated[
        float, Meta(gt=0, description="how long deliveries are kept that are done or dead")
    ] = 604_800.0
