"""Containers: found again by their label, and gone when their stack is."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from objectql_devstack import DataStack, DevStackError, PortTakenError
from objectql_devstack.cluster import Cluster
from objectql_devstack.engine import docker
from objectql_devstack.pgwire import PgConnection
from objectql_devstack.status import status_of

pytestmark = [pytest.mark.containers, pytest.mark.timeout(180)]


def left_of(folder: Path) -> list[str]:
    """The containers and networks of a state directory."""
    label = ("--quiet", "--filter", f"label=objectql.stack={folder}")
    return [*docker("ps", "--all", *label).split(), *docker("network", "ls", *label).split()]


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2].partition("/")[0])


def test_stop_leaves_no_container_network_or_port(tmp_path: Path) -> None:
    stack = DataStack.start(tmp_path, mode="containers")
    ports = [port_of(stack[name].endpoint) for name in stack.names]
    assert len(left_of(tmp_path)) == len(stack.names) + 1
    stack.freeze("redis")
    stack.kill("nats")
    stack.stop()
    stack.stop()
    assert left_of(tmp_path) == []
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)


def test_a_replica_serves_reads_while_its_primary_is_down(tmp_path: Path) -> None:
    with DataStack.start(tmp_path, need={"replica"}, mode="containers") as stack:
        stack.kill("postgres")
        assert stack["replica"].is_ready()
        assert {row.name: row.condition for row in status_of(stack.state)} == {
            "postgres-1": "dead",
            "postgres-replica-1": "ready",
        }


def test_a_developers_data_outlive_down_and_go_with_purge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cluster() -> Cluster:
        need = frozenset({"postgres"})
        return Cluster(tmp_path, ports="free", services=(), need=need, tethered=False)

    def query(text: str) -> list[tuple[str | None, ...]]:
        with PgConnection(port_of(running.data.pg_url), "objectql") as primary:
            return primary.query(text)

    monkeypatch.setenv("OQL_STACK", "containers")
    running = cluster().start()
    try:
        query("create table kept as select 7 as id")
        assert cluster().stop() == ["postgres-1"]
        assert cluster().stop() == []
        running = cluster().start()
        assert query("select id from kept") == [("7",)]
        monkeypatch.setenv("OQL_IMAGE_POSTGRES", "another")
        cluster().stop()
        with pytest.raises(DevStackError, match="made from another image"):
            cluster().start()
    finally:
        cluster().stop(purge=True)
    assert left_of(tmp_path / ".objectql") == []
    assert "database system" in (tmp_path / ".objectql/log/postgres-1.log").read_text()


def test_what_a_killed_process_left_is_removed_by_the_next_stack(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, threading; from objectql_devstack import DataStack\n"
        "DataStack.start(pathlib.Path(sys.argv[1]), need={'redis'}, mode='containers')\n"
        "print('ready', flush=True); threading.Event().wait()\n"
    )
    folder = tmp_path / "killed"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "ready\n"
        parent.send_signal(signal.SIGKILL)
    assert len(left_of(folder)) == 2
    with DataStack.start(tmp_path / "next", need={"redis"}, mode="containers"):
        assert left_of(folder) == []


def test_a_published_port_that_a_stranger_took_is_reported(tmp_path: Path) -> None:
    with DataStack.start(tmp_path, need={"redis"}, mode="containers") as stack:
        port = port_of(stack.redis_url)
        stack.kill("redis")
        with socket.create_server(("127.0.0.1", port)):
            with pytest.raises(PortTakenError, match=f"port {port} for redis-1 is taken"):
                stack.restart("redis")
            with pytest.raises(PortTakenError):
                DataStack.start(tmp_path, need={"redis"}, mode="containers", tethered=False)
        stack.restart("redis")
        assert stack["redis"].is_ready()


def test_a_container_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OQL_IMAGE_REDIS", "Not An Image")
    with pytest.raises(DevStackError, match=r"docker run failed: .*invalid reference format"):
        DataStack.start(tmp_path, need={"redis"}, mode="containers")
    assert left_of(tmp_path) == []
