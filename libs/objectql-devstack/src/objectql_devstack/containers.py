"""The data services as Docker containers.

Each is published on the loopback interface only. A container is its data: `down` stops it, `up` starts it
again, and only `down --purge` (or the end of a test) removes it. Among themselves they talk over a network of their own, where a container has the name of its service: so any of them can be killed
or restarted alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from objectql_devstack.engine import container_name, docker, identity
from objectql_devstack.environment import setting
from objectql_devstack.errors import DevStackError, ServerFailedError
from objectql_devstack.pgwire import PgConnection, answers_postgres, is_streaming
from objectql_devstack.postgres import DURABLE, SHARED_OPTIONS, VOLATILE
from objectql_devstack.probes import answers_nats, answers_redis, serves_zookeeper
from objectql_devstack.processes import wait_until
from objectql_devstack.servers import LOOPBACK, Terms, bus_configuration
from objectql_devstack.state import StateDirectory

_READY_WITHIN_S = 60.0
_MADE = "objectql.made"

# The public image lets a replica in from its own host only; this is added once, and needs no own image.
_REPLICAS_MAY_ENTER = (
    "select from pg_hba_file_rules where 'replication' = any(database) and address = 'all'"
)
_LET_REPLICAS_IN = (
    "copy (select 'host replication all all trust') to program 'cat >> \"{hba_file}\"'"
)

# A copy counts only when it is complete. Runs as `postgres`, in a folder of that account.
_BECOME_REPLICA = """\
if [ ! -e "$PGDATA" ]; then
  rm -rf "$PGDATA.new"
  pg_basebackup -h postgres-1 -U postgres -D "$PGDATA.new" -R -X stream -c fast
  chmod 700 "$PGDATA.new"
  mv "$PGDATA.new" "$PGDATA"
