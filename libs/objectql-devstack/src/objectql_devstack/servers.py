"""What every data service can do, and the two that need no preparation: NATS and Redis."""

from __future__ import annotations

import abc
import hashlib
import json
import os
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from objectql.wire.access import authorization
from objectql_devstack import programs
from objectql_devstack.environment import inherited
from objectql_devstack.errors import ServerFailedError
from objectql_devstack.ports import is_free
from objectql_devstack.probes import answers_nats, answers_redis
from objectql_devstack.processes import ManagedProcess
from objectql_devstack.spawning import Launch, RunUser
from objectql_devstack.state import StateDirectory

LOOPBACK = "127.0.0.1"
_READY_WITHIN_S = 60.0
_PORT_ATTEMPTS = 3


class Server(Protocol):
    """One data service, wherever it runs."""

    @property
    def name(self) -> str:
        """`<service>-<n>`."""
        ...

    @property
    def endpoint(self) -> str:
        """Its address in the form that its clients take; known after `start`."""
        ...

    def start(self, *, keep_port: bool = False) -> None:
        """Return when it is ready; a running one is left alone.

        Args:
            keep_port: Clients know the port: rather fail than take another.
        """
        ...

    def is_ready(self) -> bool:
        """Whether it answers now."""
        ...

    def stop(self) -> None:
        """End it in good order, by force after a while."""
        ...

    def kill(self) -> None:
        """End it at once, as a power failure would."""
        ...

    def freeze(self) -> None:
        """Stop it from running; its connections stay open and hang."""
        ...

    def thaw(self) -> None:
        """Let it run on."""
        ...


@dataclass(frozen=True)
class Terms:
    """How the servers of one stack run.

    Attributes:
        tethered: They die with the process that started them.
        durable: Commits reach the disk; without it a crash of the *machine* may lose them.
    """

    tethered: bool
    durable: bool

    @property
    def disposable(self) -> bool:
        """Whether nobody wants the data again when the servers have gone."""
        return self.tethered and not self.durable


class NativeServer(abc.ABC):
    """A data service that is a process of this machine."""

    tier = 0
    stop_signal: signal.Signals = signal.SIGTERM

    def __init__(self, state: StateDirectory, name: str, terms: Terms) -> None:
        self.state = state
        self.name = name
        self.terms = terms
        self.port = 0
        self.managed: ManagedProcess = state.process(
            name, tier=self.tier, tethered=terms.tethered, stop_signal=self.stop_signal
        )

    @property
    @abc.abstractmethod
    def endpoint(self) -> str: ...

    @property
    def data(self) -> Path:
        """Where it stores; may be another place than `state.data`, see `programs.reachable_folder`."""
        return self.state.data / self.name

    @property
    def user(self) -> RunUser | None:
        """The account it runs as; None for ours."""
        return None

    @abc.abstractmethod
    def command(self) -> tuple[str, ...]:
        """The program and its arguments, for the port settled before."""

    @abc.abstractmethod
    def is_ready(self) -> bool: ...

    def prepare(self) -> None:
        """Make what must be there before the program runs; called only when it does not run."""
        self.data.mkdir(parents=True, exist_ok=True)

    def start(self, *, keep_port: bool = False) -> None:
        """See `Server.start`; a server that would be started differently today is restarted.

        Raises:
            PortTakenError: `keep_port`, and somebody else has the port.
            ServerFailedError: It did not get ready.
        """
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            alive = self.managed.is_alive()
            self.settle_ports(alive=alive, keep=keep_port)
            try:
                self._start(alive=alive)
            except ServerFailedError:
                taken = not self.managed.is_alive() and not is_free(self.port)
                if keep_port or not taken or attempt == _PORT_ATTEMPTS:
                    self.managed.kill()
                    raise
            else:
                return

    def settle_ports(self, *, alive: bool, keep: bool) -> None:
        """Decide on which ports it listens."""
        self.port = self.state.port(self.name, in_use=alive, keep=keep)

    def stop(self) -> None:
        self.managed.stop()

    def kill(self) -> None:
        self.managed.kill()

    def freeze(self) -> None:
        self.managed.freeze()

    def thaw(self) -> None:
        self.managed.thaw()

    def _start(self, *, alive: bool) -> None:
        command = self.command()
        if alive and not self.managed.matches(command, {}):
            self.managed.stop()
            alive = False
        if not alive:
            self.managed.kill()  # what a dead one may have left behind
            self.prepare()
            environment = inherited(hermetic=True) | {"LC_ALL": "C.UTF-8"}
            self.managed.launch(Launch(command, environment, self.user), {})
        self.managed.wait_ready(self.is_ready, _READY_WITHIN_S)


def bus_configuration(state: StateDirectory, passwords: Mapping[str, str]) -> Path:
    """A configuration file by which NATS lets in the users of `wire.access`, each to its subjects.

    It misses whoever is silent after seconds, not after its own two minutes: until then one that is
    cut off is still handed requests.
    Its name changes with its content, so a server that runs on another one is restarted.
    """
    settings = {"ping_interval": "2s", "ping_max": 2, "authorization": authorization(passwords)}
    text = json.dumps(settings, indent=2)
    path = state.data / f"nats-{hashlib.sha256(text.encode()).hexdigest()[:16]}.conf"
    if not path.exists():
        for old in state.data.glob("nats-*.conf"):
            old.unlink(missing_ok=True)
        # Whole or not there: nodes of a cluster, which start together, read the same file.
        number, draft = tempfile.mkstemp(dir=state.data)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
        Path(draft).replace(path)
    return path


class NatsServer(NativeServer):
    """NATS with JetStream on; where there are `passwords` it lets in nobody without one.

    It is node `index` (from 1) of `nodes`; several form a cluster.
    """

    def __init__(
        self,
        state: StateDirectory,
        terms: Terms,
        passwords: Mapping[str, str],
        index: int = 1,
        nodes: int = 1,
    ) -> None:
        super().__init__(state, f"nats-{index}", terms)
        self._passwords = passwords
        self._index = index
        self._nodes = nodes

    @property
    def endpoint(self) -> str:
        return f"nats://{LOOPBACK}:{self.port}"

    def command(self) -> tuple[str, ...]:
        listen = ("--addr", LOOPBACK, "--port", str(self.port), "--name", self.name)
        command = (programs.nats_server(), *listen, "--jetstream", "--store_dir", str(self.data))
        if self._nodes > 1:
            routes = [self._route(peer) for peer in range(1, self._nodes + 1)]
            clustered = ("--cluster_name", "oql", "--cluster", routes[self._index - 1])
            command = (*command, *clustered, "--routes", ",".join(routes))
        if not self._passwords:
            return command
        return (*command, "--config", str(bus_configuration(self.state, self._passwords)))

    def _route(self, peer: int) -> str:
        # Whether its port is free cannot be asked: the peer may listen on it already.
        return f"nats://{LOOPBACK}:{self.state.port(f'nats-{peer}/route', in_use=True)}"

    def is_ready(self) -> bool:
        return answers_nats(LOOPBACK, self.port)


class RedisServer(NativeServer):
    """Valkey, speaking Redis, as a cache: nothing is written to disk, a restarted one is empty."""

    @property
    def endpoint(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def command(self) -> tuple[str, ...]:
        listen = ("--bind", LOOPBACK, "--port", str(self.port), "--dir", str(self.data))
        return (programs.redis_server(), *listen, "--save", "", "--appendonly", "no")

    def is_ready(self) -> bool:
        return answers_redis(LOOPBACK, self.port)
