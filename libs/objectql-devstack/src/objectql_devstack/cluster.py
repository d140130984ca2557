"""The whole cluster on this machine: data services, kernels, gateways, coordinators.

`start` brings about the wanted state from whatever runs: it starts what is missing or has died, restarts
what would be started differently today, stops what is one too many, and leaves the rest alone.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from objectql_devstack.environment import inherited, port_setting
from objectql_devstack.errors import DevStackError, ServerFailedError
from objectql_devstack.probes import answers_http
from objectql_devstack.processes import ManagedProcess
from objectql_devstack.services import HOST, SERVICES, Service, Wiring
from objectql_devstack.spawning import Launch
from objectql_devstack.stack import SERVICES as DATA_SERVICES
from objectql_devstack.stack import DataStack, purge_all, stop_recorded, together
from objectql_devstack.state import StateDirectory
from objectql_devstack.status import Status, status_of
from objectql_devstack.tokens import admin_token, is_lasting

_READY_WITHIN_S = 60.0


@dataclass(frozen=True)
class Member:
    """One process of the cluster, with its ports."""

    service: Service
    name: str
    port: int
    admin_port: int
    managed: ManagedProcess

    def is_ready(self) -> bool:
        """Whether it says of itself that it is ready."""
        return answers_http(HOST, self.admin_port, "/ready")


def _nothing(_line: str) -> None: ...


class Cluster:
    """One cluster in the state directory `root/.objectql`.

    Args:
        root: The project, or any folder for a cluster of its own.
        ports: `preferred` takes the public ports of `services.SERVICES` and the environment, `free` any.
        kernels: How many kernel processes.
        metadata: Folders that the kernels load.
        ephemeral: For tests: it dies with this process, ignores the developer's `OQL_*`, saves the disk,
            and leaves nothing but logs.
        tethered: The processes die with this one; by default those of an ephemeral cluster.
        need: The data services; by default all.
        services: The rows to run; those that are not installed are left out.
        counts: Other numbers of processes than the rows say, by service.
        extra_env: More environment for one process (`kernel-1`) or for all of a service (`kernel`).
        databases: Databases of the primary; those after the first become data sources of the kernels.
        zookeeper_nodes: More than one form an ensemble.
        nats_nodes: More than one form a cluster, each with a copy of the stream of events.
        loaders: Commands that are run in `root`, with `env`, when everything is ready.
        report: Receives a line of progress for every process.
    """

    def __init__(
        self,
        root: Path,
        *,
        ports: Literal["free", "preferred"] = "preferred",
        kernels: int = 2,
        metadata: Sequence[Path] = (),
        ephemeral: bool = False,
        tethered: bool | None = None,
        need: frozenset[str] = DATA_SERVICES,
        services: Sequence[Service] = SERVICES,
        counts: Mapping[str, int] | None = None,
        extra_env: Mapping[str, Mapping[str, str]] | None = None,
        databases: tuple[str, ...] = ("objectql",),
        zookeeper_nodes: int = 1,
        nats_nodes: int = 1,
        loaders: Sequence[tuple[str, ...]] = (),
        report: Callable[[str], None] = _nothing,
    ) -> None:
        self.root = root.absolute()
        self.state = StateDirectory(self.root / ".objectql")
        self._ports = ports
        self._metadata = tuple(folder.absolute() for folder in metadata)
        self._ephemeral = ephemeral
        self._tethered = ephemeral if tethered is None else tethered
        self._need = need
        self._services = [service for service in services if service.is_installed]
        self._counts = {"kernel": kernels} | dict(counts or {})
        self._extra_env = extra_env or {}
        self._databases = databases
        self._zookeeper_nodes = zookeeper_nodes
        self._nats_nodes = nats_nodes
        self._loaders = loaders
        self._report = report
        self._stack: DataStack | None = None
        self._members: dict[str, Member] = {}

    @property
    def data(self) -> DataStack:
        """The data services, once started.

        Raises:
            DevStackError: `start` was not called.
        """
        if self._stack is None:
            raise DevStackError("the cluster is not started")
        return self._stack

    @property
    def names(self) -> tuple[str, ...]:
        """The processes of the cluster, without the data services."""
        return tuple(self._members)

    def port_of(self, name: str) -> int:
        """What the process `name` (as `gateway-ws-2`) serves to clients."""
        return self._members[name].port

    @property
    def env(self) -> dict[str, str]:
        """The addresses and secrets for clients; what `dev.env` contains."""
        secret = self.state.secret("jwt")
        token = self.state.secret(
            "admin_token",
            make=lambda: admin_token(secret),
            is_good=lambda token: is_lasting(token, secret),
        )
        addresses: dict[str, str] = {}
        for member in self._members.values():
            if member.service.public and member.name.endswith("-1"):
                variable, form = member.service.public.address
                addresses[variable] = form.format(port=member.port)
        return (
            addresses
            | self.data.addresses
            | {
                "OQL_ADMIN_TOKEN": token,
                "OQL_JWT_SECRET": secret,
            }
        )

    def address(self, name: str) -> str:
        """`host:port` where a process serves its clients.

        Raises:
            DevStackError: There is no such process, or it has no clients.
        """
        member = self._members.get(name)
        if member is None or not member.port:
            raise DevStackError(f"{name} serves no clients")
        return f"{HOST}:{member.port}"

    def start(self) -> Self:
        """Return when every process is ready and the loaders have run; see the module for what changes.

        Raises:
            PortTakenError: Somebody else listens on a preferred port.
            DevStackError: A program is missing, a server or a loader failed. A tethered cluster is
                stopped again; any other stays as far as it came.
        """
        try:
            with self.state.locked():
                self._start()
        except BaseException:
            if self._tethered:
                self.stop()
            raise
        return self

    def stop(self, *, purge: bool | None = None) -> list[str]:
        """Stop all processes, those first that serve clients, and forget the addresses.

        Args:
            purge: Remove the data too; by default what an ephemeral cluster does.

        Returns:
            The names of what was stopped.
        """
        with self.state.locked():
            stopped = stop_recorded(self.state)
            self.state.env_file.unlink(missing_ok=True)
            if self._ephemeral if purge is None else purge:
                purge_all(self.state)
        self._stack = None
        self._members = {}
        return stopped

    def kill(self, name: str) -> None:
        """End a process or a data service with SIGKILL; it stays down until `restart` or `start`."""
        (self._members[name].managed if name in self._members else self.data[name]).kill()

    def freeze(self, name: str) -> None:
        """Stop a process or a data service from running; its connections stay open and hang."""
        (self._members[name].managed if name in self._members else self.data[name]).freeze()

    def thaw(self, name: str) -> None:
        """Let a frozen one run on."""
        (self._members[name].managed if name in self._members else self.data[name]).thaw()

    def restart(self, name: str) -> None:
        """Stop one if it runs and start it with the same ports and data; return when it is ready."""
        if name not in self._members:
            self.data.restart(name)
            return
        self._members[name].managed.stop()
        self._run(self._members[name])

    def wait_ready(self, name: str, timeout_s: float = _READY_WITHIN_S) -> None:
        """Return when a process says that it is ready.

        Raises:
            ServerFailedError: It died, or the time is over.
        """
        member = self._members[name]
        member.managed.wait_ready(member.is_ready, timeout_s)

    def pid(self, name: str) -> int:
        """The process id of a running process or native data service.

        Raises:
            ServerFailedError: It does not run.
        """
        return self._managed(name).running().pid

    def status(self) -> list[Status]:
        """Every process that was started and not stopped, also those of earlier commands."""
        return status_of(self.state)

    def ended(self) -> list[str]:
        """The processes that were started, were not stopped, and do not run."""
        recorded = ManagedProcess.recorded(self.state.run, self.state.logs)
        return [process.name for _, process in recorded if not process.is_alive()]

    def __enter__(self) -> Self:
        return self if self._members or self._stack else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        members = [
            self._member(service, index)
            for service in self._services
            for index in range(1, self._counts.get(service.name, service.count) + 1)
        ]
        self._stack = DataStack.start(
            self.state.path,
            self._need,
            zookeeper_nodes=self._zookeeper_nodes,
            nats_nodes=self._nats_nodes,
            durable=not self._ephemeral,
            databases=self._databases,
            guarded=True,
            tethered=self._tethered,
            report=self._report,
        )
        self._members = {member.name: member for member in members}
        self._stop_surplus()
        together([lambda member=member: self._run(member) for member in members])
        self._write_env()
        for command in self._loaders:
            self._load(command)

    def _member(self, service: Service, index: int) -> Member:
        name = f"{service.name}-{index}"
        managed = self.state.process(
            name, tier=service.tier, tethered=self._tethered, stop_signal=signal.SIGTERM
        )
        alive, port = managed.is_alive(), 0
        if service.public and self._ports == "preferred":
            port = port_setting(service.public.variable, service.public.default) + index - 1
            self.state.claim(name, port, in_use=alive, variable=service.public.variable)
        elif service.public:
            port = self.state.port(name, in_use=alive)
        admin_port = self.state.port(f"{name}/admin", in_use=alive)
        return Member(service, name, port, admin_port, managed)

    def _variables(self, member: Member) -> dict[str, str]:
        told = Wiring(
            instance=member.name,
            port=member.port,
            admin_port=member.admin_port,
            data=self.data,
            jwt_secret=self.state.secret("jwt"),
            context_key=self.state.secret("bus_context"),
            metadata=self._metadata,
            databases=self._databases[1:],
        )
        variables = dict(member.service.variables(told))
        for key in (member.service.name, member.name):
            variables |= self._extra_env.get(key, {})
        return variables

    def _run(self, member: Member) -> None:
        """Keep, start or restart one process; return when it is ready."""
        managed, variables = member.managed, self._variables(member)
        command = member.service.program
        alive = managed.is_alive()
        if alive and not managed.matches(command, variables):
            managed.stop()
            alive = False
        if not alive:
            environment = (
                inherited(hermetic=self._ephemeral) | variables | {"PYTHONUNBUFFERED": "1"}
            )
            managed.launch(Launch(command, environment, directory=self.root), variables)
        try:
            managed.wait_ready(member.is_ready, _READY_WITHIN_S)
        except ServerFailedError:
            managed.kill()
            raise
        where = f" at {HOST}:{member.port}" if member.port else ""
        self._report(f"{member.name} is ready{where}")

    def _stop_surplus(self) -> None:
        wanted = {*self._members, *self.data.names}
        recorded = ManagedProcess.recorded(self.state.run, self.state.logs)
        surplus = [process for _, process in recorded if process.name not in wanted]
        together([process.stop for process in surplus])
        for process in surplus:
            self._report(f"{process.name} is stopped")

    def _write_env(self) -> None:
        draft = self.state.env_file.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text("".join(f"{name}={value}\n" for name, value in self.env.items()))
        draft.rename(self.state.env_file)

    def _load(self, command: tuple[str, ...]) -> None:
        environment = inherited(hermetic=self._ephemeral) | self.env
        done = subprocess.run(command, check=False, cwd=self.root, env=environment)
        if done.returncode:
            raise DevStackError(f"the loader failed: {' '.join(command)}")

    def _managed(self, name: str) -> ManagedProcess:
        if name in self._members:
            return self._members[name].managed
        return self.state.process(
            self.data[name].name, tier=0, tethered=self._tethered, stop_signal=signal.SIGTERM
        )
