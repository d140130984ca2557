"""What a kernel worker is told."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Meta

from objectql.kernel.features import Features
from objectql.kernel.identity.policy import IdentityPolicy
from objectql.kernel.webhooks.policy import WebhookPolicy
from objectql.query.limits import QueryLimits
from objectql.service.rates import RateSharing
from objectql.service.settings import Secret, ServiceSettings

Failpoint: TypeAlias = Literal[
    "before_commit",
    "after_commit",
    "before_prepare",
    "after_prepare",
    "after_decision",
    "after_first_commit",
    "before_publish",
    "after_publish",
    "before_seal",
    "after_seal",
    "before_purge",
    "after_purge",
    "after_delivery",
]


class PoolLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Database connections of this process, per data source."""

    min_size: Annotated[int, Meta(ge=0, le=1000)] = 2
    max_size: Annotated[int, Meta(ge=1, le=1000)] = 16
    max_total: Annotated[
        int, Meta(ge=1, le=10000, description="connections of all data sources together")
    ] = 64
    acquire_timeout_s: Annotated[float, Meta(gt=0)] = 5.0
    idle_timeout_s: Annotated[float, Meta(gt=0)] = 300.0


class CacheSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The shared result cache; without it every read goes to the database."""

    url: Annotated[str | None, Meta(description="redis://host:port/db")] = None
    namespace: Annotated[
        str, Meta(description="of the keys; clusters that share a server need different ones")
    ] = "objectql"
    ttl_s: Annotated[float, Meta(gt=0, description="an answer is kept no longer")] = 60.0
    max_entry_bytes: Annotated[int, Meta(ge=0, description="longer answers are not kept")] = 262_144
    timeout_ms: Annotated[
        int, Meta(ge=1, description="a server that answers later is left alone for a while")
    ] = 50


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How much a worker takes on; beyond it requests are refused."""

    max_running: Annotated[int, Meta(ge=1, description="requests that run at once")] = 256
    max_waiting: Annotated[int, Meta(ge=0, description="requests that may wait for a turn")] = 512
    tenant_share: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="the part of both, and of the connections that read, that one tenant may"
            " have; beyond it its requests are refused with 429",
        ),
    ] = 0.5


class ReadSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where reads are answered that may lag; it matters only where there are replicas."""

    policy: Annotated[
        str,
        Meta(
            pattern=r"^(primary|any|bounded:[0-9]{1,6}(\.[0-9]{1,3})?)$",
            description="of requests that name none: primary, any or bounded:<seconds>",
        ),
    ] = "bounded:5"
    token_wait_s: Annotated[
        float,
        Meta(
            ge=0, description="how long reads under `any` wait for a replica to reach their token"
        ),
    ] = 0.1
    max_lag_s: Annotated[
        float, Meta(gt=0, description="a replica further behind is left out under every policy")
    ] = 60.0


class IdentitySettings(IdentityPolicy, frozen=True, kw_only=True):
    """Built-in users, their sessions, and the first of them."""

    admin_name: Annotated[str, Meta(min_length=1)] = "admin"
    admin_password: Annotated[
        Secret | None,
        Meta(description="makes that administrator of the default tenant where there is none"),
    ] = None


class Tenancy(msgspec.Struct, frozen=True, kw_only=True):
    """Tenants and what keeps them apart."""

    unknown: Annotated[
        Literal["accept", "refuse"],
        Meta(description="requests in the name of tenants that are not registered"),
    ] = "refuse"
    row_security: Annotated[
        bool, Meta(description="Postgres policies as a second wall between tenants")
    ] = True
    place_connections: Annotated[
        int,
        Meta(
            ge=1,
            le=10000,
            description="connections of a data source to the schemas or databases of single tenants"
            " on one server, all together, beside those of its pool",
        ),
    ] = 32
    connections_per_place: Annotated[int, Meta(ge=1, le=1000, description="to one of them")] = 4
    place_idle_s: Annotated[
        float, Meta(gt=0, description="such a connection ends when it is idle for longer")
    ] = 60.0
    database_server: Annotated[
        str | None,
        Meta(
            description="URL of the Postgres server on which tenants get databases of their own, with"
            " a database to connect to for making them; none: on each data source's own server"
        ),
    ] = None


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The stream of change events on NATS."""

    replicas: Annotated[
        int,
        Meta(ge=1, le=5, description="servers of a NATS cluster that each keep a copy: 1, 3 or 5"),
    ] = 1


class AuditSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How long the audit is kept; objects say it of their histories in their metadata."""

    security_retention_days: (
        Annotated[
            float, Meta(gt=0, description="of entries of the security logs; none: as their tenant")
        ]
        | None
    ) = None
    purge_every_s: Annotated[float, Meta(gt=0, description="when old entries are deleted")] = 3600.0


class KernelSettings(ServiceSettings, frozen=True, kw_only=True):
    """A kernel worker. `datasources` needs at least `default`."""

    service: ClassVar[str] = "kernel"

    datasources: Annotated[
        dict[str, str], Meta(description="name to URL: postgresql://, sqlite:///path, memory:")
    ] = {}
    replicas: Annotated[
        dict[str, tuple[str, ...]],
        Meta(description="name of a data source to the URLs of its hot standbys, one server each"),
    ] = {}
    reads: ReadSettings = ReadSettings()
    audit: AuditSettings = AuditSettings()
    stream: StreamSettings = StreamSettings()
    cache: CacheSettings = CacheSettings()
    pool: PoolLimits = PoolLimits()
    load: Load = Load()
    rates: RateSharing = RateSharing()
    metadata: Annotated[
        tuple[str, ...], Meta(description="directories of packages that this worker publishes")
    ] = ()
    seed: Annotated[bool, Meta(description="insert the packages' data rows where absent")] = True
    watch: Annotated[
        bool, Meta(description="reload the packages whenever a file changes; for development")
    ] = False
    max_page: Annotated[int, Meta(ge=1, description="most records of one page")] = 1000
    timezone: Annotated[str, Meta(description="business time zone, in which {today} is a day")] = (
        "UTC"
    )
    default_access: Annotated[
        Literal["deny", "allow"],
        Meta(description="for objects without a permission file, and callers who are no admins"),
    ] = "deny"
    tenancy: Tenancy = Tenancy()
    query: QueryLimits = QueryLimits()
    identity: IdentitySettings = IdentitySettings()
    webhooks: WebhookPolicy = WebhookPolicy()
    features: Features = Features()
    failpoints: Annotated[
        tuple[Failpoint, ...], Meta(description="die at these points; for fault tests")
    ] = ()
