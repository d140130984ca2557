"""All data services together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from objectql.wire.access import BUS_USERS, OPERATOR
from objectql_devstack import engine
from objectql_devstack.containers import (
    ContainerServer,
    NatsContainer,
    PostgresContainer,
    ZooKeeperContainer,
)
from objectql_devstack.environment import StackMode, stack_mode
from objectql_devstack.errors import DevStackError
from objectql_devstack.external import ExternalServer
from objectql_devstack.postgres import PostgresPrimary, PostgresReplica
from objectql_devstack.processes import ManagedProcess
from objectql_devstack.servers import NatsServer, RedisServer, Server, Terms
from objectql_devstack.state import StateDirectory
from objectql_devstack.zookeeper import ZooKeeperNode

SERVICES = frozenset({"nats", "postgres", "postgres-replica", "redis", "zookeeper"})


def _nothing(_line: str) -> None: ...


@dataclass(frozen=True)
class StackSize:
    """What a stack consists of.

    Attributes:
        need: Names of services; `replica` stands for `postgres-replica`, which brings `postgres` along.
        nats_nodes: More than one form a cluster that keeps the stream of events on all of them.
        databases: Databases of the primary; the first is the one of `pg_url`.
        bus_passwords: By user of `wire.access`; without any, NATS lets in everybody.
    """

    need: frozenset[str] = SERVICES
    zookeeper_nodes: int = 1
    nats_nodes: int = 1
    databases: tuple[str, ...] = ("objectql",)
    bus_passwords: Mapping[str, str] = field(default_factory=dict[str, str])

    def services(self) -> frozenset[str]:
        """The names in `need`, in full.

        Raises:
            DevStackError: One is unknown.
        """
        names = {"postgres-replica" if name == "replica" else name for name in self.need}
        if unknown := names - SERVICES:
            raise DevStackError(
                f"unknown service {', '.join(sorted(unknown))}: choose from {sorted(SERVICES)}"
            )
        return frozenset(names | ({"postgres"} if "postgres-replica" in names else set[str]()))


class DataStack:
    """Running data services; made by `start`, ended by `stop` or the end of `with`."""

    def __init__(
        self,
        state: StateDirectory,
        servers: Sequence[Server],
        bus_passwords: Mapping[str, str] | None = None,
    ) -> None:
        self.state = state
        self._bus_passwords = bus_passwords or {}
        self._servers = {server.name: server for server in servers}

    @classmethod
    def start(
        cls,
        base_dir: Path,
        need: frozenset[str] | set[str] = SERVICES,
        *,
        zookeeper_nodes: int = 1,
        nats_nodes: int = 1,
        durable: bool = False,
        databases: tuple[str, ...] = ("objectql",),
        guarded: bool = False,
        tethered: bool = True,
        mode: StackMode | None = None,
        report: Callable[[str], None] = _nothing,
    ) -> DataStack:
        """A stack in which every needed service is ready; what runs already in `base_dir` is kept.

        Args:
            base_dir: Its state directory; data lies there too, unless Postgres may not enter it.
            need: Names of services; `replica` stands for `postgres-replica`.
            zookeeper_nodes: More than one form an ensemble.
            nats_nodes: More than one form a cluster; only where the servers are of this machine.
            databases: Databases of the primary; the first is the one of `pg_url`.
            guarded: NATS lets in only the users of `wire.access`, by passwords made for this stack. A
                server that somebody else runs guards itself.
            durable: Commits survive a crash of the machine; tests do without, for speed.
            tethered: The servers die with this process, even if it is killed.
            mode: By default what `OQL_STACK` says.
            report: Receives one line for every service that got ready.

        Raises:
            DevStackError: A program is missing, a server failed; those that started are stopped again.
        """
        mode = mode or stack_mode()
        state = StateDirectory(base_dir)
        state.enter(mode)
        terms = Terms(tethered=tethered, durable=durable)
        passwords: dict[str, str] = {}
        if guarded and mode != "external":
            passwords = {user.name: state.secret(f"nats/{user.name}") for user in BUS_USERS}
        if nats_nodes > 1 and mode != "local":
            raise DevStackError("only OQL_STACK=local has several nodes of NATS")
        size = StackSize(frozenset(need), zookeeper_nodes, nats_nodes, databases, passwords)
        stack = cls(state, _servers(state, mode, size, terms), passwords)
        try:
            if mode == "containers":
                engine.prepare(state, disposable=terms.disposable)
            stack._start_all(report)
        except BaseException:
            if tethered:
                stack.stop(purge=False)
            raise
        return stack

    @property
    def nats_url(self) -> str:
        """`nats://host:port`, several separated by commas; of guarded servers with the operator's
        name and password.
        """
        return self.nats_url_of(OPERATOR)

    @property
    def pg_url(self) -> str:
        """`postgresql://postgres@host:port/<first database>`."""
        return self["postgres"].endpoint

    @property
    def pg_replica_url(self) -> str:
        """The same database on the hot standby."""
        return self["postgres-replica"].endpoint

    @property
    def redis_url(self) -> str:
        """`redis://host:port/0`."""
        return self["redis"].endpoint

    @property
    def zookeeper(self) -> str:
        """`host:port`, several separated by commas."""
        nodes = [server for name, server in self._servers.items() if name.startswith("zookeeper-")]
        return ",".join(node.endpoint for node in nodes) if nodes else self["zookeeper"].endpoint

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses of the services that it was started with, by their variable of `dev.env`."""
        found: dict[str, str] = {}
        if self.has("nats"):
            found["OQL_NATS_URL"] = self.nats_url
        if self.has("postgres"):
            found["OQL_PG_URL"] = self.pg_url
        if self.has("postgres-replica"):
            found["OQL_PG_REPLICA_URL"] = self.pg_replica_url
        if self.has("redis"):
            found["OQL_REDIS_URL"] = self.redis_url
        if self.has("zookeeper"):
            found["OQL_ZOOKEEPER"] = self.zookeeper
        return found

    def nats_url_of(self, user: str) -> str:
        """The address of NATS for one of the users of `wire.access`."""
        password = self._bus_passwords.get(user)
        who = "" if password is None else f"{user}:{password}@"
        nodes = [s for name, s in self._servers.items() if name.startswith("nats-")]
        return ",".join(
            node.endpoint.replace("://", f"://{who}", 1) for node in nodes or [self["nats"]]
        )

    @property
    def nats_nodes(self) -> int:
        """How many servers of NATS there are."""
        return sum(name.startswith("nats-") for name in self._servers)

    def pg_database_url(self, database: str) -> str:
        """The address of another database of the primary."""
        return f"{self.pg_url.rpartition('/')[0]}/{database}"

    def has(self, service: str) -> bool:
        """Whether it was started with this service, as `redis`."""
        return any(name.rpartition("-")[0] == service for name in self._servers)

    def __getitem__(self, name: str) -> Server:
        """The server `<service>-<n>`; `<service>` alone is its first.

        Raises:
            DevStackError: The stack was started without it.
        """
        name = "postgres-replica" if name == "replica" else name
        server = self._servers.get(name) or self._servers.get(f"{name}-1")
        if server is None:
            raise DevStackError(f"this stack has no {name}: add it to `need`")
        return server

    @property
    def names(self) -> tuple[str, ...]:
        """The servers of this stack."""
        return tuple(self._servers)

    def kill(self, name: str) -> None:
        """End a server with SIGKILL, as a power failure of its machine would."""
        self[name].kill()

    def freeze(self, name: str) -> None:
        """Stop a server from running; its connections stay open and hang."""
        self[name].freeze()

    def thaw(self, name: str) -> None:
        """Let a frozen server run on."""
        self[name].thaw()

    def restart(self, name: str) -> None:
        """Stop a server if it runs, start it on the same port with the same data."""
        server = self[name]
        server.stop()
        server.start(keep_port=True)

    def stop(self, *, purge: bool = True) -> None:
        """Stop everything, the last started first; may be called twice.

        Args:
            purge: Remove the data too.
        """
        replicas = [name for name in self._servers if name.startswith("postgres-replica")]
        together([self._servers[name].stop for name in replicas])
        together([server.stop for name, server in self._servers.items() if name not in replicas])
        if self.state.leave() == "containers":
            engine.stop_all(self.state)
        if purge:
            purge_all(self.state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_all(self, report: Callable[[str], None]) -> None:
        def start(server: Server) -> None:
            server.start()
            report(f"{server.name} is ready at {server.endpoint}")

        def start_postgres() -> None:
            for name in ("postgres-1", "postgres-replica-1"):
                if name in self._servers:
                    start(self._servers[name])

        jobs: list[Callable[[], None]] = [start_postgres]
        for name, server in self._servers.items():
            if not name.startswith("postgres"):
                jobs.append(lambda server=server: start(server))
        together(jobs)


def stop_recorded(state: StateDirectory) -> list[str]:
    """Stop everything that a state directory remembers, higher tiers first; the names."""
    found = ManagedProcess.recorded(state.run, state.logs)
    for tier in sorted({record.tier for record, _ in found}, reverse=True):
        together([process.stop for record, process in found if record.tier == tier])
    for left in state.run.glob("*.pid"):
        left.unlink()  # without a record beside it, it is nobody's
    contained = engine.stop_all(state) if state.leave() == "containers" else []
    return [*(process.name for _, process in found), *contained]


def purge_all(state: StateDirectory) -> None:
    """Remove all data of a stopped stack, and everything remembered; logs stay."""
    if state.has_containers:
        engine.remove_all(state)
    state.purge()


def _servers(state: StateDirectory, mode: StackMode, size: StackSize, terms: Terms) -> list[Server]:
    services = sorted(size.services())
    if mode == "external":
        return [ExternalServer(service) for service in services]
    if mode == "containers":
        return _containers(state, services, size, terms)
    servers: list[Server] = []
    if "nats" in services:
        nodes = size.nats_nodes
        servers += [
            NatsServer(state, terms, size.bus_passwords, index, nodes)
            for index in range(1, nodes + 1)
        ]
    if "redis" in services:
        servers.append(RedisServer(state, "redis-1", terms))
    if "zookeeper" in services:
        nodes = size.zookeeper_nodes
        servers += [ZooKeeperNode(state, index, nodes, terms) for index in range(1, nodes + 1)]
    if "postgres" in services:
        primary = PostgresPrimary(state, terms, size.databases)
        servers.append(primary)
        if "postgres-replica" in services:
            servers.append(PostgresReplica(state, terms, primary))
    return servers


def _containers(
    state: StateDirectory, services: list[str], size: StackSize, terms: Terms
) -> list[Server]:
    servers: list[Server] = []
    if "nats" in services:
        servers.append(NatsContainer(state, terms, size.bus_passwords))
    if "redis" in services:
        servers.append(ContainerServer(state, "redis", terms))
    if "zookeeper" in services:
        nodes = size.zookeeper_nodes
        servers += [ZooKeeperContainer(state, terms, index, nodes) for index in range(1, nodes + 1)]
    if "postgres" in services:
        primary = PostgresContainer(state, terms, size.databases)
        servers.append(primary)
        if "postgres-replica" in services:
            servers.append(PostgresContainer(state, terms, primary=primary))
    return servers


def together(jobs: Sequence[Callable[[], None]]) -> None:
    """Run all at once and to their end; the first error is raised, others are attached to it."""
    if not jobs:
        return
    with ThreadPoolExecutor(max_workers=len(jobs)) as pool:
        errors = [
            error for done in [pool.submit(job) for job in jobs] if (error := done.exception())
        ]
    if errors:
        for other in errors[1:]:
            errors[0].add_note(f"also: {other}")
        raise errors[0]