fi
exec postgres "$@"
"""


@dataclass(frozen=True)
class Recipe:
    """How one service is run from its image.

    Attributes:
        image: Variable that names the image, and the public name.
        inside: The port on which it listens inside of its container.
        url: Its endpoint, with the published port for `{port}`.
        environment: Variables of the container.
        options: Further options of `docker run`.
        arguments: What follows the image.
    """

    image: tuple[str, str]
    inside: int
    url: str
    ready: Callable[[int], bool]
    environment: Mapping[str, str]
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


POSTGRES_IMAGE = ("OQL_IMAGE_POSTGRES", "postgres:18")
_POSTGRES_URL = f"postgresql://postgres@{LOOPBACK}:{{port}}/objectql"

RECIPES: dict[str, Recipe] = {
    "nats": Recipe(
        image=("OQL_IMAGE_NATS", "nats:2"),
        inside=4222,
        url=f"nats://{LOOPBACK}:{{port}}",
        ready=lambda port: answers_nats(LOOPBACK, port),
        environment={},
        arguments=("--jetstream", "--store_dir", "/tmp/jetstream"),  # noqa: S108 - inside the container
    ),
    "postgres": Recipe(
        image=POSTGRES_IMAGE,
        inside=5432,
        url=_POSTGRES_URL,
        ready=answers_postgres,
        environment={
            "POSTGRES_HOST_AUTH_METHOD": "trust",
            # The same order of text as everywhere: by code point. Known to every version of the image.
            "POSTGRES_INITDB_ARGS": "--encoding=UTF8 --locale=C.UTF-8",
        },
        arguments=("postgres",),
    ),
    "postgres-replica": Recipe(
        image=POSTGRES_IMAGE,
        inside=5432,
        url=_POSTGRES_URL,
        ready=is_streaming,
        environment={"PGDATA": "/var/lib/postgresql/replica"},
        options=("--user", "postgres", "--entrypoint", "bash"),
        arguments=("-euc", _BECOME_REPLICA, "replica"),
    ),
    "redis": Recipe(
        image=("OQL_IMAGE_REDIS", "redis:7"),
        inside=6379,
        url=f"redis://{LOOPBACK}:{{port}}/0",
        ready=lambda port: answers_redis(LOOPBACK, port),
        environment={},
        arguments=("redis-server", "--protected-mode", "no", "--save", "", "--appendonly", "no"),
    ),
    "zookeeper": Recipe(
        image=("OQL_IMAGE_ZOOKEEPER", "zookeeper:3.8"),
        inside=2181,
        url=f"{LOOPBACK}:{{port}}",
        ready=lambda port: serves_zookeeper(LOOPBACK, port),
        environment={
            "ZOO_4LW_COMMANDS_WHITELIST": "*",
            "ZOO_TICK_TIME": "500",
            "ZOO_INIT_LIMIT": "20",
            "ZOO_SYNC_LIMIT": "10",
            "ZOO_MAX_CLIENT_CNXNS": "0",
            "ZOO_ADMINSERVER_ENABLED": "false",
            "JVMFLAGS": "-Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        },
    ),
}


class ContainerServer:
    """One service in a container; its published port and its data survive a restart."""

    def __init__(self, state: StateDirectory, service: str, terms: Terms, index: int = 1) -> None:
        self.name = f"{service}-{index}"
        self.port = 0
        self._state = state
        self._terms = terms
        self._recipe = RECIPES[service]

    @property
    def endpoint(self) -> str:
        """Its published address."""
        return self._recipe.url.format(port=self.port)

    def environment(self) -> Mapping[str, str]:
        """The variables of the container."""
        return self._recipe.environment

    def options(self) -> tuple[str, ...]:
        """Further options of `docker run`."""
        return self._recipe.options

    def arguments(self) -> tuple[str, ...]:
        """What follows the image."""
        return self._recipe.arguments

    def start(self, *, keep_port: bool = False) -> None:
        """Run, start or keep the container; return when the service answers.

        Raises:
            DevStackError: There is one that was made from another image or with other settings.
            PortTakenError: Somebody else has the port that was published, or is to be kept.
            ServerFailedError: It did not get ready; its log is quoted.
        """
        status = self._status()
        if status:
            self._check_made_alike()
        # What a container publishes is settled when it is made.
        self.port = self._state.port(
            self.name, in_use=status in {"running", "paused"}, keep=keep_port or bool(status)
        )
        if status == "paused":
            docker("unpause", self._container)
        elif status and status != "running":
            docker("start", self._container)
        elif not status:
            self._run()
        if not wait_until(self.is_ready, _READY_WITHIN_S, poll_s=0.05):
            log = docker("logs", "--tail", "20", self._container, check=False)
            raise ServerFailedError(
                self.name, f"was not ready within {_READY_WITHIN_S:g} s", tail=log
            )

    def run_command(self) -> tuple[str, ...]:
        """The arguments of docker that make the container."""
        recipe = self._recipe
        known = identity(self._state, self.name, disposable=self._terms.disposable)
        made = ("--label", f"{_MADE}={self._digest()}")
        publish = ("--publish", f"{LOOPBACK}:{self.port}:{recipe.inside}")
        variables = [
            word
            for name, value in self.environment().items()
            for word in ("--env", f"{name}={value}")
        ]
        return (
            *("run", "--detach", *known, *made, *publish, *variables, *self.options()),
            *(setting(*recipe.image), *self.arguments()),
        )

    def is_ready(self) -> bool:
        """Whether the service answers now."""
        return self._recipe.ready(self.port)

    def stop(self) -> None:
        """Stop the container; its data stay in it."""
        status = self._status()
        if status == "paused":
            docker("unpause", self._container)  # or it would not hear the signal
        if status in {"running", "paused"}:
            docker("stop", "--time", "10", self._container)

    def kill(self) -> None:
        """End it with SIGKILL."""
        docker("kill", self._container)

    def freeze(self) -> None:
        """Pause it."""
        docker("pause", self._container)

    def thaw(self) -> None:
        """Let it run on."""
        docker("unpause", self._container)

    def _run(self) -> None:
        try:
            docker(*self.run_command())
        except DevStackError:
            docker("rm", "--force", "--volumes", self._container, check=False)
            raise

    def _digest(self) -> str:
        """Tells containers apart that were made from another image, or with other settings."""
        parts = (setting(*self._recipe.image), dict(self.environment()), self.arguments())
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def _check_made_alike(self) -> None:
        form = f'{{{{index .Config.Labels "{_MADE}"}}}}'
        if docker("inspect", "--format", form, self._container) != self._digest():
            raise DevStackError(
                f"the container of {self.name} was made from another image or with other settings: "
                "set them as they were, or remove it and its data by `objectql-devstack down --purge`"
            )

    def _status(self) -> str:
        """Docker's word for its condition; empty where there is no such container."""
        return docker("inspect", "--format", "{{.State.Status}}", self._container, check=False)

    @property
    def _container(self) -> str:
        return container_name(self._state, self.name)


