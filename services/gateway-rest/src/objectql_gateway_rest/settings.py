"""What can be set on a REST gateway."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from objectql.service.data.limits import RequestLimits
from objectql.service.edge import EdgeSettings
from objectql.service.rates import CallerRateSettings, RateText
from objectql.service.settings import AuthSettings, ServiceSettings
from objectql_gateway_rest.guarded import BODY_TIMEOUT_S, HEAD_TIMEOUT_S


class LimitSettings(RequestLimits, frozen=True, kw_only=True):
    """What one request may cost, and how many there may be at a time."""

    body_bytes: Annotated[int, Meta(ge=1024, description="longest body")] = 1_048_576
    query_string_bytes: Annotated[int, Meta(ge=256)] = 16_384
    nesting: Annotated[int, Meta(ge=1, le=500, description="levels of JSON")] = 64
    v1_batch_records: Annotated[
        int, Meta(ge=1, le=1000, description="the same for the ObjectStack client's batches")
    ] = 200


class ListenSettings(EdgeSettings, frozen=True, kw_only=True):
    """Where and how clients are served."""

    hosts: Annotated[
        tuple[str, ...],
        Meta(description="names by which clients may call this gateway; empty: any"),
    ] = ()
    head_timeout_s: Annotated[
        float, Meta(gt=0, description="for the request line and headers to arrive")
    ] = HEAD_TIMEOUT_S
    body_timeout_s: Annotated[float, Meta(gt=0, description="for the body to arrive")] = (
        BODY_TIMEOUT_S
    )


class RateSettings(CallerRateSettings, frozen=True, kw_only=True):
    """How often may be asked, and tried who one is."""

    address: Annotated[
        RateText, Meta(description="sign-ins and refreshes from one address (IPv6: one /64)")
    ] = "60/m"


class CorsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which pages in browsers may call. None, unless there are origins."""

    origins: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^(\*|https?://[A-Za-z0-9.:\[\]-]+)$")], ...],
        Meta(description="as `https://app.example.org`; `*` is every page, and never with cookies"),
    ] = ()
    credentials: Annotated[bool, Meta(description="let browsers send cookies")] = False
    max_age_s: Annotated[
        int, Meta(ge=0, le=86_400, description="how long browsers remember the answer")
    ] = 600

    def __post_init__(self) -> None:
        """Refuse to lend the cookies of the signed in to every page there is."""
        if self.credentials and "*" in self.origins:
            raise ValueError("cookies for every origin: name the origins")


class CookieSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whether browsers may keep their session in cookies, see the guide "Identity"."""

    enabled: bool = False
    same_site: Annotated[
        Literal["strict", "lax", "none"],
        Meta(description="`none` for pages of other sites, which `cors.origins` must name"),
    ] = "strict"


class GatewayRestSettings(ServiceSettings, frozen=True, kw_only=True):
    """`OQL_GATEWAY_REST_*`."""

    service: ClassVar[str] = "gateway-rest"

    http: ListenSettings = ListenSettings()
    cors: CorsSettings = CorsSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    cookies: CookieSettings = CookieSettings()
    publish_keys: Annotated[
        bool, Meta(description="serve the keys of the cluster's tokens at /api/auth/jwks.json")
    ] = True
    rates: RateSettings = RateSettings()
    server_timing: Annotated[
        bool, Meta(description="tell in the header Server-Timing what each answer took")
    ] = True
