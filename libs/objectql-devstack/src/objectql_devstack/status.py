"""What runs in a state directory, as its processes and containers themselves tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import psutil

from objectql_devstack.engine import Container, containers_of
from objectql_devstack.external import QUESTIONS
from objectql_devstack.probes import answers_http
from objectql_devstack.processes import ManagedProcess
from objectql_devstack.services import HOST
from objectql_devstack.state import StateDirectory

Condition = Literal["ready", "starting", "frozen", "dead"]


@dataclass(frozen=True)
class Status:
    """One process or container; `starting` is also one that runs and does not answer."""

    name: str
    condition: Condition
    pid: int
    port: int | None


def status_of(state: StateDirectory) -> list[Status]:
    """Every process and container that was started and not stopped."""
    processes = [
        Status(process.name, _condition(state, process), record.pid, state.known_port(process.name))
        for record, process in ManagedProcess.recorded(state.run, state.logs)
    ]
    if state.mode != "containers":
        return processes
    containers = [
        Status(found.name, _of_container(state, found), found.pid, state.known_port(found.name))
        for found in containers_of(state)
    ]
    return [*containers, *processes]


def _of_container(state: StateDirectory, found: Container) -> Condition:
    if found.status == "paused":
        return "frozen"
    if found.status != "running":
        return "dead"
    return "ready" if _answers(state, found.name) else "starting"


def _condition(state: StateDirectory, process: ManagedProcess) -> Condition:
    try:
        running = process.process()
        if running is None:
            return "dead"
        if running.status() == psutil.STATUS_STOPPED:
            return "frozen"
    except psutil.NoSuchProcess:
        return "dead"
    return "ready" if _answers(state, process.name) else "starting"


def _answers(state: StateDirectory, name: str) -> bool:
    admin_port = state.known_port(f"{name}/admin")
    if admin_port is not None:
        return answers_http(HOST, admin_port, "/ready")
    port = state.known_port(name)
    question = QUESTIONS.get(name.rpartition("-")[0])
    return port is None or question is None or question[2](HOST, port)