class NatsContainer(ContainerServer):
    """NATS; where there are `passwords` it lets in nobody without one."""

    def __init__(self, state: StateDirectory, terms: Terms, passwords: Mapping[str, str]) -> None:
        super().__init__(state, "nats", terms)
        self._configuration = bus_configuration(state, passwords) if passwords else None

    def options(self) -> tuple[str, ...]:
        path = self._configuration
        return ("--volume", f"{path}:/{path.name}:ro") if path else ()

    def arguments(self) -> tuple[str, ...]:
        path = self._configuration
        return (*super().arguments(), *(("--config", f"/{path.name}") if path else ()))


class PostgresContainer(ContainerServer):
    """The primary, with its databases, or (`primary` given) its streaming hot standby."""

    def __init__(
        self,
        state: StateDirectory,
        terms: Terms,
        databases: tuple[str, ...] = (),
        primary: PostgresContainer | None = None,
    ) -> None:
        super().__init__(state, "postgres-replica" if primary else "postgres", terms)
        self._databases = databases
        self._primary = primary

    def arguments(self) -> tuple[str, ...]:
        options = SHARED_OPTIONS | (DURABLE if self._terms.durable else VOLATILE)
        options |= {"wal_keep_size": "512MB"}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return (*super().arguments(), *settings)

    def start(self, *, keep_port: bool = False) -> None:
        super().start(keep_port=keep_port)
        if self._primary:
            return
        with PgConnection(self.port) as primary:
            if not primary.query(_REPLICAS_MAY_ENTER):
                ((hba_file,),) = primary.query("show hba_file")
                primary.query(_LET_REPLICAS_IN.format(hba_file=hba_file))
                primary.query("select pg_reload_conf()")
            present = {row[0] for row in primary.query("select datname from pg_database")}
            for name in self._databases:
                if name not in present:
                    primary.query(f'create database "{name}"')

    def is_ready(self) -> bool:
        """Whether it answers; a replica also follows its primary, unless that is away."""
        if self._primary and not self._primary.is_ready():
            return answers_postgres(self.port)
        return super().is_ready()


class ZooKeeperContainer(ContainerServer):
    """Node `index` (from 1) of `nodes`; more than one form an ensemble."""

    def __init__(self, state: StateDirectory, terms: Terms, index: int, nodes: int) -> None:
        super().__init__(state, "zookeeper", terms, index)
        self._index = index
        self._nodes = nodes

    def environment(self) -> Mapping[str, str]:
        if self._nodes == 1:
            return super().environment()
        peers = [f"server.{n}=zookeeper-{n}:2888:3888;2181" for n in range(1, self._nodes + 1)]
        return {
            **super().environment(),
            "ZOO_MY_ID": str(self._index),
            "ZOO_SERVERS": " ".join(peers),
        }
