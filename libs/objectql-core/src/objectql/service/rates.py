"""How often callers may ask, and how processes share the buckets of their rates."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from objectql.clock import Clock
from objectql.rates.bucket import OFF, RATE_PATTERN
from objectql.rates.limiter import Limiter
from objectql.redis.connection import RedisAddress

RATE_SETTING: Final = rf"({OFF}|{RATE_PATTERN})"
RateText: TypeAlias = Annotated[str, Meta(pattern=f"^{RATE_SETTING}$")]
"""How a rate is written in settings: see `Rate.read`."""

NamedRate: TypeAlias = Annotated[str, Meta(pattern=f"^[^=\\s]+={RATE_SETTING}$")]
"""The rate of one role or tenant."""


class RateSharing(msgspec.Struct, frozen=True, kw_only=True):
    """Where the buckets are, and what holds without them."""

    url: Annotated[
        str | None,
        Meta(
            description="redis://host:port/db of the buckets; without it each process has its own"
        ),
    ] = None
    namespace: Annotated[
        str, Meta(description="of the keys; clusters that share a server need different ones")
    ] = "objectql"
    processes: Annotated[
        int,
        Meta(ge=1, description="how many share a rate: the part of each while Redis is away"),
    ] = 1
    timeout_ms: Annotated[
        int, Meta(ge=1, description="a server that answers later is left alone for a while")
    ] = 40

    def __post_init__(self) -> None:
        """Refuse what is no address of a Redis."""
        if self.url is not None:
            RedisAddress.of(self.url)


class CallerRateSettings(RateSharing, frozen=True, kw_only=True):
    """How often may be asked: `100/s`, `600/m`, `1000/h:50` (50 at once), or `off`.

    Services that are given the same limits and the same Redis have one limit together.
    """

    principal: Annotated[
        RateText,
        Meta(description="requests of one user or key: `100/s`, `600/m:50` (50 at once) or `off`"),
    ] = OFF
    roles: Annotated[
        tuple[NamedRate, ...],
        Meta(description="`role=rate` in place of it; the largest of a caller's counts"),
    ] = ()
    tenant: Annotated[RateText, Meta(description="requests of all callers of one tenant")] = OFF
    tenants: Annotated[tuple[NamedRate, ...], Meta(description="`tenant=rate` in place of it")] = ()


def open_limiter(sharing: RateSharing, clock: Clock) -> Limiter:
    """The limiter of one process; its `run` keeps it in touch with the others."""
    return Limiter(
        clock,
        url=sharing.url,
        namespace=sharing.namespace,
        share=1 / sharing.processes,
        timeout_s=sharing.timeout_ms / 1000,
    )
