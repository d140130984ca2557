"""The Docker engine, driven through the `docker` program: what of it belongs to one state directory.

Containers and the network carry the state directory as a label, by which they are found again; those
that nobody wants again also carry their process, so that the next stack can remove what a killed one left.
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from objectql_devstack.errors import DevStackError
from objectql_devstack.processes import identify
from objectql_devstack.state import StateDirectory

_LABEL = "objectql.stack"
_OWNER = "objectql.owner"
_NAME = "objectql.name"


@dataclass(frozen=True)
class Container:
    """One container of a state directory, in whatever condition.

    Attributes:
        status: Docker's own word: `running`, `paused`, `exited`, ...
        pid: Its first process, as the engine's machine counts; 0 where none runs.
        disposable: Nobody wants it again when its stack has stopped.
    """

    name: str
    status: str
    pid: int
    disposable: bool


def docker(*arguments: str, check: bool = True) -> str:
    """What the docker program prints to its standard output.

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


def engine_problem() -> str | None:
    """Why no container can be run here; None if one can."""
    try:
        docker("version", "--format", "{{.Server.Version}}")
    except DevStackError as problem:
        return str(problem)
    return None


def network_name(state: StateDirectory) -> str:
    """The network in which the containers of a state directory know each other by name."""
    return f"objectql-{_digest(state)}"


def container_name(state: StateDirectory, name: str) -> str:
    """The engine's name of the container `<service>-<n>`."""
    return f"{network_name(state)}-{name}"


def identity(state: StateDirectory, name: str, *, disposable: bool) -> tuple[str, ...]:
    """The options of `docker run` by which a container is found again."""
    labels = (*_labels(state, disposable=disposable), "--label", f"{_NAME}={name}")
    network = ("--network", network_name(state), "--network-alias", name)
    return ("--name", container_name(state, name), *labels, *network)


def prepare(state: StateDirectory, *, disposable: bool) -> None:
    """Make the network of a state directory, and remove what killed stacks left behind.

    Raises:
        DevStackError: No engine answers.
    """
    _sweep()
    name = network_name(state)
    if not docker("network", "ls", "--quiet", "--filter", f"name=^{name}$"):
        docker("network", "create", *_labels(state, disposable=disposable), name)


def containers_of(state: StateDirectory) -> list[Container]:
    """The containers of a state directory, sorted by name."""
    found = docker("ps", "--all", "--quiet", "--filter", f"label={_LABEL}={state.path}").split()
    if not found:
        return []
    name, owner = (f'{{{{index .Config.Labels "{label}"}}}}' for label in (_NAME, _OWNER))
    form = f"{name} {{{{.State.Status}}}} {{{{.State.Pid}}}} {owner}"
    rows = [row.split() for row in docker("inspect", "--format", form, *found).splitlines()]
    containers = [Container(row[0], row[1], int(row[2]), len(row) > 3) for row in rows]
    return sorted(containers, key=lambda container: container.name)


def stop_all(state: StateDirectory) -> list[str]:
    """Stop the containers of a state directory, and remove those that nobody wants again.

    Returns:
        The names of those that ran.
    """
    found = containers_of(state)
    running = [c for c in found if c.status in {"running", "paused"}]
    if not found or any(container.disposable for container in found):
        remove_all(state)
        return [container.name for container in running]
    if frozen := [c.name for c in running if c.status == "paused"]:
        docker("unpause", *(container_name(state, name) for name in frozen))
    if running:
        docker("stop", "--time", "10", *(container_name(state, c.name) for c in running))
    return [container.name for container in running]


def remove_all(state: StateDirectory) -> None:
    """Remove the containers of a state directory with their data, and its network; their logs stay."""
    for container in containers_of(state):
        with (state.logs / f"{container.name}.log").open("w") as log:
            written = ["docker", "logs", container_name(state, container.name)]
            subprocess.run(written, check=False, stdout=log, stderr=subprocess.STDOUT)
    _remove([f"{_LABEL}={state.path}"])


def _labels(state: StateDirectory, *, disposable: bool) -> tuple[str, ...]:
    owner = f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time()}"
    labels = ("--label", f"{_LABEL}={state.path}")
    return (*labels, "--label", f"{_OWNER}={owner}") if disposable else labels


def _sweep() -> None:
    """Remove the containers and networks of processes of this machine that have gone."""
    form = f'{{{{.Label "{_OWNER}"}}}}'
    known = ("--filter", f"label={_OWNER}", "--format", form)
    owners = {*docker("ps", "--all", *known).split(), *docker("network", "ls", *known).split()}
    gone: list[str] = []
    for owner in owners:
        host, pid, created = owner.rsplit("/", 2)
        if host == socket.gethostname() and identify(int(pid), float(created)) is None:
            gone.append(f"{_OWNER}={owner}")
    _remove(gone)


def _remove(labels: Sequence[str]) -> None:
    for label in labels:
        chosen = ("--quiet", "--filter", f"label={label}")
        # Another process may be removing the same, and be faster: what counts is what is left.
        if found := docker("ps", "--all", *chosen).split():
            docker("rm", "--force", "--volumes", *found, check=False)
        if found := docker("network", "ls", *chosen).split():
            docker("network", "rm", *found, check=False)
        if left := docker("ps", "--all", *chosen).split():
            raise DevStackError(f"could not remove the containers {', '.join(left)}")


def _digest(state: StateDirectory) -> str:
    return hashlib.sha256(str(state.path).encode()).hexdigest()[:8]
