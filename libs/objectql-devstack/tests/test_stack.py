"""Real data services: they start, answer, survive faults, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from objectql_devstack import DataStack, DevStackError, PortTakenError
from objectql_devstack.pgwire import PgConnection
from objectql_devstack.probes import answers_nats, answers_redis, serves_zookeeper
from objectql_devstack.processes import wait_until
from objectql_devstack.status import status_of

pytestmark = pytest.mark.servers
wherever_they_run = pytest.mark.containers


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2].partition("/")[0])


def processes_of(folder: Path) -> list[psutil.Process]:
    """Everything alive whose command line names a file of `folder`."""

    def names_it(process: psutil.Process) -> bool:
        try:
            return str(folder) in " ".join(process.cmdline())
        except psutil.Error:
            return False  # ended while we looked; a zombie has no command line

    return [process for process in psutil.process_iter() if names_it(process)]


def pids(stack: DataStack) -> dict[str, int]:
    """The processes of the servers, by name, wherever they run."""
    return {row.name: row.pid for row in status_of(stack.state)}


def conditions(stack: DataStack) -> dict[str, str]:
    return {row.name: row.condition for row in status_of(stack.state)}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="module")
def stack(base: Path) -> Iterator[DataStack]:
    with DataStack.start(
        base, zookeeper_nodes=3, databases=("objectql", "east", "west")
    ) as running:
        yield running


@wherever_they_run
def test_every_service_answers(stack: DataStack) -> None:
    assert answers_nats("127.0.0.1", port_of(stack.nats_url))
    assert answers_redis("127.0.0.1", port_of(stack.redis_url))
    for node in stack.zookeeper.split(","):
        assert serves_zookeeper("127.0.0.1", port_of(node))
    with PgConnection(port_of(stack.pg_url), "objectql") as primary:
        assert primary.query("show max_prepared_transactions") == [("64",)]
        assert primary.query("show max_connections") == [("200",)]
        assert primary.query("show wal_level") == [("replica",)]
    with PgConnection(port_of(stack.pg_url)) as primary:
        names = {row[0] for row in primary.query("select datname from pg_database")}
    assert {"objectql", "east", "west"} <= names


@wherever_they_run
def test_text_is_ordered_by_code_point(stack: DataStack) -> None:
    with PgConnection(port_of(stack.pg_url), "east") as primary:
        rows = primary.query("select w from (values ('b'), ('B'), ('é'), ('a')) t(w) order by w")
    assert [row[0] for row in rows] == ["B", "a", "b", "é"]


@wherever_they_run
def test_replica_receives_a_row_within_two_seconds(stack: DataStack) -> None:
    with PgConnection(port_of(stack.pg_url), "west") as primary:
        primary.query("create table seen(id int); insert into seen values (7)")
    with PgConnection(port_of(stack.pg_replica_url), "west") as replica:
        found = "select to_regclass('seen') is not null"
        assert wait_until(lambda: replica.query(found) == [("t",)], 2)
        assert wait_until(lambda: replica.query("select id from seen") == [("7",)], 2)
        assert replica.query("select pg_is_in_recovery()") == [("t",)]


@wherever_they_run
@pytest.mark.parametrize("service", ["nats", "redis", "zookeeper-2", "postgres", "replica"])
@pytest.mark.parametrize("how", ["killed", "running"])
def test_a_restarted_server_keeps_its_port(stack: DataStack, service: str, how: str) -> None:
    endpoint, name = stack[service].endpoint, stack[service].name
    before = pids(stack)[name]
    if how == "killed":
        stack.kill(service)
        assert not psutil.pid_exists(before)
    stack.restart(service)
    assert stack[service].endpoint == endpoint
    assert stack[service].is_ready()
    assert pids(stack)[name] != before


@wherever_they_run
def test_a_prepared_transaction_survives_a_kill(stack: DataStack) -> None:
    with PgConnection(port_of(stack.pg_url), "objectql") as primary:
        primary.query("create table kept(id int)")
        primary.query("begin")
        primary.query("insert into kept values (1)")
        primary.query("prepare transaction 'held'")
    stack.kill("postgres")
    stack.restart("postgres")
    with PgConnection(port_of(stack.pg_url), "objectql") as primary:
        primary.query("commit prepared 'held'")
        assert primary.query("select id from kept") == [("1",)]


@wherever_they_run
def test_an_ensemble_survives_the_loss_of_its_leader(stack: DataStack) -> None:
    def mode(node: str) -> str:
        with socket.create_connection(("127.0.0.1", port_of(stack[node].endpoint)), 1) as asked:
            asked.sendall(b"srvr")
            answer = b"".join(iter(lambda: asked.recv(4096), b"")).decode()
        return next((line[6:] for line in answer.splitlines() if line.startswith("Mode: ")), "none")

    nodes = {f"zookeeper-{n}" for n in (1, 2, 3)}
    leader = next(node for node in nodes if mode(node) == "leader")
    stack.kill(leader)
    left = nodes - {leader}
    assert wait_until(
        lambda: {mode(node) for node in left} == {"leader", "follower"}, 15, poll_s=0.1
    )
    stack.restart(leader)
    assert mode(leader) == "follower"


@wherever_they_run
def test_a_replica_starts_without_its_primary_and_follows_it_later(stack: DataStack) -> None:
    stack.kill("postgres")
    stack.restart("replica")
    with PgConnection(port_of(stack.pg_replica_url)) as replica:
        assert replica.query("select pg_is_in_recovery()") == [("t",)]
    stack.restart("postgres")
    assert wait_until(stack["replica"].is_ready, 10)


@wherever_they_run
def test_a_frozen_server_hangs_and_a_thawed_one_answers(stack: DataStack) -> None:
    with PgConnection(port_of(stack.pg_url)) as primary:
        stack.freeze("postgres")
        assert wait_until(lambda: conditions(stack)["postgres-1"] == "frozen", 2)
        assert conditions(stack)["redis-1"] == "ready"
        stack.thaw("postgres")
        assert primary.query("select 1") == [("1",)]


@wherever_they_run
def test_starting_again_keeps_what_runs_and_restarts_what_died(
    stack: DataStack, base: Path
) -> None:
    before = pids(stack)
    stack.kill("redis")
    assert conditions(stack).get("redis-1") != "ready"
    databases = ("objectql", "east", "west")
    again = DataStack.start(base, zookeeper_nodes=3, databases=databases)
    after = pids(again)
    assert again.redis_url == stack.redis_url
    assert after.pop("redis-1") != before.pop("redis-1")
    assert after == before


@wherever_they_run
def test_a_service_that_was_not_needed_is_named_in_the_error(tmp_path: Path) -> None:
    with (
        DataStack.start(tmp_path, need={"nats"}) as small,
        pytest.raises(DevStackError, match="no redis"),
    ):
        _ = small.redis_url
    with pytest.raises(DevStackError, match="unknown service mongo"):
        DataStack.start(tmp_path, need={"mongo"})


def test_a_remembered_port_taken_by_a_stranger_is_replaced_or_reported(tmp_path: Path) -> None:
    with DataStack.start(tmp_path, need={"redis"}) as stack:
        port = port_of(stack.redis_url)
        stack.kill("redis")
        with socket.socket() as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stranger.bind(("127.0.0.1", port))
            stranger.listen()
            with pytest.raises(
                PortTakenError, match=f"port {port} .* taken by process {os.getpid()} "
            ):
                stack.restart("redis")
            with DataStack.start(tmp_path, need={"redis"}) as moved:
                assert port_of(moved.redis_url) != port
                assert moved["redis"].is_ready()


def test_stop_leaves_no_process_port_or_file(tmp_path: Path) -> None:
    stack = DataStack.start(tmp_path)
    ports = [port_of(stack[name].endpoint) for name in stack.names]
    elsewhere = Path(getattr(stack["postgres"], "data"))  # noqa: B009 - only native servers have one
    stack.freeze("redis")
    stack.stop()
    stack.stop()
    assert processes_of(tmp_path) == []
    assert processes_of(elsewhere) == []
    assert not elsewhere.parent.exists() or elsewhere.parent == tmp_path / "data"
    assert list((tmp_path / "run").iterdir()) == []
    assert list((tmp_path / "data").iterdir()) == []
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)


def test_servers_die_with_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, threading; from objectql_devstack import DataStack\n"
        "DataStack.start(pathlib.Path(sys.argv[1]), need={'nats', 'redis', 'postgres', 'zookeeper'})\n"
        "print('ready', flush=True); threading.Event().wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "ready\n"
        servers = [int(path.read_text()) for path in (tmp_path / "run").glob("*.pid")]
        family = [
            member for pid in servers for member in psutil.Process(pid).children(recursive=True)
        ]
        assert len(servers) == 4
        parent.send_signal(signal.SIGKILL)

    def gone(process: psutil.Process) -> bool:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE

    members = [psutil.Process(pid) for pid in servers if psutil.pid_exists(pid)] + family
    assert wait_until(lambda: all(gone(member) for member in members), 10), members


@wherever_they_run
def test_all_services_are_ready_soon(tmp_path: Path) -> None:
    began = time.monotonic()
    with DataStack.start(tmp_path):
        assert time.monotonic() - began < 20
