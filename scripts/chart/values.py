"""What can be set on the chart, as types; `deploy/helm/objectql/values.yaml` has the defaults and says what each is for.

Nothing has a default here but what may be left out of the members of lists and maps: Helm checks values after it
has laid them over the defaults.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

Name: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]
"""Of an object of Kubernetes."""

NameOrNone: TypeAlias = Annotated[
    str, Meta(pattern=r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$", max_length=253)
]

Key: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]+$")]
"""Of a Secret."""

Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
Tag: TypeAlias = Annotated[str, Meta(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$")]
Image: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[^\s:@]+(:[0-9]+/[^\s:@]+)?(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})$"
    ),
]
"""With a tag or a digest."""

Quantity: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(m|[kMGT]i?)?$")]
Raw: TypeAlias = dict[str, Any]
"""As Kubernetes' API has it; checked by no one before the API server."""

Nodes: TypeAlias = Literal[1, 3, 5]
"""Of what needs a majority."""


class Values(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A group of values."""


class Images(Values):
    """Where the images of the services are."""

    prefix: str
    tag: Tag
    pull_policy: Literal["Always", "IfNotPresent", "Never"]
    pull_secrets: list[Name]


class OwnImage(Values):
    """What one service has of its own."""

    tag: Tag


class SecretKey(Values):
    """A key of a Secret; none where the name is empty."""

    name: NameOrNone
    key: Key


class GivenSecretKey(Values):
    """A key of a Secret."""

    name: Name
    key: Key


class Certificate(Values):
    """A Secret with `tls.crt` and `tls.key`."""

    secret: NameOrNone


class PeerCertificates(Values):
    """A Secret with `ca.crt`; with `client` also our own certificate."""

    secret: NameOrNone
    client: bool


class Amounts(Values):
    """Processor time and memory."""

    cpu: Quantity
    memory: Quantity


class Resources(Values):
    """Both are required: a pod without limits takes what its neighbours need."""

    requests: Amounts
    limits: Amounts


class Autoscaling(Values):
    """By processor time, and by metrics of the pods themselves."""

    enabled: bool
    min_replicas: Annotated[int, Meta(ge=1)]
    max_replicas: Annotated[int, Meta(ge=1)]
    cpu_percent: Annotated[int, Meta(ge=1, le=100)]
    per_pod: dict[str, Quantity]


class Offered(Values):
    """The Service of a gateway."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"]
    headless: bool
    annotations: dict[str, str]


class Network(Values):
    """Rules beside those that the chart knows."""

    egress: list[Raw]


class Pod(Values):
    """Where pods run, and how they are marked."""

    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}
    node_selector: dict[str, str] = {}
    tolerations: list[Raw] = []
    affinity: Raw = {}
    priority_class_name: str = ""


class Service(Values):
    """What every service has. `settings` and `secrets` are checked by what the service itself takes."""

    replicas: Annotated[int, Meta(ge=1)]
    image: OwnImage
    settings: Raw
    secrets: dict[str, GivenSecretKey]
    resources: Resources
    network: Network
    pod: Pod


class Kernel(Service):
    """Kernel workers."""

    autoscaling: Autoscaling


class Gateway(Service):
    """Gateways of one protocol."""

    enabled: bool
    autoscaling: Autoscaling
    service: Offered
    tls: Certificate


class Storage(Values):
    """The volume of each node; the cluster's own class where none is named."""

    size: Quantity
    class_name: NameOrNone


class Nats(Values):
    """The bus."""

    embedded: bool
    replicas: Nodes
    image: Image
    storage: Storage
    resources: Resources
    url: Annotated[str, Meta(pattern=r"^((nats|tls)://[^\s@]+)?$")]
    ports: list[Port]
    credentials: bool
    tls: PeerCertificates


class Postgres(Values):
    """The default data source."""

    embedded: bool
    replicas: Annotated[int, Meta(ge=0, le=10)]
    image: Image
    storage: Storage
    resources: Resources
    url: SecretKey
    replica_urls: SecretKey
    ports: list[Port]


class Redis(Values):
    """The result cache, and the counters of rates."""

    embedded: bool
    image: Image
    memory: Annotated[str, Meta(pattern=r"^[0-9]+(kb|mb|gb)$")]
    resources: Resources
    url: SecretKey
    ports: list[Port]


class ZooKeeper(Values):
    """Where coordinators elect a leader and keep decisions."""

    embedded: bool
    replicas: Nodes
    image: Image
    storage: Storage
    resources: Resources
    hosts: str
    ports: list[Port]
    tls: PeerCertificates


class Package(Values):
    """A package of metadata, from exactly one place."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=40)]
    config_map: Name | msgspec.UnsetType = msgspec.UNSET
    image: Image | msgspec.UnsetType = msgspec.UNSET
    path: Annotated[str, Meta(pattern=r"^/[^,\s]+$")] | msgspec.UnsetType = msgspec.UNSET
    files: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class Auth(Values):
    """Whose tokens are believed."""

    settings: Raw
    jwt_secret: SecretKey


class Secrets(Values):
    """The Secret of the installation."""

    existing: NameOrNone
    admin_password: bool


class Spread(Values):
    """How strictly pods are spread."""

    host: Literal["ScheduleAnyway", "DoNotSchedule"]
    zone: Literal["ScheduleAnyway", "DoNotSchedule"]


class GrpcIngress(Values):
    """The Ingress of gRPC, which needs a host and annotations of its own."""

    host: str
    annotations: dict[str, str]
    tls: Certificate


class Ingress(Values):
    """An Ingress for REST and WebSocket."""

    enabled: bool
    class_name: NameOrNone
    annotations: dict[str, str]
    host: str
    tls: Certificate
    grpc: GrpcIngress


class GatewayApi(Values):
    """Routes that are attached to a Gateway."""

    enabled: bool
    parent_refs: list[Raw]
    hostnames: list[str]
    grpc_hostnames: list[str]


class NetworkPolicy(Values):
    """Peers as the API has them."""

    enabled: bool
    clients: list[Raw]
    monitoring: list[Raw]
    operators: list[Raw]


class ServiceMonitor(Values):
    """For the Prometheus operator."""

    enabled: bool
    labels: dict[str, str]
    interval: Annotated[str, Meta(pattern=r"^[0-9]+(ms|s|m)$")]


class Labelled(Values):
    """Objects that others find by labels."""

    enabled: bool
    labels: dict[str, str]


class Monitoring(Values):
    """What tells others how it goes."""

    service_monitor: ServiceMonitor
    alerts: Labelled
    dashboards: Labelled


class ChartValues(Values):
    """Everything."""

    name_override: NameOrNone
    fullname_override: NameOrNone
    image: Images
    settings: Raw
    auth: Auth
    secrets: Secrets
    metadata: list[Package]
    kernel: Kernel
    coordinator: Service
    gateway_rest: Gateway
    gateway_ws: Gateway
    gateway_grpc: Gateway
    pod: Pod
    spread: Spread
    pre_stop_seconds: Annotated[int, Meta(ge=0, le=300)]
    nats: Nats
    postgres: Postgres
    redis: Redis
    zookeeper: ZooKeeper
    ingress: Ingress
    gateway_api: GatewayApi
    network_policy: NetworkPolicy
    monitoring: Monitoring
    global_: Raw = msgspec.field(name="global", default_factory=dict[str, Any])
