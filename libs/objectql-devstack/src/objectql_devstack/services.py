"""The processes of the cluster: one row per service.

A new service is one more row of `SERVICES`. A row whose program is not installed is left out.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from objectql_devstack.environment import StackMode

HOST = "127.0.0.1"


class Addresses(Protocol):
    """Where the data services are; a `DataStack` knows."""

    @property
    def pg_url(self) -> str: ...
    @property
    def pg_replica_url(self) -> str: ...
    @property
    def redis_url(self) -> str: ...
    @property
    def zookeeper(self) -> str: ...

    @property
    def nats_nodes(self) -> int: ...

    def nats_url_of(self, user: str) -> str:
        """The address of NATS for one of the users of `objectql.wire.access`."""
        ...

    def has(self, service: str) -> bool:
        """Whether there is such a data service, as `redis`."""
        ...

    def pg_database_url(self, database: str) -> str:
        """The address of another database of the primary."""
        ...


@dataclass(frozen=True)
class Wiring:
    """What one process is told.

    Attributes:
        instance: `<service>-<n>`.
        port: What it serves to clients; 0 where the service has no such port.
        databases: Further databases, each a data source of its name.
    """

    instance: str
    port: int
    admin_port: int
    data: Addresses
    jwt_secret: str
    context_key: str
    metadata: tuple[Path, ...] = ()
    databases: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublicPort:
    """The port that clients use.

    Attributes:
        variable: Environment variable that chooses the port of the first process; the others count on.
        default: Its value where the variable is not set.
        address: Variable of `dev.env` that tells the address of the first process, and its form.
    """

    variable: str
    default: int
    address: tuple[str, str]


@dataclass(frozen=True)
class Service:
    """One row.

    Attributes:
        count: How many processes by default.
        tier: The order of stopping; higher tiers stop first.
        variables: The environment of one process.
        command: How it is run, where that is not `python -m <module>`.
    """

    name: str
    module: str
    count: int
    tier: int
    variables: Callable[[Wiring], Mapping[str, str]]
    public: PublicPort | None = None
    command: tuple[str, ...] = ()

    @property
    def program(self) -> tuple[str, ...]:
        """The command that runs one process."""
        return self.command or (sys.executable, "-m", self.module)

    @property
    def is_installed(self) -> bool:
        """Whether `program` can be run in this Python environment."""
        if self.command:
            return True
        if importlib.util.find_spec(self.module) is None:
            return False
        return importlib.util.find_spec(f"{self.module}.__main__") is not None


def _kernel(told: Wiring) -> Mapping[str, str]:
    further = {
        f"OQL_KERNEL_DATASOURCES__{name.upper()}": told.data.pg_database_url(name)
        for name in told.databases
    }
    if told.data.has("postgres-replica"):
        further["OQL_KERNEL_REPLICAS__DEFAULT"] = told.data.pg_replica_url
    if told.data.nats_nodes > 1:
        further["OQL_KERNEL_STREAM__REPLICAS"] = str(told.data.nats_nodes)
    if told.data.has("redis"):
        further["OQL_KERNEL_CACHE__URL"] = told.data.redis_url
        further["OQL_KERNEL_RATES__URL"] = told.data.redis_url
    return further | {
        "OQL_KERNEL_INSTANCE": told.instance,
        "OQL_KERNEL_BUS__URL": told.data.nats_url_of("kernel"),
        "OQL_KERNEL_BUS__CONTEXT_KEY": told.context_key,
        "OQL_KERNEL_ADMIN__PORT": str(told.admin_port),
        "OQL_KERNEL_DATASOURCES__DEFAULT": told.data.pg_url,
        "OQL_KERNEL_METADATA": ",".join(map(str, told.metadata)),
        "OQL_KERNEL_TENANCY__UNKNOWN": "accept",
        # Whoever develops a receiver of webhooks has it on this machine.
        "OQL_KERNEL_WEBHOOKS__INSECURE": "true",
        "OQL_KERNEL_WEBHOOKS__PORTS": "",
        "OQL_KERNEL_WEBHOOKS__ALLOW": "127.0.0.1,::1",
    }


def _coordinator(told: Wiring) -> Mapping[str, str]:
    return {
        "OQL_COORDINATOR_INSTANCE": told.instance,
        "OQL_COORDINATOR_BUS__URL": told.data.nats_url_of("coordinator"),
        "OQL_COORDINATOR_BUS__CONTEXT_KEY": told.context_key,
        "OQL_COORDINATOR_ZOOKEEPER__HOSTS": told.data.zookeeper,
        "OQL_COORDINATOR_HTTP__PORT": str(told.port),
        "OQL_COORDINATOR_AUTH__JWT_SECRET": told.jwt_secret,
        "OQL_COORDINATOR_ADMIN__PORT": str(told.admin_port),
    }


def _gateway(service: str, listener: str = "HTTP") -> Callable[[Wiring], Mapping[str, str]]:
    prefix = "OQL_" + service.upper().replace("-", "_")

    def variables(told: Wiring) -> Mapping[str, str]:
        shared = {f"{prefix}_RATES__URL": told.data.redis_url} if told.data.has("redis") else {}
        return shared | {
            f"{prefix}_INSTANCE": told.instance,
            f"{prefix}_BUS__URL": told.data.nats_url_of(service),
            f"{prefix}_BUS__CONTEXT_KEY": told.context_key,
            f"{prefix}_{listener}__HOST": HOST,
            f"{prefix}_{listener}__PORT": str(told.port),
            f"{prefix}_ADMIN__PORT": str(told.admin_port),
            f"{prefix}_AUTH__JWT_SECRET": told.jwt_secret,
        }

    return variables


SERVICES: tuple[Service, ...] = (
    Service("kernel", "objectql_kernel", count=2, tier=2, variables=_kernel),
    Service(
        "coordinator",
        "objectql_coordinator",
        count=3,
        tier=3,
        variables=_coordinator,
        public=PublicPort(
            "OQL_COORDINATOR_PORT", 8090, ("OQL_COORDINATOR_URL", "http://127.0.0.1:{port}")
        ),
    ),
    Service(
        "gateway-rest",
        "objectql_gateway_rest",
        count=1,
        tier=4,
        variables=_gateway("gateway-rest"),
        public=PublicPort("OQL_REST_PORT", 8080, ("OQL_REST_URL", "http://127.0.0.1:{port}")),
    ),
    Service(
        "gateway-ws",
        "objectql_gateway_ws",
        count=1,
        tier=4,
        variables=_gateway("gateway-ws"),
        public=PublicPort("OQL_WS_PORT", 8081, ("OQL_WS_URL", "ws://127.0.0.1:{port}/ws")),
    ),
    Service(
        "gateway-grpc",
        "objectql_gateway_grpc",
        count=1,
        tier=4,
        variables=_gateway("gateway-grpc", "GRPC"),
        public=PublicPort("OQL_GRPC_PORT", 50051, ("OQL_GRPC_TARGET", "127.0.0.1:{port}")),
    ),
)


@dataclass(frozen=True)
class Example:
    """A folder of `examples` with metadata, and what it needs beside that.

    Attributes:
        is_loaded: It has a program `load` that makes its records; where it finds them it changes nothing.
        databases: Databases of the primary that are data sources of their names.
    """

    name: str
    is_loaded: bool = False
    databases: tuple[str, ...] = ()

    def folder(self, root: Path) -> Path:
        """Where its metadata lie in the project."""
        return root / "examples" / self.name

    @property
    def loader(self) -> tuple[str, ...]:
        """The command that makes its records."""
        return (sys.executable, "-m", f"examples.{self.name}.load")


EXAMPLES = (
    Example("flights", is_loaded=True),
    Example("crm"),
    Example("bank", is_loaded=True, databases=("east", "west")),
)


def examples_in(root: Path, mode: StackMode) -> list[Example]:
    """Those that are there. Databases are not made on servers that somebody else runs."""
    return [
        example
        for example in EXAMPLES
        if example.folder(root).is_dir() and not (example.databases and mode == "external")
    ]
