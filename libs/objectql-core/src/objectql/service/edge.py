"""Where clients are served, as every gateway has it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from objectql.service.addresses import Proxies
from objectql.service.settings import HttpSettings


class EdgeSettings(HttpSettings, frozen=True, kw_only=True):
    """An address, its certificate, and whom to believe about where clients come from."""

    certificate: Annotated[
        str | None, Meta(description="path of the certificate chain; clients then use TLS")
    ] = None
    key: Annotated[str | None, Meta(description="path of its key")] = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="addresses and networks, as `10.0.0.0/8`, whose X-Forwarded-For is believed;"
            " empty: clients have the address that they connect from"
        ),
    ] = ()

    def __post_init__(self) -> None:
        """Refuse proxies that are neither addresses nor networks."""
        Proxies(self.trusted_proxies)
