"""The data services as Docker containers, driven through the `docker` program.

Published on the loopback interface only, labelled with the state directory, removed by `down`. The replica
shares the primary's network: there it reaches the primary on loopback, from where the public image lets a
replica in. (After a restart of the primary's container the replica's must be restarted too.)
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from objectql_devstack.environment import setting
from objectql_devstack.errors import DevStackError, ServerFailedError
from objectql_devstack.pgwire import PgConnection, answers_postgres, is_streaming
from objectql_devstack.probes import answers_nats, answers_redis, serves_zookeeper
from objectql_devstack.processes import wait_until
from objectql_devstack.servers import LOOPBACK
from objectql_devstack.state import StateDirectory

LABEL = "objectql.stack"
_READY_WITHIN_S = 60.0
_REPLICA_INSIDE = 5433

_POSTGRES = (
    *("-c", "max_connections=200"),
    *("-c", "max_prepared_transactions=64"),
    *("-c", "wal_level=replica"),
    *("-c", "wal_keep_size=512MB"),
    *("-c", "hot_standby_feedback=on"),
)
_BECOME_REPLICA = """\
until pg_isready -q -h 127.0.0.1; do sleep 0.1; done
[ -s "$PGDATA/PG_VERSION" ] || pg_basebackup -h 127.0.0.1 -U postgres -D "$PGDATA" -R -X stream -c fast
exec postgres -p 5433 "$@"
"""


@dataclass(frozen=True)
class Recipe:
    """How one service is run from its image.

    Attributes:
        image: Variable that names the image, and the public name.
        inside: The port on which it listens inside of its container.
        url: Its endpoint, with the published port for `{port}`.
        options: Further options of `docker run`.
        arguments: What follows the image.
        joins: The service whose network (and published ports) it shares.
    """

    image: tuple[str, str]
    inside: int
    url: str
    ready: Callable[[int], bool]
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    joins: str | None = None


_POSTGRES_IMAGE = ("OQL_IMAGE_POSTGRES", "postgres:18")
_POSTGRES_URL = "postgresql://postgres@127.0.0.1:{port}/objectql"

RECIPES: dict[str, Recipe] = {
    "nats": Recipe(
        image=("OQL_IMAGE_NATS", "nats:2"),
        inside=4222,
        url="nats://127.0.0.1:{port}",
        ready=lambda port: answers_nats(LOOPBACK, port),
        arguments=("--jetstream", "--store_dir", "/tmp/jetstream"),  # noqa: S108 - inside the container
    ),
    "postgres": Recipe(
        image=_POSTGRES_IMAGE,
        inside=5432,
        url=_POSTGRES_URL,
        ready=answers_postgres,
        options=("--env", "POSTGRES_HOST_AUTH_METHOD=trust"),
        arguments=("postgres", *_POSTGRES),
    ),
    "postgres-replica": Recipe(
        image=_POSTGRES_IMAGE,
        inside=_REPLICA_INSIDE,
        url=_POSTGRES_URL,
        ready=is_streaming,
        options=(
            *("--user", "postgres", "--entrypoint", "bash"),
            *("--env", "PGDATA=/var/lib/postgresql/replica"),
        ),
        arguments=("-c", _BECOME_REPLICA, "replica", *_POSTGRES),
        joins="postgres",
    ),
    "redis": Recipe(
        image=("OQL_IMAGE_REDIS", "redis:7"),
        inside=6379,
        url="redis://127.0.0.1:{port}/0",
        ready=lambda port: answers_redis(LOOPBACK, port),
        arguments=("redis-server", "--save", "", "--appendonly", "no"),
    ),
    "zookeeper": Recipe(
        image=("OQL_IMAGE_ZOOKEEPER", "zookeeper:3.8"),
        inside=2181,
        url="127.0.0.1:{port}",
        ready=lambda port: serves_zookeeper(LOOPBACK, port),
        options=(
            *("--env", "ZOO_4LW_COMMANDS_WHITELIST=*"),
            *("--env", "ZOO_TICK_TIME=500"),
            *("--env", "ZOO_ADMINSERVER_ENABLED=false"),
        ),
    ),
}


def docker(*arguments: str, check: bool = True) -> str:
    """What the docker program prints.

    Raises:
        DevStackError: There is no such program, no engine answers, or (with `check`) the command failed.
    """
    try:
        done = subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True)
    except FileNotFoundError as absent:
        raise DevStackError("OQL_STACK=containers needs the docker program") from absent
    if done.returncode and (
        "daemon running" in done.stderr or "connect to the Docker" in done.stderr
    ):
        raise DevStackError(f"no Docker engine answers: {done.stderr.strip()}")
    if done.returncode and check:
        raise DevStackError(f"docker {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def remove_all(state: StateDirectory) -> None:
    """Remove every container of this state directory, with its anonymous volumes."""
    if found := docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={state.path}").split():
        docker("rm", "--force", "--volumes", *found)


class ContainerServer:
    """One service in a container; its published port and its data survive a restart."""

    def __init__(
        self, state: StateDirectory, service: str, databases: tuple[str, ...] = ()
    ) -> None:
        self.name = f"{service}-1"
        self.port = 0
        self._service = service
        self._state = state
        self._recipe = RECIPES[service]
        self._databases = databases

    @property
    def endpoint(self) -> str:
        """Its published address."""
        return self._recipe.url.format(port=self.port)

    def start(self, *, keep_port: bool = False) -> None:
        """Run, start or keep the container; return when the service answers.

        Raises:
            ServerFailedError: It did not get ready; its log is quoted.
        """
        status = docker("inspect", "--format", "{{.State.Status}}", self._container(), check=False)
        self.port = self._state.port(self.name, in_use=bool(status), keep=keep_port)
        if status in {"exited", "created"}:
            docker("start", self._container())
        elif not status:
            docker(*self.run_command())
        if not wait_until(self.is_ready, _READY_WITHIN_S, poll_s=0.1):
            log = docker("logs", "--tail", "20", self._container(), check=False)
            raise ServerFailedError(
                self.name, f"was not ready within {_READY_WITHIN_S:g} s", tail=log
            )
        if self._databases:
            with PgConnection(self.port) as primary:
                present = {row[0] for row in primary.query("select datname from pg_database")}
                for name in self._databases:
                    if name not in present:
                        primary.query(f'create database "{name}"')

    def run_command(self) -> tuple[str, ...]:
        """The arguments of docker that make the container."""
        recipe = self._recipe
        variable, public = recipe.image
        if recipe.joins:
            network = ("--network", f"container:{self._container(recipe.joins)}")
        else:
            ports = [(self.port, recipe.inside)]
            ports += [
                (self._state.port(f"{service}-1", in_use=True), other.inside)
                for service, other in RECIPES.items()
                if other.joins == self._service
            ]
            network = tuple(
                word
                for out, inside in ports
                for word in ("--publish", f"{LOOPBACK}:{out}:{inside}")
            )
        identity = ("--name", self._container(), "--label", f"{LABEL}={self._state.path}")
        image = setting(variable, public)
        return ("run", "--detach", *identity, *network, *recipe.options, image, *recipe.arguments)

    def is_ready(self) -> bool:
        """Whether the service answers now."""
        return self._recipe.ready(self.port)

    def stop(self) -> None:
        """Stop the container; `remove_all` removes it."""
        docker("stop", "--time", "10", self._container(), check=False)  # there may be none

    def kill(self) -> None:
        """End it with SIGKILL."""
        docker("kill", self._container())

    def freeze(self) -> None:
        """Pause it."""
        docker("pause", self._container())

    def thaw(self) -> None:
        """Let it run on."""
        docker("unpause", self._container())

    def _container(self, service: str | None = None) -> str:
        digest = hashlib.sha256(str(self._state.path).encode()).hexdigest()[:8]
        return f"objectql-{digest}-{service or self._service}-1"
